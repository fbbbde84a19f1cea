"""Requests, one after the other, in a thread: what a person sees never waits for an answer."""

from __future__ import annotations

import csv
import queue
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from gpujobs.client import Client, connect
from gpujobs.errors import GpujobsError
from gpujobs.results.curves import JobHistory, parsed
from gpujobs.view.timeline import Timeline, from_json

MAX_HISTORY_BYTES = 8 << 20

Ask = Callable[[Client], Any]
Answered = Callable[[Any], object]


class Asker:
    """`answered` and `failed` are called in its thread."""

    def __init__(self, socket: Path, failed: Callable[[str], object]) -> None:
        self._socket, self._failed = socket, failed
        self._asked: queue.SimpleQueue[tuple[Ask, Answered]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def __call__(self, ask: Ask, answered: Answered) -> None:
        self._asked.put((ask, answered))

    def _run(self) -> None:
        while True:
            ask, answered = self._asked.get()
            try:
                with closing(connect([self._socket])) as client:
                    answered(ask(client))
            except Exception as error:  # noqa: BLE001 - whatever it is, the next one is asked
                self._failed(str(error) or repr(error))


def history(client: Client, job: int) -> JobHistory | None:
    """As far as it is written; None where there is none yet, or none that may be read."""
    content = b""
    try:
        with client.open(f"/v1/results/{job}/history.csv") as body:
            while len(content) <= MAX_HISTORY_BYTES and (piece := body.read1()):
                content += piece
        return JobHistory(job, "", parsed(content.decode()))
    except (GpujobsError, ValueError, csv.Error):
        return None


def timeline(client: Client) -> Timeline:
    return from_json(client.get("/v1/timeline"))


def change(client: Client, verb: str, id: int | str) -> str:
    """What has become of it, in a line."""
    answer = client.post(f"/v1/jobs/{verb}", {"ids": [id]})
    said = [_said(job, answer.get("notes") or {}) for job in answer["jobs"][:3]]
    said += [str(one["why"]) for one in (answer.get("passed_over") or ())[:3]]
    return f"{verb}: {'; '.join(said) or 'no job is one to ' + verb}"


def _said(job: dict[str, Any], notes: dict[str, str]) -> str:
    note = notes.get(str(job["id"]))
    return f"job {job['id']} {job['state']}" + (f" ({note})" if note else "")
