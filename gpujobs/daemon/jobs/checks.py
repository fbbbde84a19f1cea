"""What a submission is refused for, at once and with what is allowed, beyond what its job files say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from gpujobs.backends import backend_of, missing
from gpujobs.daemon.access.policy import AccessPolicy, may_read, require
from gpujobs.daemon.jobs.references import Reference, choose, is_range
from gpujobs.daemon.jobs.submissions import FileBody, OptionsBody, Prepared
from gpujobs.daemon.keeping.retention import removed_note
from gpujobs.demand import Dependencies
from gpujobs.errors import JobFileError, Problem, UsageError
from gpujobs.jobfile import ResolvedJob
from gpujobs.jobfile.layer_names import recurrent_names
from gpujobs.model import Caller, Device, DeviceKind, Job, Node, Share, State
from gpujobs.policy.devices.constraints import ConstraintError, check_constraints
from gpujobs.policy.inputs.rules import Rules
from gpujobs.policy.inputs.text import duration
from gpujobs.policy.users.limits import check_begin, check_priority, limits_of, time_limit_of
from gpujobs.policy.users.limits import check_waiting as check_count
from gpujobs.store.records import NewJob
from gpujobs.store.store import Store


def check_places(prepared: Sequence[Prepared], nodes: Sequence[Node], rules: Rules) -> None:
    """Some device must be one that the job could have at some time. Raises JobFileError."""
    problems = []
    for job in prepared:
        try:
            check_constraints(job.resolved.demand, nodes, rules.packing)
        except ConstraintError as error:
            problems.append(job.problem(f"resources.{error.key}", error.message))
    if problems:
        raise JobFileError(list(dict.fromkeys(problems)))


def has_gpu(devices: Sequence[Device]) -> bool:
    return any(device.kind is DeviceKind.GPU for device in devices)


def check_backends(resolved: Sequence[tuple[FileBody, ResolvedJob]], *, on_gpu: bool) -> None:
    """What trains a model must be installed. Raises JobFileError, which says how to install it."""
    problems = [
        Problem(file.path, job.line_of("training.backend"), f"training.backend is {backend}: {lack}.")
        for file, job in resolved
        for backend in [backend_of(job.resolved)]
        if (lack := missing(backend, on_gpu=on_gpu)) is not None
    ]
    if problems:
        raise JobFileError(list(dict.fromkeys(problems)))


def check_models(store: Store, caller: Caller, resolved: Sequence[tuple[FileBody, ResolvedJob]]) -> None:
    """A trained model must be there, and the caller's to read. Raises JobFileError, NotPermittedError."""
    for file, job in resolved:
        if job.trained_by is not None:
            check_model(store, caller, file, job, job.trained_by)


def check_model(store: Store, caller: Caller, file: FileBody, job: ResolvedJob, trained_by: int) -> None:
    where = (file.path, job.line_of("model.job"))
    try:
        trained = store.job(trained_by)
    except UsageError as error:
        raise JobFileError([Problem(*where, f"{error.message}.")]) from None
    require(may_read, caller, trained, "use the model of")
    if note := removed_note(trained):
        raise JobFileError([Problem(*where, f"{note}.")])
    if trained.results is None or trained.state is not State.COMPLETED:
        raise JobFileError([Problem(*where, f"job {trained.id} is {trained.state} and has no model.")])
    if unknown := _unknown_states(job, store.spec(trained.id).resolved):
        raise JobFileError([Problem(file.path, job.line_of("predict"), unknown)])


def _unknown_states(prediction: ResolvedJob, trained: Mapping[str, Any]) -> str | None:
    """What is wrong with the layers whose states are asked for."""
    if "job" in trained["model"]:
        return (
            f"job {prediction.trained_by} applied the model of job {trained['model']['job']}: name that one."
        )
    known = recurrent_names(trained)
    for entry in prediction.resolved["predict"]:
        for name in entry.get("states", ()):
            if name not in known:
                listed = ", ".join(known) or "none"
                return f"{name} is not a recurrent layer of job {prediction.trained_by} (it has {listed})."
    return None


def check_share(prepared: Sequence[Prepared], access: AccessPolicy) -> None:
    """`share: lab` needs a group to share with. Raises JobFileError."""
    if access.share_gid is not None:
        return
    why = (
        "this site has no share group ([access] share_group of its gpujobs.toml)"
        if access.is_site
        else "this is a personal daemon, which serves its own user only"
    )
    problems = [
        Problem(job.file.path, job.resolved.line_of("share"), f"share is lab, but {why}; expected private")
        for job in prepared
        if job.resolved.share == Share.LAB
    ]
    if problems:
        raise JobFileError(list(dict.fromkeys(problems)))


def check_retries(prepared: Sequence[Prepared], options: OptionsBody, most: int) -> None:
    """Raises UsageError or JobFileError where more attempts are asked for than the site allows."""
    if options.retries is not None:
        if options.retries > most:
            raise UsageError(f"--retries {options.retries}: this site allows at most {most}")
        return
    problems = [
        Problem(
            job.file.path,
            job.resolved.line_of("retries"),
            f"retries is {job.resolved.retries}; this site allows at most {most}",
        )
        for job in prepared
        if job.resolved.retries > most
    ]
    if problems:
        raise JobFileError(list(dict.fromkeys(problems)))


def dependencies(store: Store, caller: Caller, options: OptionsBody) -> Dependencies:
    """What the jobs of a submission wait for, by number; a group stands for all of its jobs as they are now. Raises
    UsageError for what does not exist, or cannot come out as it must."""
    groups: dict[int, int] = {}
    after, after_any, after_failed = (
        _jobs_of(store, caller, references, groups)
        for references in (options.after, options.after_any, options.after_failed)
    )
    for job in after:
        if job.state.is_final and job.state is not State.COMPLETED:
            raise UsageError(f"--after {job.id}: job {job.id} has ended {job.state} and will not complete")
    _check_failures(after_failed, groups)
    stricter = {job.id for job in after}
    if both := stricter & {job.id for job in after_failed}:
        raise UsageError(f"job {min(both)} cannot both complete and fail: --after and --after-failed name it")
    stricter |= {job.id for job in after_failed}
    return Dependencies(
        tuple(job.id for job in after),
        tuple(job.id for job in after_any if job.id not in stricter),
        tuple(job.id for job in after_failed),
        groups,
    )


def _jobs_of(
    store: Store, caller: Caller, references: Sequence[Reference], groups: dict[int, int]
) -> list[Job]:
    """Each once. `groups` gets the group of those that are meant since it was named."""
    found: dict[int, Job] = {}
    for reference in references:
        chosen = choose(store, caller, [reference])
        for job in chosen.jobs:
            if job.id not in chosen.members:
                groups.pop(job.id, None)
            elif job.id not in found and job.group_id is not None and not is_range(reference):
                groups[job.id] = job.group_id
            found[job.id] = job
    return list(found.values())


def _check_failures(jobs: Sequence[Job], groups: Mapping[int, int]) -> None:
    by_name: dict[str, list[Job]] = {}
    for job in jobs:
        name = f"g{groups[job.id]}" if job.id in groups else str(job.id)
        by_name.setdefault(name, []).append(job)
    for name, meant in by_name.items():
        if all(job.state is State.COMPLETED for job in meant):
            raise UsageError(f"--after-failed {name}: it has completed, and nothing of it will fail")


def check_limit(seconds: float, caller: Caller, groups: Sequence[str], rules: Rules) -> None:
    """A time limit that somebody gives a job of theirs; admins may give any. Raises UsageError."""
    if not caller.is_admin:
        time_limit_of(seconds, limits_of(caller.user, groups, rules.limits))


def check_times(options: OptionsBody, now: datetime) -> None:
    if options.begin_at is not None:
        check_begin(options.begin_at, now)


def check_rules(prepared: Sequence[Prepared], options: OptionsBody, caller: Caller, rules: Rules) -> None:
    """Priorities, where the site sets a bound. Raises UsageError, JobFileError."""
    if options.priority is not None:
        check_priority(options.priority, rules.priority, is_admin=caller.is_admin)
        return
    problems = []
    for job in prepared:
        try:
            check_priority(job.resolved.demand.priority, rules.priority, is_admin=caller.is_admin)
        except UsageError as error:
            problems.append(job.problem("priority", error.message))
    if problems:
        raise JobFileError(list(dict.fromkeys(problems)))


def check_waiting(waiting: int, new: int, user: str, groups: Sequence[str], rules: Rules) -> None:
    """Raises UsageError where the user may not have so many jobs waiting."""
    check_count(waiting, new, limits_of(user, groups, rules.limits))


def with_time_limits(
    jobs: Sequence[NewJob],
    prepared: Sequence[Prepared],
    user: str,
    groups: Sequence[str],
    rules: Rules,
) -> list[NewJob]:
    """The jobs with the site's default where they name no time limit. Raises JobFileError where one names
    more than the user is allowed."""
    limits = limits_of(user, groups, rules.limits)
    limited, problems = [], []
    for job, source in zip(jobs, prepared, strict=True):
        try:
            seconds = time_limit_of(job.demand.time_limit_seconds, limits)
            limited.append(replace(job, demand=replace(job.demand, time_limit_seconds=seconds)))
        except UsageError as error:
            problems.append(source.problem("resources.time_limit", error.message))
    if problems:
        raise JobFileError(list(dict.fromkeys(problems)))
    return limited


def site_defaults(prepared: Sequence[Prepared], new: Sequence[NewJob]) -> list[str]:
    """In words, what the site's configuration has added to these jobs."""
    limits: Counter[float] = Counter()
    shared = 0
    for source, job in zip(prepared, new, strict=True):
        seconds = job.demand.time_limit_seconds
        if source.resolved.demand.time_limit_seconds is None and seconds is not None:
            limits[seconds] += 1
        shared += source.resolved.share is None and job.share is Share.LAB
    said = [
        f"{_of_them(count, len(new))} no time limit: the site's default of {duration(seconds)} holds "
        "(resources: {time_limit: ...} names another)"
        for seconds, count in limits.items()
    ]
    if shared:
        said.append(
            f"{_of_them(shared, len(new))} no share: the site's default is lab, so that its group reads the results "
            "(share: private keeps them to you)"
        )
    return said


def _of_them(count: int, total: int) -> str:
    if total == 1:
        return "the job file names"
    return "the job files name" if count == total else f"{count} of {total} jobs name"
