"""How much memory there is to take, and arrays that live in a file where they would take too much of it."""

from __future__ import annotations

import math
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpujobs.trainer.failures import DataError

PIECE_BYTES = 1 << 20
"""What is looked at once, where all of an array is."""

MAPPED_SHARE = 0.25
"""An array that takes more than this share of the memory that is available is kept in a file."""

LOOK: ContextVar[int | None] = ContextVar("LOOK", default=None)
"""At most so many bytes of an array are looked at; None: all of it."""

PAGE = os.sysconf("SC_PAGE_SIZE")
CGROUPS = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """What this process may still take: the least of what the machine, its control group and its limits leave."""
    return max(0, min([_of_machine(), *_of_group(), *_of_limits()]))


def _of_machine() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) << 10


def _of_group() -> list[int]:
    """Of every control group (version 2) that this process is in and that has a limit."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    found = []
    for directory in (CGROUPS / own.strip("/"), *(CGROUPS / own.strip("/")).parents):
        if directory == CGROUPS.parent:
            break
        try:
            limit = (directory / "memory.max").read_text().strip()
            used = int((directory / "memory.current").read_text())
            files = _inactive_file_bytes(directory)
        except OSError:  # the root group has no limit, and no such file
            continue
        if limit != "max":
            found.append(int(limit) - used + files)
    return found


def _inactive_file_bytes(directory: Path) -> int:
    """Cached file pages count as used, and are given back when memory is asked for."""
    lines = (directory / "memory.stat").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def _of_limits() -> list[int]:
    """setrlimit's: of the address space, and of private memory."""
    pages = [int(number) for number in Path("/proc/self/statm").read_text().split()]
    used = {resource.RLIMIT_AS: pages[0], resource.RLIMIT_DATA: pages[5]}
    soft = {kind: resource.getrlimit(kind)[0] for kind in used}
    return [soft[kind] - used[kind] * PAGE for kind in used if soft[kind] != resource.RLIM_INFINITY]


def allocate(shape: tuple[int, ...], dtype: DTypeLike, scratch: Path) -> NDArray[Any]:
    """An array of undefined content: in memory, or in a file without a name in the directory `scratch`.

    Raises DataError where neither has room. Memory that is never written is never taken.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= MAPPED_SHARE * available_bytes():
        return np.empty(shape, dtype)
    free = shutil.disk_usage(scratch).free
    if size > free:
        raise DataError(
            f"claims {shape[0]} rows, {gib(size)}; expected at most what is free on the disk, {gib(free)}"
        )
    file = scratch / "array.tmp"
    mapped = np.memmap(file, dtype, "w+", shape=shape)
    file.unlink()
    return mapped


def gib(size: int) -> str:
    return f"{size / (1 << 30):.3g} GiB"


def pieces(begin: int, end: int, row_bytes: int) -> Iterator[slice]:
    """Slices of rows that follow each other, each of some 1 MiB. Within `looking_at`, of an array that is larger,
    some of them, evenly spread, with the first and the last."""
    rows = max(1, PIECE_BYTES // max(1, row_bytes))
    firsts, most = range(begin, end, rows), LOOK.get()
    count = len(firsts) if most is None else max(2, most // PIECE_BYTES)
    chosen = firsts if count >= len(firsts) else _spread(firsts, count)
    return (slice(first, min(first + rows, end)) for first in chosen)


def _spread(firsts: range, count: int) -> list[int]:
    return [firsts[number * (len(firsts) - 1) // (count - 1)] for number in range(count)]


@contextmanager
def looking_at(size: int) -> Iterator[None]:
    """For the block, no more than `size` bytes of an array are looked at, and a large npz file is not read whole."""
    token = LOOK.set(size)
    try:
        yield
    finally:
        LOOK.reset(token)


def row_bytes(values: NDArray[Any]) -> int:
    return int(values.itemsize * math.prod(values.shape[1:]))
