"""A daemon, as Python programs see it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

from gpujobs import client as requests
from gpujobs.api.job import Job
from gpujobs.client.submission import Submission, read_job_files
from gpujobs.config.settings import sockets
from gpujobs.errors import JobFileError, Problem, UsageError
from gpujobs.model import State

JobFile = str | os.PathLike[str] | Mapping[str, Any]
"""A path, or what would stand in the file; its data paths are then relative to the working directory."""

PLACE = "job"
"""Stands for the name of a job file that is a dict."""


class Client:
    """The daemon that the command line would talk to: one's own, else the site's; or that of `socket` or `state_dir`.

    Raises DaemonUnreachableError and NotPermittedError, like everything here with the words of the command line. All
    errors are gpujobs.errors.GpujobsError. To be closed, or used with `with`.
    """

    def __init__(
        self, *, socket: str | os.PathLike[str] | None = None, state_dir: str | os.PathLike[str] | None = None
    ) -> None:
        given = {"socket": socket, "state_dir": state_dir}
        flags = {key: os.fspath(value) for key, value in given.items() if value is not None}
        self._client = requests.connect(sockets(flags))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    @overload
    def submit(self, what: JobFile, *, set: Mapping[str, Any] = ..., **options: Any) -> Any: ...

    @overload
    def submit(
        self, what: Sequence[JobFile], *, set: Mapping[str, Any] = ..., **options: Any
    ) -> list[Job]: ...

    def submit(
        self,
        what: JobFile | Sequence[JobFile],
        *,
        set: Mapping[str, Any] = {},  # noqa: A002 - as the command line's --set
        **options: Any,
    ) -> Job | list[Job]:
        """Queues a job and returns it; of a file with a sweep, and of a list, the list of all their jobs.

        `set`: fields to override, as `--set`: `{"training.epochs": 5}`. `options`: those of `gpujobs submit`: name,
        priority, hold, after (ids), retries. A list is queued whole or not at all. Raises JobFileError with every
        problem.
        """
        from gpujobs.client.delivery import deliver

        is_list = isinstance(what, Sequence) and not isinstance(what, str)
        files: list[JobFile] = list(what) if is_list else [what]  # type: ignore[arg-type, list-item]
        if not files:
            raise UsageError("there is nothing to submit; expected a job file, a dict, or a list of them.")
        overrides = {key: value if isinstance(value, str) else _json(value) for key, value in set.items()}
        body = {"set": overrides, "options": options}
        once = [os.urandom(8).hex()]  # so that nothing is taken for the repetition of an interrupted command
        try:
            jobs = deliver(self._client, _submission(files), body, once, _say)
        except JobFileError as error:
            raise JobFileError([_of_dict(one) for one in error.problems]) from None
        made = [Job(self._client, one) for one in jobs]
        is_one = not is_list and jobs[0].get("group_id") is None
        return made[0] if is_one else made

    def job(self, id: int) -> Job:
        """Raises NotFoundError where there is none."""
        return Job(self._client, self._client.get(f"/v1/jobs/{int(id)}")["job"])

    def jobs(
        self, *, state: str | State | Iterable[str] | None = None, user: str | None = None, mine: bool = False,
        name: str | None = None, limit: int = 0,
    ) -> list[Job]:  # fmt: skip
        """The jobs that have not ended; with `state`, those in it, as in `c.jobs(state="COMPLETED")`, or in any of
        several. `name` may be a pattern, as `lstm-*`. Oldest first; `limit` keeps the newest."""
        states = [state] if isinstance(state, str) else list(state or ())
        asked = {"state": ",".join(one.upper() for one in states), "user": user, "mine": mine, "name": name}
        found = self._client.get("/v1/jobs", **asked, limit=limit or None)["jobs"]
        return [Job(self._client, one) for one in found]

    def gpus(self) -> list[dict[str, Any]]:
        """Every device as it is now, with the keys of `gpujobs gpus --json`."""
        devices: list[dict[str, Any]] = self._client.get("/v1/gpus")["devices"]
        return devices


def _submission(files: Sequence[JobFile]) -> Submission:
    paths = [os.fspath(one) for one in files if not isinstance(one, Mapping)]
    read = iter(read_job_files(paths).files)
    dicts = [one for one in files if isinstance(one, Mapping)]
    names = iter([PLACE] if len(dicts) == 1 else [f"{PLACE}-{number}" for number in range(1, len(dicts) + 1)])
    return Submission(
        [
            {"path": next(names), "text": _json(one), "data": {}} if isinstance(one, Mapping) else next(read)
            for one in files
        ]
    )


def _json(value: Any) -> str:
    """JSON, which is YAML too. Raises UsageError for what has no place in a job file."""
    try:
        return json.dumps(value, default=_plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a job file holds texts, numbers, lists and dicts: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numbers and arrays of numpy
        return value.tolist()
    raise TypeError(f"{value!r} is none of them")


def _of_dict(problem: Problem) -> Problem:
    """Without a line, where the file is one that nobody has written."""
    is_written = problem.file != PLACE and not problem.file.startswith(f"{PLACE}-")
    return problem if is_written else Problem(problem.file, None, problem.message)


def _say(text: str) -> None:
    """What is not as usual, such as a default that the site has added."""
    import warnings

    warnings.warn(f"gpujobs: {text}", stacklevel=4)
