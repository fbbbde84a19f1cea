"""`gpujobs node renew`, on the head: another authority and another secret for the whole cluster."""

from __future__ import annotations

import asyncio
import secrets
from functools import partial

from gpujobs.cluster import renewal
from gpujobs.cluster.certificates import TlsFiles
from gpujobs.cluster.gate import JoinGate
from gpujobs.errors import MachineError
from gpujobs.paths import StatePaths
from gpujobs.protocol.boxes import Rekeyed
from gpujobs.protocol.settings import Listening


class Rekeying:
    def __init__(self, paths: StatePaths, listening: Listening | None, gate: JoinGate | None) -> None:
        self._paths, self._listening, self._gate = paths, listening, gate
        self._is_renewed = False

    async def rekey(self) -> Rekeyed:
        """Once: a box keeps one that is to come, and the head that is started next counts on it. Raises MachineError
        where there is nothing to be renewed."""
        listening = self._listening
        if listening is None or not listening.tls or self._gate is None:
            raise MachineError("this cluster has no certificates")
        if self._is_renewed:
            raise MachineError(
                "the cluster's authority is being renewed already, and Ray is started anew; `gpujobs node list` shows "
                "when the boxes are back"
            )
        self._is_renewed = True
        try:
            return await self._renewed(self._gate, listening.address)
        except BaseException:
            self._is_renewed = False
            raise

    async def _renewed(self, gate: JoinGate, address: str) -> Rekeyed:
        files, secret = TlsFiles(self._paths.tls), secrets.token_hex(32)
        coming = await asyncio.to_thread(renewal.prepare, files, address, secret)
        names = await gate.renew(partial(renewal.for_box, coming))
        renewal.take(files, self._paths.cluster_token)
        return Rekeyed(tuple(names))
