"""gpujobs node token, tokens, join, list, drain, remove, renew"""

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
from gpujobs.units import seconds

if TYPE_CHECKING:
    from gpujobs.cluster.box import Box
    from gpujobs.daemon.modes import Mode
    from gpujobs.paths import StatePaths
    from gpujobs.protocol.joining import TokenFile

TOKEN_HEAD = ("TOKEN FILE", "WRITTEN", "BOXES", "STATE")
RAY_KNOWS_NONE = (
    "Ray's own ports know no revoked certificates: whoever has its key and the cluster's secret can still use them. "
    "`gpujobs node renew` ends that, too"
)

HEAD = ("NODE", "STATUS", "DEVICES", "JOBS", "FREE DISK", "WHAT")


class Validity(click.ParamType[float]):
    """Seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            found = float(seconds(value))
        except ValueError:
            found = 0.0
        if found < 1:
            self.fail(f"{value!r}; expected a duration such as 90m, 1h or 2d.", param, ctx)
        return found


command = app.Group("node", "gpujobs node list")


@command.verb("token", "gpujobs node token /root/gpujobs-node.json")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--valid", type=Validity(), help="Boxes can join with it for so long: 1h, 2d.")
@click.option("--once", is_flag=True, help="Only the first box that joins with it may.")
def token(file: Path, valid: float | None, once: bool) -> None:
    """Write what another box needs to join this one's queue.

    FILE is made with mode 0600: take it to the other box over ssh, and nowhere else. Whoever has it can run anything
    as this daemon's user on all boxes of the cluster; so let it be for one box (--once), or for a while (--valid). A
    box that has joined goes on with a certificate of its own. The daemon's configuration must say where the others
    reach it: [cluster] listen."""
    answer = app.client().post("/v1/nodes/token", {"valid_seconds": valid, "once": once})
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
    if note := answer["note"]:
        click.echo(f"`gpujobs node tokens --revoke {note['id']}` ends it, should it fall into other hands")


@command.verb("tokens", "gpujobs node tokens --revoke 3f9c2a10b7d4")
@click.option("--revoke", metavar="ID", help="Let no box join with this one any more.")
@app.json_option
def tokens(revoke: str | None, as_json: bool) -> None:
    """Show the token files that were written, and which boxes have joined with them.

    A box that has joined goes on when its token file is revoked: `gpujobs node remove NAME --revoke` shuts it out."""
    if revoke is None:
        found = app.client().get("/v1/nodes/tokens")["tokens"]
    else:
        found = app.client().post("/v1/nodes/revoke", {"token": revoke})["tokens"]
    if as_json:
        output.print_json(found)
        return
    for line in output.table(TOKEN_HEAD, [_token_row(one) for one in found], flexible=3):
        click.echo(line)
    if revoke is not None:
        click.echo(RAY_KNOWS_NONE)


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

    from gpujobs.cluster.joiner import Joiner
    from gpujobs.cluster.obstacles import require_disk, trial
    from gpujobs.linux import stateid, statelock
    from gpujobs.node.wiped import StateGoneError

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
    os.chdir("/")
    while True:
        lock = statelock.take(paths.lock)
        box = _box(paths, token, head, name, address, cpu_slots)
        try:
            asyncio.run(Joiner(box).run())
            return
        except StateGoneError:  # it has said so; as the box that it was, it is known under its name
            _make_state(paths)
            stateid.keep(paths.identity, box.node_id)
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


@command.verb("remove", "gpujobs node remove box2 --revoke")
@click.argument("name", metavar="NAME")
@click.option(
    "--revoke", is_flag=True, help="It is lost or in other hands: shut it out, whether it is there or not."
)
def remove(name: str, revoke: bool) -> None:
    """Strike out the box NAME, which is away and has no job any more. It may join again later.

    With --revoke its certificate, and the token files that it has joined with, are refused at the door from now on:
    the others go on. `gpujobs node renew` shuts it out of Ray's own ports too."""
    if not revoke:
        app.client().post("/v1/nodes/remove", {"name": name})
        click.echo(f"{name} is no node of this queue any more")
        return
    answer = app.client().post("/v1/nodes/revoke", {"name": name})
    files = ", ".join(one["id"] for one in answer["tokens"])
    also = f", and so are the token files that it has joined with ({files})" if files else ""
    click.echo(f"{name} is shut out: its certificate is refused from now on{also}")
    if answer["stays"]:
        click.echo(f"it is still listed: {answer['stays']}")
    click.echo(RAY_KNOWS_NONE)


@command.verb("renew", "gpujobs node renew")
@app.json_option
def renew(as_json: bool) -> None:
    """Give the cluster another authority and another secret, which shuts out whoever has only the old ones.

    The boxes that are there are given theirs, and join again within seconds; trainings go on. All token files written
    so far count no more; a box that is away needs a new one."""
    answer = app.client().post("/v1/nodes/renew", {})
    if as_json:
        output.print_json(answer)
        return
    click.echo("the cluster has another authority and another secret; Ray is started anew, trainings go on")
    for name in answer["renewed"]:
        click.echo(f"{name} has its own, and joins again by itself")
    for name in answer["left_out"]:
        click.echo(f"{name} has not: `gpujobs node token FILE` writes a new file for it")


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


def _token_row(one: dict[str, Any]) -> tuple[object, ...]:
    return one["id"], output.local_time(one["made_at"]), " ".join(one["used_by"]), _state(one)


def _state(one: dict[str, Any]) -> str:
    if one["revoked_at"]:
        return f"revoked {output.local_time(one['revoked_at'])}"
    if one["until"]:
        return f"for joining until {output.local_time(one['until'])}"
    if one["once"] and one["used_by"]:
        return "used, for one box"
    return "for one box" if one["once"] else "for joining"


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
    from gpujobs.daemon.main import allow_descriptors
    from gpujobs.paths import StatePaths

    paths = StatePaths(resolve(app.flags(), mode=_mode()).state_dir)
    if paths.database.exists():
        raise UsageError(
            f"{paths.root} is the state of a daemon, with jobs of its own; expected another directory for "
            "what this box "
            "does for HEAD's: name it with --state-dir"
        )
    _make_state(paths)
    allow_descriptors()
    return paths


def _mode() -> Mode:
    from gpujobs.daemon.modes import Mode

    return Mode.SITE if os.getuid() == 0 else Mode.PERSONAL


def _make_state(paths: StatePaths) -> None:
    from gpujobs.daemon.main import prepare_state

    prepare_state(paths, _mode())


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

    from gpujobs.cluster import renewal
    from gpujobs.cluster.box import Box, keep_secret, require_same_cluster
    from gpujobs.cluster.certificates import TlsFiles, keep_token, keep_trial
    from gpujobs.config.settings import cluster_address
    from gpujobs.linux.stateid import state_id

    where = head if ":" in head else f"{head}:{token.address.rpartition(':')[2]}"
    host, port = cluster_address(where)
    address = _own_address(address)
    require_same_cluster(paths, token.instance)
    kept = TlsFiles(paths.tls)
    given = token.tls
    if given is not None:
        token = renewal.in_place_of(kept, token)
    if token.tls is not given:  # the token file has served its time
        scratch = None
        keep_secret(paths, token.secret)
    elif scratch is not None:
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
