"""What a site adds to job files is said in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpujobs.daemon.jobs.checks import site_defaults
from gpujobs.daemon.jobs.submissions import FileBody, Prepared
from gpujobs.jobfile.resolve import load
from gpujobs.model import Share
from tests.unit.store.jobs import having, new_job

FILE = "data: {train: d.npz}\nmodel: {layers: [LSTM: {units: 1}]}\ntraining: {loss: mse, epochs: 1}\n"


def prepared(more: str = "") -> Prepared:
    return Prepared(FileBody(path="a.yaml", text=FILE + more), load("a.yaml", FILE + more), ())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", ["the job file names no time limit: the site's default of 2 d holds"]),
        ("resources: {time_limit: 1h}\n", []),
    ],
)
def test_a_default_time_limit_is_said(more: str, said: list[str]) -> None:
    notices = site_defaults([prepared(more)], [having(new_job(), time_limit_seconds=172_800)])
    assert [one.partition(" (")[0] for one in notices] == said


def test_a_default_share_is_said_of_those_that_name_none() -> None:
    shared = replace(new_job(), share=Share.LAB)
    notices = site_defaults([prepared(), prepared("share: lab\n")], [shared, shared])
    assert len(notices) == 1 and notices[0].startswith("1 of 2 jobs name no share: the site's default is lab")


def test_nothing_is_said_where_nothing_was_added() -> None:
    assert site_defaults([prepared()], [new_job()]) == []
