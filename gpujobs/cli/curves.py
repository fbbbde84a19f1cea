"""Learning curves of jobs: their history.csv as the daemon hands it out."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from gpujobs.cli.choosing import Selection
from gpujobs.client import Client
from gpujobs.errors import UsageError
from gpujobs.results.curves import VALIDATION, History, JobHistory, parsed

FILE = "history.csv"
MAX_FILE_BYTES = 64 << 20


def read_histories(client: Client, chosen: Selection) -> list[JobHistory]:
    """Of jobs, and of those jobs of groups and the like that have one. Raises UsageError for a job that has none."""
    found = client.get("/v1/results", own=True, partial=True, **chosen.query)["results"]
    with_curves = [one for one in found if any(file["name"] == FILE for file in one["files"])]
    having = {one["job"] for one in with_curves}
    for id in chosen.ids:
        if isinstance(id, int) and id not in having:
            raise UsageError(
                f"job {id} has no {FILE} yet: it comes with the first checkpoint after an epoch; `gpujobs status {id}` "
                "says how it does"
            )
    if not with_curves:
        raise UsageError(f"no job of {chosen} has a {FILE} yet; `gpujobs status` shows how they do")
    return [_read(client, one) for one in with_curves]


def _read(client: Client, result: dict[str, Any]) -> JobHistory:
    columns = read_history(client, result["job"])
    return JobHistory(result["job"], str(result["name"]), columns, _unit(result["metrics"]))


def read_history(client: Client, id: int) -> History:
    """Raises UsageError where a job has none, or one that is not as it is written."""
    content = b""
    with client.open(f"/v1/results/{id}/{FILE}") as body:
        while len(content) <= MAX_FILE_BYTES and (piece := body.read1()):
            content += piece
    if len(content) > MAX_FILE_BYTES:
        raise UsageError(f"{FILE} of job {id} is larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        return parsed(content.decode())
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{FILE} of job {id} {error}; expected it as Keras's CSVLogger writes it") from None


def _unit(metrics: dict[str, Any]) -> str:
    """As metrics.json has it; its user may have written anything."""
    units = metrics.get("units")
    unit = units.get("history") if isinstance(units, dict) else None
    return unit[:80] if isinstance(unit, str) and "scaled" in unit else ""


def chosen(histories: Sequence[JobHistory], metrics: Collection[str]) -> list[JobHistory]:
    """Only these columns, and the jobs that have any; that of a metric goes with that of its validation.
    Raises UsageError for a metric that no job has."""
    if not metrics:
        return list(histories)
    known = {name for one in histories for name in one.columns if name != "epoch"}
    wanted = {"epoch", *metrics, *(VALIDATION + name for name in metrics)}
    for name in metrics:
        if not {name, VALIDATION + name} & known:
            raise UsageError(f"there is no metric {name}; expected one of {', '.join(sorted(known))}")
    reduced = [
        replace(one, columns={name: column for name, column in one.columns.items() if name in wanted})
        for one in histories
    ]
    return [one for one in reduced if len(one.columns) > 1]


def json_of(one: JobHistory) -> dict[str, Any]:
    """JSON has no NaN: null stands for it."""
    history: dict[str, list[float | int | None]] = {
        name: [value if math.isfinite(value) else None for value in column]
        for name, column in one.columns.items()
    }
    history["epoch"] = [int(epoch) if epoch.is_integer() else epoch for epoch in one.columns["epoch"]]
    return {"id": one.id, "name": one.name, **({"unit": one.unit} if one.unit else {}), "history": history}
