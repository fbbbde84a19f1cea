"""docs/protocol.md has every request of the daemon and no other, with the fields of its body."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
from pydantic import BaseModel

from gpujobs.daemon.api_json import job_json
from gpujobs.daemon.handlers import ROUTES
from gpujobs.daemon.handlers.changing import IdsBody
from gpujobs.daemon.handlers.drain import DevicesBody
from gpujobs.daemon.handlers.limit import LimitBody
from gpujobs.daemon.handlers.notify import SettingBody
from gpujobs.daemon.handlers.prioritize import PriorityBody
from gpujobs.daemon.handlers.query import ConditionsBody
from gpujobs.daemon.handlers.requeue import RequeueBody
from gpujobs.daemon.handlers.reserve import ReservationBody
from gpujobs.daemon.jobs.submissions import DataBody, FileBody, OptionsBody, SubmissionBody, WithdrawBody
from gpujobs.model import DeviceState
from tests.unit.daemon.queued import job

PAGE = (Path(__file__).parents[3] / "docs/protocol.md").read_text(encoding="utf-8")
PART = PAGE.split("## 1. ")[1].split("## 2. ")[0]
ROWS = [row.split(" | ", 2) for row in re.findall(r"^\| (`(?:GET|POST|PUT) .*) \|$", PART, re.MULTILINE)]
REQUEST = re.compile(r"`(GET|POST|PUT) (/\S+)`")


def registered() -> set[tuple[str, str]]:
    """`{id:[0-9]+}` is ID on the page; each of `{action:hold|release}` is a request of its own."""
    found = set()
    for method, path, _ in ROUTES:
        parts = re.split(r"(\{\w+(?::(?:[^{}]|\{[^{}]*\})*)?\})", path)
        found |= {(method, "".join(choice)) for choice in product(*map(choices, parts))}
    return found


def choices(part: str) -> list[str]:
    variable = re.fullmatch(r"\{(\w+):?(.*)\}", part)
    if variable is None:
        return [part]
    name, pattern = variable.groups()
    return pattern.split("|") if "|" in pattern else [name.upper()]


def body_of(request: str) -> str:
    (row,) = [row for row in ROWS if f"`{request}`" in row[0]]
    return row[1]


def test_requests_are_those_of_the_daemon() -> None:
    on_page = [found for row in ROWS for found in REQUEST.findall(row[0])]
    assert len(on_page) == len(set(on_page))
    assert set(on_page) == registered()


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        *(("POST /v1/jobs", body) for body in (SubmissionBody, FileBody, DataBody, OptionsBody)),
        ("POST /v1/jobs/cancel", IdsBody),
        ("POST /v1/jobs/cancel", ConditionsBody),
        ("POST /v1/jobs/requeue", RequeueBody),
        ("POST /v1/requests/withdraw", WithdrawBody),
        ("POST /v1/jobs/prioritize", PriorityBody),
        ("POST /v1/jobs/limit", LimitBody),
        ("POST /v1/gpus/drain", DevicesBody),
        ("POST /v1/reservations", ReservationBody),
        ("POST /v1/notify", SettingBody),
    ],
)
def test_bodies_have_the_fields_of_the_page(request_: str, body: type[BaseModel]) -> None:
    written = set(re.findall(r'"(\w+)"', body_of(request_)))
    assert body.model_fields.keys() <= written
    if body in (DevicesBody, ReservationBody, WithdrawBody):
        assert written == body.model_fields.keys()


def test_fields_of_a_job_are_those_of_the_page() -> None:
    table = PART.split("`JOB`, as in")[1].split("`GROUP` is")[0]
    rows = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    written = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert written == {
        *job_json(job(1), None, None, None, shows_sweep=True),
        "notice",
        "trouble",
        "away_since",
    }


def test_states_of_a_device_are_those_of_the_page() -> None:
    (states,) = re.findall(r'"state": ("free".*?),\s"message"', PART)
    assert set(re.findall(r'"(\w+)"', states)) == set(DeviceState)
