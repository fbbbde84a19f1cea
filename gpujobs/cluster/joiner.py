"""`gpujobs node join`: keeps this box a member of the head's cluster, as a service does, until it is told to end.

It looks first, in words, at what could be in the way; then it keeps the launchers, Ray's processes of this box, and a
line to the head. Ray's end, the head's, or a link that is cut take no training along: supervisors are in nobody's tree,
and the box joins again. Imports no Ray: `ray start` and the agent do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace

from gpujobs.backends import TENSORFLOW
from gpujobs.cluster import certificates, renewal
from gpujobs.cluster.box import Box, keep_secret, remember
from gpujobs.cluster.certificates import Pair
from gpujobs.cluster.environment import (
    LINKS,
    make_temp_parent,
    ray_environment,
    remove_temp_parent,
    without_ray,
)
from gpujobs.cluster.gate import beat
from gpujobs.cluster.launchers import Launchers
from gpujobs.cluster.line_to_head import line_to
from gpujobs.cluster.obstacles import NEEDED, hello_of, open_ports, require_disk, require_ports
from gpujobs.cluster.orphans import end_ray_of
from gpujobs.cluster.ray_node import RayNode, RayProcesses
from gpujobs.cluster.sealed import RefusedError, Sealed
from gpujobs.cluster.taken import ON_A_NODE, require_free
from gpujobs.errors import GpujobsError, MachineError, NotPermittedError
from gpujobs.linux import logs
from gpujobs.model import DeviceKind
from gpujobs.node import keepers
from gpujobs.node.devices import devices_of
from gpujobs.node.probe import DEADLINE_SECONDS, read_once
from gpujobs.node.wiped import State, StateGoneError
from gpujobs.paths import StatePaths
from gpujobs.protocol.codec import Tagged
from gpujobs.protocol.joining import (
    Joined,
    Kept,
    Ready,
    Renewed,
    TokenTls,
    Welcome,
)

MAX_PAUSE_SECONDS = 1.0
"""Between two tries to reach a head that was left already: it tells nobody when it is back, and its own start takes
seconds, which this would add to."""

LOG_BYTES, LOG_SECONDS = 16 << 20, 600.0
"""The logs of Ray and of the launchers begin anew beyond so much, and are looked at so often."""

log = logging.getLogger(__name__)


class Joiner:
    def __init__(self, box: Box) -> None:
        self._box = box
        self._ray: RayProcesses | None = None
        self._incarnation = ""
        self._gpus = 0
        """That Ray was told of when it was started here."""

        self._session = ""
        self._certificate = Pair(b"", b"")
        """That the head has made of our last request."""

        self._has_joined = False
        self._launchers = Launchers(box.paths)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises what is in the way of the first joining; later it tries again. Raises
        StateGoneError when the state directory was removed, and nothing runs here any more: it can be made again."""
        require_disk(self._box.paths)
        remember(self._box)
        end_ray_of(self._box.paths.ray_token)
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        self._keep_launchers()
        limiting = asyncio.create_task(_limit_logs(self._box.paths))
        state, gone = State(self._box.paths), None
        try:
            gone = await self._stay_while_it_is_there(state)
        except asyncio.CancelledError:
            log.info("leaving; trainings go on until their lease ends")
        finally:
            limiting.cancel()
            await self._end_ray()
            self._socket.close()
            await self._launchers.close()
        with contextlib.closing(state):
            if gone is None:
                return
            count = await asyncio.to_thread(state.end_all)
            log.error("%s; %d processes of trainings are ended, and this box joins anew", gone, count)
            raise gone

    async def _stay_while_it_is_there(self, state: State) -> StateGoneError | None:
        """Returns when what this box knows of its attempts is gone."""
        staying, going = asyncio.create_task(self._stay()), asyncio.create_task(state.gone())
        try:
            await asyncio.wait([staying, going], return_when=asyncio.FIRST_COMPLETED)
            if not going.done():
                await staying
            return await going
        finally:
            for task in (staying, going):
                task.cancel()
            await asyncio.gather(staying, going, return_exceptions=True)

    def _keep_launchers(self) -> None:
        self._socket = keepers.listen(self._box.paths.keeper_socket)
        asyncio.get_running_loop().add_reader(self._socket, self._launchers.hear, self._socket)

    async def _stay(self) -> None:
        pause = 0.5
        while True:
            began = time.monotonic()
            try:
                await self._join_once()
            except (GpujobsError, OSError) as error:
                is_final = isinstance(error, NotPermittedError) or (
                    isinstance(error, RefusedError) and not error.again
                )
                if is_final and self._take_renewed():
                    continue
                if is_final or not self._has_joined:
                    raise
                pause = 0.5 if time.monotonic() - began > 30 else min(2 * pause, MAX_PAUSE_SECONDS)
                log.warning("the head is away (%s); another try in %g s", error, pause)
            await asyncio.sleep(pause)

    def _take_renewed(self) -> bool:
        """What was refused counts no more where the head has given this box what counts from now on."""
        tls = self._box.tls
        if tls is None or not renewal.is_kept(tls):
            return False
        log.info("the cluster's authority and secret were renewed; going on with the new ones")
        renewal.take(tls, renewal.secret_of(tls))
        secret, authority = renewal.secret_of(tls).read_text(), tls.authority.read_text()
        counts = TokenTls(authority=authority, certificate="", key="")
        self._box = replace(self._box, token=replace(self._box.token, secret=secret, tls=counts))
        keep_secret(self._box.paths, secret)
        return True

    async def _join_once(self) -> None:
        """From the first word to the end of the line, or of Ray."""
        async with line_to(self._box) as line:
            welcome = await self._introduce(line)
            if not self._is_of(welcome.session):
                await self._start_ray(welcome)
            assert self._ray is not None
            ready = Ready(
                incarnation=self._incarnation,
                state_dir=str(self._box.paths.root),
                cpu_slots=self._box.cpu_slots,
                gpus=self._gpus,
            )
            await line.say(ready)
            try:
                await self._hold(line, lambda said: self._heard(said, welcome, line))
            except RefusedError:
                self._session = ""  # the Ray that runs here is of no use any more
                raise

    def _heard(self, said: Tagged, welcome: Welcome, line: Sealed) -> None:
        if isinstance(said, Renewed) and self._box.tls is not None:
            renewal.keep(self._box.tls, said, self._certificate.key)
            self._answering = asyncio.create_task(line.say(Kept()))
        if not isinstance(said, Joined):
            return
        self._has_joined = True
        log.info("joined %s at %s as %s", welcome.name, self._box.head, self._box.name)
        if self._box.tls is None and self._box.head != "127.0.0.1":
            log.warning(
                "what crosses the network is not encrypted: let nobody else be in it (docs/cluster.md)"
            )

    async def _hold(self, line: Sealed, hear: Callable[[Tagged], None]) -> None:
        """Until the head is silent, refuses this box, or Ray ends here, be it before the head has placed its agent."""
        assert self._ray is not None
        ended, beating = asyncio.create_task(self._ray.ended()), asyncio.create_task(beat(line, hear))
        try:
            await asyncio.wait([ended, beating], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise MachineError(f"Ray has ended here: {self._ray.last_words}")
            await beating
        finally:
            for task in (ended, beating):
                task.cancel()
            await asyncio.gather(ended, beating, return_exceptions=True)

    def _is_of(self, session: str) -> bool:
        """Whether the Ray that runs here belongs to the head's present one."""
        return session == self._session and self._ray is not None and self._ray.is_up()

    async def _introduce(self, line: Sealed) -> Welcome:
        """Raises what is in the way: the head's words, or ours."""
        is_running = self._ray is not None and self._ray.is_up()
        if not is_running:
            await require_free(self._box.ports, ON_A_NODE, NEEDED)
        request, key = ("", b"") if self._box.tls is None else certificates.asked(self._box.name)
        async with open_ports(self._box, () if is_running else self._box.ports.of_a_node) as ports:
            hello = hello_of(self._box, ports, request=request)
            await line.say(hello)
            welcome = await line.expect(Welcome)
        self._certificate = Pair(welcome.certificate.encode(), key)
        await require_ports(self._box, welcome.name)
        return welcome

    async def _start_ray(self, welcome: Welcome) -> None:
        await self._end_ray()
        if self._box.tls is not None:
            certificates.put_box(self._box.tls, self._certificate)
        paths = self._box.paths
        self._incarnation, self._session = secrets.token_hex(8), welcome.session
        self._gpus = await asyncio.to_thread(_gpus, self._box)
        temp = make_temp_parent(paths)
        node = RayNode(
            address=welcome.address,
            ports=self._box.ports,
            head=f"{self._box.head}:{self._box.ports['gcs']}",
            incarnation=self._incarnation,
            gpus=self._gpus,
            temp=temp,
        )
        own = ray_environment(paths.ray_token, self._box.tls)
        environment = {**without_ray(os.environ), **own, **LINKS}
        self._ray = RayProcesses(node, environment, paths.run / "ray.log")
        self._ray.start(own_session=True)
        self._launchers.use(TENSORFLOW)  # beside it: both take some seconds
        await self._ray.wait_until_up()

    async def _end_ray(self) -> None:
        """In a thread: it takes seconds, in which the launchers' keeper is to answer."""
        if self._ray is not None:
            ray, self._ray = self._ray, None
            await asyncio.to_thread(_end, ray, self._box.paths)


async def _limit_logs(paths: StatePaths) -> None:
    while True:
        try:
            await asyncio.to_thread(logs.limit, list(paths.run.glob("*.log")), LOG_BYTES)
        except OSError as error:  # a disk that is full now may have room later
            log.warning("the logs in %s cannot be limited: %s", paths.run, error)
        await asyncio.sleep(LOG_SECONDS)


def _end(ray: RayProcesses, paths: StatePaths) -> None:
    ray.end()
    shutil.rmtree(paths.ray, ignore_errors=True)
    remove_temp_parent(paths)


def _gpus(box: Box) -> int:
    node = devices_of(read_once(DEADLINE_SECONDS), box.name, box.cpu_slots)
    return sum(device.kind is DeviceKind.GPU for device in node.devices)
