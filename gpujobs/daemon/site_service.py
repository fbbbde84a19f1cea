"""What people ask of the daemon itself: which one it is, its health, a copy of its store, retention, its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gpujobs.cluster.certificates import TlsFiles, for_token
from gpujobs.cluster.environment import lasting_token
from gpujobs.cluster.link import ClusterLink
from gpujobs.daemon import reload
from gpujobs.daemon.access.policy import AccessPolicy
from gpujobs.daemon.devices.admission import NodeAdmission
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.keeping.retention import Retention
from gpujobs.daemon.modes import Mode, StopMode
from gpujobs.daemon.shutdown import Shutdown
from gpujobs.daemon.standing import Standing
from gpujobs.errors import UsageError
from gpujobs.paths import StatePaths
from gpujobs.protocol.joining import FORMAT, TokenFile
from gpujobs.store.store import Store


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

    def node_token(self) -> TokenFile:
        """What another box needs to join. Raises UsageError where none can."""
        where = self.in_force.site.cluster.listen
        if where is None or self.link.listening is None:
            raise UsageError(
                "this daemon's box is alone: no other can join; `listen` under [cluster] of gpujobs.toml "
                "says where the others "
                "reach it, after a restart"
            )
        secret = lasting_token(self.paths.cluster_token)
        tls = for_token(TlsFiles(self.paths.tls)) if self.link.listening.tls else None
        return TokenFile(format=FORMAT, address=where, secret=secret, instance=self.link.instance, tls=tls)

    def stop(self, mode: StopMode, actor: str) -> list[int]:
        """Begins to end; returns the jobs that are running."""
        return self.shutdown.begin(mode, actor)

    async def stopped(self) -> None:
        """Returns when the daemon is to close."""
        await self.shutdown.ended.wait()
