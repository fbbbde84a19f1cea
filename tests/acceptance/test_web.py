"""The pages over real HTTP: who comes in, who does not, and what those see who do. The daemon is a site's, with two
UNIX users, and answers without Ray."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from gpujobs.config.settings import Settings
from gpujobs.daemon.build import Parts
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.daemon.web.sessions import Sessions
from gpujobs.errors import NotPermittedError
from gpujobs.model import Caller, Device, DeviceKind, Node, NodeStatus
from gpujobs.paths import StatePaths
from tests.integration.served import Served
from tests.unit.store.jobs import DEVICE, DONE, new_job

from .harness import ROOT, eventually, short_directory
from .people import Person, as_person

HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m" + "x" * 10_000


PROMTOOL = shutil.which("promtool", path=f"{os.environ['PATH']}:{ROOT / 'build'}")

GPU = Device("n", DeviceKind.GPU, 0, "GPU-0", "NVIDIA H100 80GB HBM3", 80 << 30, 21 << 30, 87, 61, 412.0)


def with_devices(daemon: Parts) -> None:
    daemon.nodes._nodes = {"n": Node("n", NodeStatus.OK, devices=(GPU,))}


class Site(Served):
    """A site's daemon, and what is asked of its pages."""

    def __init__(
        self, directory: Path, prepare: Callable[[Parts], Any] = lambda _: None, **settings: Any
    ) -> None:
        self.paths = StatePaths(directory / "s")
        super().__init__(Settings("site", self.paths.root, directory / "gj.sock", **settings), prepare)
        prepare_state(self.paths, Mode.SITE)

    def link(self, person: Person | None = None) -> str:
        asked = self.asked("POST", "/v1/web/link") if person is None else as_person(
            person, lambda: self.asked("POST", "/v1/web/link")
        )  # fmt: skip
        return str(asked["url"])

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.asked("GET", "/v1/info")["web"])
        assert parts.hostname and parts.port
        return parts.hostname, parts.port

    def login(self, person: Person | None = None) -> str:
        """The cookie."""
        status, headers, _ = self.get(self.path_of(self.link(person)))
        assert (status, headers["Location"]) == (303, "/")
        return headers["Set-Cookie"].partition(";")[0]

    @staticmethod
    def path_of(url: str) -> str:
        return url[url.index("/login") :]

    def get(self, path: str, cookie: str = "", method: str = "GET", body: Any = None, **more: str) -> Answer:
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        if cookie:
            headers["Cookie"] = cookie
        content = "" if body is None else json.dumps(body)
        with closing(http.client.HTTPConnection(*self.address, timeout=20)) as connection:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content.encode())
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()


Answer = tuple[int, Mapping[str, str], str]


@dataclass
class Pages:
    """Job 1 is alice's, with results; job 2 bob's; job 3 alice's, and waits."""

    site: Site
    alice: Person
    bob: Person
    cookie: str
    bobs: str


def caller_of(person: Person) -> Caller:
    return Caller(person.uid, person.gid, 1, person.name)


def fill(daemon: Parts, alice: Person, bob: Person) -> None:
    results = daemon.paths.result(1)
    results.mkdir(mode=0o700)
    for name, text in (
        ("metrics.json", "{}"),
        ("page.html", "<script>alert(1)</script>"),
        ("history.csv", "epoch,loss\n0,1\n"),
        ("forecast.png", "<script>alert(1)</script>"),
    ):
        (results / name).write_text(text)
        os.chown(results / name, alice.uid, alice.gid)
    os.chown(results, alice.uid, alice.gid)
    for person, name in ((alice, "first"), (bob, "other"), (alice, HOSTILE)):
        (job,) = daemon.store.submit(caller_of(person), name[:9], [replace(new_job(name), data=())])
        daemon.cache.put(job)
        if job.id == 1:
            attempt = daemon.store.start_attempt(1, DEVICE).attempt
            daemon.store.mark_completing(
                1, attempt, {"state": "COMPLETED", "exit": {"code": 0, "signal": None}}
            )
            daemon.cache.put(daemon.store.finish(1, DONE, str(results)))


@contextmanager
def opened(config: str = "", **settings: Any) -> Iterator[Site]:
    directory = short_directory()
    directory.chmod(0o755)
    (directory / "gpujobs.toml").write_text(config)
    try:
        with Site(
            directory, **{"web": "127.0.0.1:0", "config": directory / "gpujobs.toml", **settings}
        ) as site:
            yield site
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def pages(alice: Person, bob: Person) -> Iterator[Pages]:
    with opened() as site:
        site.on_loop(lambda daemon: fill(daemon, alice, bob))
        yield Pages(site, alice, bob, site.login(alice), site.login(bob))


def test_a_link_logs_its_user_in_once_and_leaves_nothing_behind(
    pages: Pages, caplog: pytest.LogCaptureFixture
) -> None:
    site = pages.site
    with caplog.at_level("DEBUG"):
        url = site.link(pages.alice)
        status, headers, _ = site.get(site.path_of(url))
        assert (status, headers["Location"], headers["Referrer-Policy"]) == (303, "/", "no-referrer")
        assert site.get(site.path_of(url))[0] == 403, "it is used"
    token = url.partition("token=")[2]
    assert token not in caplog.text and len(token) >= 43
    name, _, rest = headers["Set-Cookie"].partition("=")
    identity = json.loads(site.paths.identity.read_text())["id"]
    assert name == f"gpujobs-{identity[:12]}", "cookies ignore ports"
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(rest.split("; "))
    kept = (site.paths.run / "web.json").read_text()
    assert rest.partition(";")[0] not in kept and token not in kept, "hashes only"
    assert (site.paths.run / "web.json").stat().st_mode & 0o777 == 0o600


def test_a_cookie_is_its_users_rights(pages: Pages) -> None:
    site = pages.site
    listed = json.loads(site.get("/v1/jobs?mine=1", pages.cookie)[2])["jobs"]
    assert [job["id"] for job in listed] == [3] and listed[0]["user"] == pages.alice.name
    held = site.get("/v1/jobs/hold", pages.cookie, "POST", {"ids": [3]}, X_Gpujobs="1")
    assert held[0] == 200 and json.loads(held[2])["jobs"][0]["held"]
    assert site.asked("GET", "/v1/jobs/3")["events"][-1]["actor"] == pages.alice.name


def test_what_a_user_wrote_is_saved_and_never_shown_as_a_page(pages: Pages) -> None:
    status, headers, body = pages.site.get("/v1/results/1/page.html", pages.cookie)
    assert status == 200 and body.startswith("<script>")
    assert headers["Content-Disposition"] == "attachment" and headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox; frame-ancestors 'none'"


def test_a_picture_has_its_type_and_is_saved_like_the_rest(pages: Pages) -> None:
    status, headers, _ = pages.site.get("/v1/results/1/forecast.png", pages.cookie)
    assert status == 200 and headers["Content-Type"] == "image/png"
    assert headers["Content-Disposition"] == "attachment" and headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert pages.site.get("/v1/results/1/forecast.png", pages.bobs)[0] in (403, 404)


@pytest.mark.parametrize("path", ["/", "/v1/jobs", "/v1/nothing"])
def test_every_answer_keeps_scripts_and_frames_of_others_out(pages: Pages, path: str) -> None:
    _, headers, body = pages.site.get(path, pages.cookie)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and headers["Cache-Control"] in (
        "no-store",
        "private, no-cache",
    )
    assert path != "/" or ("<script>" not in body and "onclick" not in body and "style=" not in body)


Refusal = tuple[int, str, dict[str, Any]]
CHANGE = {"method": "POST", "body": {"ids": [3]}, "X_Gpujobs": "1"}
REFUSED: dict[str, Refusal] = {
    "no cookie, a request": (401, "/v1/jobs", {"cookie": ""}),
    "no cookie, the page": (401, "/", {"cookie": ""}),
    "no cookie, a script": (401, "/static/app.js", {"cookie": ""}),
    "no cookie, events": (401, "/events", {"cookie": ""}),
    "no cookie, a change": (401, "/v1/jobs/cancel", {"cookie": "", **CHANGE}),
    "a cookie that was guessed": (401, "/v1/jobs", {"cookie": "guessed"}),
    "a token that was guessed": (403, "/login?token=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", {}),
    "no token": (403, "/login", {}),
    "a token for something that is looked at only": (405, "/login?token=x", {"method": "HEAD"}),
    "a foreign host": (403, "/v1/jobs", {"Host": "evil.example"}),
    "a foreign host, to log in": (403, "/login?token=x", {"Host": "evil.example:80"}),
    "a host that only begins as ours": (403, "/v1/jobs", {"Host": "127.0.0.1.evil.example"}),
    "no host": (403, "/v1/jobs", {"Host": ""}),
    "a foreign origin": (403, "/v1/jobs", {"Origin": "http://evil.example"}),
    "the origin of another port": (403, "/v1/jobs", {"Origin": "http://127.0.0.1:1"}),
    "a sandboxed origin": (403, "/v1/jobs/cancel", {**CHANGE, "Origin": "null"}),
    "another site": (403, "/v1/jobs", {"Sec_Fetch_Site": "cross-site"}),
    "another port's page": (403, "/events", {"Sec_Fetch_Site": "same-site"}),
    "a change without the header": (403, "/v1/jobs/cancel", {"method": "POST", "body": {"ids": [3]}}),
    "a change with a form's header": (403, "/v1/jobs/cancel", {**CHANGE, "X_Gpujobs": "0"}),
    "another's job": (403, "/v1/jobs/2", {}),
    "another's log": (403, "/v1/jobs/2/log", {}),
    "another's results": (403, "/v1/results/2/metrics.json", {}),
    "to cancel another's job": (403, "/v1/jobs/cancel", {**CHANGE, "body": {"ids": [2]}}),
    "to drain a device": (403, "/v1/gpus/drain", {**CHANGE, "body": {"devices": ["0"]}}),
    "a path out of the results": (404, "/v1/results/1/..%2f..%2fgpujobs.db", {}),
    "an absolute path": (404, "/v1/results/1/%2fetc%2fpasswd", {}),
    "a path out of the pages": (404, "/static/..%2f__init__.py", {}),
    "an unknown page": (404, "/static/secret.js", {}),
    "the daemon's end": (404, "/v1/stop", {**CHANGE, "body": {"mode": "now"}}),
    "another link": (404, "/v1/web/link", {**CHANGE, "body": {}}),
    "the store": (404, "/v1/backup", {}),
    "whom one has named to be told": (404, "/v1/notify", {}),
    "to be told": (404, "/v1/notify", {**CHANGE, "body": {"setting": None}}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(pages: Pages, name: str) -> None:
    status, path, more = REFUSED[name]
    asked = dict(more)
    cookie = asked.pop("cookie", pages.cookie)
    if cookie == "guessed":
        cookie = f"{pages.cookie.partition('=')[0]}={'A' * 43}"
    found, _, body = pages.site.get(path, cookie, **asked)
    assert found == status, body
    assert pages.bob.name not in body or path.startswith(("/v1/jobs", "/v1/results")), "told to nobody"
    states = [job["state"] for job in pages.site.asked("GET", "/v1/jobs")["jobs"]]
    assert states == ["PENDING", "PENDING"], "nothing has changed"


def test_the_cookie_and_the_link_of_another_user_are_worth_nothing(pages: Pages) -> None:
    """The kernel says whose the other end is."""
    site = pages.site
    address, theirs = site.address, site.path_of(site.link(pages.alice))

    def as_bob(path: str, cookie: str = "") -> list[Any]:
        connection = http.client.HTTPConnection(*address, timeout=20)
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        answer = connection.getresponse()
        return [answer.status, answer.read().decode()]

    assert as_person(pages.bob, lambda: as_bob("/v1/jobs", pages.bobs))[0] == 200
    status, said = as_person(pages.bob, lambda: as_bob("/v1/jobs", pages.cookie))
    assert status == 403 and f"given to another user, and you are {pages.bob.name}" in said
    assert as_person(pages.bob, lambda: as_bob(theirs))[0] == 403
    assert site.get(theirs)[0] == 403, "and it is spent"


def test_a_link_is_too_old_after_a_minute(tmp_path: Path) -> None:
    now = [1000.0]
    sessions = Sessions(tmp_path / "web.json", lambda: now[0])
    one, two = (sessions.link(Caller(1, 1, 1, "a"))[0] for _ in range(2))
    now[0] += 59.9
    cookie = sessions.begin(sessions.redeem(one))
    now[0] += 0.1
    with pytest.raises(NotPermittedError, match="older than a minute"):
        sessions.redeem(two)
    assert sessions.of(cookie) is not None
    again = Sessions(tmp_path / "web.json", lambda: now[0])
    assert again.of(cookie) == sessions.of(cookie), "open pages go on with the next daemon"
    now[0] += 12 * 3600
    assert again.of(cookie) is None
    for _ in range(40):
        again.link(Caller(1, 1, 1, "a"))
    assert len(again._links) == 16, "the oldest give way"


# Server-sent events


class Events:
    """`with_buffer`: how many bytes of the answer this end takes before it must read."""

    def __init__(self, site: Site, cookie: str, last_id: str = "", with_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if with_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, with_buffer)
        self.socket.settimeout(20)
        self.socket.connect(site.address)
        last = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        request = f"GET /events HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n{last}\r\n"
        self.socket.sendall(request.encode())
        self._file = self.socket.makefile("rb")

    def next(self) -> tuple[str, str, Any]:
        found: dict[str, str] = {}
        while "data" not in found:
            name, _, value = self._file.readline().decode().strip().partition(": ")
            found[name] = value
        return found["id"], found["event"], json.loads(found["data"])

    def until(self, is_wanted: Callable[[str, Any], bool]) -> tuple[str, str, Any]:
        while not is_wanted((found := self.next())[1], found[2]):
            pass
        return found

    def close(self) -> None:
        self._file.close()
        self.socket.close()


def prioritize(site: Site, cookie: str, priority: int) -> None:
    body = {"ids": [3], "priority": priority}
    assert site.get("/v1/jobs/prioritize", cookie, "POST", body, X_Gpujobs="1")[0] == 200


def has_priority(priority: int) -> Callable[[str, Any], bool]:
    return lambda _, data: any(
        row.get("job", {}).get("priority") == priority for row in data.get("put", data.get("rows", []))
    )


def test_events_resume_where_they_were_left(pages: Pages) -> None:
    site = pages.site
    events = Events(site, pages.cookie)
    _, kind, first = events.next()
    assert kind == "now" and [row["key"] for row in first["rows"]] == ["j3", "j2", "j1"], "own jobs first"
    assert first["rows"][0]["job"]["name"] == HOSTILE, "as it is: the page only ever shows it as text"
    prioritize(site, pages.cookie, -1)
    seen, kind, _ = events.until(has_priority(-1))
    assert kind == "change"
    events.close()
    prioritize(site, pages.cookie, -2)
    back = Events(site, pages.cookie, last_id=seen)
    _, kind, change = back.until(has_priority(-2))
    assert kind == "change" and [row["key"] for row in change["put"]] == ["j3"], (
        "what was missed, and no more"
    )
    back.close()
    unknown = Events(site, pages.cookie, last_id="0123-7")
    assert unknown.next()[1] == "now"
    unknown.close()


def test_private_names_are_in_nobodys_events(alice: Person, bob: Person) -> None:
    with opened("[access]\nhide_names = true\n") as site:
        site.on_loop(lambda daemon: fill(daemon, alice, bob))
        told = {}
        for person in (alice, bob):
            events = Events(site, site.login(person))
            told[person.name] = {row["key"]: row["job"]["name"] for row in events.next()[2]["rows"]}
            events.close()
    assert told[alice.name] == {"j3": HOSTILE, "j2": None, "j1": "first"}
    assert told[bob.name] == {"j2": "other", "j3": None, "j1": None}


def test_a_page_that_does_not_read_is_dropped_and_fifty_others_hear(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpujobs.daemon.live.broadcast.BETWEEN_SECONDS", 0.01)
    site = pages.site
    stalled = Events(site, pages.bobs, with_buffer=2048)  # the hostile name alone is larger
    readers = [Events(site, pages.bobs) for _ in range(50)]
    dropped = threading.Event()

    def change(number: int) -> None:
        def tell(daemon: Parts) -> None:
            job = daemon.cache.jobs[3]
            demand = replace(job.demand, priority=-100 - number)
            daemon.cache.put(replace(job, demand=demand))

        site.on_loop(tell)
        dropped.wait(0.02)

    def is_gone() -> bool:
        change(number := next(numbers))
        return site.on_loop(lambda _: len(viewers(site))) == 50 and number > 32

    numbers = iter(range(10_000))
    eventually(is_gone, 60)
    change(20_000)
    assert all(events.until(has_priority(-20_100)) for events in readers)
    for events in (stalled, *readers):
        events.close()
    site.on_loop(lambda daemon: daemon.cache.put(daemon.store.job(3)))


def viewers(site: Site) -> list[Any]:
    import gc

    from gpujobs.daemon.live.broadcast import Channel

    return [one for channel in gc.get_objects() if isinstance(channel, Channel) for one in channel.viewers]


# Places


def test_a_port_in_use_leaves_the_socket_served(as_root: None) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with opened(web=f"127.0.0.1:{other.getsockname()[1]}") as site:
            assert site.asked("GET", "/v1/info")["web"] is None
            said = site.asked("POST", "/v1/web/link")
            checks = {check["name"]: check for check in site.asked("GET", "/v1/doctor")["checks"]}
            events = site.asked("GET", "/v1/queue")
    assert said["code"] == "machine" and "Address already in use" in said["message"]
    assert checks["pages"]["ok"] is False and "Address already in use" in checks["pages"]["message"]
    assert events["rows"] == []


def test_without_pages_nothing_listens(as_root: None) -> None:
    with opened(web="") as site:
        assert "serves no pages" in site.asked("POST", "/v1/web/link")["message"]


def test_a_proxy_speaks_for_everybody_under_its_own_name(alice: Person, bob: Person) -> None:
    config = f"[web]\nurl = 'https://gpu.example.org'\nproxy_user = '{bob.name}'\n"
    with opened(config) as site:
        port = site.on_loop(lambda _: json.loads((site.paths.run / "web.json").read_text())["port"])
        url = site.link(alice)
        assert url.startswith("https://gpu.example.org/login?token=")

        def through_proxy() -> list[Any]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            headers = {"Host": "gpu.example.org", "Origin": "https://gpu.example.org"}
            connection.request("GET", site.path_of(url), headers=headers)
            answer = connection.getresponse()
            return [answer.status, answer.getheader("Set-Cookie")]

        status, cookie = as_person(bob, through_proxy)
    assert status == 303 and "Secure" in cookie


def test_open_pages_find_the_next_daemon(as_root: None) -> None:
    directory = short_directory()
    try:
        with Site(directory, web="127.0.0.1:0") as site:
            cookie, address = site.login(), site.address
        with Site(directory, web="127.0.0.1:0") as site:
            assert site.address == address and site.get("/v1/info", cookie)[0] == 200
    finally:
        shutil.rmtree(directory, ignore_errors=True)


# Metrics


def families(site: Site) -> dict[str, Any]:
    status, headers, text = site.get("/metrics")
    assert status == 200 and headers["Content-Type"].startswith("application/openmetrics-text")
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_metrics_name_no_job_and_no_user_and_are_what_the_store_says(pages: Pages) -> None:
    found = families(pages.site)
    assert all(name.startswith("gpujobs_") for name in found)
    labels = {name for family in found.values() for sample in family.samples for name in sample.labels}
    assert labels <= {"version", "state", "reason", "node", "device"}
    ended = {sample.labels["state"]: sample.value for sample in found["gpujobs_jobs_ended"].samples}
    assert ended["completed"] == 1 and sum(ended.values()) == 1
    waiting = {sample.labels["state"]: sample.value for sample in found["gpujobs_jobs"].samples}
    assert waiting["pending"] == 2
    assert pages.site.get("/metrics", Host="evil.example")[0] == 403


@pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool here; `apt install prometheus`, or scripts/test, brings it"
)
@pytest.mark.parametrize("accept", ["*/*", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"])
def test_promtool_accepts_the_metrics(alice: Person, bob: Person, accept: str) -> None:
    """It reads Prometheus's own form alone, as whoever takes anything gets it."""
    assert PROMTOOL is not None
    with opened("[web]\nusers_in_metrics = true\n") as site:
        site.on_loop(lambda daemon: fill(daemon, alice, bob))
        site.on_loop(with_devices)
        status, headers, text = site.get("/metrics", Accept=accept)
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    plain = {
        (one.name, *one.labels.items(), one.value)
        for family in plain_families(text)
        for one in family.samples
    }
    assert ("gpujobs_device_utilization_ratio", ("device", "gpu0"), ("node", "n"), 0.87) in plain


def test_users_are_in_the_metrics_where_the_site_says_so(alice: Person, bob: Person) -> None:
    with opened("[web]\nusers_in_metrics = true\n") as site:
        site.on_loop(lambda daemon: fill(daemon, alice, bob))
        samples = families(site)["gpujobs_user_jobs"].samples
    assert {sample.labels["user"]: sample.value for sample in samples} == {alice.name: 1, bob.name: 1}


def test_the_dashboard_asks_for_metrics_that_exist_by_labels_that_they_have(as_root: None) -> None:
    board = json.loads((ROOT / "scripts/grafana.json").read_text())
    with opened() as site:
        site.on_loop(with_devices)
        samples = [sample for family in families(site).values() for sample in family.samples]
    known = {sample.name: set(sample.labels) for sample in samples} | {"gpujobs_jobs_waiting": {"reason"}}
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    for target in targets:
        names = re.findall(r"gpujobs_\w+", target["expr"])
        labels = re.findall(r"{{ *(\w+) *}}", target.get("legendFormat", ""))
        assert names and known.keys() >= set(names) and all(known[name] >= set(labels) for name in names), (
            target
        )
    assert len(targets) >= 8
