"""What news say: a subject, a text for people, and JSON for programs (docs/news.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpujobs.daemon.api_json import device_json, exit_json
from gpujobs.jobfile.recipients import Occasion
from gpujobs.model import Group, Job, State, iso
from gpujobs.policy.inputs.text import duration
from gpujobs.printing import one_line
from gpujobs.results.ranking import Criterion, Ranked
from gpujobs.store.news import WaitingNews

SHOWN_RANKS = 3


@dataclass(frozen=True, slots=True)
class Ranking:
    """The jobs of a group, the best first."""

    criterion: Criterion
    places: Sequence[Ranked]
    sets: Mapping[int, Mapping[str, Any]]
    """By job, what the sweep sets."""

    @property
    def line(self) -> str:
        first, *others = self.places[:SHOWN_RANKS]
        sets = ", ".join(
            f"{key.rpartition('.')[2]}={value}" for key, value in self.sets.get(first.job, {}).items()
        )
        best = f"best by {self.criterion.metric}: job {first.job} with {first.value:.4g}"
        then = ", ".join(f"job {one.job} with {one.value:.4g}" for one in others)
        return one_line(f"{best}{f' ({sets})' if sets else ''}{f'; then {then}' if then else ''}")


@dataclass(frozen=True, slots=True)
class Facts:
    """Of what is told. `evaluation`: how good the model is, in lines."""

    job: Job
    group: Group | None = None
    ranking: Ranking | None = None
    evaluation: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Words:
    subject: str
    text: str
    news: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)


def words(one: WaitingNews, facts: Facts, host: str, message_id: str, notes: Sequence[str]) -> Words:
    subject = one_line(_subject(one, facts))
    text = "\n".join([subject, "", *_lines(one, facts), *(["", *notes] if notes else []), ""])
    news = {
        "id": message_id.strip("<>"),
        "event": one.occasion,
        "at": iso(one.happened_at),
        "host": host,
        "subject": subject,
        "text": text,
        "detail": one.detail,
        "job": _job(facts.job),
        "group": None if facts.group is None else _group(facts.group, facts.ranking),
    }
    return Words(f"[gpujobs] {subject}", text, news, _environment(one, facts))


def test_words(user: str, host: str, message_id: str) -> Words:
    subject = f"a test of news for {user}, on {host}"
    text = f"{subject}\n\n`gpujobs notify --test` has sent this. News of jobs come the same way.\n"
    news = {"id": message_id.strip("<>"), "event": "test", "host": host, "subject": subject, "text": text}
    return Words(f"[gpujobs] {subject}", text, news, {"GPUJOBS_EVENT": "test"})


def _subject(one: WaitingNews, facts: Facts) -> str:
    if facts.group is not None:
        return f'group g{facts.group.id} "{facts.group.name}" has ended: {_counts(facts.group)}'
    job = facts.job
    named = f'job {job.id} "{job.name}"'
    match one.occasion:
        case Occasion.START:
            return f"{named} has started {one.detail}"
        case Occasion.STRANGER:
            return f"{named} is not alone on its device: {one.detail}"
        case Occasion.TIME_LIMIT:
            return f"{named}: {one.detail}"
    return f"{named} has ended: {job.state}{f', {job.reason}' if job.reason else ''}"


def _counts(group: Group) -> str:
    return ", ".join(f"{group.counts[state]} {state}" for state in State if group.counts.get(state))


def _lines(one: WaitingNews, facts: Facts) -> list[str]:
    job, found = facts.job, []
    if facts.group is not None:
        found += [facts.ranking.line] if facts.ranking else []
        found += [f"`gpujobs results g{facts.group.id}` ranks them"]
        return found
    if job.message and one.occasion in (Occasion.END, Occasion.FAILURE):
        found += [one_line(job.message)]
    if job.current is not None:
        device = f"{job.current.device_kind} {job.current.device_index}"
        found += [f"attempt {job.current.number} on {job.current.node}, {device}"]
    if job.started_at is not None and job.ended_at is not None:
        found += [f"it took {duration((job.ended_at - job.started_at).total_seconds())}"]
    found += [one_line(line) for line in facts.evaluation]
    return [*found, f"`gpujobs show {job.id}` says more"]


def _job(job: Job) -> dict[str, Any]:
    current = job.current
    return {
        "id": job.id,
        "name": job.name,
        "user": job.user,
        "state": job.state,
        "reason": job.reason,
        "message": job.message,
        "attempt": job.attempt,
        "node": current and current.node,
        "device": current and device_json(current),
        "exit": current and exit_json(current),
        "submitted_at": iso(job.submitted_at),
        "started_at": iso(job.started_at),
        "ended_at": iso(job.ended_at),
        "progress": job.progress,
        "results": job.results,
        "group": job.group,
        "group_id": job.group_id,
    }


def _group(group: Group, ranking: Ranking | None) -> dict[str, Any]:
    return {
        "id": group.id,
        "name": group.name,
        "jobs": group.size,
        "counts": dict(group.counts),
        "metric": ranking and ranking.criterion.metric,
        "ranking": []
        if ranking is None
        else [{"job": p.job, "value": p.value} for p in ranking.places[:SHOWN_RANKS]],
    }


def _environment(one: WaitingNews, facts: Facts) -> dict[str, str]:
    job, group = facts.job, facts.group
    found = {
        "GPUJOBS_EVENT": one.occasion,
        "GPUJOBS_JOB": str(job.id),
        "GPUJOBS_NAME": job.name,
        "GPUJOBS_STATE": str(job.state if group is None else group.state),
        "GPUJOBS_REASON": str(job.reason),
        "GPUJOBS_GROUP": "" if job.group_id is None else f"g{job.group_id}",
    }
    return {key: one_line(value) for key, value in found.items()}
