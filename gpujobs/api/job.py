"""A job, as Python programs see it."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from gpujobs.client import Client as Requests
from gpujobs.errors import DaemonUnreachableError, GpujobsError, UsageError
from gpujobs.model import FINAL_STATES, State
from gpujobs.results.curves import parsed

BAR, CLEAR = 24, "\r\x1b[K"


class JobTimeoutError(GpujobsError, TimeoutError):
    """The job has not ended in time; it goes on."""


class Job:
    """`id` and `name` are fixed; `state`, `info` and what follows from them are asked anew each time."""

    def __init__(self, client: Requests, info: dict[str, Any]) -> None:
        self._client = client
        self._info = info
        self.id: int = info["id"]
        self.name: str | None = info["name"]

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name}: {self._info['state']}>"

    @property
    def info(self) -> dict[str, Any]:
        """As it is now, with the keys of `gpujobs status --json`."""
        if self._info["state"] not in FINAL_STATES:
            self._info = self._client.get(f"/v1/jobs/{self.id}")["job"]
        return self._info

    @property
    def state(self) -> State:
        """PENDING, STARTING, RUNNING, COMPLETING; COMPLETED, FAILED, CANCELLED, TIMEOUT or OUT_OF_MEMORY. A str."""
        return State(self.info["state"])

    @property
    def reason(self) -> str:
        """Why it waits, or has ended as it did: `WaitsForDevice: …`. Empty where there is nothing to say."""
        info = self.info
        return ": ".join(str(info[key]) for key in ("reason", "message") if info[key])

    def wait(self, timeout: float | None = None, *, progress: bool | None = None) -> Job:
        """Until it has ended, however it does: `state` says. Returns the job itself.

        `timeout`: seconds; JobTimeoutError is raised after them. `progress`: whether a bar is drawn on stderr; by
        default where that is a terminal, or in a notebook. Raises DaemonUnreachableError where the daemon ends first.
        """
        bar = _Bar(_is_watched() if progress is None else progress)
        try:
            for info in self._changes(timeout):
                self._info = info
                bar.draw(info)
        except TimeoutError:
            raise JobTimeoutError(f"job {self.id} has not ended after {timeout:g} s; it goes on.") from None
        finally:
            bar.end()
        if self._info["state"] not in FINAL_STATES:
            raise DaemonUnreachableError(
                "the daemon ended before the job did; start it with `gpujobs serve &`."
            )
        return self

    def _changes(self, timeout: float | None) -> Iterator[dict[str, Any]]:
        deadline = None if timeout is None else time.monotonic() + timeout
        return self._client.watch([self.id], deadline)

    def cancel(self, reason: str | None = None) -> Job:
        """Asks it to end; one that runs leaves a checkpoint and its model, and ends some moments later (`wait`)."""
        body = {"ids": [self.id], **({"reason": reason} if reason else {})}
        self._client.post("/v1/jobs/cancel", body)
        return self

    @property
    def log(self) -> str:
        """Of its last attempt, as far as it is written."""
        return self._read(f"/v1/jobs/{self.id}/log").decode(errors="replace")

    @cached_property
    def _results(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get("/v1/results", ids=[self.id], own=True)["results"][0]
        return found

    @property
    def files(self) -> list[str]:
        """The names of its results. Raises UsageError while there are none."""
        return [one["name"] for one in self._results["files"]]

    def read(self, file: str) -> bytes:
        """One of its results, as `job.read("curves.png")`."""
        if file not in self.files:
            raise UsageError(f"job {self.id} has no {file}; it has {', '.join(self.files)}")
        return self._read(f"/v1/results/{self.id}/{file}")

    def _read(self, path: str) -> bytes:
        with self._client.open(path) as body:
            return b"".join(iter(body.read1, b""))

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Of metrics.json: `final`, `best`, `kept`, `evaluation`, `train_seconds` …"""
        found: dict[str, Any] = json.loads(self.read("metrics.json"))
        return found

    @cached_property
    def history(self) -> dict[str, list[float]]:
        """Of history.csv: a list by name, with a value for each epoch; `epoch` counts from 0."""
        return parsed(self.read("history.csv").decode())

    @property
    def predictions(self) -> dict[str, Any]:
        """The arrays of predictions.npz: `y_pred`, shape (samples, …); `y_class` of classes, `y_true` where known."""
        return self.predictions_of("predictions.npz")

    def predictions_of(self, file: str) -> dict[str, Any]:
        """The arrays of another entry under `predict`: `predictions-NAME.npz`."""
        if file not in self._arrays:
            import numpy as np

            with np.load(io.BytesIO(self.read(file)), allow_pickle=False) as archive:
                self._arrays[file] = {name: archive[name] for name in archive.files}
        return self._arrays[file]

    @cached_property
    def _arrays(self) -> dict[str, dict[str, Any]]:
        return {}


def _is_watched() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class _Bar:
    """One line, drawn again and again; notebooks know as much of a terminal as it takes."""

    def __init__(self, is_drawn: bool) -> None:
        self._is_drawn, self._last = is_drawn, ""

    def draw(self, info: dict[str, Any]) -> None:
        if not self._is_drawn:
            return
        text = line(info)
        if text != self._last:
            self._last = text
            print(f"{CLEAR}{text}", end="", file=sys.stderr, flush=True)  # noqa: T201 - what it is for

    def end(self) -> None:
        if self._last:
            print(file=sys.stderr, flush=True)  # noqa: T201


def line(info: dict[str, Any]) -> str:
    """`7 RUNNING ████████░░░░ 8/20 loss 0.25`, at most 79 columns."""
    progress = info["progress"] or {}
    epoch, epochs = progress.get("epoch"), progress.get("epochs")
    head = f"{info['id']} {info['state']}"
    if not epoch or not epochs:
        return f"{head} {info['reason'] or ''}".rstrip()
    done = min(BAR, round(BAR * epoch / epochs))
    loss = progress.get("loss")
    shown = f" loss {loss:.4g}" if isinstance(loss, int | float) else ""
    return f"{head} {'█' * done}{'░' * (BAR - done)} {epoch}/{epochs}{shown}"[:79]
