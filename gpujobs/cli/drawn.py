"""The forecast and the confusion matrix of a job, drawn anew from its results as its trainer has drawn them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gpujobs.cli.choosing import Selection
from gpujobs.client import Client
from gpujobs.errors import UsageError
from gpujobs.results import confusion, forecast

FORECAST, CONFUSION = "forecast", "confusion"
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
    with _in_words(found):
        if found.of == FORECAST:
            from gpujobs.results.pictures import forecast as picture

            return picture.png(forecast.from_json(found.content))
        from gpujobs.results.pictures.confusion import png as drawn_as_png

        drawn = drawn_as_png(found.content)
    if drawn is None:
        raise UsageError(f"job {found.id} has no {found.of}: {_why(found.of)}")
    return drawn


def lines(found: Found, width: int, colour: bool) -> list[str]:
    """For a terminal."""
    from gpujobs.cli import sketches

    with _in_words(found):
        if found.of == FORECAST:
            return sketches.forecast(forecast.from_json(found.content), width, colour)
        matrices = confusion.matrices(found.content)
    if not matrices:
        raise UsageError(f"job {found.id} has no {found.of}: {_why(found.of)}")
    return sketches.confusion(matrices, width, colour)


def beside_curves(client: Client, id: int) -> Found | None:
    """What a job has besides its curves; None where it has neither, or has not ended."""
    (result,) = client.get("/v1/results", ids=[id], partial=True)["results"]
    if any(one["name"] == forecast.FILE for one in result["files"]):
        return read(client, Selection((id,)), FORECAST)
    evaluation = result["metrics"].get("evaluation")
    tells_classes = isinstance(evaluation, dict) and ("classes" in evaluation or "outputs" in evaluation)
    found = Found(id, str(result["name"]), CONFUSION, evaluation) if tells_classes else None
    return found if found is not None and _has_classes(found) else None


def _has_classes(found: Found) -> bool:
    with _in_words(found):
        return bool(confusion.matrices(found.content))


@contextmanager
def _in_words(found: Found) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UsageError(f"the {found.of} of job {found.id} {error}") from None
