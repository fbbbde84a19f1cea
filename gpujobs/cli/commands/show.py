"""gpujobs show"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from gpujobs.cli import app, output
from gpujobs.cli.choosing import Selection, choosing
from gpujobs.errors import UsageError


@app.command("show", "gpujobs show 7")
@choosing()
@app.json_option
def command(chosen: Selection, as_json: bool) -> None:
    """Several are shown one after the other; with --json they are an array."""
    client = app.reading_client()
    numbers = [chosen.number] if chosen.number is not None else chosen.numbers(client)
    if not numbers:
        raise UsageError(f"no job is as asked for ({chosen}); `gpujobs status --all` lists what there is")
    answers = [client.get(f"/v1/jobs/{number}") for number in numbers]
    if as_json:
        output.print_json(answers if chosen.number is None else answers[0])
        return
    for number, answer in enumerate(answers):
        if number:
            click.echo()
        _show(answer)


def _show(answer: dict[str, Any]) -> None:
    job = answer["job"]
    click.echo(f"job {job['id']} {output.printable(job['name'])} of {job['user']}: {job['state']}")
    for label, value in _facts(answer):
        if value:
            click.echo(output.indented(output.message(value), label, hanging=18))
    _section("evaluation", answer.get("evaluation") or [])
    _device_use(answer.get("device_use"))
    _section("attempts", _attempts(answer["attempts"]))
    click.echo("\nhistory")
    times = [_seconds(event["at"]) for event in answer["events"]]
    hanging = max(map(len, times), default=0) + 4
    for event, at in zip(answer["events"], times, strict=True):
        click.echo(output.indented(output.message(_event(event)), at, hanging))
    _section("job file, resolved", _tree(answer["spec"]))


def _memory(asked: int | str | None) -> str | None:
    """What a job asks for that shares its device."""
    return output.size(asked) if isinstance(asked, int) else asked


def _facts(answer: dict[str, Any]) -> list[tuple[str, object]]:
    job = answer["job"]
    return [
        (_why(job), output.progress(job)),
        ("expected start", output.local_time(job.get("expected_start"))),
        ("not before", output.local_time(answer.get("begin_at"))),
        ("after", _numbers(answer.get("after"))),
        ("after any end", _numbers(answer.get("after_any"))),
        ("after failure", _numbers(answer.get("after_failed"))),
        ("queued again of", answer.get("origin")),
        ("group", f"g{job['group_id']} {job['group']}" if job.get("group_id") else None),
        ("at most at once", f"{answer['at_most']} of its group" if answer.get("at_most") else None),
        ("the sweep sets", _sweep(job.get("sweep"))),
        ("time limit", output.duration(answer.get("time_limit_seconds"))),
        ("finishes", "after its epoch" if answer.get("finish") else None),
        ("asks for", _place(answer)),
        ("GPU memory", _memory(answer.get("gpu_memory"))),
        ("preemptible", "yes" if answer.get("preemptible") else None),
        ("priority", job["priority"]),
        ("submitted", _seconds(job["submitted_at"])),
        ("started", _seconds(job["started_at"])),
        ("ended", _seconds(job["ended_at"])),
        ("node", job["node"]),
        ("device", output.device(job["device"])),
        ("pid", job["pid"]),
        ("trainer", _trainer(answer["attempts"])),
        ("exit", _exit(job["exit"])),
        ("results", job["results"] or _removed(job)),
    ]


def _place(answer: dict[str, Any]) -> str | None:
    """On which devices it may start, where not on any."""
    gpu, name, nodes = answer.get("gpu"), answer.get("gpu_name"), answer.get("nodes")
    if gpu is None and name is None and not nodes:
        return None
    from gpujobs.demand import Place

    return Place(gpu, tuple(nodes or ()), (), name).words


def _trainer(attempts: list[dict[str, Any]]) -> str | None:
    """Of the latest attempt."""
    earlier = attempts[-1].get("trainer_of") if attempts else None
    return f"that of job {earlier}, which had completed" if earlier else None


def _why(job: dict[str, Any]) -> str:
    """What stands before `output.progress`; a job that has ended may have progress, and says why it ended."""
    if job["state"] == "PENDING":
        return "waits because"
    return "progress" if job["progress"] and not output.has_ended(job) else "reason"


def _removed(job: dict[str, Any]) -> str | None:
    when = output.local_time(job.get("results_removed_at"))
    return f"removed on {when}; the history says by whom" if when else None


def _numbers(ids: Sequence[int] | None) -> str:
    """`7, 60-65`"""
    runs: list[list[int]] = []
    for number in sorted(ids or ()):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _sweep(values: dict[str, Any] | None) -> str:
    if not values:
        return ""
    from gpujobs.cli.ranking import setting

    return ", ".join(f"{key}: {setting(value)}" for key, value in values.items())


def _attempts(attempts: list[dict[str, Any]]) -> list[str]:
    several = len({attempt["node"] for attempt in attempts}) > 1
    head = ("N", "DEVICE", "STARTED", "ENDED", "EXIT", "REASON")
    rows = [
        (
            attempt["number"],
            (f"{attempt['node']}:" if several else "") + output.device(attempt["device"]),
            _seconds(attempt["started_at"]),
            _seconds(attempt["ended_at"]),
            _exit(attempt["exit"]),
            output.message(f"{attempt['reason']} {attempt['message']}".strip()),
        )
        for attempt in attempts
    ]
    return output.table(head, rows, flexible=5, indent=2) if rows else []


def _event(event: dict[str, Any]) -> str:
    step = f" {event['from'] or 'new'} -> {event['to']}" if event.get("to") else ""
    why = ": ".join(text for text in (event.get("reason"), event.get("message")) if text)
    return f"{event['kind']}{step} by {event['actor']}{': ' + why if why else ''}"


def _exit(value: dict[str, Any] | None) -> str:
    if value is None:
        return ""
    return f"signal {value['signal']}" if value.get("signal") else f"code {value['code']}"


def _seconds(instant: str | None) -> str:
    return output.local_time(instant, "seconds")


def _device_use(value: dict[str, Any] | None) -> None:
    if not value:
        return
    from gpujobs.measured.words import lines

    for number, line in enumerate(lines(value)):
        click.echo(output.indented(line) if number else f"\ndevice use\n{output.indented(line)}")


def _section(title: str, lines: list[str]) -> None:
    if lines:
        click.echo(f"\n{title}")
        for line in lines:
            click.echo(f"  {output.printable(line)}")


def _tree(value: object, indent: str = "") -> list[str]:
    """Nested mappings and lists in the shape of YAML; scalars as JSON."""
    lines: list[str] = []
    pairs = value.items() if isinstance(value, dict) else ()
    for key, item in pairs:
        if isinstance(item, dict) and item:
            lines += [f"{indent}{key}:", *_tree(item, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {json.dumps(item, ensure_ascii=False)}")
    return lines
