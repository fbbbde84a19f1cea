"""gpujobs backup"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli import app, output
from gpujobs.errors import MachineError, ProtocolError, UsageError

if TYPE_CHECKING:
    from gpujobs.client.api import Stream


@app.command("backup", "gpujobs backup /backup/2026-11-26")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@app.json_option
def command(directory: Path, as_json: bool) -> None:
    """DIR is made: the store as of one moment, the configuration, and checksums. The daemon serves on meanwhile. Only
    its own user and root may ask. Results are plain directories, which rsync copies."""
    client = app.client()
    _make(directory)
    with client.open("/v1/backup") as stream:
        manifest = _receive(stream, directory)
    from gpujobs.store.backups import CONFIG, write_manifest

    if manifest.get("config") is not None:
        _write_new(directory / CONFIG, manifest["config"].encode())
    write_manifest(directory, {key: value for key, value in manifest.items() if key != "config"})
    if as_json:
        output.print_json({**manifest, "directory": str(directory.absolute())})
        return
    jobs = sum(manifest["jobs"].values())
    click.echo(
        f"{directory}: {jobs} jobs, {output.size(manifest['bytes'])}; `gpujobs restore {directory}` puts it back"
    )
    click.echo(f"results are not in it: rsync -a {manifest['state_dir']}/results {directory}/")


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise UsageError(f"{directory} is not empty; expected a new directory: nothing in it is replaced")
        directory.chmod(0o700)
    except OSError as error:
        raise MachineError(f"{directory}: {error.strerror}; expected a directory that can be made") from error


def _receive(stream: Stream, directory: Path) -> dict[str, Any]:
    """Writes the database, and returns what describes it. Raises ProtocolError where not all of it came."""
    import hashlib

    from gpujobs.store.backups import DATABASE

    manifest: dict[str, Any] = json.loads(stream.readline())
    digest = hashlib.sha256()
    try:
        with _new_file(directory / DATABASE) as file:
            while piece := stream.read1():
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise MachineError(f"{directory}: the copy cannot be written: {error.strerror}") from error
    if digest.hexdigest() != manifest["sha256"]:
        raise ProtocolError("the copy is not what the daemon has sent; try again")
    return manifest


def _new_file(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")


def _write_new(path: Path, content: bytes) -> None:
    with _new_file(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
