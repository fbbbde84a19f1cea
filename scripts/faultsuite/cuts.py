"""Random cuts over a stream of short jobs on three boxes: nothing is lost or doubled, and all is known soon after."""

from __future__ import annotations

import random
import signal
import sqlite3
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from .box import PATIENCE, Failure
from .case import Case, finish
from .disturbances import Disturbance, drawn
from .homes import check_homes
from .site import LEASE_SECONDS, Site, site

EPOCHS = (40, 120, 400, 1200, 2500)
"""Of the small trainers a hundred take a second; the longest outlive many a cut."""

TWO_AT_ONCE = 0.6
"""How often the other node's link has something done to it, too."""

KERAS_EPOCHS = (40, 80, 120)
RETRIES = "10"
KNOWN_SECONDS = 15.0
"""After a cut that heals everything is known again within so long."""

START_SECONDS = 60.0
"""After something has ended that has to start Ray again: longer, and on a busy machine longer still."""

UNHEARD_SECONDS = 10.0
"""A start of which nothing is on its box after so long is one that nobody has heard of."""


@dataclass(frozen=True)
class Cut:
    """`known`: seconds from its healing until all was known. `waited`: how many attempts had to be found out about."""

    disturbance: Disturbance
    where: str
    lasted: float
    known: float
    waited: int


def run(count: int, seed: int, minutes: float | None, pattern: str, *, is_small: bool) -> int:
    """The exit code. The same seed draws the same cuts; what they meet is the machine's affair."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the boxes are to be gone, however it ends
    drawn(random.Random(), pattern)  # there is one: before boxes are made
    cuts: list[Cut] = []
    failure: Failure | None = None
    with site(is_small=is_small) as made:
        try:
            if not is_small:
                twins(made)
            storm(made, count, random.Random(seed), minutes, pattern, cuts)
            end(made)
        except Failure as error:
            failure = error
            print(made.story())
        accepted, attempts = len(made.acknowledged), _attempts(made)
    print(report(cuts, accepted, attempts))
    if failure is not None:
        print(f"{failure}")
    else:
        print("lost 0, doubled 0, wrong 0")
    late = [cut for cut in cuts if cut.disturbance.is_cut and cut.known > KNOWN_SECONDS]
    return int(failure is not None or bool(late))


def twins(made: Site) -> None:
    from .checker import check

    for epochs in KERAS_EPOCHS:
        made.until_state(made.must_submit("twin", epochs), "COMPLETED")
    check(made)


def end(made: Site) -> None:
    """Whatever was under way ends, a new job completes, and the proof is made."""
    made.settle(PATIENCE + 3 * LEASE_SECONDS)
    finish(Case("", "", lambda _: None), made)
    check_homes(made)


def storm(
    made: Site, count: int, draws: random.Random, minutes: float | None, pattern: str, cuts: list[Cut]
) -> None:
    until = time.monotonic() + (minutes or 1e6) * 60
    with Stream(made) as stream:
        while len(cuts) < count and time.monotonic() < until:
            time.sleep(draws.uniform(0.2, 2.0))
            stream.look()
            for cut in happen(made, *some(draws, pattern), draws=draws):
                cuts.append(cut)
                print(
                    f"{len(cuts):4}  {cut.disturbance.kind:28} {cut.where:5} {cut.lasted:5.1f} s, "
                    f"known after {cut.known:5.1f} s ({cut.waited} attempts)",
                    flush=True,
                )
            _look_for_doubles(made)
            _look_for_failed(made)
    stream.look()


def some(draws: random.Random, pattern: str) -> Iterable[Disturbance]:
    """One, or two at once, of a link each."""
    first = drawn(draws, pattern)
    yield first
    if first.is_of_one_link and draws.random() < TWO_AT_ONCE:
        second = drawn(draws, pattern)
        if second.is_of_one_link:
            yield second


def happen(made: Site, *disturbances: Disturbance, draws: random.Random) -> list[Cut]:
    """Those that found something to happen to, when all is known again."""
    lasts = draws.uniform(*disturbances[0].seconds)
    with ExitStack() as stack:
        places = [(one, stack.enter_context(one.happen(made, draws))) for one in disturbances]
        time.sleep(lasts)
    made.is_cut.clear()
    longest = KNOWN_SECONDS * 4 if disturbances[0].is_cut else START_SECONDS * 2
    try:
        known, waited = until_known(made, longest, disturbances[0].steady)
    except Failure:
        print("after:", ", ".join(f"{one.kind} ({where})" for one, where in places), flush=True)
        raise
    return [Cut(one, where, lasts, known, waited) for one, where in places if where]


# What is known


def until_known(made: Site, seconds: float, steady: float = 0.0) -> tuple[float, int]:
    """(seconds, number of attempts that had to be found out about): until every box is there, and of each attempt that
    the store has under way it is known that it has ended, or something new is heard of it. Raises Failure where it
    takes too long. `steady`: for so long it must be so, where what was killed may not be missed at once."""
    began = time.monotonic()
    since: float | None = None
    asked, heard = _current(made), _epochs(made)
    waited, last = len(asked), 0.0
    while True:
        made.keep_up()
        now, unknown, epochs = _current(made), set(_unknown(made)), _epochs(made)
        asked = {
            nonce: row
            for nonce, row in asked.items()
            if nonce in unknown or (nonce in now and _is_silent(row, epochs, heard))
        }
        away = made.away()
        taken = time.monotonic() - began
        since = None if asked or away else since or taken
        if since is not None and taken - since >= steady:
            return since, waited
        what = f"{[(row['job'], row['node']) for row in asked.values()]} not known, away {away}"
        if (asked or away) and int(taken / 5) > int(last / 5):
            print(f"      {taken:5.1f} s: {what}", flush=True)
        last = taken
        if taken > seconds:
            raise Failure(
                "lost", f"not all is known {seconds:g} s after a cut: {what}; {made.get('/v1/nodes')}"
            )
        time.sleep(0.1)


def _is_silent(row: dict[str, Any], epochs: dict[int, Any], heard: dict[int, Any]) -> bool:
    """Whether nothing new has come of an attempt that runs."""
    return row["state"] == "RUNNING" and epochs.get(row["job"]) in (None, heard.get(row["job"]))


def _epochs(made: Site) -> dict[int, Any]:
    """By job: the newest progress that the daemon shows."""
    return {number: job["progress"] for number, job in made.jobs().items() if job.get("progress")}


def _unknown(made: Site) -> Iterable[str]:
    """Attempts that the store has under way, and that have ended, or never were, on their box."""
    left = {one.nonce: one for one in made.left()}
    for nonce, row in _current(made).items():
        here = left.get(nonce)
        if here is None:
            is_open = row["state"] == "RUNNING" or _age(row["since"]) > UNHEARD_SECONDS
        else:
            is_open = here.exit is not None or (here.record is not None and not here.is_alive)
        if is_open:
            yield nonce


def _current(made: Site) -> dict[str, dict[str, Any]]:
    """By nonce: what the store has under way."""
    rows = _read(
        made,
        "SELECT attempts.nonce, jobs.id AS job, jobs.state, attempts.node, attempts.started_at AS since "
        "FROM jobs JOIN attempts ON attempts.job = jobs.id AND attempts.number = jobs.attempt "
        "WHERE jobs.state IN ('STARTING', 'RUNNING')",
    )
    return {row["nonce"]: row for row in rows}


def _age(instant: str) -> float:
    return time.time() - datetime.fromisoformat(instant).timestamp()


def _attempts(made: Site) -> list[dict[str, Any]]:
    return _read(made, "SELECT job, number, node, reason FROM attempts")


def _read(made: Site, query: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"file:{made.database}?mode=ro", uri=True, timeout=20)) as store:
        store.row_factory = sqlite3.Row
        return [dict(row) for row in store.execute(query)]


def _look_for_doubles(made: Site) -> None:
    doubled = made.evidence / "doubled"
    if doubled.exists():
        raise Failure("doubled", f"two trainers at once: {doubled.read_text()}")


def _look_for_failed(made: Site) -> None:
    """While the boxes still have what is to be known of it."""
    for number, job in made.jobs().items():
        if job["state"] in ("FAILED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED"):
            print(made.story_of(number))
            raise Failure("lost", f"job {number} ended {job['state']}: {job['message']}")


class Stream:
    """Jobs that come while there is room for more: as many again wait as run. `epochs`: of each in turn."""

    def __init__(self, made: Site, epochs: Sequence[int] | None = None) -> None:
        self._made = made
        self._epochs = epochs or (EPOCHS if made.is_small else KERAS_EPOCHS)
        self._errors: list[Exception] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._submit)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        while self._thread.is_alive():
            self._made.keep_up()
            self._thread.join(0.1)

    def look(self) -> None:
        if self._errors:
            raise self._errors[0]

    def _submit(self) -> None:
        number = 0
        epochs = self._epochs
        try:
            while not self._is_over.is_set():
                if len(self._made.unfinished()) >= 9:
                    self._is_over.wait(0.3)
                elif self._made.submit("plain", epochs[number % len(epochs)], "--retries", RETRIES):
                    number += 1
                elif self._made.is_refused:
                    raise Failure("wrong", f"a job is refused: {self._made.refusal}")
                else:
                    self._is_over.wait(0.3)  # it was not acknowledged: submitted again
        except Exception as error:  # noqa: BLE001 - whatever it is, `look` raises it: without jobs nothing is shown
            self._errors.append(error)


# What is told


def report(cuts: Sequence[Cut], accepted: int, attempts: Sequence[dict[str, Any]]) -> str:
    by_kind: dict[str, list[float]] = defaultdict(list)
    for cut in cuts:
        by_kind[cut.disturbance.kind].append(cut.known)
    lines = [f"{'':28} {'times':>5} {'median':>7} {'most':>7}   seconds until all was known again"]
    lines += [_line(kind, known) for kind, known in sorted(by_kind.items())]
    of_cuts = [cut.known for cut in cuts if cut.disturbance.is_cut]
    if of_cuts:
        lines.append(_line("links, all", of_cuts))
        within = sum(known <= KNOWN_SECONDS for known in of_cuts)
        lines.append(f"links: {within} of {len(of_cuts)} known again within {KNOWN_SECONDS:g} s")
    nodes: dict[str, int] = defaultdict(int)
    for one in attempts:
        nodes[one["node"]] += 1
    lost = sum(one["reason"] == "NodeLost" for one in attempts)
    on = ", ".join(f"{count} on {name}" for name, count in sorted(nodes.items()))
    lines.append(
        f"{len(cuts)} cuts; {accepted} jobs acknowledged, {len(attempts)} attempts ({on}), {lost} after a lease"
    )
    return "\n".join(lines)


def _line(kind: str, known: Sequence[float]) -> str:
    ordered = sorted(known)
    return f"{kind:28} {len(ordered):5} {ordered[len(ordered) // 2]:7.1f} {ordered[-1]:7.1f}"
