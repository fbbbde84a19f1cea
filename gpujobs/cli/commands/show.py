"""gpujobs show"""

from __future__ import annotations

import json
from typing import Any

import click

from gpujobs.cli import app, output


@app.command("show", "gpujobs show 7")
@app.id_argument
@app.json_option
def command(id: int, as_json: bool) -> None:
    answer = app.client().get(f"/v1/jobs/{id}")
    if as_json:
        output.print_json(answer)
        return
    job = answer["job"]
    click.echo(f"job {id} {output.printable(job['name'])} of {job['user']}: {job['state']}")
    for label, value in _facts(answer):
        if value:
            click.echo(output.indented(value, label, hanging=18))
    _section("attempts", _attempts(answer["attempts"]))
    click.echo("\nhistory")
    for event in answer["events"]:
        click.echo(output.indented(_event(event), _seconds(event["at"]), hanging=23))
    _section("job file, resolved", _tree(answer["spec"]))


def _memory(asked: int | str | None) -> str | None:
    """What a job asks for that shares its device."""
    return output.size(asked) if isinstance(asked, int) else asked


def _facts(answer: dict[str, Any]) -> list[tuple[str, object]]:
    job = answer["job"]
    why = "waits because" if job["state"] == "PENDING" else "progress" if job["progress"] else "reason"
    return [
        (why, output.progress(job)),
        ("expected start", output.local_time(job.get("expected_start"))),
        ("not before", output.local_time(answer.get("begin_at"))),
        ("group", f"g{job['group_id']} {job['group']}" if job.get("group_id") else None),
        ("the sweep sets", _sweep(job.get("sweep"))),
        ("time limit", output.duration(answer.get("time_limit_seconds"))),
        ("GPU memory", _memory(answer.get("gpu_memory"))),
        ("preemptible", "yes" if answer.get("preemptible") else None),
        ("priority", job["priority"]),
        ("submitted", _seconds(job["submitted_at"])),
        ("started", _seconds(job["started_at"])),
        ("ended", _seconds(job["ended_at"])),
        ("node", job["node"]),
        ("device", output.device(job["device"])),
        ("pid", job["pid"]),
        ("exit", _exit(job["exit"])),
        ("results", job["results"] or _removed(job)),
    ]


def _removed(job: dict[str, Any]) -> str | None:
    when = output.local_time(job.get("results_removed_at"))
    return f"removed on {when}; the history says by whom" if when else None


def _sweep(values: dict[str, Any] | None) -> str:
    from gpujobs.cli.ranking import setting

    return ", ".join(f"{key}: {setting(value)}" for key, value in (values or {}).items())


def _attempts(attempts: list[dict[str, Any]]) -> list[str]:
    head = ("N", "DEVICE", "STARTED", "ENDED", "EXIT", "REASON")
    rows = [
        (
            attempt["number"],
            output.device(attempt["device"]),
            _seconds(attempt["started_at"]),
            _seconds(attempt["ended_at"]),
            _exit(attempt["exit"]),
            f"{attempt['reason']} {attempt['message']}".strip(),
        )
        for attempt in attempts
    ]
    return output.table(head, rows, flexible=5) if rows else []


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
