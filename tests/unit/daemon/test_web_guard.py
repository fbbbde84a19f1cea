"""Who may come in by the pages' address: links, cookies, hosts, origins and the other end's user, without a browser."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from gpujobs.daemon.web import guard as guarding
from gpujobs.daemon.web import peers
from gpujobs.daemon.web.guard import CHANGE_HEADER, Guard, NotLoggedInError, add_headers
from gpujobs.daemon.web.peers import NOBODY_KNOWN
from gpujobs.daemon.web.sessions import LINK_SECONDS, OF_ONE_USER, SESSION_SECONDS, Sessions
from gpujobs.errors import NotPermittedError
from gpujobs.model import Caller

ANN = Caller(uid=1000, gid=100, pid=7, user="ann", groups=(100, 27), is_admin=True)
BOB = Caller(uid=1001, gid=101, pid=8, user="bob")


class Clock:
    now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(tmp_path: Path, clock: Clock) -> Sessions:
    return Sessions(tmp_path / "sessions.json", clock)


def logged_in(sessions: Sessions, caller: Caller = ANN) -> str:
    return sessions.begin(sessions.redeem(sessions.link(caller)[0]))


@pytest.mark.parametrize(("after", "works"), [(LINK_SECONDS - 0.1, True), (LINK_SECONDS, False)])
def test_a_link_works_once_and_for_a_minute(
    sessions: Sessions, clock: Clock, after: float, works: bool
) -> None:
    token, _ = sessions.link(ANN)
    clock.now += after
    for may in (works, False):
        if may:
            grant = sessions.redeem(token)
            assert (grant.uid, grant.user) == (ANN.uid, "ann")
        else:
            with pytest.raises(NotPermittedError, match="has been used, or is older than a minute"):
                sessions.redeem(token)


def test_a_cookie_is_its_users_with_the_groups_of_then_and_no_rights_of_its_own(sessions: Sessions) -> None:
    grant = sessions.of(logged_in(sessions))
    assert grant is not None
    assert grant.caller() == Caller(uid=1000, gid=100, pid=0, user="ann", groups=(100, 27))
    assert sessions.of("") is sessions.of("another") is None


@pytest.mark.parametrize(("after", "works"), [(SESSION_SECONDS - 1, True), (SESSION_SECONDS, False)])
def test_a_cookie_ends_after_half_a_day_also_with_the_next_daemon(
    sessions: Sessions, clock: Clock, tmp_path: Path, after: float, works: bool
) -> None:
    cookie = logged_in(sessions)
    clock.now += after
    for one in (sessions, Sessions(tmp_path / "sessions.json", clock)):
        assert (one.of(cookie) is not None) is works


def test_who_logs_out_is_out(sessions: Sessions, clock: Clock, tmp_path: Path) -> None:
    cookie, other = logged_in(sessions), logged_in(sessions)
    sessions.end(cookie)
    for one in (sessions, Sessions(tmp_path / "sessions.json", clock)):
        assert one.of(cookie) is None and one.of(other) is not None


def test_the_file_holds_no_secret_and_is_its_owners_alone(sessions: Sessions, tmp_path: Path) -> None:
    cookie, file = logged_in(sessions), tmp_path / "sessions.json"
    assert cookie not in file.read_text() and len(json.loads(file.read_text())["sessions"]) == 1
    assert file.stat().st_mode & 0o777 == 0o600


def test_of_too_many_a_users_own_oldest_gives_way(sessions: Sessions) -> None:
    others = logged_in(sessions, BOB)
    own = [logged_in(sessions) for _ in range(OF_ONE_USER + 1)]
    assert [sessions.of(cookie) is not None for cookie in own] == [False, *[True] * OF_ONE_USER]
    assert sessions.of(others) is not None


@pytest.mark.parametrize(
    ("headers", "path", "is_let_in"),
    [
        ({"Host": "localhost:8080"}, "/", True),
        (CIMultiDict([("Host", "localhost:8080"), ("Host", "evil.example")]), "/", False),
        ({"Host": "127.0.0.1"}, "/", True),
        ({"Host": "[::1]:8080"}, "/", True),
        ({"Host": "queue.example:443"}, "/", True),
        ({"Host": "evil.example"}, "/", False),
        ({"Host": "localhost.evil.example"}, "/", False),
        ({}, "/", False),
        ({"Host": "localhost:8080", "Origin": "http://localhost:8080"}, "/v1/jobs", True),
        ({"Host": "queue.example", "Origin": "https://queue.example"}, "/v1/jobs", True),
        ({"Host": "localhost:8080", "Origin": "http://localhost:9090"}, "/v1/jobs", False),
        ({"Host": "localhost:8080", "Origin": "http://localhost:80801"}, "/v1/jobs", False),
        ({"Host": "localhost:8080", "Origin": "null"}, "/v1/jobs", False),
        ({"Host": "localhost:8080", "Sec-Fetch-Site": "same-origin"}, "/v1/jobs", True),
        ({"Host": "localhost:8080", "Sec-Fetch-Site": "same-site"}, "/v1/jobs", False),
        ({"Host": "localhost:8080", "Sec-Fetch-Site": "cross-site"}, "/v1/jobs", False),
        ({"Host": "localhost:8080", "Sec-Fetch-Site": "cross-site"}, "/", True),
        ({"Host": "localhost:8080", "Sec-Fetch-Site": "cross-site"}, "/login", True),
    ],
)
def test_pages_are_asked_for_by_their_own_names_and_by_themselves(
    sessions: Sessions, headers: Mapping[str, str], path: str, is_let_in: bool
) -> None:
    guard, request = (
        Guard(sessions, "c", frozenset({"queue.example"})),
        make_mocked_request("GET", path, headers=headers),
    )
    if is_let_in:
        guard.check_origin(request)
    else:
        with pytest.raises(NotPermittedError):
            guard.check_origin(request)


@pytest.mark.parametrize(
    ("method", "more", "is_let_in"),
    [("GET", {}, True), ("HEAD", {}, True), ("POST", {CHANGE_HEADER: "1"}, True), ("POST", {}, False),
     ("PUT", {}, False), ("POST", {CHANGE_HEADER: "0"}, False)],
)  # fmt: skip
def test_a_change_says_that_it_is_one(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, method: str, more: dict[str, str], is_let_in: bool
) -> None:
    monkeypatch.setattr(guarding, "uid_of_peer", lambda _: ANN.uid)
    guard = Guard(sessions, "c")
    headers = {"Cookie": f"c={logged_in(sessions)}", **more}
    request = make_mocked_request(method, "/v1/jobs/cancel", headers=headers)
    if is_let_in:
        assert guard.caller_of(request).user == "ann"
    else:
        with pytest.raises(NotPermittedError, match="a change needs the header X-Gpujobs: 1"):
            guard.caller_of(request)
    with pytest.raises(NotLoggedInError):
        guard.caller_of(make_mocked_request(method, "/v1/jobs/cancel", headers={"Cookie": "c=x", **more}))


@pytest.mark.parametrize(
    ("peer", "said"),
    [
        (ANN.uid, None),
        (0, None),
        (33, None),
        (None, None),
        (BOB.uid, "and you are"),
        (NOBODY_KNOWN, "and nobody knows whose connection this is"),
    ],
)
def test_a_cookie_is_for_connections_of_its_user(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, peer: int | None, said: str | None
) -> None:
    """33: the proxy's user; None: from another machine."""
    monkeypatch.setattr(guarding, "uid_of_peer", lambda _: peer)
    guard = Guard(sessions, "c", proxy_uid=33)
    request = make_mocked_request("GET", "/v1/jobs", headers={"Cookie": f"c={logged_in(sessions)}"})
    if said is None:
        assert guard.caller_of(request).uid == ANN.uid
    else:
        with pytest.raises(NotPermittedError, match=f"given to another user, {said}"):
            guard.caller_of(request)


@pytest.mark.parametrize(
    ("path", "is_saved"),
    [("/", False), ("/v1/jobs/1", False), ("/v1/results/1/x.html", True), ("/v1/resultsx", False)],
)
def test_no_page_is_framed_and_what_a_user_wrote_is_saved_and_not_shown(path: str, is_saved: bool) -> None:
    response = web.Response(text="<script>")
    asyncio.run(add_headers(make_mocked_request("GET", path), response))
    said = response.headers
    assert (said["X-Frame-Options"], said["X-Content-Type-Options"]) == ("DENY", "nosniff")
    assert (said["Cache-Control"], said["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert "frame-ancestors 'none'" in said["Content-Security-Policy"]
    assert "unsafe" not in said["Content-Security-Policy"]
    assert (said.get("Content-Disposition") == "attachment") is is_saved
    assert ("sandbox" in said["Content-Security-Policy"]) is is_saved


class Connection:
    """One end of a connection, as much of it as is asked for."""

    def __init__(self, near: tuple[str, int], far: tuple[str, int]) -> None:
        self._near, self._far = near, far

    def getsockname(self) -> tuple[str, int]:
        return self._near

    def getpeername(self) -> tuple[str, int]:
        return self._far


SOCKETS = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 7001 1
   1: 0100007F:C000 0100007F:1F90 06 00000000:00000000 00:00000000 00000000     0        0 0 1
   2: 0100007F:C000 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 7002 1
   3: 0100007F:C001 0100007F:1F90 06 00000000:00000000 00:00000000 00000000  1001        0 0 1
   4: 0A02000A:C002 0A02000A:1F90 01 00000000:00000000 00:00000000 00000000  1002        0 7003 1
"""
"""As proc_pid_net(5) has it, on a machine of this order of bytes; a socket that is closed has inode 0 and is root's."""


@pytest.mark.skipif(sys.byteorder != "little", reason="the table above is of the other order")
@pytest.mark.parametrize(
    ("near", "far", "uid"),
    [
        ("127.0.0.1", ("127.0.0.1", 0xC000), 1001),
        ("127.0.0.1", ("127.0.0.1", 0xC001), NOBODY_KNOWN),
        ("127.0.0.1", ("127.0.0.1", 0xC009), NOBODY_KNOWN),
        ("10.0.2.10", ("10.0.2.10", 0xC002), 1002),  # its own address that others see
        ("10.0.2.10", ("10.0.2.11", 0xC002), None),
    ],
)
def test_whose_the_other_end_is_is_said_by_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, near: str, far: tuple[str, int], uid: int | None
) -> None:
    (tmp_path / "tcp").write_text(SOCKETS)
    monkeypatch.setattr(peers, "TABLES", (tmp_path / "tcp",))
    assert peers.uid_of_peer(cast(socket.socket, Connection((near, 8080), far))) == uid
