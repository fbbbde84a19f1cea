"""Replays whose outcome can be worked out by hand, and the report and the picture of them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.demand import Demand
from gpujobs.policy.inputs.rules import Limits, PackingRules, PriorityRules, Rules, Shares, UserLimits
from gpujobs.simulation.nodes import one_box
from gpujobs.simulation.plot import draw, resample
from gpujobs.simulation.replay import Replay, Sample, replay_on
from gpujobs.simulation.report import Summary, bounded_slowdown, report, summary
from gpujobs.simulation.trace import Submission, read_trace

ROOT = Path(__file__).parents[3]
GIB = 1 << 30


def run(trace: list[Submission], rules: Rules | None = None, gpus: int = 1) -> Replay:
    return replay_on(trace, rules or Rules(), one_box(gpus, 80 * GIB))


def times(found: Replay) -> list[tuple[float | None, float | None]]:
    return [(record.started_seconds, record.ended_seconds) for record in found.records]


def job(user: str, at: float, seconds: float, gib: int | None = None, priority: int = 0) -> Submission:
    return Submission(user, at, seconds, Demand(priority, gpu_memory=None if gib is None else gib * GIB))


def test_one_after_the_other() -> None:
    found = run([job("a", 0, 100), job("a", 10, 50), job("a", 10, 20, priority=1)])
    assert times(found) == [(0, 100), (120, 170), (100, 120)]
    assert [sample.waiting for sample in found.samples] == [0, 2, 1, 0, 0]


def test_packed_jobs_run_together() -> None:
    assert times(run([job("a", 0, 100, 30), job("b", 0, 50, 30), job("c", 0, 10, 30)])) == [
        (0, 100),
        (0, 50),
        (50, 60),
    ]


def test_a_time_limit_ends_a_job() -> None:
    found = run([Submission("a", 0, 100, Demand(time_limit_seconds=60))])
    assert times(found) == [(0, 60)]


def test_a_preempted_job_goes_on_where_it_stopped() -> None:
    trace = [Submission("a", 0, 100, Demand(preemptible=True)), job("b", 40, 30, priority=1)]
    found = run(trace)
    assert times(found) == [(0, 130), (50, 80)]  # it stops within 10 s, during which it still computes
    assert found.records[0].preemptions == 1


def test_a_user_who_may_run_nothing_never_starts() -> None:
    rules = Rules(limits=Limits(users={"a": UserLimits(max_running=0)}))
    found = report(run([job("a", 0, 100), job("b", 0, 100)], rules))
    assert (found.never_started, found.jobs) == (1, 2)


def test_groups_of_the_trace_share_as_the_site_says() -> None:
    rules = Rules(PriorityRules(half_life_seconds=1e6), Shares(groups={"vision": 1.0}))
    members = [Submission(user, 0, 60, group="vision") for user in "ab" for _ in range(500)]
    alone = [Submission("c", 0, 60) for _ in range(500)]
    users = {one.user: one for one in report(run(members + alone, rules, gpus=4)).users}
    assert users["c"].entitled_share is not None and users["c"].share is not None
    assert users["c"].share == pytest.approx(users["c"].entitled_share, rel=0.05)
    assert users["a"].share == pytest.approx(users["b"].share, rel=0.05)


def test_the_report_by_hand() -> None:
    """Two users on one GPU: a's second job waits for 50 s beside b's, which waits for 100 s."""
    found = report(run([job("a", 0, 100), job("b", 0, 50), job("a", 0, 10)]))
    assert found.span_seconds == 160 and found.utilisation == 1.0
    assert found.wait_seconds == Summary(100, 150, 150)
    assert astuple(found.slowdown) == pytest.approx((3.0, 16.0, 16.0))
    a, b = found.users
    assert (a.user, a.jobs, a.gpu_seconds) == ("a", 2, 110)
    assert (b.user, b.jobs, b.gpu_seconds) == ("b", 1, 50)
    # While both waited (100 s), a had the GPU; then only a waited (50 s), and nothing of it was a's.
    assert (a.share, b.share) == (1.0, 0.0)
    assert (a.entitled_share, b.entitled_share) == (0.5, 0.5)


def test_a_packed_job_counts_for_its_part() -> None:
    (user,) = report(run([job("a", 0, 100, 20)])).users
    assert user.gpu_seconds == 25 and user.share is None


@pytest.mark.parametrize(("response", "run_", "expected"), [(100, 50, 2), (100, 1, 10), (5, 1, 1), (9, 9, 1)])
def test_bounded_slowdown(response: float, run_: float, expected: float) -> None:
    assert bounded_slowdown(response, run_) == expected


def test_the_quantiles_are_values_that_occur() -> None:
    assert summary([]) == Summary(None, None, None)
    assert summary([7.0]) == Summary(7, 7, 7)
    assert summary([float(n) for n in range(100, 0, -1)]) == Summary(50, 95, 100)


@given(
    st.lists(
        st.tuples(st.floats(0.001, 1e5), st.integers(0, 8), st.integers(0, 99)), min_size=1, max_size=50
    ),
    st.integers(1, 40),
)
def test_a_coarser_curve_holds_the_same_area(parts: list[tuple[float, int, int]], points: int) -> None:
    samples, at = [], 0.0
    for seconds, busy, waiting in parts:
        samples.append(Sample(at, busy, busy, waiting))
        at += seconds
    samples.append(Sample(at, 0, 0, 0))
    curve = resample(samples, points)
    assert len(curve) == points
    width = at / points
    assert sum(busy for _, busy, _ in curve) * width == pytest.approx(
        sum(s * b for s, b, _ in parts), abs=1e-6
    )
    assert max(busy for _, busy, _ in curve) <= max(busy for _, busy, _ in parts) + 1e-6


@pytest.mark.parametrize("trace", [[job("a$b$", 0, 60)], [job("a", 0, 60), job("a$x", 0, 60)]])
@pytest.mark.parametrize(("suffix", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_picture_is_drawn(trace: list[Submission], suffix: str, begin: bytes, tmp_path: Path) -> None:
    found = run(trace)
    file = tmp_path / f"plot.{suffix}"
    draw(found, report(found), file)
    assert file.read_bytes().startswith(begin)


def test_the_shipped_trace_is_what_its_script_makes(tmp_path: Path) -> None:
    made = tmp_path / "made.csv"
    subprocess.run([sys.executable, ROOT / "traces/make_trace.py", made], check=True)
    assert made.read_bytes() == (ROOT / "traces/lab-week.csv").read_bytes()


def test_the_shipped_trace_is_replayed_and_everybody_is_served() -> None:
    trace = read_trace(ROOT / "traces/lab-week.csv", 80 * GIB - PackingRules().margin_bytes)
    found = report(run(trace, gpus=8))
    assert (found.jobs, found.never_started) == (1500, 0)
    assert 0.3 < found.utilisation <= 1
