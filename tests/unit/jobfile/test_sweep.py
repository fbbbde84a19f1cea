"""Sweeps: which jobs they make, in which order, and that the same seed always makes the same."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.errors import JobFileError
from gpujobs.jobfile import ResolvedJob, expand, json_schema
from gpujobs.jobfile.distributions import DISTRIBUTIONS, distribution, shares

ROOT = Path(__file__).parents[3]
TUTORIAL = (ROOT / "jobs" / "tutorial.yaml").read_text(encoding="utf-8")
BASE = {
    "name": "s",
    "data": {"train": "d.npz"},
    "model": {"layers": [{"LSTM": {"units": 8}}, {"Dense": {"units": 2}}]},
    "training": {"loss": "mse"},
}
SEED = "training.seed"
RATE = "training.optimizer.Adam.learning_rate"
UNITS = "model.layers[0].LSTM.units"
DRAWN_BY_SEED_7 = [(0.00627797177014, 52), (0.0533940904578, 17), (0.00905590711348, 17)]


def jobs_of(**sweep: Any) -> list[ResolvedJob]:
    return expand("s.json", json.dumps({**BASE, "sweep": sweep}))


def values_of(**sweep: Any) -> list[dict[str, Any]]:
    return [dict(job.sweep_values) for job in jobs_of(**sweep)]


def drawn(count: int, seed: int = 0, **distributions: Any) -> list[dict[str, Any]]:
    return values_of(random={"count": count, "seed": seed, "distributions": distributions})


def test_random_sets_the_fields_of_each_job() -> None:
    sweep = {RATE: {"log_uniform": [0.0001, 0.1]}, UNITS: {"integers": [4, 64]}}
    jobs = jobs_of(random={"count": 5, "distributions": sweep})
    assert [job.name for job in jobs] == [f"s-{number}" for number in range(1, 6)]
    for job in jobs:
        assert set(job.sweep_values) == {RATE, UNITS}
        assert job.resolved["training"]["optimizer"] == {"Adam": {"learning_rate": job.sweep_values[RATE]}}
        assert job.resolved["model"]["layers"][0]["LSTM"]["units"] == job.sweep_values[UNITS]
    assert len({job.sweep_values[RATE] for job in jobs}) == 5


def test_these_very_values() -> None:
    """Other ones would change what the job files mean that people have."""
    found = drawn(3, 7, **{RATE: {"log_uniform": [0.001, 0.1]}, UNITS: {"integers": [4, 64]}})
    assert [(one[RATE], one[UNITS]) for one in found] == DRAWN_BY_SEED_7


def test_a_larger_count_keeps_the_first_jobs_and_one_more_field_the_other_values() -> None:
    seeds: dict[str, Any] = {SEED: {"integers": [0, 999]}}
    few = drawn(3, **seeds)
    assert drawn(10, **seeds)[:3] == few
    more = drawn(3, **{UNITS: {"integers": [1, 9]}, **seeds})
    assert [one[SEED] for one in more] == [one[SEED] for one in few]
    assert drawn(3, 1, **{SEED: {"integers": [0, 999]}}) != few


def test_list_grid_and_random_make_every_combination() -> None:
    found = values_of(
        list=[{"training.optimizer": "sgd"}, {"training.optimizer": "adam"}],
        grid={"training.epochs": [1, 2], "training.batch_size": [8, 16]},
        random={"count": 3, "distributions": {SEED: {"integers": [0, 999]}}},
    )
    alone: dict[str, Any] = {SEED: {"integers": [0, 999]}}
    seeds = [one[SEED] for one in drawn(3, **alone)]
    assert [tuple(one.values()) for one in found] == [
        (optimizer, epochs, batch_size, seed)
        for optimizer in ("sgd", "adam")
        for epochs in (1, 2)
        for batch_size in (8, 16)
        for seed in seeds
    ]


def test_a_part_of_what_the_list_sets_may_be_drawn() -> None:
    jobs = jobs_of(
        list=[{"training.optimizer": {"SGD": {"momentum": 0.9}}}],
        random={
            "count": 2,
            "distributions": {"training.optimizer.SGD.learning_rate": {"uniform": [0.0, 1.0]}},
        },
    )
    for job in jobs:
        assert job.resolved["training"]["optimizer"]["SGD"].keys() == {"momentum", "learning_rate"}


def test_the_schema_for_editors_knows_every_distribution() -> None:
    random = json_schema()["properties"]["sweep"]["properties"]["random"]
    assert random["required"] == ["count", "distributions"]
    kinds = random["properties"]["distributions"]["additionalProperties"]["properties"]
    assert kinds.keys() == DISTRIBUTIONS.keys()


def test_the_example_of_the_documentation() -> None:
    text = (ROOT / "docs" / "jobfile.md").read_text(encoding="utf-8")
    example = next(block for block in text.split("```yaml\n") if block.startswith("sweep:")).split("```")[0]
    assert len(expand("s.yaml", TUTORIAL + example)) == 60


bounds = (
    st.tuples(
        st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False)
    )
    .map(sorted)
    .filter(lambda pair: pair[0] < pair[1])
)
positive = st.tuples(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300)).map(sorted)
whole = st.tuples(st.integers(-(1 << 53), 1 << 53), st.integers(-(1 << 53), 1 << 53)).map(sorted)
counts = st.tuples(st.integers(1, 1 << 53), st.integers(1, 1 << 53)).map(sorted)
share = st.floats(0, 1, exclude_max=True)


@given(bounds, share)
def test_uniform_stays_within_its_bounds(pair: list[float], at: float) -> None:
    value = distribution({"uniform": pair})(at)
    assert isinstance(value, float) and pair[0] <= value <= pair[1]


@given(positive.filter(lambda pair: pair[0] < pair[1]), share)
def test_log_uniform_stays_within_its_bounds(pair: list[float], at: float) -> None:
    assert pair[0] <= distribution({"log_uniform": pair})(at) <= pair[1]


@given(st.sampled_from(["integers", "log_integers"]), counts.filter(lambda pair: pair[0] < pair[1]), share)
def test_whole_numbers_stay_within_their_bounds(kind: str, pair: list[int], at: float) -> None:
    value = distribution({kind: pair})(at)
    assert type(value) is int and pair[0] <= value <= pair[1]


@given(whole.filter(lambda pair: pair[0] < pair[1]), share)
def test_integers_may_be_negative(pair: list[int], at: float) -> None:
    assert pair[0] <= distribution({"integers": pair})(at) <= pair[1]


@given(
    st.integers(0, (1 << 32) - 1), st.integers(1, 20), st.lists(st.integers(1, 99), min_size=1, max_size=5)
)
def test_the_same_seed_gives_the_same_jobs(seed: int, count: int, options: list[int]) -> None:
    sweep = {"training.epochs": {"choice": options}, "training.batch_size": {"log_integers": [1, 512]}}
    found = drawn(count, seed, **sweep)
    assert found == drawn(count, seed, **sweep)
    assert len(found) == count
    assert all(one["training.epochs"] in options for one in found)


def test_draws_are_spread_as_the_distribution_says() -> None:
    """Ten thousand draws of a fixed seed, each tenth of the range (of its logarithm) within 15 % of its share."""
    points = [share for share, _ in zip(shares(0, "key"), range(10_000), strict=False)]
    spread = {
        "uniform": ([0.0, 10.0], lambda value: int(value)),
        "log_uniform": ([1e-5, 1e5], lambda value: int(math.log10(value) + 5)),
        "integers": ([0, 9], lambda value: value),
        "choice": (list(range(10)), lambda value: value),
        "log_integers": ([1, 1023], lambda value: int(math.log2(value))),
    }
    assert spread.keys() == DISTRIBUTIONS.keys()
    for kind, (arguments, bin_of) in spread.items():
        draw = distribution({kind: arguments})
        counted = Counter(bin_of(draw(share)) for share in points)
        assert set(counted) == set(range(10)), kind
        assert all(850 <= number <= 1150 for number in counted.values()), (kind, counted)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "sweep",
    [
        {"grid": {f"training.epochz{number}": [1] for number in range(20_000)}},
        {"list": [{f"training.epochz{number}": 1} for number in range(20_000)]},
        {"list": [{SEED: 1}] * 9_000, "grid": {f"training.loss.a{number}": [1] for number in range(5_000)}},
        {
            "random": {
                "count": 10_000,
                "distributions": {f"data.x.a{n}": {"choice": [1]} for n in range(5_000)},
            }
        },
        {"random": {"count": 10_000, "distributions": {"training.epochs": {"integers": [-9, 0]}}}},
        {
            "random": {
                "count": 1,
                "distributions": {f"x{number}": {"unifrom": [0, 1]} for number in range(20_000)},
            }
        },
    ],
    ids=["grid", "list", "settings", "draws", "bad values", "unknown"],
)
def test_hostile_sweeps_do_not_hold_up_the_daemon(sweep: dict[str, Any]) -> None:
    with pytest.raises(JobFileError) as caught:
        jobs_of(**sweep)
    assert len(caught.value.problems) <= 51


SWEPT = """
data: {train: d.npz}
model: {layers: [Flatten: {}, Dense: {units: 2}]}
training: {loss: mse}
sweep: {grid: {training.seed: [0, 1]}IN}
BESIDE
"""


def with_at_most(inside: str = "", beside: str = "", **sets: str) -> list[int | None]:
    text = SWEPT.replace("IN", inside).replace("BESIDE", beside)
    return [job.demand.at_most for job in expand("s.yaml", text, sets)]


def test_at_most_stands_beside_the_sweep_or_in_it() -> None:
    assert with_at_most() == [None, None]
    assert with_at_most(beside="at_most: 2") == with_at_most(", at_most: 2") == [2, 2]
    assert with_at_most(beside="at_most: 2", at_most="1") == with_at_most(at_most="1") == [1, 1]
    (job, _) = expand("s.yaml", SWEPT.replace("IN", "").replace("BESIDE", "at_most: 2"))
    assert "at_most" not in job.resolved


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "two", "true", "10001", "[1]"])
def test_a_wrong_at_most_has_its_line(value: str) -> None:
    with pytest.raises(JobFileError) as caught:
        with_at_most(beside=f"at_most: {value}")
    assert "s.yaml:6: at_most is " in str(caught.value)
    assert "expected a whole number from 1 to 10000" in str(caught.value)


def test_at_most_needs_a_sweep_and_is_said_once() -> None:
    with pytest.raises(JobFileError, match="this file has none"):
        expand(
            "s.yaml",
            SWEPT.replace("sweep: {grid: {training.seed: [0, 1]}IN}", "").replace("BESIDE", "at_most: 2"),
        )
    with pytest.raises(JobFileError, match="beside sweep and in it"):
        with_at_most(", at_most: 2", "at_most: 2")
