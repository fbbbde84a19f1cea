"""gpujobs fetch"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli import app, output
from gpujobs.cli.choosing import Selection, choosing
from gpujobs.cli.follow import shorter
from gpujobs.cli.ranking import has_figures
from gpujobs.errors import ProtocolError, UsageError

if TYPE_CHECKING:
    from gpujobs.client import Client

SHOWN = 5
"""Files that a message names."""


@app.command("fetch", "gpujobs fetch 7 my-results")
@click.argument("what", required=False, type=app.Reference(), metavar="[ID|GROUP]")
@click.argument("directory", required=False, metavar="[DIR]")
@choosing(required=False, argument=False)
@click.option("--into", metavar="DIR", help="The same as DIR, where options choose the jobs.")
@click.option("--best", is_flag=True, help="Only the best job of a group, by its ranking.")
@click.option("--metric", help="What ranks them; by default, what they watch.")
@click.option("--mode", type=click.Choice(["min", "max"]), help="Which end of the metric is the better one.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@app.json_option
def command(
    what: int | str | None,
    directory: str | None,
    chosen: Selection,
    into: str | None,
    best: bool,
    metric: str | None,
    mode: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """DIR is a new directory, or one that is there and has none of these files; by default ID and the job's name,
    here. Of several jobs each gets a directory of its own in DIR, by default here. Of a job that has not completed
    it is what there is: the log, the history, and the model of the last checkpoint where it was stopped."""
    if directory and into:
        raise click.UsageError("expected DIR or --into, not both.")
    chosen = Selection(() if what is None else (what,), chosen.conditions)
    if not chosen:
        raise click.UsageError("expected a job, a group, or options that choose some.")
    client, place = app.reading_client(), directory or into
    if best:
        chosen = Selection((_best(client, chosen, metric, mode),))
    elif metric or mode:
        raise click.UsageError("--metric and --mode say what --best is; expected that too.")
    found = client.results(own=True, partial=chosen.number is not None, **chosen.query)
    if not found:
        raise UsageError(_nothing(chosen))
    targets = _targets(found, place, is_one=chosen.number is not None)
    for result, target in targets:
        _check(result["files"], target, force)
    fetched = [_fetched(client, result, target, as_json) for result, target in targets]
    if as_json:
        output.print_json(fetched[0] if chosen.number is not None else fetched)


def _nothing(chosen: Selection) -> str:
    if chosen.number is not None:
        return f"job {chosen} has no results that you may read; `gpujobs status {chosen}` says how it did."
    return f"no job of {chosen} has results yet; `gpujobs status {chosen}` says how they do."


def _best(client: Client, chosen: Selection, metric: str | None, mode: str | None) -> int:
    if len(chosen.ids) != 1 or chosen.number is not None:
        raise click.UsageError("--best is of a group; expected its id, such as g12, or its name.")
    ranking = client.get("/v1/ranking", **chosen.query, metric=metric, mode=mode)
    if ranking["best"] is None:
        if has_figures(ranking):
            raise UsageError(
                f"no figure compares the jobs of {chosen} by itself; --metric NAME says which one does."
            )
        raise UsageError(
            f"no job of {chosen} has figures to rank by yet; `gpujobs results {chosen}` lists them."
        )
    best = ranking["members"][0]
    said = f"job {ranking['best']}, {ranking['metric']} {best['value']:.5g}, {ranking['why']}"
    click.echo(output.printable(f"the best of {chosen}: {said}"), err=True)
    return int(ranking["best"])


def _targets(
    found: Sequence[dict[str, Any]], place: str | None, *, is_one: bool
) -> list[tuple[dict[str, Any], Path]]:
    if is_one:
        return [(one, Path(place) if place else Path(_default(one))) for one in found]
    return [(one, Path(place or ".") / _default(one)) for one in found]


def _default(result: dict[str, Any]) -> str:
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in result["name"])
    return f"{result['job']}-{name}"


def _fetched(client: Client, result: dict[str, Any], target: Path, as_json: bool) -> dict[str, Any]:
    fetch(client, result["job"], result["files"], target)
    if not as_json:
        click.echo(f"{len(result['files'])} files in {shorter(target)}{_how_much(result)}")
    return {"job": result["job"], "directory": str(target.absolute()), "files": result["files"]}


def _how_much(result: dict[str, Any]) -> str:
    state = result.get("state", "COMPLETED")
    if state == "COMPLETED":
        return ""
    names = {file["name"] for file in result["files"]}
    if "model.keras" in names:
        return f" (job {result['job']} is {state}: the model is that of its last checkpoint)"
    how = "requeue --finish" if state in ("FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY") else "finish"
    return f" (job {result['job']} is {state}: no model yet; `gpujobs {how} {result['job']}` makes one)"


def _check(files: Sequence[dict[str, Any]], target: Path, force: bool) -> None:
    """Before anything is copied. Raises UsageError where something would be overwritten."""
    if os.path.lexists(target) and not target.is_dir():
        raise UsageError(f"{target} exists and is no directory; name another, or remove it.")
    there = [file["name"] for file in files if os.path.lexists(target / file["name"])]
    if there and not force:
        more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
        raise UsageError(
            f"{target} exists and has {', '.join(there[:SHOWN])}{more}; name another directory, remove it, or "
            "replace these with --force."
        )


def fetch(client: Client, id: int, files: list[dict[str, Any]], target: Path) -> None:
    """Copies to a new directory beside `target`, or in it where it is there; each file, or the whole, gets its
    name when all is there."""
    is_there = target.is_dir()
    if not is_there:
        _make_parent(target)
    try:
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target if is_there else target.parent))
    except OSError as error:
        raise UsageError(
            f"{target}: {error.strerror}; expected a directory that you may write to."
        ) from error
    try:
        for file in files:
            _download(client, id, file, partial)
        if is_there:
            _move_into(partial, target, files)
        else:
            partial.chmod(0o777 & ~_umask())
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _umask() -> int:
    """As the kernel tells it: `os.umask` would change it for all threads to find it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("Umask:")), 8)


def _make_parent(target: Path) -> None:
    """Of a directory for several jobs; the place for that must be there."""
    try:
        target.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"{target.parent}: {error.strerror}; expected a directory to put it in.") from error


def _move_into(partial: Path, target: Path, files: Sequence[dict[str, Any]]) -> None:
    for file in files:
        place = target / file["name"]
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            raise UsageError(f"{place} is a directory; remove it, or name another one for the results.")
        (partial / file["name"]).replace(place)


def _download(client: Client, id: int, file: dict[str, Any], directory: Path) -> None:
    relative = PurePosixPath(file["name"])
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise ProtocolError(f"the daemon names a file outside of the results: {file['name']!r}")
    path = directory / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    with client.open(f"/v1/results/{id}/{file['name']}") as body, path.open("xb") as copy:
        while piece := body.read1():
            copy.write(piece)
        if copy.tell() != (file["bytes"] if body.size_bytes is None else body.size_bytes):
            raise ProtocolError(
                f"{file['name']} ended after {copy.tell()} of {file['bytes']} bytes; try again."
            )
