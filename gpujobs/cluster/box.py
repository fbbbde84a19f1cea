"""What a box knows of its membership: told by `node join`, found out about itself, and kept for the next start."""

from __future__ import annotations

from dataclasses import dataclass

from gpujobs.cluster.certificates import TlsFiles
from gpujobs.cluster.ports import Ports
from gpujobs.errors import MachineError, UsageError
from gpujobs.linux import durable
from gpujobs.paths import StatePaths
from gpujobs.protocol.joining import FORMAT, TokenFile, TokenTls


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What `node join` was told, and what it has found out about this box."""

    paths: StatePaths
    token: TokenFile
    head: str
    port: int
    name: str
    node_id: str
    address: str
    """By which the others are to reach it; empty: as the head sees it."""
    cpu_slots: int | None
    trial_tls: TlsFiles | None = None
    """Of one that is only looked at: what may run here already keeps its own."""

    @property
    def ports(self) -> Ports:
        return Ports(self.port)

    @property
    def where(self) -> str:
        return f"{self.head}:{self.port}"

    @property
    def tls(self) -> TlsFiles | None:
        """None where what crosses the network is not encrypted."""
        return None if self.token.tls is None else self.trial_tls or TlsFiles(self.paths.tls)


def keep_secret(paths: StatePaths, secret: str) -> None:
    """Where Ray reads it, mode 0600."""
    durable.make_way(paths.ray_token)
    durable.write(paths.ray_token, secret.encode())


def require_same_cluster(paths: StatePaths, instance: str) -> None:
    """A state directory belongs to one cluster: numbers of jobs mean others in another. Raises UsageError."""
    known = durable.read_json(paths.membership)
    if known is not None and known.get("instance") != instance:
        raise UsageError(
            f"{paths.root} has what this box has done for another cluster; expected a directory of its own "
            "for each: name "
            "one with --state-dir"
        )


def remember(box: Box) -> None:
    """For `gpujobs doctor`, which has no token file."""
    words = {
        "head": box.head,
        "port": box.port,
        "name": box.name,
        "node_id": box.node_id,
        "address": box.address,
    }
    durable.write_json(box.paths.membership, {"instance": box.token.instance, **words})


def remembered(paths: StatePaths) -> Box | None:
    """As it has joined last; None where it has joined nobody."""
    known = durable.read_json(paths.membership)
    if known is None or "head" not in known:
        return None
    where = f"{known['head']}:{known['port']}"
    try:
        secret = paths.ray_token.read_text()
    except OSError as error:
        raise MachineError(f"{paths.ray_token} cannot be read: {error.strerror}") from error
    tls = TokenTls(authority="", certificate="", key="") if paths.tls.exists() else None
    return Box(
        paths=paths,
        token=TokenFile(format=FORMAT, address=where, secret=secret, instance=known["instance"], tls=tls),
        head=known["head"],
        port=known["port"],
        name=known["name"],
        node_id=known["node_id"],
        address=known["address"],
        cpu_slots=None,
    )
