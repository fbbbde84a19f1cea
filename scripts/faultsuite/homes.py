"""The proof from the directories of all boxes: who has claimed what, how it ended, and what still lives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from .box import Failure
from .checker import read
from .site import Left, Site

CLOCK_SECONDS = 0.05


def check_homes(made: Site) -> None:
    """Raises Failure with the first thing that must not be, and prints what all boxes have of that job."""
    attempts = {one["nonce"]: one for all_ in read(made.database)["attempts"].values() for one in all_}
    by_nonce: dict[str, list[Left]] = defaultdict(list)
    for left in made.directories():
        by_nonce[left.nonce].append(left)
    for nonce, places in by_nonce.items():
        try:
            check_places(places, attempts.get(nonce))
        except Failure:
            print(made.story_of(places[0].job))
            raise


def check_places(places: Sequence[Left], known: Mapping[str, Any] | None) -> None:
    """All directories of one attempt. One that came home lies on the head's box beside the one where it has run, until
    that is removed, or alone: it says from where, and nothing has begun in it."""
    where = f"attempt {places[0].job}.{places[0].number}"
    if known is None:
        raise Failure("doubled", f"{where} on {places[0].box} is none that the store knows")
    ran = [one for one in places if one.home is None]
    if len(ran) > 1:
        raise Failure("doubled", f"{where} is on {' and '.join(one.box for one in ran)}")
    for left in places:
        if left.home is None:
            check_home(where, left, known)
        else:
            check_what_came(where, left, known)


def check_what_came(where: str, left: Left, known: Mapping[str, Any]) -> None:
    if left.home != known["node"]:
        raise Failure(
            "doubled", f"{where} came to {left.box} from {left.home}, and is on {known['node']} in the store"
        )
    if left.claim or left.record is not None or left.exit is not None:
        raise Failure("doubled", f"{where} came to {left.box} from {left.home}, and has begun there")


def check_home(where: str, left: Left, known: Mapping[str, Any]) -> None:
    if (left.box, left.job, left.number) != (known["node"], known["job"], known["number"]):
        raise Failure("doubled", f"{where} is on {left.box}, and on {known['node']} in the store")
    if left.is_alive:
        raise Failure("doubled", f"{where} lives on {left.box} though it has ended")
    if left.exit is not None and left.claim != "supervisor":
        raise Failure("doubled", f"{where} was revoked, and has run to an end on {left.box}")
    if left.record is not None and left.claim == "revoked":
        raise Failure("doubled", f"{where} was revoked, and has begun on {left.box}")
    if left.exit is not None:
        ended = datetime.fromisoformat(left.exit["ended_at"]).timestamp()
        recorded = datetime.fromisoformat(known["ended_at"]).timestamp()
        if known["reason"] == "NodeLost" and ended > recorded + CLOCK_SECONDS:
            raise Failure(
                "doubled", f"{where} ended on {left.box} {ended - recorded:.1f} s after its lease was over"
            )
