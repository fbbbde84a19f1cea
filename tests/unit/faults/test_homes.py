"""What the checker of several boxes accepts, and what it takes for a job that ran twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from faultsuite.box import Failure
from faultsuite.homes import check_places
from faultsuite.site import Left

KNOWN: dict[str, Any] = {
    "node": "box2", "job": 7, "number": 1, "reason": None, "ended_at": "2026-01-01T00:00:10+00:00",
}  # fmt: skip
RECORD = {"supervisor": {"pid": 2**22 + 1, "start_ticks": 1}}
RAN = Left("box2", 7, 1, "a", "supervisor", {"ended_at": "2026-01-01T00:00:09+00:00"}, RECORD)
CAME = Left("box1", 7, 1, "a", "", None, None, "box2")


@pytest.mark.parametrize(
    "places", [[RAN], [CAME], [RAN, CAME], [replace(RAN, claim="revoked", exit=None, record=None)]]
)
def test_an_attempt_is_where_it_ran_and_what_it_has_left_may_have_come_home(places: list[Left]) -> None:
    check_places(places, KNOWN)


@pytest.mark.parametrize(
    ("places", "known", "said"),
    [
        ([RAN], None, "none that the store knows"),
        ([RAN, replace(RAN, box="box3")], KNOWN, "is on box2 and box3"),
        ([replace(RAN, box="box1")], KNOWN, "is on box1, and on box2 in the store"),
        ([replace(CAME, home="box3")], KNOWN, "from box3, and is on box2 in the store"),
        ([RAN, replace(CAME, claim="supervisor")], KNOWN, "has begun there"),
        ([replace(CAME, record=RECORD)], KNOWN, "has begun there"),
        ([replace(RAN, claim="revoked")], KNOWN, "was revoked, and has run to an end"),
        ([replace(RAN, claim="revoked", exit=None)], KNOWN, "was revoked, and has begun"),
        (
            [replace(RAN, exit={"ended_at": "2026-01-01T00:00:12+00:00"})],
            {**KNOWN, "reason": "NodeLost"},
            "2.0 s after its lease",
        ),
    ],
)
def test_what_ran_twice_is_found(places: list[Left], known: dict[str, Any] | None, said: str) -> None:
    with pytest.raises(Failure, match=said):
        check_places(places, known)
