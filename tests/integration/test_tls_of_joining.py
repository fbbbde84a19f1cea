"""The line of joining over TLS: who is let in, and what is said to whoever is not."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gpujobs.cluster import callers, certificates
from gpujobs.cluster.box import Box
from gpujobs.cluster.certificates import TlsFiles
from gpujobs.cluster.gate import JoinGate
from gpujobs.cluster.line_to_head import line_to
from gpujobs.cluster.ports import Ports
from gpujobs.cluster.sealed import RefusedError, Sealed
from gpujobs.cluster.tls import HeadContext, of_the_head
from gpujobs.errors import GpujobsError, MachineError, NotPermittedError
from gpujobs.paths import StatePaths
from gpujobs.protocol.joining import FORMAT, Hello, Ready, TokenFile, TokenTls, Versions, Welcome

from .test_joining import INSTANCE, OURS, SECRET, free_base, hello


async def _admit(hello: Hello, ready: Ready) -> asyncio.Event:
    return asyncio.Event()


def files_of_a_head(root: Path, address: str = "127.0.0.1") -> TlsFiles:
    files = TlsFiles(root)
    certificates.keep_box(files, address)
    return files


@pytest.fixture
def head(tmp_path: Path) -> TlsFiles:
    return files_of_a_head(tmp_path / "head-tls")


@pytest.fixture
def node(tmp_path: Path) -> StatePaths:
    paths = StatePaths(tmp_path / "node")
    paths.root.mkdir()
    return paths


@asynccontextmanager
async def gate(
    files: TlsFiles | None, base: int, versions: Versions = OURS, address: str = "127.0.0.1"
) -> AsyncIterator[JoinGate]:
    made = JoinGate(
        name="head", address=address, ports=Ports(base), secret=SECRET, instance=INSTANCE, uid=os.geteuid(),
        versions=versions, obstacle=lambda name, id: None, admit=_admit,
        tls=None if files is None else of_the_head(files),
        sign=None if files is None else partial(certificates.sign, files),
    )  # fmt: skip
    await made.open()
    try:
        yield made
    finally:
        await made.close()


def box(paths: StatePaths, base: int, tls: TokenTls | None) -> Box:
    if tls is not None:
        certificates.keep_token(TlsFiles(paths.tls), tls)
    token = TokenFile(format=FORMAT, address=f"127.0.0.1:{base}", secret=SECRET, instance=INSTANCE, tls=tls)
    return Box(
        paths=paths, token=token, head="127.0.0.1", port=base, name="box2", node_id="77", address="", cpu_slots=1
    )  # fmt: skip


def welcomed(files: TlsFiles | None, paths: StatePaths, tls: TokenTls | None, said: Hello) -> Welcome:
    async def ask() -> Welcome:
        base = free_base()
        async with gate(files, base), line_to(box(paths, base, tls)) as line:
            await line.say(said)
            return await line.expect(Welcome)

    return asyncio.run(ask())


def refused(files: TlsFiles | None, paths: StatePaths, tls: TokenTls | None) -> str:
    with pytest.raises(GpujobsError) as caught:
        welcomed(files, paths, tls, hello())
    assert isinstance(caught.value, NotPermittedError), caught.value  # no try again would help
    return str(caught.value)


def test_a_box_with_a_token_is_given_a_certificate_for_its_address(head: TlsFiles, node: StatePaths) -> None:
    """Its own key stays there; OpenSSL itself is asked whether the certificate is of the authority, and for whom."""
    request, key = certificates.asked("box2")
    said = replace(hello(address="127.0.0.9"), request=request)
    welcome = welcomed(head, node, certificates.for_token(head), said)
    files = TlsFiles(node.tls)
    certificates.put_box(files, certificates.Pair(welcome.certificate.encode(), key))
    assert files.authority.read_bytes() == head.authority.read_bytes()
    assert _name_shown_by(of_the_head(files)(), head, "127.0.0.9") == "box2"
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        _name_shown_by(of_the_head(files)(), head, "127.0.0.8")
    assert not files.authority_key.exists()


def _name_shown_by(server: HeadContext, client: TlsFiles, address: str) -> str:
    """As a plain client of Python's `ssl` sees it, which wants `address` to be in the certificate."""
    ends = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(client.authority)
    context.load_cert_chain(client.box, client.box_key)
    ours = context.wrap_bio(ends[0], ends[1], server_hostname=address)
    theirs = server.wrap_bio(ends[1], ends[0], server_side=True)
    for _ in range(3):
        for end in (ours, theirs):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found: Any = ours.getpeercert()
    assert found is not None
    return str(dict(one for part in found["subject"] for one in part)["commonName"])


def test_what_crosses_the_line_cannot_be_read(head: TlsFiles, node: StatePaths) -> None:
    """A relay in between, which sees each byte."""
    seen = bytearray()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while some := await reader.read(4096):
                seen.extend(some)
                writer.write(some)
        writer.close()

    async def ask(tls: TokenTls | None, files: TlsFiles | None) -> None:
        base, between = free_base(), socket.create_server(("127.0.0.1", 0))

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", base)
            await asyncio.gather(pump(reader, back), pump(there, writer))

        async with gate(files, base), await asyncio.start_server(relay, sock=between):
            made = replace(box(node, base, tls), port=between.getsockname()[1])
            async with line_to(made) as line:
                await line.say(hello(name="a-name-to-look-for"))
                await line.expect(Welcome)

    asyncio.run(ask(None, None))
    assert b"a-name-to-look-for" in seen
    seen.clear()
    asyncio.run(ask(certificates.for_token(head), head))
    assert len(seen) > 1000 and b"a-name-to-look-for" not in seen


def test_a_token_without_a_certificate_is_refused_with_what_writes_one(
    head: TlsFiles, node: StatePaths
) -> None:
    said = refused(head, node, None)
    assert "lets in only who shows a certificate of its cluster, and this token file has none" in said
    assert "`gpujobs node token FILE` on the head's box writes one that has" in said


def test_a_certificate_of_another_cluster_is_refused(
    head: TlsFiles, node: StatePaths, tmp_path: Path
) -> None:
    other = files_of_a_head(tmp_path / "other-tls")
    said = refused(head, node, certificates.for_token(other))
    assert said.endswith(
        "its certificate is not of the cluster that this token file is for; `gpujobs node token FILE` on the head's "
        "box writes a new file"
    )


def test_a_certificate_that_only_claims_to_be_of_this_cluster_is_refused(
    head: TlsFiles, node: StatePaths, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The authority is the right one, so the head is believed; but the certificate shown is another's."""
    other = files_of_a_head(tmp_path / "other-tls")
    forged = replace(certificates.for_token(other), authority=head.authority.read_text())
    assert "does not take the certificate of this token file" in refused(head, node, forged)
    assert "joining: 127.0.0.1: its certificate is not of this cluster" in capfd.readouterr().err


def test_a_stranger_without_any_certificate_is_refused_and_told_of_in_the_log(
    head: TlsFiles, capfd: pytest.CaptureFixture[str]
) -> None:
    async def ask() -> None:
        base = free_base()
        async with gate(head, base):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(head.authority)
            reader, writer = await asyncio.open_connection("127.0.0.1", base, ssl=context)
            try:
                with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                    await reader.read(10)
            finally:
                writer.close()

    asyncio.run(ask())
    assert "joining: 127.0.0.1: it shows no certificate; " in capfd.readouterr().err


def test_a_head_that_does_not_encrypt_any_more_is_named(node: StatePaths, head: TlsFiles) -> None:
    said = refused(None, node, certificates.for_token(head))
    assert "does not speak TLS as this token file expects" in said and "[cluster] tls" in said


def test_a_head_at_another_address_than_its_certificates_is_named(node: StatePaths, tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "elsewhere")
    certificates.keep_box(files, "10.9.9.9")
    files.box.unlink()
    certificates.put_box(files, certificates.issued(files, "head", "10.9.9.9"))

    async def ask() -> None:
        base = free_base()
        async with gate(files, base):
            made = replace(box(node, base, certificates.for_token(files)), head="127.0.0.2")
            async with gate_at("127.0.0.2", base), line_to(made):
                pass

    @asynccontextmanager
    async def gate_at(address: str, base: int) -> AsyncIterator[None]:
        other = callers.Callers(lambda *_: asyncio.sleep(0), of_the_head(files))
        await other.open(address, base)
        try:
            yield
        finally:
            await other.close()

    with pytest.raises(
        NotPermittedError, match="its certificate is for another address; expected the one that"
    ):
        asyncio.run(ask())


@pytest.mark.parametrize(
    ("days", "words"),
    [(-1, "has expired, or this box's clock is wrong"), (731, "is not valid yet: the clock")],
)
def test_a_certificate_of_another_time_names_the_clock(
    head: TlsFiles, node: StatePaths, monkeypatch: pytest.MonkeyPatch, days: int, words: str
) -> None:
    token = certificates.for_token(head)
    if days < 0:
        monkeypatch.setattr(certificates, "BOX_DAYS", days)
        monkeypatch.setattr(certificates, "BACKDATED", timedelta(days=30))
    else:
        monkeypatch.setattr(certificates, "BACKDATED", timedelta(days=-30))
    certificates.put_box(head, certificates.issued(head, "head", "127.0.0.1"))
    assert words in refused(head, node, token)


def test_a_request_that_makes_no_sense_is_refused_in_words(head: TlsFiles, node: StatePaths) -> None:
    with pytest.raises(RefusedError, match="the certificate that box2 asks for makes no sense"):
        welcomed(head, node, certificates.for_token(head), replace(hello(), request="no request"))


def test_an_address_that_is_a_name_is_refused_in_words(head: TlsFiles, node: StatePaths) -> None:
    said = replace(hello(address="box2.example.org"), request=certificates.asked("box2")[0])
    with pytest.raises(
        RefusedError, match=r"'box2.example.org' is no address for a certificate; expected an IPv4"
    ):
        welcomed(head, node, certificates.for_token(head), said)


def test_an_authority_that_has_ended_is_named_with_how_to_make_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "AUTHORITY_DAYS", -5)
    monkeypatch.setattr(certificates, "BACKDATED", timedelta(days=30))
    with pytest.raises(MachineError, match=r"the cluster's authority has ended .*remove tls/ from its state"):
        certificates.keep_box(TlsFiles(tmp_path / "tls"), "127.0.0.1")


def test_a_head_whose_own_certificate_is_gone_says_so_in_its_log(
    head: TlsFiles, capfd: pytest.CaptureFixture[str]
) -> None:
    async def ask() -> None:
        base = free_base()
        async with gate(head, base):
            head.box.unlink()
            reader, writer = await asyncio.open_connection("127.0.0.1", base)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()

    asyncio.run(ask())
    said = capfd.readouterr().err
    assert f"nobody can be let in: the certificates in {head.root} cannot be used" in said


def test_certificates_are_read_again_only_when_they_have_changed(head: TlsFiles) -> None:
    tls = of_the_head(head)
    first = tls().shared
    assert tls().shared is first and tls() is not tls()
    assert _name_shown_by(tls(), head, "127.0.0.1") == "head"
    certificates.put_box(head, certificates.issued(head, "another", "127.0.0.1"))
    second = tls().shared
    assert second is not first and tls().shared is second
    assert _name_shown_by(tls(), head, "127.0.0.1") == "another"
    head.box_key.unlink()
    with pytest.raises(MachineError, match="cannot be used"):
        tls()


def test_no_key_can_be_read_by_others_and_none_leaves_its_box(head: TlsFiles) -> None:
    token = certificates.for_token(head)
    assert stat.S_IMODE(head.root.stat().st_mode) == 0o700
    for path in head.root.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for key in (head.authority_key, head.box_key):
        assert key.read_text() not in (token.key, token.certificate, token.authority)
    assert token.key not in "".join(path.read_text() for path in head.root.iterdir())


def test_an_authority_that_others_could_read_is_not_used(head: TlsFiles) -> None:
    head.authority_key.chmod(0o640)
    with pytest.raises(MachineError, match=r"can be read by others.*remove tls/ from its state directory"):
        certificates.keep_box(head, "127.0.0.1")


def test_half_an_authority_is_named(head: TlsFiles) -> None:
    head.authority_key.unlink()
    with pytest.raises(MachineError, match=r"has ca\.pem, but not its other half"):
        certificates.keep_authority(head)


def test_a_box_is_given_another_certificate_where_its_own_does_not_last_or_fit(
    head: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = head.box.read_bytes()
    certificates.keep_box(head, "127.0.0.1")
    assert head.box.read_bytes() == first
    certificates.keep_box(head, "10.0.0.5")
    second = head.box.read_bytes()
    assert second != first
    with monkeypatch.context() as near:
        near.setattr(certificates, "BOX_DAYS", 300)
        certificates.put_box(head, certificates.issued(head, "head", "10.0.0.5"))
    certificates.keep_box(head, "10.0.0.5")
    assert certificates.ends(head.box) > datetime.now(UTC) + timedelta(days=700)


# Strangers


def test_strangers_cannot_take_the_places_of_boxes(
    head: TlsFiles, node: StatePaths, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever says nothing has one of a few places, until the next comes: a box at the same address is let in, and one
    that has shown its certificate is not counted."""

    async def ask() -> None:
        base = free_base()
        async with gate(head, base) as made:
            silent = [await _connected("127.0.0.1", base) for _ in range(2 * callers.MAX_FROM_ONE)]
            for reader, _ in silent[: callers.MAX_FROM_ONE]:
                assert await asyncio.wait_for(reader.read(1), 5) == b""  # the first to come go first
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(silent[-1][0].read(1), 0.2)
            async with line_to(box(node, base, certificates.for_token(head))) as line:
                assert made._callers.strangers == callers.MAX_FROM_ONE - 1, "it took the place of another"
                silent += [await _connected("127.0.0.1", base) for _ in range(2 * callers.MAX_FROM_ONE)]
                await line.say(hello())
                assert (await line.expect(Welcome)).name == "head"
            for _, writer in silent:
                writer.close()

    asyncio.run(ask())
    assert capfd.readouterr().err.count("127.0.0.1: 8 connections that have shown no token; the oldest") == 1


def test_many_addresses_together_cannot_fill_the_door(
    head: TlsFiles, node: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "MAX_STRANGERS", 10)

    async def ask() -> None:
        base = free_base()
        async with gate(head, base) as made:
            silent = [await _connected(f"127.0.0.{2 + number % 5}", base) for number in range(30)]
            async with line_to(box(node, base, certificates.for_token(head))) as line:
                await line.say(hello())
                assert (await line.expect(Welcome)).name == "head"
            assert made._callers.strangers <= 10
            for _, writer in silent:
                writer.close()

    asyncio.run(ask())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to use a port that only root may")
def test_a_user_who_calls_without_end_cannot_keep_the_box_out(head: TlsFiles, node: StatePaths) -> None:
    """Faster than a handshake takes: the box has places of its own, for ports of root's."""
    is_over = threading.Event()

    def call(base: int) -> None:
        kept: deque[socket.socket] = deque()
        while not is_over.is_set():
            with suppress(OSError):
                kept.append(socket.create_connection(("127.0.0.1", base), 1))
            if len(kept) > 100:
                kept.popleft().close()
        for one in kept:
            one.close()

    async def ask() -> str:
        base = free_base()
        async with gate(head, base):
            calling = threading.Thread(target=call, args=(base,))
            calling.start()
            try:
                made = box(node, base, certificates.for_token(head))
                async with asyncio.timeout(20), line_to(made) as line:
                    await line.say(hello())
                    return (await line.expect(Welcome)).name
            finally:
                is_over.set()
                await asyncio.to_thread(calling.join)

    assert asyncio.run(ask()) == "head"


async def _connected(local: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(local, 0))


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01", b"{"])
def test_a_stranger_who_falls_silent_is_not_waited_for(
    head: TlsFiles, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    from gpujobs.cluster import gate as gates

    monkeypatch.setattr(callers, "SHAKING_SECONDS", 0.2)
    monkeypatch.setattr(gates, "HELLO_SECONDS", 0.2)

    async def ask() -> None:
        base = free_base()
        async with gate(head, base) as made:
            reader, writer = await _connected("127.0.0.1", base)
            writer.write(first)
            await asyncio.wait_for(reader.read(), 5)
            writer.close()
            assert made._callers.strangers == 0

    asyncio.run(ask())


def test_greeting_and_token_together_have_one_limit(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from gpujobs.cluster import gate as gates

    monkeypatch.setattr(gates, "HELLO_SECONDS", 1.0)

    async def ask() -> None:
        base = free_base()
        async with gate(None, base):
            reader, writer = await _connected("127.0.0.1", base)
            await asyncio.sleep(0.5)
            writer.write(b'{"gpujobs": "0123456789abcdef"}\n')
            greeted = time.monotonic()
            await asyncio.wait_for(reader.read(), 5)
            assert time.monotonic() - greeted < 1.0, "the limit did not begin anew"
            writer.close()

    asyncio.run(ask())
    assert "127.0.0.1: it has shown no token within 1 s" in capfd.readouterr().err


def test_a_token_holder_with_the_wrong_secret_is_refused_in_words(head: TlsFiles, node: StatePaths) -> None:
    async def ask() -> None:
        base = free_base()
        async with gate(head, base), line_to(box(node, base, certificates.for_token(head))) as line:
            wrong = Sealed(line._reader, line._writer, "00" * 32, is_head=False, is_tls=True)
            wrong._texts = line._texts
            await wrong.say(hello())
            await wrong.expect(Welcome)

    with pytest.raises(NotPermittedError, match="the token is not this cluster's"):
        asyncio.run(ask())
