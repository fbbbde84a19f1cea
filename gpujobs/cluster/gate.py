"""The head's door for boxes that join: it looks at each first, and says in words what is in the way."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from gpujobs.cluster.callers import Caller, Callers
from gpujobs.cluster.certificates import Whose
from gpujobs.cluster.passes import Shown, User
from gpujobs.cluster.ports import Ports
from gpujobs.cluster.ray_node import answers
from gpujobs.cluster.sealed import NOT_OURS, RefusedError, Sealed
from gpujobs.cluster.taken import holder
from gpujobs.cluster.tls import HeadContext
from gpujobs.errors import GpujobsError, MachineError, NotPermittedError, in_words
from gpujobs.linux.saying import say
from gpujobs.model import utc_now
from gpujobs.protocol.codec import Tagged, instant
from gpujobs.protocol.joining import (
    FORMAT,
    OLDEST,
    Beat,
    Hello,
    Joined,
    Kept,
    Ready,
    Refused,
    Renewed,
    Versions,
    Welcome,
)

CLOCK_SECONDS = 5.0
"""Ages, limits and leases are told in instants: two clocks may differ by so much."""

PORT_SECONDS = 3.0
READY_SECONDS = 180.0
"""Within which Ray starts on the node, on a machine that is very busy."""

BEAT_SECONDS = 5.0
SILENCE_SECONDS = 20.0
HELLO_SECONDS = 15.0
"""Within which whoever calls has shown the secret."""

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
"""Of a node: what Ray takes as a label, and people as an argument."""

NODE_ID = re.compile(r"[A-Za-z0-9]{1,64}")
"""Of a state directory. A certificate without one would be a token file's: it would be for any box."""


PLAIN = (
    "what crosses the network is encrypted here, and the token file has no certificate: "
    "`gpujobs node token FILE` on the head's box writes one that has"
)


KEPT_SECONDS = 10.0
"""Within which a box has written down what was renewed."""


@dataclass(eq=False, slots=True)
class _Guest:
    """A box that has joined, and its line."""

    line: Sealed
    caller: Caller
    hello: Hello
    address: str
    kept: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, said: Tagged) -> None:
        if isinstance(said, Kept):
            self.kept.set()


Pass = Callable[[Shown, User, bool], str | None]
"""Why a box is not let in with what it shows, in words; whether that it is let in is to be noted."""


async def _nobody(_: str) -> None:
    """Where none is admitted, none is to be sent away."""


class JoinGate:
    """`obstacle` says why a name may not join; `admit` places the agent, and returns what is set when that counts no
    more; `expel` ends it; `sign`, where there is TLS, makes a certificate of a request, for an address. `formats`: of
    boxes that are understood. All are the head's."""

    def __init__(
        self,
        *,
        name: str,
        address: str,
        ports: Ports,
        secret: str,
        instance: str,
        uid: int,
        versions: Versions,
        obstacle: Callable[[str, str], str | None],
        admit: Callable[[Hello, Ready], Awaitable[asyncio.Event]],
        tls: Callable[[], HeadContext] | None = None,
        sign: Callable[[str, Whose, str], str] | None = None,
        let_in: Pass = lambda *_: None,
        expel: Callable[[str], Awaitable[object]] = _nobody,
        formats: range = range(OLDEST, FORMAT + 1),
    ) -> None:
        self._name, self._address, self._ports = name, address, ports
        self._secret, self._instance, self._uid, self._versions = secret, instance, uid, versions
        self._obstacle, self._admit, self._expel = obstacle, admit, expel
        self._sign, self._formats, self._let_in = sign, formats, let_in
        self._guests: dict[str, _Guest] = {}
        """By name: those whose agent is placed, or about to be."""
        self._is_tls = tls is not None
        self._callers = Callers(self._take, tls)
        self.session = secrets.token_hex(8)

    async def open(self) -> None:
        """Raises MachineError where the port cannot be had."""
        try:
            await self._callers.open(self._address, self._ports["joining"])
        except OSError as error:
            raise MachineError(_closed(self._address, self._ports["joining"], error)) from error

    async def close(self) -> None:
        await self._callers.close()

    async def renew(self, made: Callable[[str, Whose, str], Renewed]) -> list[str]:
        """Gives each box that is there what it needs to go on with another authority, by its last request; returns
        the names of those that have it on their disks."""
        guests = [
            one
            for one in self._guests.values()
            if one.hello.takes_renewal and one.hello.request and not self._shut_out(one.caller, one.hello)
        ]
        has = await asyncio.gather(*(self._renew(one, made) for one in guests))
        return [one.hello.name for one, has_it in zip(guests, has, strict=True) if has_it]

    async def _renew(self, guest: _Guest, made: Callable[[str, Whose, str], Renewed]) -> bool:
        hello = guest.hello
        guest.kept.clear()
        try:
            async with asyncio.timeout(KEPT_SECONDS):
                await guest.line.say(made(hello.request, Whose(hello.name, hello.node_id), guest.address))
                await guest.kept.wait()
        except (OSError, TimeoutError, GpujobsError) as error:
            say(f"{hello.name} has not got what was renewed: {error!r}")
            return False
        return True

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, caller: Caller) -> None:
        line = Sealed(reader, writer, self._secret, is_head=True, is_tls=self._is_tls)
        try:
            if caller.is_plain:
                self._callers.tell(caller.peer, PLAIN)
                await line.greet(HELLO_SECONDS)
                await line.say_bare(Refused(PLAIN, False))
            else:
                await self._serve(line, caller)
        except NotPermittedError:
            self._callers.tell(caller.peer, NOT_OURS)
            with suppress(OSError):
                await line.say_bare(Refused(NOT_OURS, False))
        except GpujobsError as error:
            self._callers.tell(caller.peer, str(error))
        except OSError:
            pass

    async def _serve(self, line: Sealed, caller: Caller) -> None:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                await line.greet()
                hello = await line.expect(Hello, None)
        except TimeoutError:
            raise MachineError(f"it has shown no token within {HELLO_SECONDS:g} s") from None
        caller.show()
        address = hello.address or caller.peer
        if refused := (
            self._shut_out(caller, hello) or self._look(hello) or await self._try_ports(hello, address)
        ):
            await line.say(refused)
            return
        try:
            if not hello.trial and (refused := self._shut_out(caller, hello, joins=True)):
                await line.say(refused)
                return
            certificate = "" if hello.trial else self._certificate(caller, hello, address)
            caller = _with_its_own(caller, hello) if certificate else caller
        except MachineError as error:
            await line.say(Refused(error.message, True))
            raise
        await line.say(
            Welcome(name=self._name, session=self.session, address=address, certificate=certificate)
        )
        if hello.trial:
            return
        ready = await line.expect(Ready, READY_SECONDS)
        guest = self._guests[hello.name] = _Guest(line, caller, hello, address)
        try:
            await while_beating(line, self._follow(line, caller, hello, ready), guest.hear)
        finally:
            if self._guests.get(hello.name) is guest:
                del self._guests[hello.name]

    def _shut_out(self, caller: Caller, hello: Hello, *, joins: bool = False) -> Refused | None:
        """Without TLS there is nothing by which to tell one that has the secret from another."""
        if caller.shown is None:
            return None
        try:
            why = self._let_in(caller.shown, User(hello.name, hello.node_id), joins)
        except (MachineError, OSError) as error:  # it is not known, or cannot be noted: a full disk, say
            why = error.message if isinstance(error, MachineError) else in_words(error)
            why = f"the head cannot tell whether it may come in: {why}"
            self._callers.tell(caller.peer, why)
            return Refused(why, True)
        if why is None:
            return None
        self._callers.tell(caller.peer, why)
        return Refused(why, False)

    def _certificate(self, caller: Caller, hello: Hello, address: str) -> str:
        if self._sign is None or not hello.request:
            return ""
        token = "" if caller.shown is None else caller.shown.token
        return self._sign(hello.request, Whose(hello.name, hello.node_id, token), address)

    async def _follow(self, line: Sealed, caller: Caller, hello: Hello, ready: Ready) -> None:
        """Whenever its agent is lost, another is placed there, until Ray has lost the whole node: then it is to start
        its Ray anew; or until it is shut out."""
        while True:
            if refused := self._shut_out(caller, hello):
                await line.say(refused)
                return
            try:
                lost = await self._admit(hello, ready)
            except Exception as error:  # noqa: BLE001 - whatever Ray raises, the node is to hear of it
                say(f"{hello.name} was not admitted: {error!r}")
                await line.say(Refused(f"the agent cannot be placed on {hello.name}: {error}", True))
                return
            if refused := self._shut_out(caller, hello):  # that took a while
                await self._expel(hello.name)
                await line.say(refused)
                return
            await line.say(Joined())
            await lost.wait()

    def _look(self, hello: Hello) -> Refused | None:
        """What can be told without trying anything."""
        wrong = [
            *_versions(hello, self._versions, self._formats),
            *self._whose(hello),
            *([] if NAME.fullmatch(hello.name) else [_name(hello.name)]),
            *([] if NODE_ID.fullmatch(hello.node_id) else [_node_id(hello.node_id)]),
        ]
        off = hello.clock - time.time()
        if abs(off) > CLOCK_SECONDS:
            ahead = "ahead of" if off > 0 else "behind"
            wrong.append(
                f"its clock is {abs(off):.0f} s {ahead} that of {self._name}; expected at most {CLOCK_SECONDS:g} s: "
                "let both follow the same time servers (chrony, systemd-timesyncd)"
            )
        if wrong:
            return Refused("; ".join(wrong), False)
        taken = self._obstacle(hello.name, hello.node_id)
        return None if taken is None else Refused(taken, False)

    def _whose(self, hello: Hello) -> list[str]:
        if hello.instance != self._instance:
            return [
                "its token is of another cluster, or of one that was set up anew: "
                + NOT_OURS.partition(": ")[2]
            ]
        if hello.uid != self._uid:
            whose = "root" if self._uid == 0 else f"uid {self._uid}"
            return [
                f"it would run as uid {hello.uid}; expected {whose}, as on {self._name}: jobs run as their users only "
                "where both are root, and all as one user where none is"
            ]
        return []

    async def _try_ports(self, hello: Hello, address: str) -> Refused | None:
        tried = await asyncio.gather(*(answers(address, port, PORT_SECONDS) for port in hello.ports))
        closed = [str(port) for port, is_open in zip(hello.ports, tried, strict=True) if not is_open]
        if not closed:
            return None
        return Refused(
            f"{self._name} cannot reach {address} on port{'s' * (len(closed) > 1)} {', '.join(closed)}; a firewall on "
            f"{hello.name} must let {self._address} in on {self._ports.words}, or `--address` name another address",
            False,
        )


def _closed(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"no box can join: {address}:{port}, which [cluster] listen names, is taken by {holder(port)}; end it, or "
            "name another port there and restart the daemon"
        )
    return (
        f"no box can join: nothing can listen at {address}:{port} ({os.strerror(error.errno or 0)}); expected an "
        "address of this box, and a free port, as `listen` under [cluster]"
    )


def _versions(hello: Hello, own: Versions, formats: range) -> list[str]:
    """Ray and Python must be the same on all boxes. gpujobs may be of neighbouring versions, the head's the later."""
    there = hello.versions
    if hello.format >= formats.stop:
        return [
            f"gpujobs {there.gpujobs} there is later than {own.gpujobs} here by more than works together; update the "
            "head's box first (docs/cluster.md, Updating)"
        ]
    if hello.format < formats.start:
        return [
            f"gpujobs {there.gpujobs} there is older than works with {own.gpujobs} here; install gpujobs {own.gpujobs} "
            "there: trainings go on meanwhile, until their lease ends"
        ]
    return [
        f"{label} is {its} there and {ours} here; expected the same on both boxes: install {label} {ours} there"
        for label, its, ours in (("Ray", there.ray, own.ray), ("Python", there.python, own.python))
        if its != ours
    ]


def _name(name: str) -> str:
    return f"{name!r} is no name for a node; expected letters, digits, '-', '_' and '.': `--name` gives it another"


def _node_id(text: str) -> str:
    return (
        f"{text!r:.80} is no id of a state directory; expected 1 to 64 letters and digits: what is in identity.json "
        "there is made anew when that is removed"
    )


def _with_its_own(caller: Caller, hello: Hello) -> Caller:
    """As it would come with the certificate that it is given: from now on its token file counts no more."""
    token = "" if caller.shown is None else caller.shown.token
    own = Shown(name=hello.name, box=hello.node_id, token=token, issued_at=instant(utc_now()))
    return replace(caller, shown=own)


async def while_beating(
    line: Sealed, work: Coroutine[Any, Any, None], hear: Callable[[Tagged], None] = lambda _: None
) -> None:
    """Does the work for as long as the other end is heard; raises what either raises."""
    tasks = [asyncio.create_task(work), asyncio.create_task(beat(line, hear))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def beat(line: Sealed, hear: Callable[[Tagged], None] = lambda _: None) -> None:
    """Until the other end is silent, gone, or refuses us: then it raises MachineError. `hear` is told what it says."""

    async def speak() -> None:
        while True:
            await line.say(Beat())
            await asyncio.sleep(BEAT_SECONDS)

    speaking = asyncio.create_task(speak())
    try:
        while True:
            said = await line.hear(SILENCE_SECONDS)
            if isinstance(said, Refused):
                raise RefusedError(said)
            hear(said)
    finally:
        speaking.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await speaking
