"""gpujobs check"""

from __future__ import annotations

from typing import Any

import click

from gpujobs.cli import app, output
from gpujobs.cli.commands.submit import overrides
from gpujobs.client.submission import read_job_files


@app.command("check", "gpujobs check jobs/tutorial.yaml")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field.")
@app.json_option
def command(files: tuple[str, ...], sets: tuple[str, ...], as_json: bool) -> None:
    values = overrides(sets)
    submission = read_job_files(files)
    body = {"set": values, "options": {}}
    reports = submission.send(app.client(), "/v1/check", body)["files"]
    if as_json:
        output.print_json(reports)
        return
    for entry in reports:
        click.echo(f"{entry['path']}: valid")
        for line in _lines(entry["report"], "  "):
            click.echo(line)


def _lines(report: dict[str, Any], indent: str) -> list[str]:
    """A report as `key: value` lines; a list of objects (the layers) as a table."""
    lines: list[str] = []
    for key, value in report.items():
        label = indent + key.replace("_", " ")
        if key.endswith("_bytes") and isinstance(value, int):
            lines.append(f"{label.removesuffix(' bytes')}: {output.size(value)}")
        elif isinstance(value, dict):
            lines += [f"{label}:", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            head = [str(name) for name in value[0]]
            rows = [[item.get(name, "") for name in head] for item in value]
            table = output.table([name.upper() for name in head], rows, flexible=len(head) - 1)
            lines += [f"{label}:", *(f"{indent}  {line}" for line in table)]
        elif value is not None:
            lines.append(f"{label}: {output.printable(value)}")
    return lines
