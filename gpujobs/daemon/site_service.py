"""What people ask of the daemon itself: which one it is, its health, a copy of its store, retention, its end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gpujobs.cluster import passes, roster
from gpujobs.cluster.certificates import TlsFiles, for_token, serial_of
from gpujobs.cluster.environment import lasting_token
from gpujobs.cluster.link import ClusterLink
from gpujobs.cluster.passes import Token
from gpujobs.daemon import reload
from gpujobs.daemon.access.policy import AccessPolicy
from gpujobs.daemon.devices.admission import NodeAdmission
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.keeping.retention import Retention
from gpujobs.daemon.modes import Mode, StopMode
from gpujobs.daemon.shutdown import Shutdown
from gpujobs.daemon.standing import Standing
from gpujobs.errors import MachineError, UsageError
from gpujobs.model import utc_now
from gpujobs.paths import StatePaths
from gpujobs.protocol.boxes import Expel, Rekey
from gpujobs.protocol.codec import instant
from gpujobs.protocol.joining import FORMAT, TokenFile
from gpujobs.store.store import Store

PLAIN = (
    "[cluster] tls is off, so nothing tells one box that has the secret from another. To shut one out: stop the "
    "daemon, remove cluster-token from its state directory, start it, and give the boxes that stay new token files"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewToken:
    """`note`: what is known of it from now on; None where nothing encrypts."""

    file: TokenFile
    note: Token | None


@dataclass(frozen=True, slots=True)
class SiteService:
    started_at: datetime
    in_force: InForce
    paths: StatePaths
    store: Store
    notices: Sequence[str]
    """What was found when the store was opened."""
    nodes: Nodes
    link: ClusterLink
    admission: NodeAdmission
    retention: Retention
    standing: Standing
    shutdown: Shutdown

    @property
    def mode(self) -> Mode:
        return self.in_force.mode

    @property
    def access(self) -> AccessPolicy:
        return self.in_force.access

    def reload(self) -> str:
        """Reads gpujobs.toml again; says in one line what has come of it."""
        return reload.reload(self.in_force)

    def node_token(self, valid_seconds: float | None = None, *, once: bool = False) -> NewToken:
        """What another box needs to join, for so long, and for one box alone where `once`. Raises UsageError where none
        can."""
        where = self.in_force.site.cluster.listen
        if where is None or self.link.listening is None:
            raise UsageError(
                "this daemon's box is alone: no other can join; `listen` under [cluster] of gpujobs.toml "
                "says where the others "
                "reach it, after a restart"
            )
        secret = lasting_token(self.paths.cluster_token)
        made, until = (
            utc_now(),
            None if valid_seconds is None else utc_now() + timedelta(seconds=valid_seconds),
        )
        if not self.link.listening.tls:
            if once or until is not None:
                raise UsageError(f"a token file for one box, or for a while, needs certificates; {PLAIN}")
            plain = TokenFile(format=FORMAT, address=where, secret=secret, instance=self.link.instance)
            return NewToken(plain, None)
        files = TlsFiles(self.paths.tls)
        tls = for_token(files, until)
        note = Token(
            id=serial_of(tls.certificate),
            made_at=instant(made),
            until=None if until is None else instant(until),
            once=once,
        )
        passes.add_token(files, note)
        whole = TokenFile(format=FORMAT, address=where, secret=secret, instance=self.link.instance, tls=tls)
        return NewToken(whole, note)

    # Shutting out

    @property
    def _certificates(self) -> TlsFiles:
        """Raises UsageError where there are none."""
        if self.link.listening is None or not self.link.listening.tls:
            raise UsageError(f"nothing can be revoked: there are no certificates; {PLAIN}")
        return TlsFiles(self.paths.tls)

    def tokens(self) -> Sequence[Token]:
        return passes.known(self._certificates).tokens

    def revoke_token(self, named: str) -> Token:
        return passes.revoke_token(self._certificates, named)

    async def shut_out(self, name: str) -> Sequence[Token]:
        """A box, whether it is there or not; returns the token files that it had. Raises NotFoundError where nothing is
        known of it."""
        known = roster.known(self.paths.nodes).get(name)
        tokens = passes.shut_out(self._certificates, name, None if known is None else known.id)
        try:
            await self.link.call(self.link.own_name, Expel(name))
        except MachineError as error:  # a head that is away has nobody at its door, and looks when it is back
            log.warning("node %s: it was shut out while there was no head (%s)", name, error)
        return tokens

    async def renew(self) -> Sequence[str]:
        """Another authority and another secret; returns the boxes that have theirs, and go on."""
        assert self._certificates
        done = await self.link.call(self.link.own_name, Rekey())
        self.link.start_over("the cluster's authority and secret were renewed")
        return done.names

    def stop(self, mode: StopMode, actor: str) -> list[int]:
        """Begins to end; returns the jobs that are running."""
        return self.shutdown.begin(mode, actor)

    async def stopped(self) -> None:
        """Returns when the daemon is to close."""
        await self.shutdown.ended.wait()
