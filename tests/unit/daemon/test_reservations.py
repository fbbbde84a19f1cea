"""What is asked for as a reservation: for whom, from when on, until when."""

from __future__ import annotations

import grp
import os
import pwd
from datetime import UTC, datetime, timedelta

import pytest

from gpujobs.daemon.handlers.reserve import ReservationBody, _require_known, _reservation
from gpujobs.errors import UsageError
from gpujobs.model import Device, DeviceKind

NOW = datetime(2036, 7, 1, 6, tzinfo=UTC)
BEGIN, END = NOW + timedelta(days=2), NOW + timedelta(days=3)
GPU = Device("box", DeviceKind.GPU, 0, "GPU-0", "gpu")


@pytest.mark.parametrize(
    ("whom", "refusal"),
    [
        ({"group": "no-such-group"}, "no-such-group is not a group of this machine"),
        ({"user": "nobody-so"}, "nobody-so is not a user of this machine"),
        ({"user": pwd.getpwuid(os.geteuid()).pw_name, "group": "no-such-group"}, "is not a group"),
    ],
)
def test_nobody_reserves_for_who_is_not_there(whom: dict[str, str], refusal: str) -> None:
    with pytest.raises(UsageError, match=refusal):
        _require_known(ReservationBody(devices=["0"], **whom))  # type: ignore[arg-type]


def test_a_device_is_reserved_for_who_is_there_or_for_nobody() -> None:
    user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    for body in (
        ReservationBody(devices=["0"]),
        ReservationBody(devices=["0"], user=user),
        ReservationBody(devices=["0"], group=group),
    ):
        _require_known(body)


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (None, None, (NOW, NOW + timedelta(hours=4))),
        (BEGIN, None, (BEGIN, BEGIN + timedelta(hours=4))),
        (None, END, (NOW, END)),
        (BEGIN, END, (BEGIN, END)),
    ],
)
def test_without_an_end_it_lasts_from_its_begin_as_long_as_the_site_says(
    begin: datetime | None, end: datetime | None, expected: tuple[datetime, datetime]
) -> None:
    body = ReservationBody(devices=["0"], user="ada", group="lab", starts_at=begin, ends_at=end)
    made = _reservation(body, GPU, NOW, 4 * 3600.0)
    assert (made.starts_at, made.ends_at) == expected
    assert (made.device_uuid, made.user, made.group) == ("GPU-0", "ada", "lab")
