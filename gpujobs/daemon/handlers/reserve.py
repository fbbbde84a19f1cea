"""`POST /v1/reservations`: devices are kept for a user or a group."""

from __future__ import annotations

import pwd
from datetime import datetime, timedelta

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gpujobs.daemon.access.policy import group_id, require_admin
from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.handlers.reservations import answer
from gpujobs.daemon.keys import DEVICES, caller_of
from gpujobs.errors import UsageError
from gpujobs.model import Device, utc_now
from gpujobs.policy import Reservation


class ReservationBody(BaseModel):
    """Without `starts_at` it begins now; without `ends_at` it lasts as long as the site says."""

    model_config = ConfigDict(extra="forbid")
    devices: list[str] = Field(min_length=1)
    user: str | None = None
    group: str | None = None
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None


async def handle(request: web.Request) -> web.Response:
    """For every device or for none."""
    service, caller, body = request.app[DEVICES], caller_of(request), await body_of(request, ReservationBody)
    require_admin(caller, "reserve devices")
    devices = service.named(body.devices)
    _require_known(body)
    now, seconds = utc_now(), service.rules.default_seconds
    wanted = [_reservation(body, device, now, seconds) for device in devices]
    made = await service.reserve(wanted, devices, caller.user, now)
    return answer(service, caller, made, status=201)


def _require_known(body: ReservationBody) -> None:
    if body.user is not None:
        try:
            pwd.getpwnam(body.user)
        except KeyError:
            raise UsageError(f"{body.user} is not a user of this machine") from None
    if body.group is not None and group_id(body.group) is None:
        raise UsageError(f"{body.group} is not a group of this machine")


def _reservation(body: ReservationBody, device: Device, now: datetime, default_seconds: float) -> Reservation:
    starts_at = body.starts_at or now
    default = timedelta(seconds=default_seconds)
    return Reservation(0, device.uuid, starts_at, body.ends_at or starts_at + default, body.user, body.group)
