"""gpujobs node token, join, list, drain, remove"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli import app, output
from gpujobs.cli.commands.gpus import show
from gpujobs.errors import MachineError, UsageError

if TYPE_CHECKING:
    from gpujobs.cluster.joiner import Box
    from gpujobs.paths import StatePaths
    from gpujobs.protocol.joining import TokenFile

HEAD = ("NODE", "STATUS", "DEVICES", "JOBS", "FREE DISK", "WHAT")

command = app.Group("node", "gpujobs node list")


@command.verb("token", "gpujobs node token /root/gpujobs-node.json")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
def token(file: Path) -> None:
    """Write what another box needs to join this one's queue.

    FILE is made with mode 0600: take it to the other box over ssh, and nowhere else. Whoever has it can run anything
    as this daemon's user on all boxes of the cluster. The daemon's configuration must say where the others reach it:
    [cluster] listen."""
    answer = app.client().post("/v1/nodes/token", {})
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise UsageError(f"{file} is there already; expected the name of a new file") from None
    except OSError as error:
        raise MachineError(
            f"{file}: {error.strerror}; expected the name of a file that can be made"
        ) from error
    with os.fdopen(descriptor, "w") as written:
        json.dump(answer["token"], written)
        written.write("\n")
    head = answer["token"]["address"]
    click.echo(f"{file}: take it to the other box (mode 0600), and join there:")
    click.echo(f"gpujobs node join {head} --token-file {file.name}")


@command.verb("join", "gpujobs node join 10.0.0.5:8480 --token-file node.json")
@click.argument("head", metavar="HEAD")
@click.option("--token-file", type=click.Path(path_type=Path), required=True, help="What `node token` wrote.")
@click.option("--name", help="The name of this box in the queue; its host name where nothing is said.")
@click.option("--address", default="", help="By which the others reach this box; as the head sees it.")
@click.option("--cpu-slots", type=click.IntRange(min=1), help="Jobs at once where there is no GPU.")
@click.option("--check", is_flag=True, help="Only look whether it can join; start nothing.")
def join(
    head: str, token_file: Path, name: str | None, address: str, cpu_slots: int | None, check: bool
) -> None:
    """Make this box a node of the queue of HEAD, the ADDRESS:PORT of another box, and stay in the foreground.

    Before anything is started it is looked, on both boxes, at versions, clocks, the token, ports in both directions,
    the name, and free disk. Trainings that run here go on when this ends, until their lease does. State goes to
    --state-dir; scripts/gpujobs-node.service is a unit for systemd."""
    import asyncio
    import logging
    import tempfile

    from gpujobs.cluster.joiner import Joiner, require_disk, trial
    from gpujobs.linux import statelock

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    token = _read_token(token_file)
    paths = _prepared()
    if check:  # also while it is joined: nothing that runs is touched
        require_disk(paths)
        with tempfile.TemporaryDirectory(dir=paths.run) as scratch:
            box = _box(paths, token, head, name, address, cpu_slots, Path(scratch) / "tls")
            found = asyncio.run(trial(box))
        click.echo(f"{found.name} would take this box, as {box.name} at {found.address}")
        return
    lock = statelock.take(paths.lock)
    box = _box(paths, token, head, name, address, cpu_slots)
    os.chdir("/")
    try:
        asyncio.run(Joiner(box).run())
    finally:
        os.close(lock)


@command.verb("list", "gpujobs node list")
@app.json_option
def listing(as_json: bool) -> None:
    """Show the boxes of this queue, and since when one is away that is."""
    nodes = app.client().get("/v1/nodes")["nodes"]
    if as_json:
        output.print_json(nodes)
        return
    for line in output.table(HEAD, [_row(node) for node in nodes], flexible=5):
        click.echo(line)


@command.verb("drain", "gpujobs node drain box2 --reason 'new fans on Friday'")
@click.argument("name", metavar="NAME")
@click.option("--reason", default="", help="Shown to everybody who looks at its devices.")
@app.json_option
def drain(name: str, reason: str, as_json: bool) -> None:
    """Start nothing more on the devices of the box NAME; what runs there goes on. `gpujobs resume` ends it."""
    answer = app.client().post("/v1/gpus/drain", {"devices": [f"{name}:*"], "reason": reason})
    if as_json:
        output.print_json([d for d in answer["devices"] if d["node"] == name])
    else:
        show(answer["devices"], answer["nodes"])


@command.verb("remove", "gpujobs node remove box2")
@click.argument("name", metavar="NAME")
def remove(name: str) -> None:
    """Strike out the box NAME, which is away and has no job any more. It may join again later."""
    app.client().post("/v1/nodes/remove", {"name": name})
    click.echo(f"{name} is no node of this queue any more")


def _row(node: dict[str, Any]) -> tuple[object, ...]:
    jobs = " ".join(map(str, node["jobs"]))
    free = node.get("disk_free_bytes")
    return (
        node["name"],
        node["status"],
        len(node["devices"]),
        jobs,
        "" if free is None else output.size(free),
        output.message(node["message"]),
    )


def _read_token(path: Path) -> TokenFile:
    from gpujobs.protocol import codec
    from gpujobs.protocol.codec import ShapeError
    from gpujobs.protocol.joining import TokenFile

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status, text = os.fstat(descriptor), file.read(1 << 16)
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}; `gpujobs node token FILE` on the head's box writes one"
        ) from error
    if status.st_uid not in (0, os.geteuid()):
        raise UsageError(
            f"{path} is a file of uid {status.st_uid}, who can read and change it; expected one of your own: write "
            f"it anew, or `chown {os.geteuid()} {path}` where that user may know what is in it"
        )
    mode = status.st_mode
    if mode & 0o077:
        raise UsageError(
            f"{path} can be read by others (mode {mode & 0o777:04o}); expected 0600: `chmod 600 {path}`; if "
            "anybody may have "
            "read it, stop the daemon on the head's box, remove cluster-token and tls/ from its state directory, start "
            "it, and give the boxes new token files"
        )
    try:
        return codec.parse(TokenFile, text, str(path))
    except ShapeError as error:
        raise UsageError(f"{error}; `gpujobs node token FILE` on the head's box writes one") from None


def _prepared() -> StatePaths:
    """This box's own state directory. Raises UsageError where it is a daemon's."""
    from gpujobs.config.settings import resolve
    from gpujobs.daemon.main import allow_descriptors, prepare_state
    from gpujobs.daemon.modes import Mode
    from gpujobs.paths import StatePaths

    mode = Mode.SITE if os.getuid() == 0 else Mode.PERSONAL
    paths = StatePaths(resolve(app.flags(), mode=mode).state_dir)
    if paths.database.exists():
        raise UsageError(
            f"{paths.root} is the state of a daemon, with jobs of its own; expected another directory for "
            "what this box "
            "does for HEAD's: name it with --state-dir"
        )
    prepare_state(paths, mode)
    allow_descriptors()
    return paths


def _box(
    paths: StatePaths,
    token: TokenFile,
    head: str,
    name: str | None,
    address: str,
    cpu_slots: int | None,
    scratch: Path | None = None,
) -> Box:
    """`scratch`: for the certificates where it is only to be looked; None: this box is to join, and keeps them."""
    import shutil
    import socket

    from gpujobs.cluster.certificates import TlsFiles, keep_token, keep_trial
    from gpujobs.cluster.joiner import Box, keep_secret, require_same_cluster
    from gpujobs.config.settings import cluster_address
    from gpujobs.linux.stateid import state_id

    where = head if ":" in head else f"{head}:{token.address.rpartition(':')[2]}"
    host, port = cluster_address(where)
    address = _own_address(address)
    require_same_cluster(paths, token.instance)
    kept = TlsFiles(paths.tls)
    if scratch is not None:
        if token.tls is not None:
            keep_trial(TlsFiles(scratch), kept, token.tls)
    else:
        keep_secret(paths, token.secret)
        if token.tls is None:
            shutil.rmtree(paths.tls, ignore_errors=True)
        else:
            keep_token(kept, token.tls)
    return Box(
        paths=paths,
        token=token,
        head=host,
        port=port,
        name=name or socket.gethostname(),
        node_id=state_id(paths.identity),
        address=address,
        cpu_slots=cpu_slots,
        trial_tls=None if scratch is None else TlsFiles(scratch),
    )


def _own_address(text: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.IPv4Address(text)) if text else ""
    except ValueError:
        raise UsageError(
            f"--address {text}: expected an IPv4 address of this box, by which the others reach it, such as 10.0.0.6"
        ) from None
