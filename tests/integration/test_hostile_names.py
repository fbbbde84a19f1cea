"""Names that could steer a terminal, turn text around or fill a screen are harmless in each view of the command line
and in each picture; `test_pages.py` has the pages, `test_top.py` the live view."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from matplotlib.image import imread

from gpujobs.cli.cells import width
from gpujobs.cli.main import cli
from gpujobs.config.settings import Settings
from gpujobs.daemon.build import Parts
from gpujobs.lifecycle import Finish
from gpujobs.model import Caller, Reason, State, utc_now
from gpujobs.policy import Reservation
from tests.integration.served import Served
from tests.integration.test_top import DEVICES, with_devices
from tests.unit.store.jobs import having, new_job

NAMES = {
    "a script": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "escapes": "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b1m\r\n\tend",
    "turned around": "\u202ecod.exe\u202c\u2066\u200f\u2069\u200b",
    "long": "x" * 10_000,
    "wide": "\u65e5\u672c" * 5_000,
    "formula": "$x^2$ %s {0} \\frac [red]b[/red]",
}


def fill(daemon: Parts, name: str) -> None:
    """1 has ended with curves, 2 runs, 3 waits; a sweep, a drain and a reservation of that name."""
    me = Caller(os.getuid(), os.getgid(), 1, "me")
    jobs = [replace(new_job(name), data=()), new_job(name), new_job(name)]
    daemon.store.submit(me, "a", jobs)
    daemon.store.submit(
        me, "b", [having(new_job(f"{name}{n}"[-200:]), group=name[:200], data=()) for n in (1, 2)]
    )
    results = daemon.paths.result(1)
    results.mkdir(mode=0o700, parents=True)
    (results / "history.csv").write_text(f'epoch,loss,"{name[:500]}"\n0,1,2\n1,0.5,1\n'.replace("\r\n", ""))
    (results / "log.txt").write_text(f"{name}\n")
    attempt = daemon.store.start_attempt(1, DEVICES[0]).attempt
    daemon.store.mark_completing(1, attempt, {"state": "COMPLETED", "exit": {"code": 0, "signal": None}})
    daemon.store.finish(1, Finish(State.COMPLETED, Reason.NONE, name), str(results))
    daemon.store.start_attempt(2, DEVICES[1])
    daemon.store.mark_running(2, 1, os.getpid(), utc_now())
    begin = utc_now() + timedelta(hours=1)
    daemon.store.reservations.add(
        Reservation(0, "GPU-2", begin, begin + timedelta(hours=1), None, name[:30]), "me"
    )
    for job in daemon.store.unfinished():
        daemon.cache.put(job)
    daemon.cache.set_progress(2, {"epoch": 1, "epochs": 2, "loss": 0.5})


VIEWS = (
    ["status"],
    ["status", "--all"],
    ["show", "1"],
    ["gpus"],
    ["timeline"],
    ["report", "--by", "user"],
    ["report", "--by", "device"],
    ["results"],
    ["results", "1"],
    ["plot", "1"],
    ["timeline", "--output", "timeline.png"],
    ["report", "--output", "report.png"],
    ["plot", "1", "--output", "curves.png"],
)


@pytest.mark.parametrize("kind", NAMES)
def test_is_harmless_in_each_view(
    settings: Settings, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    with Served(settings, with_devices) as served:
        served.on_loop(lambda daemon: fill(daemon, NAMES[kind]))
        for view in VIEWS:
            done = CliRunner().invoke(cli, ["--socket", str(settings.socket), *view])
            assert done.exit_code == 0, (view, done.output[-2000:], done.exception)
            assert not (found := harmful(done.output)), (view, found)
            if view[0] in ("status", "gpus", "timeline", "report", "plot"):
                assert max(map(width, done.output.splitlines())) <= 80, view
    for name in ("timeline", "report", "curves"):
        picture = imread(tmp_path / f"{name}.png")
        assert max(picture.shape[:2]) < 4000 and picture[..., :3].std() > 0.02, (
            "drawn, and no larger for its names"
        )


def harmful(text: str) -> set[str]:
    """What steers a terminal or turns text around."""
    return {
        character
        for character in text.replace("\n", "")
        if unicodedata.category(character) in ("Cc", "Cf") or character in "\u2028\u2029"
    }
