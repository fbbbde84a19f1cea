"""What all commands share: the group that loads them late, the settings' flags, the client."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import click

from gpujobs.client import Client, connect

COMMANDS = {
    "run": "Submit job files, follow them and print where the results are.",
    "serve": "Run the daemon in the foreground.",
    "stop": "Stop the daemon; running jobs go on and are adopted by the next one.",
    "check": "Validate job files without submitting them.",
    "submit": "Queue job files.",
    "status": "Show the queue, or some jobs.",
    "show": "Show everything about one job.",
    "gpus": "Show every device and who is on it.",
    "logs": "Print the log of a job.",
    "wait": "Wait until jobs have ended.",
    "cancel": "Cancel jobs.",
    "hold": "Keep waiting jobs from starting.",
    "release": "Let held jobs start.",
    "requeue": "Queue jobs that have ended again.",
    "results": "List models and predictions, or one job's files.",
    "fetch": "Copy a job's results, as your own files.",
    "simulate": "Replay a trace of submissions through the scheduling policy.",
    "doctor": "Check the installation.",
    "schema": "Print the JSON Schema of a job file.",
}
META = "gpujobs.flags"


class LazyGroup(click.Group):
    """Imports a command's module when that command is used, and none for the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"gpujobs.cli.commands.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            nearest = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else " `gpujobs --help` lists them."
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


def _remember(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        ctx.meta.setdefault(META, {})[parameter.name] = value


def shared_options() -> list[click.Parameter]:
    common: dict[str, Any] = {"expose_value": False, "callback": _remember}
    return [
        click.Option(["--socket"], metavar="PATH", help="The daemon's socket.", **common),
        click.Option(["--state-dir"], metavar="DIR", help="Where the daemon keeps its state.", **common),
        click.Option(["--config"], metavar="FILE", help="The configuration, gpujobs.toml.", **common),
        click.Option(["-v", "--verbose"], is_flag=True, help="Show tracebacks of errors.", **common),
    ]


class Command(click.Command):
    """A command with the settings' flags. `example` ends its help."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [*self.params, *shared_options()]
        self.epilog = f"\b\nExample:\n  {example}"


def command(name: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    return click.command(
        name,
        cls=Command,
        example=example,
        help=COMMANDS[name],
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def flags() -> dict[str, Any]:
    """The settings' flags that were given, before or after the command's name."""
    return dict(click.get_current_context().meta.get(META, {}))


def client() -> Client:
    from gpujobs.config import sockets

    found = connect(sockets(flags()))
    click.get_current_context().call_on_close(found.close)
    return found


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
ids_argument = click.argument("ids", nargs=-1, required=True, type=click.IntRange(min=1), metavar="ID...")
id_argument = click.argument("id", type=click.IntRange(min=1), metavar="ID")
