"""The receiving end of `collect`: chunks that come as Ray objects become files."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from gpujobs.errors import MachineError, from_wire
from gpujobs.failpoints import reach
from gpujobs.linux import durable
from gpujobs.protocol.instructions import CollectedFile


async def write_chunks(chunks: Any, destination: Path) -> tuple[CollectedFile, ...]:
    """Writes into the new directory `destination`, durably; removes it again where anything fails.

    `chunks` is the streaming generator of the
    agent's `collect`; names are relative and were checked there, and are checked again here.
    """
    files = _Files(destination)
    try:
        destination.mkdir(mode=0o700)
        async for reference in chunks:
            name, content = await reference
            if not isinstance(content, bytes):
                raise from_wire(dict(content))
            reach("collect.write")
            files.write(name, content)
        written = files.finish()
        await asyncio.to_thread(_sync, destination, [file.name for file in written])
        return written
    except OSError as error:
        shutil.rmtree(destination, ignore_errors=True)
        raise MachineError(f"the results cannot be stored: {error.strerror}: {destination}") from error
    except BaseException:
        shutil.rmtree(destination, ignore_errors=True)
        raise
    finally:
        files.close()


def _sync(root: Path, names: Sequence[str]) -> None:
    """All at the end, and not in the way of what is asked meanwhile: a start may be."""
    for name in names:
        durable.sync_file(root / name)
    durable.sync_tree(root)


class _Files:
    """One is open at a time: there may be more than this process has descriptors."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._name = ""
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._written: list[CollectedFile] = []

    def write(self, name: str, content: bytes) -> None:
        """The chunks of a file come one after the other."""
        if self._file is None or name != self._name:
            self._end()
            self._name, self._file, self._digest = name, self._create(name), hashlib.sha256()
        self._file.write(content)
        self._digest.update(content)

    def _create(self, name: str) -> BinaryIO:
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise MachineError(f"a result is named {name}, outside of its directory")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        return os.fdopen(descriptor, "wb")

    def _end(self) -> None:
        if self._file is None:
            return
        self._file.flush()
        size, digest = self._file.tell(), self._digest.hexdigest()
        self._written.append(CollectedFile(self._name, size, digest))
        self.close()

    def finish(self) -> tuple[CollectedFile, ...]:
        self._end()
        return tuple(sorted(self._written, key=lambda file: file.name))

    def close(self) -> None:
        """What a full disk still holds back is lost with the directory."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
