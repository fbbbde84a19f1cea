"""Devices that are kept for a user or a group for some time.

While a reservation lasts, only those it is for start jobs on its device. Before it begins, others start
there only what surely ends in time: a job without a time limit does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from gpujobs.errors import UsageError
from gpujobs.policy.inputs.rules import ReservationRules
from gpujobs.policy.inputs.snapshot import Reservation
from gpujobs.policy.inputs.text import duration, instant


class ReservationWindow(NamedTuple):
    """A reservation without its device: the devices of one maintenance window have equal ones."""

    starts_at: datetime
    ends_at: datetime
    user: str | None
    group: str | None

    def is_for(self, user: str, groups: Collection[str]) -> bool:
        return self.user == user if self.user is not None else self.group in groups

    @property
    def holder(self) -> str:
        return self.user or (f"group {self.group}" if self.group else "nobody")


Terms = tuple[ReservationWindow, ...]
"""All that is reserved of a device, in order of time."""


def terms_by_device(reservations: Iterable[Reservation], now: datetime) -> dict[str, Terms]:
    """By UUID; what is over is left out."""
    holds: dict[str, list[ReservationWindow]] = {}
    for one in reservations:
        if one.ends_at > now:
            holds.setdefault(one.device_uuid, []).append(
                ReservationWindow(one.starts_at, one.ends_at, one.user, one.group)
            )
    # Sorted, and without the device and the id: equal terms are equal keys, by which devices are put into stocks.
    return {uuid: tuple(sorted(found, key=lambda hold: hold.starts_at)) for uuid, found in holds.items()}


def blocking_window(
    terms: Terms, user: str, groups: Collection[str], start: datetime, ends_by: datetime
) -> ReservationWindow | None:
    """What keeps a job of `user` that runs from `start` until `ends_by` at the latest off the device."""
    # Half-open on both sides: a job may end at the very instant at which a reservation begins, and start when one ends.
    # Without a time limit `ends_by` is the end of time, so that any reservation to come keeps it off.
    for hold in terms:
        if hold.ends_at > start and ends_by > hold.starts_at and not hold.is_for(user, groups):
            return hold
    return None


def current(terms: Terms, now: datetime) -> ReservationWindow | None:
    return next((hold for hold in terms if hold.starts_at <= now < hold.ends_at), None)


def borders(reservations: Iterable[Reservation], now: datetime) -> Iterable[datetime]:
    """The instants after `now` at which a reservation begins or ends."""
    return (at for one in reservations for at in (one.starts_at, one.ends_at) if at > now)


def check_reservation(
    new: Reservation,
    existing: Sequence[Reservation],
    devices: Collection[str],
    now: datetime,
    rules: ReservationRules,
    name: str | None = None,
) -> None:
    """Raises UsageError, with what is allowed instead. `devices`: the UUIDs of those that exist; `name`: what people
    call the one that is meant."""
    if new.device_uuid not in devices:
        raise UsageError(f"there is no device {new.device_uuid}; `gpujobs gpus --json` shows their UUIDs.")
    if (new.user is None) == (new.group is None):
        raise UsageError("a reservation is for a user or for a group; name one of them.")
    _check_times(new, now, rules)
    for other in existing:
        overlaps = new.starts_at < other.ends_at and other.starts_at < new.ends_at
        if other.id != new.id and other.device_uuid == new.device_uuid and overlaps:
            raise UsageError(
                f"{name or new.device_uuid} is reserved for {other.user or other.group} from {instant(other.starts_at)}"
                f" until {instant(other.ends_at)} (reservation {other.id}); choose another time or device."
            )


def _check_times(new: Reservation, now: datetime, rules: ReservationRules) -> None:
    if new.ends_at <= new.starts_at:
        raise UsageError(
            f"the reservation ends at {instant(new.ends_at)}, which is not after its begin at"
            f" {instant(new.starts_at)}."
        )
    if new.ends_at <= now:
        raise UsageError(
            f"the reservation ends in the past, at {instant(new.ends_at)}; it is {instant(now)} now."
        )
    if new.starts_at < now - timedelta(minutes=1):
        raise UsageError(
            f"the reservation begins in the past, at {instant(new.starts_at)}; it is {instant(now)} now."
        )
    length = (new.ends_at - new.starts_at).total_seconds()
    if length > rules.max_seconds:
        raise UsageError(
            f"the reservation lasts {duration(length)}; at most {duration(rules.max_seconds)} are allowed."
        )
    if (new.starts_at - now).total_seconds() > rules.max_ahead_seconds:
        raise UsageError(
            f"the reservation begins at {instant(new.starts_at)}; at most"
            f" {duration(rules.max_ahead_seconds)} from now are allowed."
        )
