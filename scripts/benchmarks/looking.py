"""Ten thousand jobs waiting, a hundred thousand ended, and many who look: pages, terminals, Prometheus."""

from __future__ import annotations

import asyncio
import http.client
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.idle import processor_ms
from benchmarks.support.crowd import FIRST_UID, USERS, Crowd, fill
from benchmarks.support.daemon import Daemon, installed_command
from benchmarks.support.machine import ROOT
from benchmarks.support.options import Options
from benchmarks.support.rows import Row
from benchmarks.support.timing import timed, until
from benchmarks.support.viewers import Pages, cookie_of, terminal
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.model import Caller, utc_now
from gpujobs.paths import StatePaths
from gpujobs.policy import Reservation
from gpujobs.store.store import Store
from tests.acceptance.browser import CHROMIUM, Browser, browsing
from tests.acceptance.people import Person, as_person
from tests.fake_nvml import GIB, box, uuid

GPUS = 8
PAGES = 50
QUEUED = 1000
"""Jobs that `status --watch` looks at."""

CONFIG = "[web]\nusers_in_metrics = true\n[quotas]\nconnections = 256\n"
CACHED_SECONDS = 5.1
"""So long `/metrics` answers from what it has worked out."""

SETTLING_SECONDS = 5.0
QUICKER = 0.05
"""Seconds between two changes of a busy queue."""

PAINTED = """(() => { const look = () => {
    if (window.painted !== undefined || !document.querySelector('.queue tbody tr')) return;
    window.painted = null;
    requestAnimationFrame(() => setTimeout(() => { window.painted = performance.now(); }));
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true }); })()"""
"""When the queue stands on the page, in milliseconds after its address was asked for."""

HEARD = """(() => { window.heard = null; new MutationObserver(() => {
    const row = document.querySelector('a[href="#job/%d"]')?.closest('tr');
    if (row?.querySelector('.says').textContent.startsWith('Held')) window.heard ??= Date.now();
  }).observe(document, { childList: true, subtree: true }); })()"""

FILES = """[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .filter((one) => one.initiatorType !== 'eventsource' && !one.name.includes('/events'))
  .reduce((sum, one) => sum + one.decodedBodySize, 0)"""


@dataclass(frozen=True, slots=True)
class Box:
    daemon: Daemon
    me: Caller

    def link(self, uid: int | None = None) -> str:
        """As somebody else, where we are root."""

        def ask() -> str:
            with self.daemon.client() as client:
                return str(client.post("/v1/web/link", {})["url"])

        return ask() if uid is None else str(as_person(Person(f"user{uid}", uid, uid, Path("/")), ask))

    @property
    def address(self) -> tuple[str, int]:
        with self.daemon.client() as client:
            parts = urlsplit(client.get("/v1/info")["web"])
        assert parts.hostname and parts.port
        return parts.hostname, parts.port

    def change(self, verb: str, job: int) -> None:
        with self.daemon.client() as client:
            client.post(f"/v1/jobs/{verb}", {"ids": [job]})

    @contextmanager
    def busy(self, seconds: float) -> Iterator[None]:
        """A job is held or released every so many seconds."""
        job, ended = self.own_job(), threading.Event()

        def work() -> None:
            verbs = ["hold", "release"]
            while not ended.wait(seconds):
                verbs.reverse()
                self.change(verbs[1], job)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(20)
            self.change("release", job)

    def own_job(self) -> int:
        """One that waits and is not held."""
        with self.daemon.client() as client:
            jobs = client.get("/v1/jobs", user=self.me.user, state="PENDING")["jobs"]
        found = [int(job["id"]) for job in jobs if not job["held"]]
        if not found:
            raise RuntimeError(f"{self.me.user} has no job that waits")
        return found[0]


def measure(options: Options) -> list[Row]:
    title = f"{options.waiting:,} waiting, {options.ended:,} ended"
    with opened(options, Crowd(options.waiting, options.ended, caller())) as found:
        rows = [
            *pages(found, options),
            *audience(found, options),
            *terminals(found, options),
            *numbers(found, options),
        ]
        rows.append(Row("status", "s", tuple(
            timed(lambda: found.daemon.run("status")) for _ in range(options.commands)), 0.3))  # fmt: skip
    few = Crowd(min(QUEUED, options.waiting), 0, caller())
    with opened(options, few) as found:
        rows.append(Row(f"{few.waiting:,} waiting, 20 changes a second: status --watch",
                        "draws/s", tuple(draws(found, options)), 2.0))  # fmt: skip
    return [replace(row, what=row.what if "waiting" in row.what else f"{title}: {row.what}") for row in rows]


def caller() -> Caller:
    from gpujobs.daemon.access.identity import user_name

    return Caller(os.getuid(), os.getgid(), 0, user_name(os.getuid()))


# The box


@contextmanager
def opened(options: Options, crowd: Crowd) -> Iterator[Box]:
    """A daemon over a store with this crowd, and eight GPUs that the tests' NVML library makes up: on four is a
    stranger, four are reserved, so that everything waits."""
    is_site = os.geteuid() == 0
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gj-")))
        root.chmod(0o755)
        stranger = stack.enter_context(closing_process(["sleep", "infinity"]))
        gpus = box(root, GPUS)
        gpus.processes = [(index, "C", stranger.pid, 3 * GIB) for index in range(GPUS // 2)]
        gpus.write()
        daemon = Daemon(1, gpus.environment, is_site=is_site, config=CONFIG)
        paths = StatePaths(daemon.state)
        prepare_state(paths, Mode.SITE if is_site else Mode.PERSONAL)
        shutil.copyfile(made(crowd, options), paths.database)
        paths.database.chmod(0o600)
        reserve(paths.database)
        daemon.start()
        stack.callback(daemon.stop)
        until(lambda: seen(daemon) == GPUS, 60, f"{GPUS} GPUs")
        yield Box(daemon, crowd.first_user or caller())


@contextmanager
def closing_process(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def seen(daemon: Daemon) -> int:
    with daemon.client() as client:
        return len(client.get("/v1/gpus")["devices"])


def made(crowd: Crowd, options: Options) -> Path:
    """The store, which takes minutes to make, and is kept for the next time; its copies are migrated."""
    directory = ROOT / "build"
    directory.mkdir(exist_ok=True)
    path = directory / f"crowd-{crowd.waiting}-{crowd.ended}-{os.getuid()}.db"
    if not path.exists():
        if options.say is not None:
            options.say(f"making {path.name}, which is kept")
        partial = path.with_suffix(".part")
        for old in directory.glob(f"{partial.name}*"):
            old.unlink()
        fill(partial, crowd)
        partial.replace(path)
    return path


def reserve(database: Path) -> None:
    with closing(Store(database)) as store:
        begin, end = utc_now() - timedelta(hours=1), utc_now() + timedelta(hours=4)
        for index in range(GPUS // 2, GPUS):
            store.reservations.add(Reservation(0, uuid(index), begin, end, "nobody", None), "root")


# The pages


def pages(found: Box, options: Options) -> list[Row]:
    if CHROMIUM is None:
        return [Row("the page", "s", (), note="no chromium here")]
    painted, heard, sizes = asyncio.run(in_browser(found, options.repeat))
    return [
        Row("the queue stands on the page", "s", tuple(painted), 1.0),
        Row("an event stands on the page after", "s", tuple(heard), 1.0),
        Row("page, styles and scripts", "kB", tuple(sizes), 150.0),
    ]


async def in_browser(found: Box, repeat: int) -> tuple[list[float], list[float], list[float]]:
    painted, heard, sizes = [], [], []
    job = await asyncio.to_thread(found.own_job)
    async with browsing() as browser:
        await browser.look()
        await browser.call("Page.addScriptToEvaluateOnNewDocument", source=PAINTED)
        for _ in range(repeat):
            await browser.call("Page.navigate", url=await asyncio.to_thread(found.link))
            await browser.until("typeof window.painted === 'number'")
            painted.append(await browser.run("window.painted") / 1000)
            sizes.append(await browser.run(FILES) / 1000)
            heard.append(await event(browser, found, job))
            await browser.call("Page.navigate", url="about:blank")
    return painted, heard, sizes


async def event(browser: Browser, found: Box, job: int) -> float:
    """Seconds from the request to hold a job until its row says so."""
    await browser.run(HEARD % job)
    began = time.time()
    await asyncio.to_thread(found.change, "hold", job)
    await browser.until("window.heard !== null")
    seconds = await browser.run("window.heard") / 1000 - began
    await asyncio.to_thread(found.change, "release", job)
    return float(seconds)


def audience(found: Box, options: Options) -> list[Row]:
    """What open pages cost the daemon, beyond what it costs without them."""
    ours = cookie_of(found.link())
    cases = {f"{PAGES} pages of one user": [ours] * PAGES}
    if os.geteuid() == 0:
        users = range(FIRST_UID + 1, FIRST_UID + USERS)
        cases[f"{PAGES} pages of {PAGES} users"] = [*map(cookie_of, map(found.link, users)), ours]
    rows = []
    for what, during in (("at rest", nullcontext), ("an event a second", lambda: found.busy(1.0))):
        for title, cookies in cases.items():
            costs = [cost(found, cookies, during, options.idle_seconds) for _ in range(options.repeat)]
            rows.append(Row(f"{title}, {what}: daemon", "% of a core", tuple(costs), 10.0))
    return rows


def cost(found: Box, cookies: Sequence[str], during: Callable[[], object], seconds: float) -> float:
    settling = min(SETTLING_SECONDS, seconds)
    with during():  # type: ignore[attr-defined]
        time.sleep(settling)
        alone = load(found.daemon.pid, seconds)
        with Pages(found.address, cookies).open():
            time.sleep(settling)
            watched = load(found.daemon.pid, seconds)
        return max(0.0, watched - alone)


def load(pid: int, seconds: float) -> float:
    """Percent of a core."""
    before, began = processor_ms(pid), time.monotonic()
    time.sleep(seconds)
    return (processor_ms(pid) - before) / (time.monotonic() - began) / 10


# Terminals


def terminals(found: Box, options: Options) -> list[Row]:
    loads, sizes = [], []
    for _ in range(options.repeat):
        command = [*installed_command(), "top"]
        with terminal(command, found.daemon.environment, columns=200, lines=50) as top:
            top.until_written(5000)
            time.sleep(min(SETTLING_SECONDS, options.idle_seconds))
            loads.append(load(top.process.pid, options.idle_seconds))
            sizes.append(resident_mb(top.process.pid))
    return [
        Row("top at rest: processor", "% of a core", tuple(loads), 3.0),
        Row("top at rest: memory", "MB", tuple(sizes), 80.0),
    ]


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kib,) = [line.split()[1] for line in lines if line.startswith("VmRSS")]
    return int(kib) * 1024 / 1e6


def draws(found: Box, options: Options) -> Iterator[float]:
    command = [*installed_command(), "status", "--watch"]
    for _ in range(options.repeat):
        with (
            terminal(command, found.daemon.environment, columns=120, lines=40) as watched,
            found.busy(QUICKER),
        ):
            watched.until_written(100)
            before = watched.draws
            time.sleep(options.idle_seconds)
            yield (watched.draws - before) / options.idle_seconds


# Prometheus


def numbers(found: Box, options: Options) -> list[Row]:
    host, port = found.address
    seconds, series = [], []

    def scrape() -> None:
        with closing(http.client.HTTPConnection(host, port, timeout=20)) as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        series.append(sum(not line.startswith("#") for line in text.splitlines()))

    scrape()  # counts what had ended before, once
    series.clear()
    for _ in range(options.repeat):
        time.sleep(CACHED_SECONDS)
        seconds.append(timed(scrape))
    return [
        Row("/metrics, worked out anew", "ms", tuple(1000 * one for one in seconds), 20.0),
        Row(f"/metrics of {GPUS} GPUs and {USERS} users", "series", tuple(map(float, series)), 300.0),
    ]
