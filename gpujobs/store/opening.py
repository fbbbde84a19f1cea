"""Opening the store of a state directory, with a look at what else is there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gpujobs import result_mark
from gpujobs.errors import StoreError
from gpujobs.paths import StatePaths
from gpujobs.store import numbers
from gpujobs.store.numbers import Mark, Numbers
from gpujobs.store.store import Store


@dataclass(frozen=True, slots=True)
class Found:
    """What stands beside the store: the highest numbers among results and in the spool, and the mark."""

    results: int
    spool: int
    mark: Mark | None

    @property
    def highest(self) -> int:
        return max(self.results, self.spool, self.mark.highest if self.mark else 0)


def places(paths: StatePaths) -> list[Path]:
    """Of the mark: whoever copies an old store back seldom copies both."""
    return [paths.numbers, paths.numbers_copy] if paths.results.is_dir() else [paths.numbers]


def look(paths: StatePaths) -> Found:
    return Found(
        numbers.highest_name(paths.results),
        numbers.highest_name(paths.spool / "jobs"),
        numbers.newest([paths.numbers, paths.numbers_copy]),
    )


def open_store(paths: StatePaths) -> tuple[Store, list[str]]:
    """The store, and what people should know of it. Raises StoreError where it is damaged or cannot be opened."""
    found = look(paths)
    store = Store(paths.database)
    known = store.highest_number()
    notices = notices_of(known, store.identity, found, paths)
    store.go_on_above(max(known, found.highest))
    store.numbers = Numbers(places(paths), store.identity, max(known, found.highest))
    try:
        store.numbers.close()  # from here on the mark is this store's
    except StoreError as error:  # the daemon is of use without it: only nothing can be queued
        notices.append(error.message)
    store.attempt_found = partial(_attempt_found, paths)
    return store, notices


def _attempt_found(paths: StatePaths, job: int) -> int:
    """The files of one that has ended are gone, and its results are there. Raises StoreError."""
    try:
        collected = result_mark.read(paths.result_mark(paths.result(job)))
        return max(numbers.highest_attempt(paths.job(job).root), collected.attempt if collected else 0)
    except OSError as error:
        raise StoreError(f"which attempts job {job} has had cannot be read: {error}") from error


def notices_of(known: int, identity: str, found: Found, paths: StatePaths) -> list[str]:
    """`known`: the highest number that the store has given."""
    notices = []
    if found.mark is not None and found.mark.store != identity:
        notices.append(f"{paths.database} is another store than the one that was served here last")
    evident = max(found.results, found.spool, found.mark.used if found.mark else 0)
    if known == 0 < evident:
        notices.append(
            f"{paths.database} has no jobs, though numbers up to {evident} were given ({_where(found, paths)}): it is "
            "new, or was emptied. `gpujobs restore DIR` puts a copy back that `gpujobs backup` has made. New jobs "
            f"get numbers from {found.highest + 1} on"
        )
    elif known < evident:
        notices.append(
            f"{paths.database} knows jobs up to {known}, but numbers up to {evident} were given "
            f"({_where(found, paths)}): it is an older copy, or its end was lost. What came after is not in its "
            f"list, and what is in the directories stays. New jobs get numbers from {found.highest + 1} on"
        )
    return notices


def _where(found: Found, paths: StatePaths) -> str:
    parts = [
        f"{paths.results / str(found.results)}" if found.results else "",
        f"{paths.spool / 'jobs' / str(found.spool)}" if found.spool else "",
        f"{paths.numbers}: {found.mark.used}" if found.mark else "",
    ]
    return ", ".join(filter(None, parts))
