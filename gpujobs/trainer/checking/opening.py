"""The data files of a check, which lie wherever the asker says: each is opened once, and must be a regular file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer.failures import DataError
from gpujobs.trainer.files import make_room


@contextmanager
def opened(spec: AttemptSpec) -> Iterator[AttemptSpec]:
    """The spec with names of open descriptors as its paths. Raises DataError: a pipe would keep the reader waiting."""
    descriptors: list[int] = []
    data = {}
    make_room(len(spec.data))
    try:
        for name, file in spec.data.items():
            try:
                descriptors.append(os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            except OSError as error:
                raise DataError(f"{name}: cannot be read: {error.strerror}") from error
            if not stat.S_ISREG(os.fstat(descriptors[-1]).st_mode):
                raise DataError(f"{name}: is not a regular file")
            data[name] = replace(file, path=f"/proc/self/fd/{descriptors[-1]}")
        yield replace(spec, data=data)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
