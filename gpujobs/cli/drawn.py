"""The forecast and the confusion matrix of a job, drawn anew from its results as its trainer has drawn them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gpujobs.cli.choosing import Selection
from gpujobs.client import Client
from gpujobs.errors import UsageError
from gpujobs.results import forecast

FORECAST = "forecast"
METRICS = "metrics.json"


@dataclass(frozen=True, slots=True)
class Found:
    """`content`: of forecast.json, or the evaluation of metrics.json."""

    id: int
    name: str
    of: str
    content: dict[str, Any]


def read(client: Client, chosen: Selection, of: str) -> Found:
    """Raises UsageError for other than one job, and for a job that has no such thing."""
    found = client.get("/v1/results", own=True, **chosen.query)["results"]
    if len(found) != 1:
        raise UsageError(
            f"a {of} is of one job; {chosen} are {len(found)} with results: name one by its number"
        )
    (result,) = found
    file = forecast.FILE if of == FORECAST else METRICS
    if not any(one["name"] == file for one in result["files"]):
        raise UsageError(f"job {result['job']} has no {file}: {_why(of)}")
    content = _json(_content(client, result["job"], file), f"{file} of job {result['job']}")
    if of != FORECAST:
        content = content.get("evaluation")
    if not isinstance(content, dict):
        raise UsageError(f"job {result['job']} has no {of}: {_why(of)}")
    return Found(result["job"], str(result["name"]), of, content)


def _why(of: str) -> str:
    kind = "forecasts numbers of a series" if of == FORECAST else "trained a model that tells classes"
    return f"it comes with a completed job that {kind}"


def _json(content: bytes, what: str) -> Any:
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"{what} is not as gpujobs writes it; expected a JSON object")
    return found


def _content(client: Client, id: int, file: str) -> bytes:
    content = b""
    with client.open(f"/v1/results/{id}/{file}") as body:
        while len(content) <= forecast.MAX_FILE_BYTES and (piece := body.read1()):
            content += piece
    if len(content) > forecast.MAX_FILE_BYTES:
        raise UsageError(f"{file} of job {id} is larger than {forecast.MAX_FILE_BYTES >> 20} MiB")
    return content


def png(found: Found) -> bytes:
    try:
        if found.of == FORECAST:
            from gpujobs.results.pictures import forecast as picture

            return picture.png(forecast.from_json(found.content))
        from gpujobs.results.pictures import confusion

        drawn = confusion.png(found.content)
    except ValueError as error:
        raise UsageError(f"the {found.of} of job {found.id} {error}") from None
    if drawn is None:
        raise UsageError(f"job {found.id} has no {found.of}: {_why(found.of)}")
    return drawn
