"""gpujobs fetch"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import click

from gpujobs.cli import app, output
from gpujobs.cli.follow import shorter
from gpujobs.client import Client
from gpujobs.errors import ProtocolError, UsageError


@app.command("fetch", "gpujobs fetch 7 my-results")
@app.id_argument
@click.argument("directory", required=False, metavar="[DIR]")
@app.json_option
def command(id: int, directory: str | None, as_json: bool) -> None:
    """DIR is a new directory; by default ID and the job's name, here."""
    client = app.reading_client()
    results = client.get("/v1/results", ids=id)["results"]
    if not results:
        raise UsageError(f"job {id} has no results that you may read; `gpujobs status {id}` says how it did.")
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in results[0]["name"])
    target = Path(directory or f"{id}-{name}")
    fetch(client, id, results[0]["files"], target)
    if as_json:
        output.print_json({"job": id, "directory": str(target.absolute()), "files": results[0]["files"]})
    else:
        click.echo(f"{len(results[0]['files'])} files in {shorter(target)}")


def fetch(client: Client, id: int, files: list[dict[str, Any]], target: Path) -> None:
    """Copies to a new directory beside `target`, which gets its name when all is there."""
    if os.path.lexists(target):
        raise UsageError(f"{target} exists; expected a new directory; name another or remove it.")
    try:
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except FileNotFoundError as error:
        raise UsageError(f"{target.parent} does not exist; expected a directory to put it in.") from error
    try:
        for file in files:
            _download(client, id, file, partial)
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o777 & ~umask)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _download(client: Client, id: int, file: dict[str, Any], directory: Path) -> None:
    relative = PurePosixPath(file["name"])
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise ProtocolError(f"the daemon names a file outside of the results: {file['name']!r}")
    path = directory / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    with client.open(f"/v1/results/{id}/{file['name']}") as body, path.open("xb") as copy:
        while piece := body.read1():
            copy.write(piece)
        if copy.tell() != file["bytes"]:
            raise ProtocolError(
                f"{file['name']} ended after {copy.tell()} of {file['bytes']} bytes; try again."
            )
