"""The receiving end of `collect`: chunks that come as Ray objects become files."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from gpujobs.errors import MachineError, from_wire


async def write_chunks(chunks: Any, destination: Path) -> list[dict[str, Any]]:
    """Writes into the new directory `destination`, durably; removes it again where anything fails.

    Returns `{"name", "bytes", "sha256"}` of each file. `chunks` is the streaming generator of the
    agent's `collect`; names are relative and were checked there, and are checked again here.
    """
    try:
        destination.mkdir(mode=0o700)
        with ExitStack() as stack:
            files = _Files(destination, stack)
            async for reference in chunks:
                name, content = await reference
                if not name:
                    raise from_wire(content)
                files.write(name, content)
            return files.finish()
    except OSError as error:
        shutil.rmtree(destination, ignore_errors=True)
        raise MachineError(f"the results cannot be stored: {error.strerror}: {destination}") from error
    except BaseException:
        shutil.rmtree(destination, ignore_errors=True)
        raise


class _Files:
    def __init__(self, root: Path, stack: ExitStack) -> None:
        self._root = root
        self._stack = stack
        self._open: dict[str, tuple[BinaryIO, Any]] = {}

    def write(self, name: str, content: bytes) -> None:
        if name not in self._open:
            self._open[name] = (self._create(name), hashlib.sha256())
        file, digest = self._open[name]
        file.write(content)
        digest.update(content)

    def _create(self, name: str) -> BinaryIO:
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise MachineError(f"a result is named {name}, outside of its directory")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        return self._stack.enter_context(os.fdopen(descriptor, "wb"))

    def finish(self) -> list[dict[str, Any]]:
        written = []
        for name, (file, digest) in sorted(self._open.items()):
            file.flush()
            os.fsync(file.fileno())
            written.append({"name": name, "bytes": file.tell(), "sha256": digest.hexdigest()})
        return written
