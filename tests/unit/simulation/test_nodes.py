"""Replays over several nodes, some of which come and go; and what is wrong with a file of nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpujobs.demand import Demand
from gpujobs.errors import JobFileError
from gpujobs.policy.devices.constraints import check_constraints
from gpujobs.policy.inputs.rules import Rules
from gpujobs.simulation.nodes import Site, one_box, read_nodes
from gpujobs.simulation.replay import Replay, replay_on
from gpujobs.simulation.report import report
from gpujobs.simulation.trace import Submission, read_trace, times_of

GIB = 1 << 30
ONE_GPU = "devices: [{name: NVIDIA H100, memory: 80GiB}]"


def site(tmp_path: Path, *entries: str, first: Submission | None = None) -> Site:
    path = tmp_path / "site.yaml"
    path.write_text("nodes:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries))
    return read_nodes(path, times_of([first or job("a", 0, 1)]))


def job(user: str, at: float, seconds: float, **asked: object) -> Submission:
    return Submission(user, at, seconds, Demand(**asked))  # type: ignore[arg-type]


def runs(found: Replay) -> list[tuple[float | None, float | None, str | None]]:
    return [(record.started_seconds, record.ended_seconds, record.node) for record in found.records]


def test_jobs_go_to_the_nodes_and_gpus_that_they_ask_for(tmp_path: Path) -> None:
    there = site(tmp_path, f"name: a, {ONE_GPU}", "name: b, devices: [{name: NVIDIA A100, memory: 40GiB}]")
    trace = [
        job("u", 0, 100, node="b"),
        job("v", 1, 50, gpu_name="a100"),
        job("w", 2, 30),
        job("x", 3, 5, gpu_name="H100"),
    ]
    found = replay_on(trace, Rules(), there)
    assert runs(found) == [(0, 100, "b"), (100, 150, "b"), (2, 32, "a"), (32, 37, "a")]


def test_a_node_that_comes_later_takes_jobs_from_then_on(tmp_path: Path) -> None:
    there = site(tmp_path, f"name: a, {ONE_GPU}", f"name: b, {ONE_GPU}, from: 30")
    found = replay_on([job("u", 0, 100), job("u", 0, 100), job("u", 0, 10)], Rules(), there)
    assert runs(found) == [(0, 100, "a"), (30, 130, "b"), (100, 110, "a")]
    assert [(one.node, one.gpus, one.jobs, one.gpu_seconds) for one in report(found).nodes] == [
        ("a", 1, 2, 110), ("b", 1, 1, 100),
    ]  # fmt: skip
    assert report(found).utilisation == pytest.approx(210 / (130 + 100))


def test_what_runs_on_a_node_that_goes_goes_on_elsewhere(tmp_path: Path) -> None:
    there = site(tmp_path, f"name: a, {ONE_GPU}", f"name: b, {ONE_GPU}, to: 40")
    found = replay_on([job("u", 0, 60), job("v", 0, 100)], Rules(), there)
    assert runs(found) == [(0, 60, "a"), (0, 120, "a")]  # 40 s on b, and the other 60 when a is free
    assert found.records[1].preemptions == 1


def test_a_job_that_names_a_node_which_has_gone_never_starts(tmp_path: Path) -> None:
    there = site(tmp_path, f"name: a, {ONE_GPU}", f"name: b, {ONE_GPU}, to: 40")
    found = replay_on([job("u", 0, 10), job("v", 50, 10, node="b")], Rules(), there)
    assert runs(found) == [(0, 10, "a"), (None, None, None)]
    assert report(found).never_started == 1


def test_the_nodes_of_one_box_replay_as_the_box(tmp_path: Path) -> None:
    """The devices of one box, said to be of a node, and of four with one each: times are the same."""
    trace = [
        job(user, at, 100 - 7 * at, gpu_memory=30 * GIB if at % 2 else None)
        for at in range(12)
        for user in "ab"
    ]
    whole = replay_on(trace, Rules(), one_box(4, 80 * GIB))
    one = replay_on(trace, Rules(), site(tmp_path, "name: n, devices: [{memory: 80GiB, count: 4}]"))
    four = replay_on(trace, Rules(), site(tmp_path, *(f"name: n{n}, {ONE_GPU}" for n in range(4))))
    times = [[(r.started_seconds, r.ended_seconds) for r in found.records] for found in (whole, one, four)]
    assert times[0] == times[1] == times[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2d", 2 * 86400.0),
        ("90", 90.0),
        ("90m", 5400.0),
        ("2026-01-31T14:00Z", None),
        ("-5", None),
        ("soon", None),
    ],
)
def test_times_count_as_those_of_the_trace(text: str, expected: float | None) -> None:
    read, dated = times_of([job("a", 500, 1)]), times_of([Submission("a", 1e9, 1, has_instant=True)])
    if expected is None:
        with pytest.raises(ValueError):
            read(text)
    else:
        assert (read(text), dated(text)) == (expected, 1e9 + expected)
    assert dated("2026-01-31T14:00Z") == 1769868000.0


def test_everything_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(
        "nodes:\n"
        "  - name: box1\n"
        "    device: [{name: H100}]\n"
        "  - name: box1\n"
        "    devices: [{name: H100, count: 0}, 7, {memory: lots, cout: 1}]\n"
        "    from: 3h\n"
        "    to: 1h\n"
        "  - box3\n"
        "more: 1\n"
    )
    with pytest.raises(JobFileError) as caught:
        read_nodes(path, times_of([job("a", 0, 1)]))
    assert [(one.line, one.message.partition(";")[0]) for one in caught.value.problems] == [
        (2, "nodes[0].devices is missing"),
        (3, "nodes[0].device is not a known key"),
        (4, "nodes[1].name is 'box1' for the second time"),
        (5, "nodes[1].devices[0].count is 0"),
        (5, "nodes[1].devices[1] is 7"),
        (5, "nodes[1].devices[2].cout is not a known key"),
        (5, 'nodes[1].devices[2].memory is "lots"'),
        (7, "nodes[1].to is not after from"),
        (8, 'nodes[2] is "box3"'),
        (9, "more is not a known key"),
    ]


def test_a_site_of_too_many_devices_is_refused(tmp_path: Path) -> None:
    entries = [f"name: n{number}, devices: [{{count: 1000}}]" for number in range(11)]
    with pytest.raises(JobFileError, match="has 11000 devices in all; expected at most 10000"):
        site(tmp_path, *entries)


@pytest.mark.parametrize("text", ["", "nodes: 3\n", "- a\n", "nodes: [\n", "nodes: []\n", "nodes: {a: 1}\n"])
def test_what_is_no_list_of_nodes_is_refused_with_what_is_expected(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(JobFileError, match="expected"):
        read_nodes(path, times_of([job("a", 0, 1)]))


def test_a_job_that_no_node_could_ever_have_is_an_error_of_its_line(tmp_path: Path) -> None:
    there = site(tmp_path, f"name: a, {ONE_GPU}", f"name: b, {ONE_GPU}, from: 5")
    path = tmp_path / "trace.csv"
    path.write_text(
        "user,submit_time,duration,memory,priority,node,gpu_name\n"
        "u,0,10,,0,a|b,h100\n"
        "u,0,10,,0,c,\n"
        "u,0,10,100GiB,0,a,\n"
        "u,0,10,,0,,A100\n"
    )
    with pytest.raises(JobFileError) as caught:
        read_trace(path, 1 << 60, lambda one: check_constraints(one, there.nodes, Rules().packing))
    assert [one.line for one in caught.value.problems] == [3, 4, 5]
