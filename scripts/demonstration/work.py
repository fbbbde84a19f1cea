"""Small jobs that really train, until there is one in every state that people meet."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from demonstration.lab import ROOT, Lab
from tests.acceptance.harness import ENDLESS, eventually

PATIENCE_SECONDS = 400.0
LONG = 400
"""Epochs of jobs that still run when the pictures are taken."""

SHOWN_EPOCHS = 25
"""Of these at least, so that there is a curve."""


def begin(lab: Lab) -> None:
    shutil.copytree(ROOT / "jobs", lab.root / "jobs")
    lab.as_admin("drain", 3, "--reason", "fan replaced on Friday")
    ended(lab)
    say("the present")
    present(lab)


def ended(lab: Lab) -> None:
    """One of each end, and a part of a sweep."""
    say("some jobs that end: a forecast, a classification, a failure, a time limit; a sweep")
    done = lab.submit("ann", job(lab, "forecast-load"))
    done += lab.submit("ann", job(lab, "variable-length", "gestures", epochs=25))
    (late,) = lab.submit("carla", job(lab, "tutorial", "too-long", epochs=ENDLESS, limit="5s"))
    (killed,) = lab.submit("ben", job(lab, "tutorial", "ecg-crash", epochs=ENDLESS))
    lab.daemon.until(killed, "RUNNING", seconds=PATIENCE_SECONDS)
    pid = lab.daemon.job(killed)["pid"]
    time.sleep(1)
    os.kill(pid, 9)
    lab.daemon.until(late, "TIMEOUT", seconds=PATIENCE_SECONDS)
    for one in done:
        lab.daemon.until(one, "COMPLETED", seconds=PATIENCE_SECONDS)
    sweep = lab.submit("ann", job(lab, "optimizer-sweep", epochs=40), "--priority", -1)
    until(lab, lambda: sum(lab.daemon.job(one)["state"] == "COMPLETED" for one in sweep) >= 5)


def present(lab: Lab) -> None:
    lab.stranger("dora", 2, "python finetune.py --steps", 38)
    running = lab.submit("ann", job(lab, "forecast-load", "load-2027", epochs=LONG, limit="4h"))
    running += lab.submit("ben", job(lab, "forecast-load", "heat-demand", epochs=LONG, limit="2h", units=24))
    for one in running:
        lab.daemon.until(one, "RUNNING", seconds=PATIENCE_SECONDS)
    lab.submit("ben", job(lab, "variable-length", "gestures-deeper", limit="1h"))
    lab.submit("carla", job(lab, "stateful-prices", "prices"), "--after", running[1])
    lab.submit("ann", job(lab, "forecast-load", "weekend-run"), "--begin", "20:00")
    lab.submit("ben", job(lab, "tokens", "draft"), "--hold")
    for device, load in enumerate((87, 64, 31, 0)):
        lab.gpus.gpus[device].utilization_percent = load
        lab.gpus.gpus[device].temperature_celsius = 38 + load // 3
        lab.gpus.gpus[device].power_milliwatts = 70_000 + 5_500 * load
    for device in (0, 1):  # the trainers' part of it, which NVML lists by process
        lab.gpus.gpus[device].used_bytes = lab.gpus.gpus[device].trainer_bytes
    lab.gpus.write()
    until(
        lab,
        lambda: all(
            (lab.daemon.job(one)["progress"] or {}).get("epoch", 0) >= SHOWN_EPOCHS for one in running
        ),
    )


def job(lab: Lab, sample: str, name: str = "", *, epochs: int = 0, limit: str = "", units: int = 0) -> Path:
    """One of the sample jobs, under another name, longer or shorter."""
    text = (lab.root / "jobs" / f"{sample}.yaml").read_text()
    for value, pattern, written in (
        (name, r"^name: .*$", f"name: {name}"),
        (epochs, r"^  epochs: .*$", f"  epochs: {epochs}"),
        (epochs == LONG, r"^  early_stopping: .*\n", ""),
        (units, r"LSTM: \{units: \d+", f"LSTM: {{units: {units}"),
        (limit, r"time_limit: \w+", f"time_limit: {limit}"),
        (epochs == ENDLESS, r"^retries: .*$", "retries: 0"),
    ):
        if value:
            text = re.sub(pattern, written, text, flags=re.MULTILINE)
    path = lab.root / "jobs" / f"{name or sample}.yaml"
    path.write_text(text)
    path.chmod(0o644)
    return path


def until(lab: Lab, condition: Callable[[], bool]) -> None:
    eventually(condition, PATIENCE_SECONDS, lambda: lab.as_admin("status"))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
