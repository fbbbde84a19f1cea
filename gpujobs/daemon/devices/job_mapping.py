"""Which jobs are on which GPU, as files that NVIDIA's dcgm-exporter reads: its metrics then have a label `hpc_job`.

`[metrics] dcgm_job_mapping` names the directory. Each GPU of this machine has a file there, called by its index, with a
job's id on each line; one without jobs is empty. A job on a part of a GPU (MIG) stands in the file of that GPU. The
format: github.com/NVIDIA/dcgm-exporter, internal/pkg/transformation/hpc.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gpujobs.config.settings import SITE_CONFIG
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.modes import Mode
from gpujobs.errors import in_words
from gpujobs.model import DeviceKind

Contents = Mapping[str, bytes]
"""By the name of a file."""

log = logging.getLogger(__name__)


def directory_in(in_force: InForce) -> Path | None:
    """Of a site's configuration only the site's daemon keeps it: another one knows other jobs."""
    named = in_force.site.metrics.dcgm_job_mapping
    if named is None or (in_force.mode is not Mode.SITE and in_force.settings.config == SITE_CONFIG):
        return None
    return Path(named)


class JobMapping:
    """`wake` when jobs or devices have changed; `run` writes, beside the event loop. What is there is looked at each
    time, so that files of before a restart, or that somebody has touched, come right."""

    def __init__(
        self, cache: JobCache, nodes: Nodes, node: str, directory: Callable[[], Path | None]
    ) -> None:
        self._cache = cache
        self._nodes = nodes
        self._node = node
        self._directory = directory
        self._before: Path | None = None
        self._trouble = ""
        self._due = asyncio.Event()

    def wake(self) -> None:
        self._due.set()

    async def run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            directory, contents = self._directory(), self.contents()
            if self._before not in (None, directory):
                await self._write(self._before, {})
            self._before = directory
            await self._write(directory, contents)

    def contents(self) -> Contents:
        jobs: dict[int, list[int]] = {}
        for node in self._nodes.known:
            if node.name == self._node:
                jobs |= {device.index: [] for device in node.devices if device.kind is DeviceKind.GPU}
        for job in self._cache.active():
            attempt = job.current
            if attempt is None or job.id in self._cache.released or attempt.node != self._node:
                continue
            if attempt.device_kind is DeviceKind.GPU:
                jobs.setdefault(attempt.device_index, []).append(job.id)
        return {str(index): "".join(f"{id}\n" for id in ids).encode() for index, ids in jobs.items()}

    async def _write(self, directory: Path | None, contents: Contents) -> None:
        if directory is None:
            return
        try:
            await asyncio.to_thread(write, directory, contents)
            trouble = ""
        except OSError as error:
            trouble = f"{directory}, where dcgm-exporter looks for jobs, cannot be written: {in_words(error)}"
        if trouble and trouble != self._trouble:
            log.warning("%s; the next change of a job tries again", trouble)
        self._trouble = trouble


def write(directory: Path, contents: Contents) -> None:
    """Each file is replaced as a whole, where it says something else; files of GPUs that are not there any more are
    emptied. Makes the directory where its parent is there. Raises OSError, also where others than its owner and root
    could write there."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o755)
    with _opened(directory) as place:
        with os.scandir(place) as entries:
            gone = {entry.name: b"" for entry in entries if entry.name.isascii() and entry.name.isdecimal()}
        for name, content in {**gone, **contents}.items():
            if _read(place, name) != content:
                _replace(place, name, content)


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(place)
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(0, "others may write there; it is to be root's, with mode 0755")
        yield place
    finally:
        os.close(place)


def _read(place: int, name: str) -> bytes | None:
    """None for what is no file."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def _replace(place: int, name: str, content: bytes) -> None:
    temporary = f".{name}.tmp"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=place)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o644, dir_fd=place), "wb") as file:
        os.fchmod(file.fileno(), 0o644)  # whatever the umask: the exporter may be another user
        file.write(content)
    os.rename(temporary, name, src_dir_fd=place, dst_dir_fd=place)
