"""What of its data a job that was just queued leaves out, in a few lines, as `check` says it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpujobs.client import Client
from gpujobs.client.submission import read_job_files
from gpujobs.errors import GpujobsError

SHOWN = 5
MADE = re.compile(r" makes? [\d,]+ ")
"""Of a line that says how many windows come of a file."""


def lines(
    client: Client, files: Sequence[str], sets: Mapping[str, str], jobs: Sequence[dict[str, Any]]
) -> Iterator[str]:
    """Of one job whose file lets something be left out: else nothing is looked at, which would take a second."""
    if (
        len(files) != 1
        or len(jobs) != 1
        or not _may_leave_out(client.get(f"/v1/jobs/{jobs[0]['id']}")["spec"])
    ):
        return
    try:
        answer = read_job_files(tuple(files), is_look=True).send(
            client, "/v1/check", {"set": sets, "options": {}}
        )
    except GpujobsError as error:
        yield f"what is left out of its data cannot be told now: {str(error).splitlines()[0]}"
        return
    said = [line for line in answer["files"][0]["report"]["notices"] if _is_worth_saying(line)]
    yield from said[:SHOWN]
    if len(said) > SHOWN:
        yield f"{len(said) - SHOWN} more: `gpujobs check {files[0]}` has all"


def _may_leave_out(spec: Mapping[str, Any]) -> bool:
    """Rows and windows, or classes that a part of the data may lack."""
    data, training = spec.get("data") or {}, spec.get("training") or {}
    parts = ("window", "split", "validation", "test")
    return (
        data.get("missing", "error") != "error"
        or any(data.get(key) for key in parts)
        or bool(training.get("validation_split"))
    )


def _is_worth_saying(line: str) -> bool:
    return "; left out: " in line or not MADE.search(line)
