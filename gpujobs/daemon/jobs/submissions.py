"""From the text of job files to stored jobs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from gpujobs.daemon.jobs.memory_class import memory_class_of
from gpujobs.daemon.jobs.references import Reference
from gpujobs.demand import NO_DEPENDENCIES, Demand, Dependencies
from gpujobs.errors import GpujobsError, JobFileError, Problem, UsageError
from gpujobs.jobfile import ResolvedJob, expand
from gpujobs.jobfile.resolve import with_files
from gpujobs.jobfile.schema import Name
from gpujobs.model import MAX_PRIORITY, Caller, Share
from gpujobs.store.records import DataReference, NewJob
from gpujobs.store.store import Store

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


AwareInstant = Annotated[AwareDatetime, Field(strict=False)]

MAX_JOBS = 10_000
"""Of one submission, as of one sweep: files of a few lines could ask for millions."""

PathText = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$")]
AbsolutePath = Annotated[str, StringConstraints(max_length=4096, pattern=r"^/[^\x00]*$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class DataBody(_Body):
    sha256: Sha256 | None = None
    """None: the file is only looked at where it lies, by a check."""

    bytes: int = Field(ge=0, lt=1 << 62)
    in_place: PathText | None = None
    """The absolute path, where the job file asks for the file to be used where it lies, and for a check."""


class FileBody(_Body):
    path: PathText
    text: str
    data: dict[str, DataBody] = {}
    patterns: dict[str, list[PathText]] = Field(default={}, max_length=1000)
    """The files that a pattern among the data paths stands for: the client has looked, with its user's rights."""
    directory: AbsolutePath | None = None
    """Where the file lies, and what its paths are relative to; None where the client does not know."""

    @property
    def place(self) -> str:
        """The file, absolute where that is known. Nothing is opened by it."""
        return (
            self.path if self.directory is None else str(PurePath(self.directory, PurePath(self.path).name))
        )


class OptionsBody(_Body):
    name: str | None = None
    priority: int | None = Field(default=None, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    hold: bool = False
    after: list[Reference] = Field(default=[], max_length=1000)
    after_any: list[Reference] = Field(default=[], max_length=1000)
    after_failed: list[Reference] = Field(default=[], max_length=1000)
    begin_at: AwareInstant | None = None
    retries: int | None = Field(default=None, ge=0, le=100)


class SubmissionBody(_Body):
    """The body of `POST /v1/jobs` and `POST /v1/check` (docs/protocol.md, section 1)."""

    request_key: str = Field(default="", max_length=200)
    files: list[FileBody] = Field(min_length=1, max_length=10_000)
    set: dict[str, str] = Field(default={}, max_length=1000)
    options: OptionsBody = OptionsBody()


class WithdrawBody(_Body):
    request_key: str = Field(min_length=1, max_length=200)


@dataclass(frozen=True, slots=True)
class Needs:
    """What the client must describe, or upload, before it asks again."""

    needs: Mapping[str, list[str]]
    in_place: Mapping[str, list[str]]
    missing: Sequence[str]

    def to_wire(self) -> dict[str, Any]:
        if self.needs:
            return {"needs": self.needs, "in_place": self.in_place}
        return {"missing": list(self.missing)}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job file that is valid, and whose data is here."""

    file: FileBody
    resolved: ResolvedJob
    data: tuple[DataReference, ...]

    @property
    def family(self) -> str | None:
        """Hashed each time that it is asked for."""
        return memory_class_of(self.resolved.resolved, self.data)

    def problem(self, key: str, message: str) -> Problem:
        """At the line of a dotted key."""
        return Problem(self.file.path, self.resolved.line_of(key), message)


def resolve(body: SubmissionBody) -> list[tuple[FileBody, ResolvedJob]]:
    """Every job of every file. Raises JobFileError with the problems of all files together, UsageError where
    they make more than MAX_JOBS."""
    found: list[tuple[FileBody, ResolvedJob]] = []
    problems: list[Problem] = []
    for file in body.files:
        try:
            jobs = expand(file.path, file.text, body.set)
            found += [(file, with_files(file.path, resolved, file.patterns)) for resolved in jobs]
        except JobFileError as error:
            problems += error.problems
        if len(found) > MAX_JOBS:
            raise UsageError(f"these files make more than {MAX_JOBS:,} jobs; submit them in several goes")
    if problems:
        raise JobFileError(problems)
    return found


def prepare(
    store: Store, caller: Caller, resolved: Sequence[tuple[FileBody, ResolvedJob]], *, is_check: bool = False
) -> list[Prepared] | Needs:
    """Checks that all data is described and, unless it is used in place, uploaded by this caller. `is_check`: any
    of it may be looked at in place, with the caller's rights."""
    needs: dict[str, list[str]] = {}
    in_place: dict[str, list[str]] = {}
    missing: dict[str, None] = {}
    prepared: list[Prepared] = []
    here: dict[str, bool] = {}
    for file, job in resolved:
        undescribed = [path for path in job.data_paths if path not in file.data]
        if undescribed:
            needs[file.path] = sorted({*needs.get(file.path, ()), *undescribed})
            in_place[file.path] = sorted(set(job.in_place_paths) & set(needs[file.path]))
            continue
        references = tuple(_reference(file, job, path, is_check=is_check) for path in job.data_paths)
        for reference in references:
            if reference.in_place is not None:
                continue
            if reference.sha256 not in here:
                here[reference.sha256] = store.uploads.has(caller.uid, reference.sha256)
            if not here[reference.sha256]:
                missing[reference.sha256] = None
        prepared.append(Prepared(file, job, references))
    if needs or missing:
        return Needs(needs, in_place, list(missing))
    return prepared


def _reference(file: FileBody, job: ResolvedJob, path: str, *, is_check: bool) -> DataReference:
    described = file.data[path]
    if path in job.in_place_paths or (is_check and described.in_place is not None):
        if described.in_place is None or not Path(described.in_place).is_absolute():
            raise UsageError(f"{file.path}: {path}: in_place needs the absolute path of the file")
        place: str | None = os.path.normpath(described.in_place)
    else:
        place = None
    if described.sha256 is None and not (is_check and place):
        raise UsageError(f"{file.path}: {path}: has no sha256; expected that of the file")
    return DataReference(path, described.sha256 or "", described.bytes, place)


def new_jobs(
    prepared: Sequence[Prepared],
    options: OptionsBody,
    default_share: Share,
    estimates: Mapping[str, int],
    awaited: Dependencies = NO_DEPENDENCIES,
) -> list[NewJob]:
    """`estimates`: bytes of device memory by family."""
    if options.name is not None and len(prepared) > 1:
        raise UsageError(f"--name is for one job; these files make {len(prepared)}")
    _require_name(options.name)
    starts: dict[int, int] = {}
    for position, one in enumerate(prepared):
        starts.setdefault(id(one.file), position)
    return [
        _new_job(one, options, default_share, _demand(one, options, estimates, awaited), starts[id(one.file)])
        for one in prepared
    ]


def _demand(
    prepared: Prepared, options: OptionsBody, estimates: Mapping[str, int], awaited: Dependencies
) -> Demand:
    """What the file asks for, and what was said beside it."""
    asked, family = prepared.resolved.demand, prepared.family
    return replace(
        asked,
        priority=asked.priority if options.priority is None else options.priority,
        begin_at=options.begin_at,
        family=family,
        estimate_bytes=estimates.get(family or ""),
        awaits=awaited,
    )


def _require_name(name: str | None) -> None:
    try:
        TypeAdapter(Name | None).validate_python(name)
    except ValidationError:
        raise UsageError(
            f"--name {_shown(name)}: expected a name of 1 to 100 printable characters without /"
        ) from None


def _shown(name: str | None) -> str:
    """The name in its own letters, and which of its characters is the trouble: some of them nobody sees."""
    text = repr(name) if len(name or "") <= 100 else f"of {len(name or '')} characters"
    unseen = next((c for c in name or "" if not c.isprintable()), None)
    return text if unseen is None else f"{text} with the unprintable U+{ord(unseen):04X}"


def _new_job(
    prepared: Prepared, options: OptionsBody, default_share: Share, demand: Demand, group_start: int
) -> NewJob:
    resolved = prepared.resolved
    share = Share(resolved.share or default_share)
    named = {} if options.name is None else {"name": options.name}
    return NewJob(
        name=options.name or resolved.name,
        path=prepared.file.place,
        source=prepared.file.text,
        resolved={**resolved.resolved, "share": share.value, **named},
        demand=demand,
        held=options.hold,
        retries=resolved.retries if options.retries is None else options.retries,
        group=resolved.group,
        group_start=group_start,
        sweep_values=resolved.sweep_values if resolved.group is not None else None,
        data=prepared.data,
        share=share,
    )


def require_request_key(body: SubmissionBody) -> str:
    if not body.request_key:
        raise GpujobsError("the request has no request_key; it makes a repeated submission harmless")
    return body.request_key
