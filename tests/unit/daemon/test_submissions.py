"""From the text of job files, and what is said beside them, to the jobs that are stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpujobs.daemon.jobs import submissions
from gpujobs.daemon.jobs.checks import check_retries, check_rules, with_time_limits
from gpujobs.daemon.jobs.submissions import (
    DataBody,
    FileBody,
    Needs,
    OptionsBody,
    SubmissionBody,
    new_jobs,
    prepare,
    resolve,
)
from gpujobs.daemon.jobs.submit import bound
from gpujobs.errors import JobFileError, UsageError
from gpujobs.model import Share
from gpujobs.policy import Rules
from gpujobs.policy.inputs.rules import Limits, PriorityRules, UserLimits
from gpujobs.store.records import DataReference, NewJob
from gpujobs.store.store import Store
from tests.unit.store.jobs import A, having, new_job

HASH = "5" * 64
HERE: dict[str, Any] = {"sha256": HASH, "bytes": 4}
MODEL = "model: {layers: [LSTM: {units: 1}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
TRAINS = f"data: {{train: t.npz}}\n{MODEL}"
IN_PLACE = f"data: {{train: {{path: t.npz, in_place: true}}}}\n{MODEL}"
TWICE = f"{TRAINS}sweep: {{grid: {{training.seed: [0, 1]}}}}\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Which has a's data."""
    opened = Store(tmp_path / "s.db")
    opened.uploads.add(A.uid, HASH, 4)
    yield opened
    opened.close()


def asked(*texts: str, data: dict[str, Any] | None = None, **options: Any) -> SubmissionBody:
    described = {"t.npz": DataBody(**(HERE if data is None else data))}
    files = [
        FileBody(path=f"{number}.yaml", text=text, data=described) for number, text in enumerate(texts, 1)
    ]
    return SubmissionBody(request_key="k", files=files, options=OptionsBody(**options))


def made(store: Store, body: SubmissionBody) -> list[NewJob]:
    prepared = prepare(store, A, resolve(body))
    assert not isinstance(prepared, Needs)
    return new_jobs(prepared, body.options, Share.PRIVATE, {})


@pytest.mark.parametrize(
    ("in_place", "node", "shared", "expected"),
    [
        (None, None, False, None),
        ("/d", None, False, "own"),  # nobody else has it
        ("/d", None, True, None),
        ("/d", "other", False, "other"),
        (None, "other", False, "other"),
    ],
)
def test_data_in_place_are_used_where_they_are(
    in_place: str | None, node: str | None, shared: bool, expected: str | None
) -> None:
    data = (DataReference("e", "b" * 64, 1), DataReference("d", "a" * 64, 1, in_place))
    job = having(new_job(), data=data, node=node)
    assert bound(job, "own", lambda path: shared and path == "/d").demand.node == expected


@pytest.mark.parametrize(
    ("options", "priority", "retries"),
    [
        ({}, 3, 2),
        ({"priority": -1, "retries": 5}, -1, 5),
        ({"priority": 0, "retries": 0}, 0, 0),
    ],
)
def test_what_is_said_beside_a_file_counts_also_where_it_is_nothing(
    store: Store, options: dict[str, Any], priority: int, retries: int
) -> None:
    (job,) = made(store, asked(f"{TRAINS}priority: 3\nretries: 2\n", **options))
    assert (job.demand.priority, job.retries) == (priority, retries)


def test_a_name_is_for_one_job(store: Store) -> None:
    (job,) = made(store, asked(f"name: n\n{TRAINS}", name="other"))
    assert (job.name, job.resolved["name"]) == ("other", "other")
    for texts in ((TWICE,), (TRAINS, TRAINS)):
        with pytest.raises(UsageError, match="--name is for one job; these files make 2"):
            made(store, asked(*texts, name="other"))


def test_the_jobs_of_each_file_with_a_sweep_are_a_group_of_their_own(store: Store) -> None:
    """A group is called by where its first job stands among all."""
    jobs = made(store, asked(TRAINS, f"name: s\n{TWICE}", f"name: s\n{TWICE}"))
    assert [(job.group, job.group_start) for job in jobs[1:]] == [("s", 1), ("s", 1), ("s", 3), ("s", 3)]
    assert jobs[0].group is None and jobs[0].sweep_values is None


@pytest.mark.parametrize("place", [None, "t.npz", "./t.npz"])
def test_data_that_is_used_in_place_is_named_by_its_whole_path(store: Store, place: str | None) -> None:
    with pytest.raises(UsageError, match=r"1\.yaml: t\.npz: in_place needs the absolute path of the file"):
        made(store, asked(IN_PLACE, data={**HERE, "in_place": place}))
    (job,) = made(store, asked(IN_PLACE, data={**HERE, "in_place": "/data/../scratch/t.npz"}))
    assert [(one.path, one.in_place) for one in job.data] == [("t.npz", "/scratch/t.npz")]


def test_data_is_asked_for_that_is_not_described_or_not_here(store: Store) -> None:
    assert prepare(store, A, resolve(asked(TRAINS, data={"sha256": "6" * 64, "bytes": 4}))) == Needs(
        {}, {}, ["6" * 64]
    )
    bare = SubmissionBody(request_key="k", files=[FileBody(path="1.yaml", text=IN_PLACE)])
    needs = prepare(store, A, resolve(bare))
    assert needs == Needs({"1.yaml": ["t.npz"]}, {"1.yaml": ["t.npz"]}, [])
    with pytest.raises(UsageError, match=r"1\.yaml: t\.npz: has no sha256; expected that of the file"):
        prepare(store, A, resolve(asked(TRAINS, data={"bytes": 4})))


BOUNDED = Rules(
    priority=PriorityRules(max_priority=5),
    limits=Limits(default=UserLimits(max_time_limit_seconds=60, default_time_limit_seconds=30)),
)


def test_what_files_ask_for_is_bounded_by_the_site_unless_something_else_is_said_beside_them(
    store: Store,
) -> None:
    text = f"{TRAINS}retries: 4\npriority: 6\nresources: {{time_limit: 61s}}\n"
    body = asked(TRAINS, text)
    prepared = prepare(store, A, resolve(body))
    assert not isinstance(prepared, Needs)
    jobs = new_jobs(prepared, body.options, Share.PRIVATE, {})
    for refused, message in (
        (
            lambda: check_retries(prepared, body.options, 3),
            "2.yaml:4: retries is 4; this site allows at most 3",
        ),
        (
            lambda: check_rules(prepared, body.options, A, BOUNDED),
            "2.yaml:5: the priority is 6; at most 5 is allowed",
        ),
        (lambda: with_time_limits(jobs, prepared, "a", (), BOUNDED), "2.yaml:6: the time limit is"),
    ):
        with pytest.raises(JobFileError) as found:
            refused()
        assert [str(one)[: len(message)] for one in found.value.problems] == [message]
    check_retries(prepared, OptionsBody(retries=3), 3)
    check_retries(prepared, body.options, 4)
    check_rules(prepared, OptionsBody(priority=5), A, BOUNDED)
    check_rules(prepared, body.options, replace(A, is_admin=True), BOUNDED)
    (job,) = with_time_limits(jobs[:1], prepared[:1], "a", (), BOUNDED)
    assert job.demand.time_limit_seconds == 30


def test_all_files_of_a_submission_together_make_so_many_jobs_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submissions, "MAX_JOBS", 3)
    assert len(resolve(asked(TRAINS, TWICE))) == 3
    with pytest.raises(UsageError, match="these files make more than 3 jobs"):
        resolve(asked(TWICE, TWICE))
