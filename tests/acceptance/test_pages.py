"""The pages in a real browser: what is on them, that hostile names are text, and that nothing complains. Pictures go
to the directory that GPUJOBS_PICTURES names."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from gpujobs.daemon.build import Parts
from gpujobs.lifecycle import Finish
from gpujobs.model import (
    Caller,
    Device,
    DeviceKind,
    Node,
    NodeStatus,
    Process,
    Reason,
    State,
    iso,
    utc_now,
)
from gpujobs.policy import Reservation
from tests.unit.store.jobs import DONE, complete, having, new_job

from .browser import CHROMIUM, Browser, browsing
from .harness import short_directory
from .test_web import HOSTILE, Site, opened

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; `apt install chromium`")

ROOT = Caller(0, 0, 1, "root")
OTHER = Caller(12345, 12345, 1, "carla")
HISTORY = "epoch,loss,accuracy,val_loss,val_accuracy\n" + "".join(
    f"{n},{1 / (n + 1):.4f},{1 - 1 / (n + 2):.4f},{1.2 / (n + 1):.4f},{0.95 - 1 / (n + 2):.4f}\n"
    for n in range(20)
)


GPUS = (
    Device("n", DeviceKind.GPU, 0, "GPU-0", "NVIDIA H100 80GB HBM3", 80 << 30, 21 << 30, 87, 61, 412.0),
    Device("n", DeviceKind.GPU, 1, "GPU-1", "NVIDIA H100 80GB HBM3", 80 << 30, 3 << 30, 12, 40, 90.0,
           (Process(77, "dora", 3 << 30, f"python {HOSTILE}"),)),
)  # fmt: skip


async def nothing() -> list[Node]:
    return []


def fill(daemon: Parts) -> None:
    """Two GPUs, a stranger on one, and twelve jobs in many standings; job 1 has results, job 2 runs."""
    daemon.nodes._nodes = {"n": Node("n", NodeStatus.OK, devices=GPUS)}
    daemon.nodes.probe = nothing  # type: ignore[method-assign]  # no agent answers here
    results = daemon.paths.result(1)
    results.mkdir(mode=0o700)
    empty = str(daemon.paths.result(4))
    Path(empty).mkdir(mode=0o700)
    (results / "history.csv").write_text(HISTORY)
    (results / "log.txt").write_text(
        "".join(f"epoch {n + 1}/20 - loss {1 / (n + 1):.4f}\n" for n in range(20))
    )
    (results / "metrics.json").write_text('{"final": {"loss": 0.05, "val_loss": 0.06}}')
    store = daemon.store
    names = [
        "tutorial-lstm",
        "power-forecast",
        "sensors",
        "sensors",
        "ecg",
        "overnight",
        "wind",
        HOSTILE,
        "load-2027",
    ]
    for number, name in enumerate(names, 1):
        (job,) = store.submit(
            ROOT, str(number), [having(new_job(name, held=number == 6), data=(), time_limit_seconds=14400.0)]
        )
    store.submit(OTHER, "10", [replace(new_job("carlas-run"), data=())])
    group = [
        replace(new_job("grid"), data=(), group="grid", group_start=0, sweep_values={"training.seed": n})
        for n in (0, 1)
    ]
    store.submit(ROOT, "11", group)
    attempt = store.start_attempt(1, GPUS[0]).attempt
    store.mark_running(1, attempt, 99, utc_now())
    store.mark_completing(1, attempt, {"state": "COMPLETED", "exit": {"code": 0, "signal": None}})
    store.usage.set_device_use(
        1, 1, {"samples": 9, "seconds": 60.0, "load_seconds": 60.0, "busy_seconds": 17.4}
    )
    store.finish(1, DONE, str(results))
    for number in (2, 3):
        attempt = store.start_attempt(number, GPUS[0]).attempt
        if number == 2:
            store.mark_running(number, attempt, os.getpid(), utc_now())
    complete(store, 4, Finish(State.FAILED, Reason.SIGNAL, "the trainer was killed by signal 9"), empty)
    complete(store, 5, Finish(State.OUT_OF_MEMORY, Reason.NONE, "it needed more than the device has"), empty)
    store.cancel_pending(7, "root", Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, "cancelled by root"))
    for job in store.unfinished():
        daemon.cache.put(job)
    daemon.cache.set_progress(2, {"epoch": 7, "epochs": 20, "loss": 0.1432, "eta_seconds": 95})


HOURS = ((11, 9, "COMPLETED"), (8, 6.5, "FAILED"), (6, 3, "COMPLETED"), (2.8, 2.5, "CANCELLED"))
"""Begin and end of what ran on the first GPU, hours ago, and how it ended."""


def fill_lanes(daemon: Parts) -> None:
    """As `fill`, with a past: jobs and a stranger on the first GPU; the second is drained, and reserved in an hour."""
    fill(daemon)
    store, now = daemon.store, utc_now()

    def ago(hours: float) -> str:
        return str(iso(now - timedelta(hours=hours)))

    for begin, end, state in HOURS:
        (job,) = store.submit(ROOT, f"past{begin}", [replace(new_job(f"night {HOSTILE}"), data=())])
        reason = Reason.SIGNAL if state == "FAILED" else Reason.NONE
        attempt = store.start_attempt(job.id, GPUS[0]).attempt
        store.mark_running(job.id, attempt, 99, now)
        store.mark_completing(job.id, attempt, {"state": state, "exit": {"code": 0, "signal": None}})
        daemon.cache.put(store.finish(job.id, Finish(State(state), reason, ""), None))
        change = "UPDATE attempts SET started_at = ?, ended_at = ? WHERE job = ?"
        store._connection.execute(change, (ago(begin), ago(end), job.id))
    seen = "INSERT INTO device_events (device, at, kind, actor, message) VALUES (?, ?, ?, ?, ?)"
    for device, hours, kind, said in (
        ("GPU-0", 4, "stranger", f"pid 9 of dora: {HOSTILE}"),
        ("GPU-1", 3, "drained", "fan"),
    ):
        store._connection.execute(seen, (device, ago(hours), kind, "root", said[:300]))
    later = [now + timedelta(hours=hours) for hours in (1, 6)]
    store.reservations.add(Reservation(0, "GPU-1", later[0], later[1], "alice", None), "root")


USED = "document.querySelectorAll('.use td .share').length > 2"
OF_GPU_0 = (
    "[...document.querySelectorAll('.use tbody tr')].find((one) => one.textContent.startsWith('n:gpu 0'))"
)
SEARCH = "document.querySelector('input[type=search]')"
CURVES = "document.querySelectorAll('.plots canvas').length == 2"
LOG = "document.querySelector('pre').textContent.includes('epoch 20')"
MADE = "document.body.innerText.includes('GPU load 29% (idle 71%)')"
BUTTONS = "[...document.querySelectorAll('.actions button')]"


async def visit(site: Site, browser: Browser, pictures: Path | None) -> None:
    url = site.asked("GET", "/v1/info")["web"]
    await browser.look()
    await browser.call("Page.navigate", url=site.link())
    await browser.until("document.querySelectorAll('.queue tbody tr').length >= 10")
    assert await browser.run("location.search") == "" and "login" not in await browser.run(
        "document.referrer"
    )
    assert await browser.run(f"document.body.innerText.includes({HOSTILE[:25]!r})"), "it is text"
    assert await browser.run("document.querySelectorAll('main script').length") == 0
    assert await browser.run("document.querySelectorAll('.card').length") == 2
    assert await browser.run("document.querySelector('.card p.foreign').textContent.includes('dora pid 77')")
    await shoot(browser, pictures, "now")
    await browser.run(f"{SEARCH}.value = 'power'; {SEARCH}.oninput()")
    assert await browser.run("document.querySelectorAll('.queue tbody tr').length") == 1
    site.on_loop(lambda daemon: daemon.cache.set_progress(2, {"epoch": 8, "epochs": 20, "loss": 0.12}))
    await browser.until("document.body.innerText.includes('epoch 8/20')", 5)
    for name, until in (
        ("job/1", f"{CURVES} && {LOG} && {MADE}"),
        ("results", "document.querySelectorAll('tbody tr').length == 1"),
        ("compare/1,4", CURVES),
        ("usage/week,90", f"{USED} && document.querySelector('.use tbody th').textContent.startsWith('from ')"),
        ("usage", f"{USED} && document.querySelector('.present').textContent.includes('carla')"),
        ("job/8", "document.querySelector('h1').textContent.includes('script')"),
        ("job/9", "document.querySelectorAll('.actions button').length == 2"),
    ):  # fmt: skip
        await browser.run(f"location.hash = {name!r}")
        await browser.until(until)
        await shoot(browser, pictures, name.replace("/", "-").replace(",", "-"))
    await save_sort_and_compare(browser)
    await choose_what_is_summed(site, browser)
    await browser.run("location.hash = 'job/9'")
    await browser.until("document.querySelectorAll('.actions button').length == 2")
    await browser.run(
        f"window.confirm = () => true; {BUTTONS}.find((one) => one.textContent == 'cancel').click()"
    )

    await browser.until("document.querySelector('h1 + p').textContent.includes('CANCELLED')")
    assert site.asked("GET", "/v1/jobs/9")["job"]["state"] == "CANCELLED"
    assert not browser.complaints, browser.complaints[0]
    assert await browser.run(
        "performance.getEntries().every((one) => !one.name.startsWith('http') || one.name.startsWith(location.origin))"
    )
    assert url


async def choose_what_is_summed(site: Site, browser: Browser) -> None:
    """By the keys with which radio buttons are chosen; what the table and the file say is what the daemon says."""
    await browser.run("location.hash = 'usage'")
    await browser.until(USED)
    await browser.run("document.querySelector('input[value=user]').focus()")
    for _ in range(3):
        for kind in ("rawKeyDown", "keyUp"):
            await browser.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key="ArrowRight",
                code="ArrowRight",
                windowsVirtualKeyCode=39,
            )
    await browser.until(f"!!{OF_GPU_0}")
    assert await browser.run("location.hash") == "#usage/device,7"
    assert await browser.run("document.activeElement.value") == "device", "the focus stays where it was"
    rows = {row["key"]: row for row in site.asked("GET", "/v1/report?by=device")["rows"]}
    shown = await browser.run(f"{OF_GPU_0}.querySelector('td[data-head=Jobs]').textContent")
    assert str(rows["n:gpu 0"]["jobs"]) == shown
    assert await browser.run(f"{OF_GPU_0}.querySelector('.share i').getBoundingClientRect().width") > 20
    text = await browser.run(
        "fetch(document.querySelector('main a[download]').href).then((one) => one.text())"
    )
    (line,) = [one for one in csv.DictReader(io.StringIO(text)) if one["key"] == "n:gpu 0"]
    assert line["jobs"] == shown and float(line["gpu_hours"]) > 0


async def save_sort_and_compare(browser: Browser) -> None:
    """By clicks, as a person does."""
    with tempfile.TemporaryDirectory() as directory:
        await browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=directory)
        await browser.run("location.hash = 'job/1'")
        link = "document.querySelector('a[download=\"history.csv\"]')"
        await browser.until(f"!!{link}")
        await browser.run(f"{link}.click()")
        async with asyncio.timeout(20):
            while not (saved := Path(directory, "history.csv")).exists() or saved.read_text() != HISTORY:
                await asyncio.sleep(0.05)
    await browser.run("location.hash = 'results'")
    await browser.until("document.querySelectorAll('th button').length == 6")
    await browser.run(
        "[...document.querySelectorAll('th button')].find((one) => one.textContent == 'Name').click()"
    )
    await browser.until("document.querySelector('th[aria-sort=ascending]')?.textContent == 'Name'")
    await browser.run("document.querySelector('nav a[href=\"#compare\"]').click()")
    await browser.until("!!document.querySelector('form input')")
    await browser.run(
        "document.querySelector('form input').value = '1, 4'; document.querySelector('form button').click()"
    )
    await browser.until(f"{CURVES} && document.querySelectorAll('.wide tbody tr').length == 2")


BARS = "[...document.querySelectorAll('.bars .bar')]"
TIP = "document.querySelector('.tip')"
KEY = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {{key: {!r}, bubbles: true}}))"

OF_JOB_2 = "document.querySelector('.bars a[href=\"#job/2\"]')"
CLICK = """{ const lane = document.querySelector('.bars'), box = lane.getBoundingClientRect();
lane.dispatchEvent(new MouseEvent('click', { clientX: box.left + 0.9 * box.width, clientY: box.top + 5 })) }"""


def end_job_2(daemon: Parts) -> None:
    (attempt,) = daemon.store.attempts(2)
    daemon.store.mark_completing(
        2, attempt.number, {"state": "COMPLETED", "exit": {"code": 0, "signal": None}}
    )
    daemon.cache.put(daemon.store.finish(2, DONE, None))


async def rewind(site: Site, browser: Browser, pictures: Path | None) -> None:
    await browser.look()
    await browser.call("Page.navigate", url=site.link())
    await browser.until("document.querySelectorAll('.queue tbody tr').length >= 10")
    await browser.run("location.hash = 'timeline'")
    await browser.until(f"{BARS}.length > 6")
    kinds = set(await browser.run(f"{BARS}.map((one) => one.getAttribute('class').slice(4))"))
    assert kinds >= {
        "job RUNNING",
        "job COMPLETED",
        "job FAILED",
        "job",
        "expected",
        "reservation",
        "drain",
        "stranger",
    }
    assert await browser.run("document.querySelectorAll('.lane h2').length") == 3, (
        "two devices, one that is gone"
    )
    assert await browser.run("document.querySelectorAll('main script').length") == 0
    assert await browser.run(f"{BARS}.some((one) => one.textContent.includes('<script>'))"), "it is text"
    await shoot(browser, pictures, "timeline")

    stops = f"{BARS}.filter((one) => one.getAttribute('tabindex') == '0')"
    assert await browser.run(f"{stops}.length") == 3, "one stop for each lane"
    await browser.run(f"{stops}.find((one) => one.textContent.includes('night')).focus()")
    first = await browser.run(f"{TIP}.hidden ? '' : {TIP}.textContent")
    assert first.startswith("job ") and "attempt 1, COMPLETED since" in first
    await browser.run(KEY.format("ArrowRight"))
    second = await browser.run(f"{TIP}.textContent")
    assert "attempt 1, FAILED since" in second, second
    await browser.run(KEY.format("ArrowDown"))
    await browser.run(KEY.format("End"))
    assert await browser.run(f"{TIP}.textContent.startsWith('reserved for alice from')")
    if pictures is not None:
        await browser.picture(pictures / "timeline-tip.png")
    await browser.run(KEY.format("Escape"))
    assert await browser.run(f"{TIP}.hidden")

    at = "document.getElementById('at')"
    moment = (datetime.now() - timedelta(hours=10)).strftime("%Y-%m-%dT%H:%M")
    await browser.run(f"{at}.value = {moment!r}; {at}.onchange()")
    await browser.until("document.querySelector('.was h2').textContent.startsWith('As it was')")
    then = await browser.run("[...document.querySelectorAll('dd')].map((one) => one.textContent)")
    assert sorted(text[:4] for text in then) == ["free", "free", "job "], then
    await shoot(browser, pictures, "timeline-then")
    assert await browser.run("document.querySelectorAll('.bars .at').length") == 3
    await browser.run("[...document.querySelectorAll('.actions button')].at(-1).click()")
    await browser.until("document.querySelector('.was h2').textContent == 'Now'")
    assert "RUNNING" in await browser.run(f"{OF_JOB_2}.getAttribute('class')")
    site.on_loop(end_job_2)
    await browser.until(f"{OF_JOB_2}.getAttribute('class').includes('COMPLETED')")
    await browser.run(CLICK)
    await browser.until("document.querySelector('.was h2').textContent.startsWith('As is expected')")

    await browser.run("location.hash = 'job/1'")
    await browser.until("document.querySelector('figure img')?.naturalWidth == 640")
    assert await browser.run("document.querySelectorAll('figure').length") == 1, (
        "what is no picture is not shown"
    )
    assert not browser.complaints, browser.complaints[0]
    await browser.until("document.querySelectorAll('.plots canvas').length == 2")
    await shoot(browser, pictures, "job-pictures")


async def shoot(browser: Browser, pictures: Path | None, name: str) -> None:
    for kind, look in (("light", {}), ("dark", {"is_dark": True}), ("phone", {"width": 390, "height": 844})):
        await browser.look(**look)
        wide = await browser.run("document.documentElement.scrollWidth > innerWidth")
        assert not wide, f"{name} is wider than a {kind} screen"
        violations = await browser.violations()
        assert not violations, f"{name}, {kind}: {violations}"
        if pictures is not None:
            await browser.picture(pictures / f"{name}-{kind}.png")
    await browser.look()


def browse(site: Site, look: Callable[[Site, Browser, Path | None], Awaitable[None]]) -> None:
    """Has `look` look, with the directory that pictures go to."""
    pictures = os.environ.get("GPUJOBS_PICTURES")

    async def work() -> None:
        async with browsing() as browser:
            await look(site, browser, Path(pictures) if pictures else None)

    asyncio.run(work())


def test_the_time_line_is_rewound_and_tells_by_keyboard_what_each_bar_is(as_root: None) -> None:
    with opened() as site:
        site.on_loop(fill_lanes)
        draw(site.daemon.paths.result(1))
        browse(site, rewind)


def after_the_restart(daemon: Parts) -> None:
    """What has happened while no page could hear of it."""
    daemon.nodes._nodes = {"n": Node("n", NodeStatus.OK, devices=GPUS)}
    daemon.nodes.probe = nothing  # type: ignore[method-assign]
    daemon.store.submit(ROOT, "late", [new_job("late-one")])
    daemon.store.cancel_pending(9, "root", Finish(State.CANCELLED, Reason.CANCELLED_BY_USER, ""))
    for job in daemon.store.jobs([9, daemon.store.highest_number()]):
        daemon.cache.put(job)


def test_pages_are_back_within_five_seconds_of_a_restart_and_have_missed_nothing(as_root: None) -> None:
    async def look(directory: Path) -> None:
        async with browsing() as browser:
            first = Site(directory, web="127.0.0.1:0")
            await asyncio.to_thread(first.__enter__)
            first.on_loop(fill)
            await browser.call("Page.navigate", url=first.link())
            await browser.until("document.querySelectorAll('.queue tbody tr').length >= 10")
            assert "load-2027" in await browser.run("document.body.innerText")
            await asyncio.to_thread(first.__exit__)
            await browser.until("document.getElementById('link').textContent.includes('away')")
            second = Site(directory, after_the_restart, web="127.0.0.1:0")
            await asyncio.to_thread(second.__enter__)
            try:
                row = "[...document.querySelectorAll('.queue tbody tr')].find((one) => one.textContent.includes({!r}))"
                late, cancelled = row.format("late-one"), row.format("load-2027")
                await browser.until(f"{late} && {cancelled}?.textContent.includes('CANCELLED')", 5)
                await browser.until("document.getElementById('link').textContent == 'live'", 1)
                second.on_loop(
                    lambda daemon: daemon.cache.set_progress(2, {"epoch": 9, "epochs": 20, "loss": 0.1})
                )
                await browser.until("document.body.innerText.includes('epoch 9/20')", 5)
            finally:
                await asyncio.to_thread(second.__exit__)

    directory = short_directory()
    try:
        asyncio.run(look(directory))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def draw(results: Path) -> None:
    """A picture, and what calls itself one."""
    figure = Figure(figsize=(6.4, 4.0), dpi=100)
    figure.subplots().plot([1, 3, 2])
    figure.savefig(results / "forecast.png")
    (results / "confusion.png").write_text(HOSTILE)


def test_all_that_a_page_loads_is_at_most_150_kB() -> None:  # noqa: N802 - the unit
    files = resources.files("gpujobs.web").joinpath("static").iterdir()
    assert sum(len(file.read_bytes()) for file in files) <= 150_000


def test_the_pages_show_ten_jobs_and_do_as_they_are_told(as_root: None) -> None:
    with opened() as site:
        site.on_loop(fill)
        browse(site, visit)
