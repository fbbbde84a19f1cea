"""A job whose steps another process has traced, of the same user and signature, is trained as if it were alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gpujobs.jobfile import load
from gpujobs.jobfile.signature import signature
from gpujobs.paths import JobPaths
from tests.integration.trainer.drawn import pair
from tests.integration.trainer.members import Trainers, left
from tests.integration.trainer.test_kept import CASES, Making, data, require_same, text

__all__ = ["data"]


@pytest.fixture(scope="module")
def trainers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainers]:
    found = Trainers(tmp_path_factory.mktemp("trainers"))
    yield found
    found.close()


@pytest.fixture
def making(trainers: Trainers, data: dict[str, Path]) -> Making:
    return Making(trainers, data)


def shelf_of(making: Making) -> Path:
    """Made as the node's agent makes it."""
    made = JobPaths(making.spec(CASES["halves"].text).parent).steps(os.geteuid())
    made.mkdir(parents=True, exist_ok=True)
    return made


def require_as_traced(making: Making, text: str, other: Mapping[str, str]) -> list[int]:
    """The numbers of traces: of a process that traces, and of one that finds what it needs."""
    shelf_of(making)
    first, second = making.spec(text, may_stay=True), making.spec(text, other, may_stay=True)
    alone = making.spec(text, other)
    told = [making.trainers.train([one])[0] for one in (first, second, alone)]
    assert not any(each["error"] for each in told), told
    require_same(second, alone)
    return [each["traces"] for each in told]


QUICK = ("dropout", "several outputs")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_steps_that_another_process_has_traced_do_the_same(making: Making, name: str) -> None:
    case = CASES[name]
    other = {key: value for key, value in case.other.items() if key != "training.batch_size"}
    traces = require_as_traced(making, case.text, other)
    assert traces[0] >= 2 and traces[1] < traces[0], traces


def test_without_a_metric_too(making: Making) -> None:
    simple = text("SimpleRNN: {units: 2}, Dense: {units: 1}").replace("metrics: [mae], ", "")
    assert "metrics" not in simple
    assert require_as_traced(making, simple, {"training.seed": "4"})[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_of_a_drawn_job_too(making: Making, seed: int) -> None:
    drawn = pair(seed)
    one, other = (load("job.yaml", drawn.text, said).resolved for said in ({}, drawn.other))
    assert signature(one) == signature(other)
    require_as_traced(making, drawn.text, drawn.other)


def test_what_is_there_and_makes_no_sense_is_traced(making: Making) -> None:
    """Another's bytes, or a later version's, under the name and with the hash that they should have."""
    simple = text("SimpleRNN: {units: 2}, Dense: {units: 1}")
    directory = shelf_of(making)
    first, second, third = (making.spec(simple, may_stay=True) for _ in range(3))
    alone = making.spec(simple)
    before = set(directory.iterdir())
    (told,) = making.trainers.train([first])
    left_now = set(directory.iterdir()) - before
    assert told["traces"] == len(left_now) == 2
    for path in left_now:
        content = b'{"variables": 1}\n' + path.read_bytes()
        path.write_bytes(hashlib.sha256(content).digest() + content)
    traces = [making.trainers.train([one])[0]["traces"] for one in (second, alone)]
    assert traces == [2, 2]
    require_same(second, alone)
    for path in left_now:
        content = b"no JSON"
        path.write_bytes(hashlib.sha256(content).digest() + content)
    (told,) = making.trainers.train([third])
    assert told["traces"] == 2 and "a traced step could not be taken over" in left(third)["log"]
