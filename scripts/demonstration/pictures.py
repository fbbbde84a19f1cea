"""The pictures: commands that draw, `top`, and every page in a browser."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

from demonstration.lab import Lab
from demonstration.work import say
from tests.acceptance.browser import CHROMIUM, Browser, browsing

MOST_BYTES = 200_000
LIGHT: dict[str, Any] = {"width": 1200, "height": 860}
DARK = {**LIGHT, "is_dark": True}
PHONE: dict[str, Any] = {"width": 390, "height": 844}
LOOKS = {"light": LIGHT, "dark": DARK, "phone": PHONE}
TOP = (120, 40)

CURVES = "document.querySelectorAll('.plots canvas').length >= 2"
DRAWN = (
    "[...document.images].every((one) => (one.loading = 'eager', one.naturalWidth)) && document.images.length"
)


def take(lab: Lab, directory: Path) -> None:
    drawn(lab, directory)
    if CHROMIUM is None:
        say("no chromium here: `top` and the pages are left out (apt install chromium)")
    else:
        asyncio.run(seen(lab, directory))
    for path in directory.glob("*.png"):
        shrink(path)


def drawn(lab: Lab, directory: Path) -> None:
    """What commands write, and what jobs leave."""
    say("drawing")
    jobs = {job["name"]: job for job in json.loads(lab.as_admin("status", "--all", "--json"))}
    sweep = next(job["group_id"] for job in jobs.values() if job["group"] == "optimizer-sweep")
    for name, arguments in (
        ("timeline", ("timeline", "--from", "-24h")),
        ("report", ("report", "--by", "user")),
        ("sweep", ("plot", f"g{sweep}")),
    ):
        path = lab.root / f"{name}.png"
        lab.as_admin(*arguments, "--output", path)
        shutil.copyfile(path, directory / f"{name}.png")
    for name, wanted in (
        ("forecast-load", "forecast"),
        ("forecast-load", "curves"),
        ("gestures", "confusion"),
    ):
        shutil.copyfile(Path(jobs[name]["results"]) / f"{wanted}.png", directory / f"{wanted}.png")


async def seen(lab: Lab, directory: Path) -> None:
    say("looking")
    jobs = {
        job["name"]: job
        for job in json.loads(await asyncio.to_thread(lab.as_admin, "status", "--all", "--json"))
    }
    forecast, running, gestures = (jobs[name]["id"] for name in ("forecast-load", "load-2027", "gestures"))
    sweep = next(job["group_id"] for job in jobs.values() if job["group"] == "optimizer-sweep")
    async with browsing() as browser:
        await browser.look(**LIGHT)
        await browser.call("Emulation.setLocaleOverride", locale="en-GB")
        await browser.call("Emulation.setScrollbarsHidden", hidden=True)
        await browser.call("Page.navigate", url=await asyncio.to_thread(lab.link))
        for name, address, until, looks in (
            ("now", "now", "document.querySelectorAll('.queue tbody tr').length >= 8", "light dark phone"),
            ("timeline", "timeline", "document.querySelectorAll('.bars .bar').length > 6", "light phone"),
            ("job-running", f"job/{running}", CURVES, "light dark phone"),
            ("job-forecast", f"job/{forecast}", f"{CURVES} && {DRAWN}", "light"),
            ("job-classes", f"job/{gestures}", f"{CURVES} && {DRAWN}", "light"),
            ("compare", f"compare/g{sweep}", CURVES, "light dark"),
            ("results", "results", "document.querySelectorAll('tbody tr').length >= 3", "light"),
            ("usage", "usage", "document.querySelectorAll('.use tbody tr').length >= 3", "light dark phone"),
        ):
            await browser.run(f"location.hash = {address!r}")
            await browser.until(until)
            for look in looks.split():
                await shoot(browser, directory / f"page-{name}-{look}.png", LOOKS[look])
            await browser.look(**LIGHT)
        await terminal(lab, browser, directory)


async def shoot(browser: Browser, path: Path, look: dict[str, Any]) -> None:
    await browser.look(**look)
    await asyncio.sleep(0.5)  # curves are drawn anew for another size
    await browser.picture(path)


async def terminal(lab: Lab, browser: Browser, directory: Path) -> None:
    """`top` as textual draws it on a terminal of this size."""
    await screen(
        lab.daemon.socket
    )  # so that all is imported before ann's identity is taken, who may not read it
    text = await asyncio.to_thread(lab.as_somebody, "ann", lambda: asyncio.run(screen(lab.daemon.socket)))
    (lab.root / "top.svg").write_text(text)
    await browser.call("Page.navigate", url=(lab.root / "top.svg").as_uri())
    await browser.look(width=1200, height=820)
    await asyncio.sleep(0.5)
    await browser.picture(directory / "top.png")


async def screen(socket: Path) -> str:
    from gpujobs.cli.commands.top import drawing
    from gpujobs.top.app import Top

    app = Top(socket, drawing())
    async with app.run_test(size=TOP) as pilot:
        for _ in range(60):
            await pilot.pause(0.1)
        return app.export_screenshot(title="gpujobs top")


def shrink(path: Path) -> None:
    """To a palette: a third of the size, and nobody sees it. Raises RuntimeError where that is not enough."""
    with Image.open(path) as picture:
        small = io.BytesIO()
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    if small.tell() < path.stat().st_size:
        path.write_bytes(small.getvalue())
    if path.stat().st_size > MOST_BYTES:
        raise RuntimeError(f"{path} has {path.stat().st_size} bytes, more than {MOST_BYTES}")
