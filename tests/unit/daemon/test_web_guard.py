"""Who may come in by the pages' address: links, cookies, hosts, origins and the other end's user, without a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from gpujobs.daemon.web import guard as guarding
from gpujobs.daemon.web.guard import CHANGE_HEADER, Guard, NotLoggedInError
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
