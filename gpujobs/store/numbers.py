"""Numbers of jobs are given once, whatever becomes of the store.

A store may be restored from an older copy, lose the end of its write-ahead log, or be lost. So the numbers that
were given are also noted in a mark beside it, and in a copy of that in the directory of the results. The mark is
on disk before the numbers that it covers are: it reserves them in blocks, so that a submission seldom waits for
a second fsync. Within a block it is written without one: that survives everything but a power failure, after
which the numbers go on above the block.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gpujobs.errors import StoreError
from gpujobs.failpoints import reach
from gpujobs.linux import durable

BLOCK = 100

MARK_BYTES = 256
"""In one sector of a disk, so that it is replaced whole or not at all."""

NUMBERED = re.compile(r"(\d{1,15})(\..*)?")

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Mark:
    """`used`: the highest number given; `reserved`: the highest that may have been where a power failure has
    taken `used` back. `store` is the id of the store, `boot` that of the machine's start."""

    store: str
    used: int
    reserved: int
    boot: str

    @property
    def highest(self) -> int:
        return self.used if self.boot == boot_id() else max(self.used, self.reserved)


def boot_id() -> str:
    return BOOT_ID.read_text().strip()


def read(path: Path) -> Mark | None:
    """None where there is none, or one that is damaged: there is a second one, and what was found."""
    try:
        values = json.loads(path.read_bytes()[:MARK_BYTES])
        mark = Mark(str(values["store"]), int(values["used"]), int(values["reserved"]), str(values["boot"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return mark if 0 <= mark.used <= mark.reserved else None


def newest(places: Iterable[Path]) -> Mark | None:
    return max(filter(None, map(read, places)), key=lambda mark: mark.highest, default=None)


def highest_name(directory: Path) -> int:
    """The highest number that an entry has as its name, or before a dot as what was set aside; 0 where there is
    none."""
    try:
        names = os.listdir(directory)  # noqa: PTH208 - a hundred thousand names need no paths
    except FileNotFoundError:
        return 0
    return max((int(found[1]) for name in names if (found := NUMBERED.fullmatch(name))), default=0)


def highest_attempt(job: Path) -> int:
    """Of the attempts whose directories are in a job's; 0 where there is none."""
    found = (re.fullmatch(r"attempt-(\d{1,9})", path.name) for path in job.glob("attempt-*"))
    return max((int(match[1]) for match in found if match), default=0)


class Numbers:
    """The mark of a store that is open."""

    def __init__(self, places: Sequence[Path], store: str, used: int) -> None:
        self._places = places
        self._store = store
        self._used = self._reserved = used

    def give(self, highest: int) -> None:
        """Before the commit of jobs up to this number. Raises StoreError where the mark cannot be written."""
        is_new = highest > self._reserved
        self._used = max(self._used, highest)
        if is_new:
            self._reserved = highest + BLOCK
        self._write(is_durable=is_new)

    def close(self) -> None:
        """Nothing is reserved beyond what was given."""
        self._reserved = self._used
        self._write(is_durable=True)

    def _write(self, *, is_durable: bool) -> None:
        text = json.dumps(asdict(Mark(self._store, self._used, self._reserved, boot_id())))
        content = text.ljust(MARK_BYTES - 1).encode() + b"\n"
        for path in self._places:
            try:
                _overwrite(path, content, is_durable=is_durable)
            except OSError as error:
                self._reserved = 0  # what could not be noted is noted before the next number is given
                raise StoreError(
                    f"{path}: the numbers of jobs cannot be noted: {error.strerror}; no job was queued"
                ) from error


def _overwrite(path: Path, content: bytes, *, is_durable: bool) -> None:
    is_new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        reach("store.numbers.write")
        os.pwrite(descriptor, content, 0)
        if is_durable or is_new:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        durable.sync_directory(path.parent)
