"""Keeps what TensorFlow's C++ says about missing GPUs out of a user's log, and everything else in it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog"
    rb"|I\d{4} [\d:. ]+(port|cudart_stub|cpu_feature_guard|util)\.cc"
    rb"|To enable the following instructions"
)
NO_CUDA = re.compile(rb"E\d{4} [\d:. ]+cuda_\w+\.cc:\d+\] failed call to cuInit")


@contextmanager
def without(*patterns: re.Pattern[bytes]) -> Iterator[None]:
    """Holds back descriptor 2 meanwhile, then writes to it the lines that match none of `patterns`.

    TensorFlow logs to the descriptor, before its own levels (TF_CPP_MIN_LOG_LEVEL) apply.
    """
    sys.stderr.flush()
    kept, held = os.dup(2), os.memfd_create("stderr")
    os.dup2(held, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        for line in _lines(held):
            if not any(pattern.match(line) for pattern in patterns):
                os.write(2, line)


def _lines(descriptor: int) -> list[bytes]:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(descriptor, "rb") as file:
        return file.readlines()
