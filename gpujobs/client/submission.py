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
from gpujobs.formats import is_pattern

MAX_JOB_FILE_BYTES = 1 << 20
MAX_ROUNDS = 8


@dataclass
class Submission:
    """Job files on their way: what they say and which of their data has been hashed so far.

    `is_look`: the data is only looked at, where it lies: nothing is hashed or uploaded.
    """

    files: list[dict[str, Any]]
    is_look: bool = False
    _described: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the data file's path as joined to its job file's directory: hashed once for all job files."""

    def __post_init__(self) -> None:
        for file in self.files:
            file.setdefault("directory", _directory(file["path"]))

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

    def data_stamps(self) -> tuple[tuple[str, int, int], ...]:
        """(path, bytes, nanoseconds of its last change) of each data file that was hashed so far."""
        from gpujobs.client.delivery import stamp

        found = (stamp(str(Path(source).absolute())) for source in self._described)
        return tuple(one for one in found if one is not None)

    def _describe(self, needs: Mapping[str, Sequence[str]], in_place: Mapping[str, Sequence[str]]) -> None:
        problems = []
        for file in self.files:
            for written in needs.get(file["path"], ()):
                source = _data_source(file["path"], written)
                try:
                    if is_pattern(written) and not os.path.lexists(source):
                        file.setdefault("patterns", {})[written] = _matches(file["path"], written, source)
                        continue
                    if source not in self._described:
                        self._described[source] = _seen(source) if self.is_look else _describe(source)
                    stays = self.is_look or written in in_place.get(file["path"], ())
                    place = str(Path(source).absolute()) if stays else None
                    file["data"][written] = {**self._described[source], "in_place": place}
                except OSError as error:
                    problems.append(Problem(file["path"], None, _data_problem(written, source, error)))
                except ValueError as error:
                    problems.append(Problem(file["path"], None, f"data file {written}: {error}."))
        if problems:
            raise JobFileError(problems)

    def _upload(self, client: Client, missing: Sequence[str]) -> None:
        sources = {entry["sha256"]: source for source, entry in self._described.items()}
        for sha256 in missing:
            if sha256 not in sources:
                raise ProtocolError(f"the daemon asks for data {sha256[:12]}, which no job file names.")
            with open_regular(sources[sha256]) as file:
                client.put(f"/v1/data/{sha256}", file, os.fstat(file.fileno()).st_size)


def read_job_files(paths: Sequence[str], *, is_look: bool = False) -> Submission:
    """Raises JobFileError with every problem of every file."""
    files, problems = [], []
    for path in paths:
        text, problem = _read(path)
        if problem is None:
            files.append({"path": path, "text": text, "data": {}})
        else:
            problems.append(Problem(path, None, problem))
    if problems:
        raise JobFileError(problems)
    return Submission(files, is_look)


def open_regular(path: str) -> IO[bytes]:
    """Opens a regular file; O_NONBLOCK so that a named pipe is an error and not a long wait."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(0, "is not a regular file")
    return file


def _read(path: str) -> tuple[str, str | None]:
    """The file's text, or what is wrong with it."""
    try:
        with open_regular(path) as file:
            content = file.read(MAX_JOB_FILE_BYTES + 1)
    except FileNotFoundError:
        return "", "does not exist; expected a job file; check the path."
    except IsADirectoryError:
        return "", "is a directory; expected a job file; name the files in it."
    except PermissionError:
        return "", f"cannot be read by you; expected read permission; try `chmod u+r {path}`."
    except OSError as error:
        return "", f"{error.strerror}; expected a job file; name the file itself."
    if len(content) > MAX_JOB_FILE_BYTES:
        return (
            "",
            "is larger than 1 MiB; expected a job file; data belongs in a file of its own, under `data`.",
        )
    if not content.strip():
        return "", "is empty; expected a job file; `gpujobs schema` says what goes into one."
    try:
        return content.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        return "", f"is not UTF-8 at byte {error.start}; expected a text file; convert it with iconv."


def _directory(job_file: str) -> str | None:
    """Of a job file, absolute; None where it cannot be said: it has no name any more, or none in UTF-8."""
    try:
        directory = os.path.normpath(Path(job_file).parent.absolute())
        directory.encode()
    except (OSError, UnicodeEncodeError):
        return None
    return directory


def _data_source(job_file: str, written: str) -> str:
    return os.path.normpath(Path(job_file).parent / Path(written).expanduser())


def _matches(job_file: str, written: str, source: str) -> list[str]:
    """The files of a pattern in the order of their names, written as the pattern is. Raises ValueError for none."""
    import glob

    found = sorted(path for path in glob.iglob(source, recursive=True) if Path(path).is_file())  # noqa: PTH207 - absolute ones too
    if not found:
        raise ValueError(
            f"no file matches; looked at {source}; patterns are relative to the job file's directory"
        )
    if len(found) > formats.MAX_FILES:
        raise ValueError(f"{len(found):,} files match; expected at most {formats.MAX_FILES:,}")
    if Path(written).expanduser().is_absolute():
        return found
    return [os.path.relpath(path, Path(job_file).parent) for path in found]


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


def _seen(source: str) -> dict[str, Any]:
    """As `_describe`, by the file's ends alone."""
    with open_regular(source) as file:
        head = file.read(formats.HEAD_BYTES)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - formats.TAIL_BYTES))
        tail = file.read()
    if wrong := formats.problem(source, head, tail):
        raise ValueError(wrong)
    return {"sha256": None, "bytes": size}


def _data_problem(written: str, source: str, error: OSError) -> str:
    what = "does not exist" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
    return f"data file {written}: {what}; looked at {source}; paths are relative to the job file's directory."
