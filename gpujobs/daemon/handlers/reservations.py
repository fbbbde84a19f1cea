"""`/v1/reservations`: devices that are kept for a user or a group for some time."""

from __future__ import annotations

import pwd
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gpujobs.daemon.access.policy import group_id, require_admin
from gpujobs.daemon.api_json import term_json
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.devices.drains import named
from gpujobs.daemon.handlers.query import body_of
from gpujobs.daemon.keys import caller_of, daemon_of
from gpujobs.daemon.patience import committed
from gpujobs.errors import UsageError
from gpujobs.model import Caller, Device, utc_now
from gpujobs.policy import Reservation
from gpujobs.policy.devices.occupancy import label
from gpujobs.policy.devices.reservations import check_reservation


class ReservationBody(BaseModel):
    """Without `starts_at` it begins now; without `ends_at` it lasts as long as the site says."""

    model_config = ConfigDict(extra="forbid")
    devices: list[str] = Field(min_length=1)
    user: str | None = None
    group: str | None = None
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None


async def listing(request: web.Request) -> web.Response:
    daemon = daemon_of(request)
    return _answer(daemon, caller_of(request), daemon.store.reservations.current())


async def make(request: web.Request) -> web.Response:
    """For every device or for none."""
    daemon, caller, body = daemon_of(request), caller_of(request), await body_of(request, ReservationBody)
    require_admin(caller, "reserve devices")
    devices = named(_devices(daemon), body.devices)
    _require_known(body)
    now = utc_now()
    wanted = [_reservation(daemon, body, device, now) for device in devices]
    made = await committed(lambda: _add(daemon, caller, wanted, devices, now))
    daemon.dispatcher.wake()
    daemon.journal.wake()
    return _answer(daemon, caller, made, status=201)


async def cancel(request: web.Request) -> web.Response:
    daemon, caller = daemon_of(request), caller_of(request)
    require_admin(caller, "cancel reservations")
    number = int(request.match_info["id"])
    await committed(lambda: daemon.store.reservations.cancel(number, caller.user))
    daemon.dispatcher.wake()
    daemon.journal.wake()
    return _answer(daemon, caller, daemon.store.reservations.current())


def _add(
    daemon: Daemon, caller: Caller, wanted: list[Reservation], devices: list[Device], now: datetime
) -> list[Reservation]:
    """Raises UsageError where one may not be, beside those that there are."""
    existing = daemon.store.reservations.current()
    known = [device.uuid for device in devices]
    for one, device in zip(wanted, devices, strict=True):
        check_reservation(one, existing, known, now, daemon.rules.reservations, label(device))
    with daemon.store.together():
        return [daemon.store.reservations.add(one, caller.user) for one in wanted]


def _devices(daemon: Daemon) -> list[Device]:
    return [device for node in daemon.nodes.known for device in node.devices]


def _require_known(body: ReservationBody) -> None:
    if body.user is not None:
        try:
            pwd.getpwnam(body.user)
        except KeyError:
            raise UsageError(f"{body.user} is not a user of this machine") from None
    if body.group is not None and group_id(body.group) is None:
        raise UsageError(f"{body.group} is not a group of this machine")


def _reservation(daemon: Daemon, body: ReservationBody, device: Device, now: datetime) -> Reservation:
    starts_at = body.starts_at or now
    default = timedelta(seconds=daemon.rules.reservations.default_seconds)
    return Reservation(0, device.uuid, starts_at, body.ends_at or starts_at + default, body.user, body.group)


def _answer(daemon: Daemon, caller: Caller, found: list[Reservation], status: int = 200) -> web.Response:
    devices = {device.uuid: device for device in _devices(daemon)}
    return web.json_response(
        {"reservations": [reservation_json(one, devices.get(one.device_uuid), caller) for one in found]},
        status=status,
    )


def reservation_json(one: Reservation, device: Device | None, caller: Caller) -> dict[str, Any]:
    return {
        "id": one.id,
        "device": {
            "uuid": one.device_uuid,
            "kind": device.kind if device else None,
            "index": device.index if device else None,
            "node": device.node if device else None,
        },
        **term_json(one, caller),
    }
