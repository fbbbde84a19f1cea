"""Job files and their data, read with the caller's rights, hashed, sent and uploaded."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from gpujobs import formats
from gpujobs.client.api import CHUNK_BYTES, Client
from gpujobs.errors import JobFileError, Problem, ProtocolError

MAX_JOB_FILE_BYTES = 1 << 20
MAX_ROUNDS = 8


@dataclass
class Submission:
    """Job files on their way: what they say and which of their data has been hashed so far."""

    files: list[dict[str, Any]]
    _described: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the data file's path as joined to its job file's directory: hashed once for all job files."""

    def send(self, client: Client, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Posts until the daemon needs nothing more. Raises JobFileError for data that cannot be read."""
        for _ in range(MAX_ROUNDS):
            answer = client.post(path, {**body, "files": self.files})
            if answer.get("needs"):
                self._describe(answer["needs"], answer.get("in_place") or {})
            elif answer.get("missing"):
                self._upload(client, answer["missing"])
            else:
                return answer
        raise ProtocolError("the daemon asks for data files again and again; see its log.")

    def _describe(source: str) -> dict[str, Any]:
    """Raises ValueError where the file's ends are not those of the format that its name says."""
    import hashlib

    digest, size, head, tail = hashlib.sha256(), 0, b"", b""
    with open_regular(source) as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
            head = head or piece[: formats.HEAD_BYTES]
            tail = (tail + piece)[-formats.TAIL_BYTES :]
            size += len(piece)
    if wrong := formats.problem(source, head, tail):
        raise ValueError(wrong)
    return {"sha256": digest.hexdigest(), "bytes": size}


def _data_problem(written: str, source: str, error: OSError) -> str:
    what = "does not exist" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
    return f"data file {written}: {what}; looked at {source}; paths are relative to the job file's directory."
