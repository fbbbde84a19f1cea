"""gpujobs notify"""

from __future__ import annotations

import shlex
from typing import Any

import click

from gpujobs.cli import app, output


@app.command("notify", "gpujobs notify --on failure,time_limit --to mail")
@click.option(
    "--on", multiple=True, metavar="WHAT", help="end, failure, start, stranger, time_limit; repeatable."
)
@click.option(
    "--to", multiple=True, metavar="WHOM", help="mail (your own mailbox), an address or a URL; repeatable."
)
@click.option(
    "--command", "program", metavar="COMMAND", help="A program and its arguments, run as you, no shell."
)
@click.option("--off", is_flag=True, help="Be told nothing, but what a job file says.")
@click.option("--test", "is_test", is_flag=True, help="Send a test to everybody whom you have named.")
@app.json_option
def command(
    on: tuple[str, ...],
    to: tuple[str, ...],
    program: str | None,
    off: bool,
    is_test: bool,
    as_json: bool,
) -> None:
    """Says who is told of what of your jobs, or changes it, for all of your jobs from now on. `notify:` in a job file
    counts before it, key by key. Without options, shows what counts. docs/news.md says what is sent."""
    setting = _setting(on, to, program)
    if off and setting:
        raise click.UsageError("--off tells nobody; expected it without --on, --to and --command.")
    client = app.client()
    if setting or off:
        answer = client.post("/v1/notify", {"setting": None if off else setting})
    else:
        answer = client.get("/v1/notify")
    if is_test:
        answer["tried"] = client.post("/v1/notify/test", {})["tried"]
    if as_json:
        output.print_json(answer)
    else:
        _show(answer)
    if any(not one["sent"] for one in answer.get("tried", ())):
        raise click.exceptions.Exit(4)


def _setting(on: tuple[str, ...], to: tuple[str, ...], program: str | None) -> dict[str, Any]:
    setting: dict[str, Any] = {}
    if on:
        setting["on"] = [word.strip() for text in on for word in text.split(",") if word.strip()]
    if to:
        setting["to"] = list(to)
    if program is not None:
        try:
            setting["command"] = shlex.split(program)
        except ValueError as error:
            raise click.UsageError(
                f"--command {program}: {error}; expected words as a shell reads them."
            ) from None
    return setting


def _show(answer: dict[str, Any]) -> None:
    click.echo(output.message(f"you are told: {answer['told']}"))
    for one in answer.get("tried", ()):
        said = f": {one['said']}" if one["said"] else ""
        click.echo(output.message(f"{one['to']}: {'sent' if one['sent'] else 'NOT sent'}{said}"))
