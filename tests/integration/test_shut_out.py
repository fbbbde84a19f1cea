"""A box, or a token file, that was lost: what it shows is refused at the door, and all others go on."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gpujobs.cli.commands.node import _box
from gpujobs.cluster import certificates, passes, renewal
from gpujobs.cluster.box import Box
from gpujobs.cluster.certificates import Pair, TlsFiles, Whose
from gpujobs.cluster.gate import JoinGate, beat
from gpujobs.cluster.joiner import Joiner
from gpujobs.cluster.line_to_head import line_to
from gpujobs.cluster.passes import Shown, Token, User
from gpujobs.cluster.ports import Ports
from gpujobs.cluster.sealed import RefusedError, Sealed
from gpujobs.cluster.tls import of_the_head
from gpujobs.errors import GpujobsError, NotFoundError
from gpujobs.linux import durable
from gpujobs.linux.stateid import state_id
from gpujobs.model import utc_now
from gpujobs.paths import StatePaths
from gpujobs.protocol.codec import instant
from gpujobs.protocol.joining import FORMAT, Hello, Joined, Ready, Refused, TokenFile, Welcome

from .test_joining import INSTANCE, OURS, SECRET, free_base, hello


class Head:
    """Its certificates and its door, without Ray. `joined`: the ids of the boxes that belong to it."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.files, self.base = TlsFiles(root / "tls"), free_base()
        self.secret_file = root / "cluster-token"
        self.secret_file.write_text(SECRET)
        self.joined: set[str] = set()
        self.ends: dict[str, asyncio.Event] = {}
        certificates.keep_box(self.files, "127.0.0.1")

    def token(self, until: datetime | None = None, *, once: bool = False) -> TokenFile:
        tls = certificates.for_token(self.files, until)
        end = None if until is None else instant(until)
        note = Token(
            id=certificates.serial_of(tls.certificate), made_at=instant(utc_now()), until=end, once=once
        )
        passes.add_token(self.files, note)
        return TokenFile(
            format=FORMAT,
            address=f"127.0.0.1:{self.base}",
            secret=self.secret_file.read_text(),
            instance=INSTANCE,
            tls=tls,
        )

    @asynccontextmanager
    async def door(self) -> AsyncIterator[JoinGate]:
        made = JoinGate(
            name="head", address="127.0.0.1", ports=Ports(self.base), secret=self.secret_file.read_text(),
            instance=INSTANCE, uid=hello().uid, versions=OURS, obstacle=lambda *_: None, admit=self._admit,
            tls=of_the_head(self.files), sign=partial(certificates.sign, self.files), let_in=self._let_in,
        )  # fmt: skip
        await made.open()
        try:
            yield made
        finally:
            await made.close()

    async def _admit(self, said: Hello, ready: Ready) -> asyncio.Event:
        self.joined.add(said.node_id)
        self.ends[said.name] = asyncio.Event()
        return self.ends[said.name]

    def _let_in(self, shown: Shown, user: User, joins: bool) -> str | None:
        if joins:
            return passes.use(self.files, shown, user, lambda: self.joined)
        return passes.obstacle(passes.known(self.files), shown, user.id, lambda: self.joined)


class Node:
    def __init__(self, root: Path, name: str, head: Head) -> None:
        self.paths, self.name, self.head = StatePaths(root / name), name, head
        self.paths.run.mkdir(parents=True)

    @property
    def files(self) -> TlsFiles:
        return TlsFiles(self.paths.tls)

    def box(self, token: TokenFile) -> Box:
        return _box(self.paths, token, f"127.0.0.1:{self.head.base}", self.name, "", 1)

    @property
    def id(self) -> str:
        return state_id(self.paths.identity)

    async def comes(self, token: TokenFile, *, trial: bool = False, **fields: Any) -> Welcome:
        """To the door, and is given a certificate of its own there."""
        request, key = certificates.asked(self.name)
        asked = {"name": self.name, "node_id": self.id, "request": request, "trial": trial, **fields}
        async with line_to(self.box(token)) as line:
            await line.say(hello(**asked))
            welcome = await line.expect(Welcome)
            if welcome.certificate:
                certificates.put_box(self.files, Pair(welcome.certificate.encode(), key))
                self.head.joined.add(self.id)
            return welcome


@pytest.fixture
def head(tmp_path: Path) -> Head:
    return Head(tmp_path / "head")


@pytest.fixture
def node(tmp_path: Path, head: Head) -> Callable[[str], Node]:
    return lambda name: Node(tmp_path, name, head)


async def refused(coming: Any) -> str:
    with pytest.raises(GpujobsError) as caught:
        await coming
    if isinstance(caught.value, RefusedError):
        assert not caught.value.again
    return str(caught.value)


def test_a_box_that_was_shut_out_is_refused_with_words_and_the_others_go_on(
    head: Head, node: Callable[[str], Node]
) -> None:
    """All came with the same token file, which is refused with it; the others show their own certificates."""
    lost, kept, token = node("lost"), node("kept"), head.token()

    async def run() -> tuple[str, str, str]:
        async with head.door():
            for one in (lost, kept):
                await one.comes(token)
            used = passes.shut_out(head.files, "lost", lost.id)
            assert [one.id for one in used] == [certificates.serial_of(token.tls.certificate)]  # type: ignore[union-attr]
            own = await refused(lost.comes(token))
            lost.files.box.unlink()
            with_token = await refused(lost.comes(token))
            forged = await refused(lost.comes(token, node_id=kept.id))
            assert (await kept.comes(token)).name == "head"
            return own, with_token, forged

    own, with_token, forged = asyncio.run(run())
    assert own.startswith("the certificate of lost was revoked at 20") and "`gpujobs node token FILE`" in own
    assert "was revoked at 20" in with_token and "was revoked at 20" in forged


def test_a_certificate_is_for_its_box_alone(head: Head, node: Callable[[str], Node]) -> None:
    one, token = node("one"), head.token()

    async def run() -> str:
        async with head.door():
            await one.comes(token)
            return await refused(one.comes(token, node_id="another"))

    assert asyncio.run(run()).startswith("it shows the certificate of another box (one)")


def test_a_box_that_was_shut_out_comes_back_with_a_new_token_file(
    head: Head, node: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = node("box2")

    async def run() -> Welcome:
        async with head.door():
            await box.comes(head.token())
            passes.shut_out(head.files, "box2", box.id)
            later = utc_now() + timedelta(seconds=2)  # certificates know whole seconds
            monkeypatch.setattr(certificates, "_now", lambda: later)
            await box.comes(fresh := head.token())
            return await box.comes(fresh)

    assert asyncio.run(run()).name == "head"


def test_a_box_that_is_there_when_it_is_shut_out_is_told_so(head: Head, node: Callable[[str], Node]) -> None:
    box, token = node("box2"), head.token()

    async def run() -> None:
        async with head.door(), line_to(box.box(token)) as line:
            await line.say(hello(name="box2", node_id=box.id, request=certificates.asked("box2")[0]))
            await line.expect(Welcome)
            await line.say(Ready(incarnation="1", state_dir="/s", cpu_slots=1, gpus=0))
            while not isinstance(await line.hear(), Joined):
                pass
            passes.shut_out(head.files, "box2", box.id)
            head.ends["box2"].set()  # its agent is ended, as by the head
            await beat(line)

    with pytest.raises(RefusedError, match=r"the certificate of box2 was revoked at 20") as caught:
        asyncio.run(run())
    assert not caught.value.again


def test_a_name_that_was_struck_out_before_can_be_shut_out_and_an_unknown_one_is_named(
    head: Head, node: Callable[[str], Node]
) -> None:
    box, token = node("box2"), head.token()

    async def run() -> str:
        async with head.door():
            await box.comes(token)
            passes.shut_out(head.files, "box2", None)
            return await refused(box.comes(token))

    assert "was revoked at 20" in asyncio.run(run())
    with pytest.raises(NotFoundError, match="box9 is no box that has joined here"):
        passes.shut_out(head.files, "box9", None)


def test_a_certificate_got_with_a_revoked_token_file_by_who_never_joined_is_refused(
    head: Head, node: Callable[[str], Node]
) -> None:
    """Whoever found the file may have asked for one before it was revoked."""
    thief, token = node("thief"), head.token()

    async def run() -> str:
        async with head.door():
            await thief.comes(token)
            head.joined.clear()
            passes.revoke_token(head.files, certificates.serial_of(token.tls.certificate)[:12])  # type: ignore[union-attr]
            return await refused(thief.comes(token))

    assert asyncio.run(run()).startswith("its certificate is of a token file that was revoked at 20")


def test_a_box_that_is_shut_out_while_its_agent_is_placed_is_sent_away(
    head: Head, node: Callable[[str], Node]
) -> None:
    """The door opens before the head's own agent is in, and the daemon has nobody then whom it could tell."""
    box, token, expelled = node("box2"), head.token(), list[str]()

    async def run() -> None:
        async with head.door() as door, line_to(box.box(token)) as line:

            async def placed(said: Hello, ready: Ready) -> asyncio.Event:
                passes.shut_out(head.files, "box2", box.id)
                assert await door.renew(_no_more) == [], "it is given nothing to go on with"
                return asyncio.Event()

            async def expel(name: str) -> None:
                expelled.append(name)

            door._admit, door._expel = placed, expel
            request = certificates.asked("box2")[0]
            await line.say(hello(name="box2", node_id=box.id, request=request, takes_renewal=True))
            await line.expect(Welcome)
            await line.say(Ready(incarnation="1", state_dir="/s", cpu_slots=1, gpus=0))
            await asyncio.wait_for(beat(line), 5)

    with pytest.raises(RefusedError, match="was revoked at 20") as caught:
        asyncio.run(run())
    assert expelled == ["box2"] and not caught.value.again


def _no_more(*_: Any) -> Any:
    raise AssertionError("a box that is shut out is given another certificate")


@pytest.mark.parametrize("ends", ["revoked", "over"])
def test_a_box_that_has_joined_goes_on_when_its_token_file_has_ended(
    head: Head, node: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """On the line that it has come by with that file, too: Ray may lose its agent at any time."""
    box = node("box2")
    token = head.token(utc_now() + timedelta(hours=1))

    async def run() -> None:
        async with head.door(), line_to(box.box(token)) as line:
            await line.say(hello(name="box2", node_id=box.id, request=certificates.asked("box2")[0]))
            await line.expect(Welcome)
            await line.say(Ready(incarnation="1", state_dir="/s", cpu_slots=1, gpus=0))
            await _until_joined(line)
            if ends == "revoked":
                passes.revoke_token(head.files, certificates.serial_of(token.tls.certificate))  # type: ignore[union-attr]
            else:
                later = utc_now() + timedelta(hours=2)
                monkeypatch.setattr(passes, "utc_now", lambda: later)
            head.ends["box2"].set()  # its agent is lost
            await _until_joined(line)

    asyncio.run(run())


async def _until_joined(line: Sealed) -> None:
    while not isinstance(said := await asyncio.wait_for(line.hear(), 5), Joined):
        assert not isinstance(said, Refused), said


def test_a_box_cannot_ask_for_what_would_be_a_token_file(head: Head, node: Callable[[str], Node]) -> None:
    """A certificate without a box's id, of that name, would be for any box, and in no list."""
    box, token = node("token"), head.token(once=True)

    async def run() -> list[str]:
        async with head.door():
            return [await refused(box.comes(token, node_id=one)) for one in ("", "a b", "\u00e9", "7" * 65)]

    assert all("no id of a state directory; expected 1 to 64 letters" in said for said in asyncio.run(run()))
    assert not passes.known(head.files).tokens[0].used_by


def test_a_box_is_shut_out_whatever_the_clock_was_when_it_joined(
    head: Head, node: Callable[[str], Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head's clock was ahead; it has been put right since."""
    box, token = node("box2"), head.token()
    ahead = utc_now() + timedelta(minutes=30)
    monkeypatch.setattr(certificates, "_now", lambda: ahead)

    async def run() -> str:
        async with head.door():
            await box.comes(token)
            (used,) = passes.shut_out(head.files, "box2", box.id)
            assert used.revoked_at is not None
            return await refused(box.comes(token))

    assert "the certificate of box2 was revoked at 20" in asyncio.run(run())


def test_what_cannot_be_noted_at_the_door_is_said_at_both_ends(
    head: Head,
    node: Callable[[str], Node],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    box, token = node("box2"), head.token(once=True)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "passes.json.tmp")

    async def run() -> None:
        async with head.door():
            box.box(token)
            monkeypatch.setattr(durable, "write_json", full)
            async with line_to(box.box(token)) as line:
                await line.say(hello(name="box2", node_id=box.id, request=certificates.asked("box2")[0]))
                await line.expect(Welcome)

    with pytest.raises(
        RefusedError, match=r"cannot tell whether it may come in: passes\.json\.tmp: No space"
    ) as caught:
        asyncio.run(run())
    assert caught.value.again and "No space left" in capfd.readouterr().err


def test_a_token_file_that_was_revoked_late_is_known_for_as_long_as_what_was_got_with_it() -> None:
    now = utc_now()
    ended, revoked = instant(now - timedelta(days=800)), instant(now - timedelta(days=10))
    old = Token(id="aa", made_at=ended, until=ended, revoked_at=revoked)
    assert passes._with(passes.Passes((old,)), Token(id="bb", made_at=ended)).tokens[0] == old
    gone = replace(old, revoked_at=ended)
    assert [one.id for one in passes._with(passes.Passes((gone,)), Token(id="bb", made_at=ended)).tokens] == [
        "bb"
    ]


# Token files


def test_a_token_file_for_one_box_lets_in_one_box(head: Head, node: Callable[[str], Node]) -> None:
    one, other, token = node("one"), node("other"), head.token(once=True)

    async def run() -> str:
        async with head.door():
            await one.comes(token, trial=True)  # a look uses nothing up
            await one.comes(token)
            one.files.box.unlink()
            await one.comes(token)  # it is that box's
            return await refused(other.comes(token))

    assert "was for one box, and one has joined with it; `gpujobs node token FILE`" in asyncio.run(run())


def test_of_two_boxes_with_one_file_for_one_box_at_the_same_moment_one_is_let_in(
    head: Head, node: Callable[[str], Node]
) -> None:
    boxes, token = [node(f"box{number}") for number in range(6)], head.token(once=True)

    async def run() -> list[Any]:
        async with head.door():
            return await asyncio.gather(*(one.comes(token) for one in boxes), return_exceptions=True)

    found = asyncio.run(run())
    assert sum(isinstance(one, Welcome) for one in found) == 1, found
    assert sum(isinstance(one, RefusedError) for one in found) == 5, found


def test_a_token_file_for_a_while_ends_for_tls_itself(head: Head, node: Callable[[str], Node]) -> None:
    """So Ray's ports do not take it either. A box that has joined goes on."""
    box, late, token = node("box2"), node("late"), head.token(utc_now() + timedelta(hours=1))
    assert token.tls is not None
    shown = ssl._ssl._test_decode_cert(str(_written(box.paths.root / "token.pem", token.tls.certificate)))  # type: ignore[attr-defined]
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
    assert abs(ends - utc_now() - timedelta(hours=1)) < timedelta(seconds=5)
    over = head.token(utc_now() - timedelta(seconds=2))

    async def run() -> str:
        async with head.door():
            await box.comes(token)
            assert certificates.days_left(box.files.box) > 700
            return await refused(late.comes(over))

    assert "certificate expired" in asyncio.run(run())


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_token_file_is_revoked_by_the_first_digits_of_its_id(
    head: Head, node: Callable[[str], Node]
) -> None:
    box, token = node("box2"), head.token()
    other = head.token()
    with pytest.raises(NotFoundError, match="names no token file, or several; expected one of"):
        passes.revoke_token(head.files, "")
    (first, _) = passes.known(head.files).tokens
    passes.revoke_token(head.files, first.short)

    async def run() -> str:
        async with head.door():
            said = await refused(box.comes(token))
            await node("box3").comes(other)
            return said

    assert f"its token file ({first.short}) was revoked at 20" in asyncio.run(run())


def test_a_register_that_is_damaged_lets_nobody_in(head: Head, node: Callable[[str], Node]) -> None:
    token = head.token()
    passes.path_of(head.files).write_text("{")

    async def run() -> None:
        async with head.door():
            with suppress(GpujobsError):
                await node("box2").comes(token)
                pytest.fail("it was let in")

    asyncio.run(run())


# Another authority


def test_a_box_that_is_there_goes_on_with_another_authority_and_one_with_the_old_ones_does_not(
    head: Head, node: Callable[[str], Node]
) -> None:
    """The line is a real one; Ray, which would be started anew, is not there."""
    box, lost, token = node("box2"), node("lost"), head.token()

    async def run() -> str:
        async with head.door() as door:
            await lost.comes(token)
            joiner = Joiner(box.box(token))
            task = asyncio.create_task(_stay(joiner, box))
            while "box2" not in door._guests:
                await asyncio.sleep(0.01)
            coming = renewal.prepare(head.files, "127.0.0.1", "77" * 32)
            assert await door.renew(partial(renewal.for_box, coming)) == ["box2"]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        renewal.take(head.files, head.secret_file)
        async with head.door():
            said = await refused(lost.comes(token))
            assert joiner._take_renewed() and not joiner._take_renewed()
            async with line_to(joiner._box) as line:
                await line.say(hello(name="box2", node_id=box.id))
                assert (await line.expect(Welcome)).name == "head"
            # As after a restart of its service, whose token file is the old one.
            assert (await box.comes(token)).name == "head"
        return said

    said = asyncio.run(run())
    assert "its certificate is not of the cluster that this token file is for" in said
    assert head.secret_file.read_text() == "77" * 32 == box.paths.ray_token.read_text()
    assert not passes.known(head.files).tokens


async def _stay(joiner: Joiner, box: Node) -> None:
    """As `_join_once`, where Ray would be started."""
    async with line_to(joiner._box) as line:
        request, key = certificates.asked(box.name)
        await line.say(hello(name=box.name, node_id=box.id, request=request, takes_renewal=True))
        welcome = await line.expect(Welcome)
        joiner._certificate = Pair(welcome.certificate.encode(), key)
        await line.say(Ready(incarnation="1", state_dir="/s", cpu_slots=1, gpus=0))
        while True:
            joiner._heard(await line.hear(None), welcome, line)


@pytest.mark.parametrize("step", [renewal.READY, "replaced.json"])
def test_a_renewal_that_is_cut_off_anywhere_leaves_a_box_that_joins(
    head: Head, node: Callable[[str], Node], step: str
) -> None:
    """After each of its steps on the box it is killed; it is started again with its old token file."""
    box, token = node("box2"), head.token()

    async def once() -> None:
        async with head.door():
            assert (await box.comes(token)).name == "head"

    asyncio.run(once())
    request, key = certificates.asked("box2")
    coming = renewal.prepare(head.files, "127.0.0.1", "66" * 32)
    renewed = renewal.for_box(coming, request, Whose("box2", box.id), "127.0.0.1")
    renewal.keep(box.files, renewed, key)
    asyncio.run(once())  # the head was killed before it counted: all is as before
    renewal.take(head.files, head.secret_file)
    with pytest.MonkeyPatch().context() as patch, pytest.raises(Killed):
        patch.setattr(durable, "write", _kill_at(step))
        renewal.take(box.files, renewal.secret_of(box.files))
    with pytest.raises(GpujobsError):
        asyncio.run(once())  # it comes with the old one, which the head refuses
    assert Joiner(box.box(token))._take_renewed()
    asyncio.run(once())
    renewal.keep(box.files, renewed, key)
    moved = 0
    while True:
        try:
            with _killed_after(moved):
                renewal.take(box.files, renewal.secret_of(box.files))
        except Killed:
            moved += 1
            asyncio.run(once())
            renewal.keep(box.files, renewed, key)
        else:
            break
    assert moved >= 3
    asyncio.run(once())


class Killed(BaseException):
    pass


def _kill_at(name: str) -> Callable[..., None]:
    real = durable.write

    def write(path: Path, *args: Any, **keys: Any) -> None:
        if path.name == name:
            raise Killed
        real(path, *args, **keys)

    return write


@contextmanager
def _killed_after(moves: int) -> Iterator[None]:
    left = [moves]
    real = durable.rename

    def rename(source: Path, target: Path) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        real(source, target)

    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(durable, "rename", rename)
        yield


def test_the_authority_of_a_node_is_never_there(head: Head, node: Callable[[str], Node]) -> None:
    box = node("box2")
    renewal.prepare(head.files, "127.0.0.1", "55" * 32)
    request, key = certificates.asked("box2")
    renewed = renewal.for_box(renewal.next_of(head.files), request, Whose("box2", "77"), "127.0.0.1")
    certificates.keep_token(box.files, head.token().tls)  # type: ignore[arg-type]
    renewal.keep(box.files, renewed, key)
    renewal.take(box.files, renewal.secret_of(box.files))
    assert not list(box.files.root.rglob("ca-key*"))
    assert replace(renewed, secret="").authority == box.files.authority.read_text()
