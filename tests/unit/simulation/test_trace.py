"""Reading traces: good ones, and every way of being bad."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.demand import Demand
from gpujobs.errors import JobFileError
from gpujobs.simulation.trace import SHOWN_PROBLEMS, Submission, read_trace

GIB = 1 << 30
HEADER = "user,submit_time,duration,memory,priority"


def read(path: Path, text: str) -> list[Submission]:
    file = path / "trace.csv"
    file.write_text(text, encoding="utf-8")
    return read_trace(file, 79 * GIB)


def problems(path: Path, text: str) -> list[str]:
    with pytest.raises(JobFileError) as caught:
        read(path, text)
    return [str(one).removeprefix(f"{path}/") for one in caught.value.problems]


def test_a_line_is_a_submission(tmp_path: Path) -> None:
    found = read(tmp_path, f"{HEADER}\nalice, 60, 1h30m, 3GiB, -1\n\nbob,0.5,90,,\n")
    assert found == [
        Submission("bob", 0.5, 90),
        Submission("alice", 60, 5400, Demand(-1, gpu_memory=3 * GIB)),
    ]


def test_further_columns_in_any_order(tmp_path: Path) -> None:
    text = (
        "group,preemptible,time_limit,priority,memory,duration,submit_time,user\n"
        "vision,true,1h,0,,90,2026-01-31T14:00Z,alice\n"
        ",False,,0,,90,2026-01-31T15:00+01:00,bob\n"
    )
    alice, bob = read(tmp_path, text)
    assert (alice.group, alice.demand.preemptible, alice.demand.time_limit_seconds) == ("vision", True, 3600)
    assert (bob.group, bob.demand.preemptible, bob.demand.time_limit_seconds) == (None, False, None)
    assert alice.submit_seconds == bob.submit_seconds == 1769868000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("alice,soon,90,,0", "submit_time is 'soon'; expected seconds, or an instant"),
        ("alice,-1,90,,0", "submit_time is '-1'; expected"),
        ("alice,nan,90,,0", "submit_time is 'nan'; expected"),
        ("alice,2026-01-31T14:00,90,,0", "submit_time is '2026-01-31T14:00'; expected"),
        ("alice,0,0,,0", "duration is '0'; expected seconds above 0"),
        ("alice,0,inf,,0", "duration is 'inf'; expected"),
        ("alice,0,90 min,,0", "duration is '90 min'; expected"),
        ("alice,0,90,3GB,0", "memory is '3GB'; expected a size such as 3GiB"),
        ("alice,0,90,0,0", "memory is '0'; expected"),
        ("alice,0,90,80GiB,0", "memory is 80.0 GiB; a GPU here has 79.0 GiB to share"),
        ("alice,0,90,,high", "priority is 'high'; expected an integer"),
        ("alice,0,90,,1.5", "priority is '1.5'; expected an integer"),
        (",0,90,,0", "user is ''; expected a name"),
        ("alice,0,90", "has 3 fields; expected 5"),
        ("alice,0,90,,0,7", "has 6 fields; expected 5"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    (found,) = problems(tmp_path, f"{HEADER}\nalice,0,90,,0\n{line}\nbob,0,90,,0\n")
    assert found.startswith(f"trace.csv:3: {message}")


def test_seconds_and_instants_do_not_mix(tmp_path: Path) -> None:
    found = problems(tmp_path, f"{HEADER}\nalice,0,90,,0\nalice,2026-01-31T14:00Z,90,,0\n")
    assert found == [
        "trace.csv:3: submit_time counts otherwise than in the lines before: seconds or instants"
    ]


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/simulate.md").read_text(encoding="utf-8")
    example = page.partition("```csv\n")[2].partition("```")[0]
    assert [one.user for one in read(tmp_path, example)] == ["alice", "bob", "bob"]


def test_every_bad_line_is_shown_but_not_without_end(tmp_path: Path) -> None:
    found = problems(tmp_path, f"{HEADER}\n" + "alice,0,90,,x\n" * 50)
    assert found[0].startswith("trace.csv:2:") and found[SHOWN_PROBLEMS - 1].startswith("trace.csv:21:")
    assert found[SHOWN_PROBLEMS:] == ["trace.csv: 30 more lines are wrong"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "trace.csv: holds no job; expected a header and a line for each job"),
        (f"{HEADER}\n\n", "trace.csv: holds no job"),
        (
            "user,submit_time,duration\na,0,1\n",
            "trace.csv:1: the header lacks 'memory', 'priority'; expected",
        ),
        (f"{HEADER},gpus\n", "trace.csv:1: the header has the unknown 'gpus'; expected"),
        (f"{HEADER},user\n", "trace.csv:1: the header repeats 'user'; expected"),
        (f'{HEADER}\n"alice,0', "trace.csv:2: not CSV: unexpected end of data"),
    ],
)
def test_a_bad_file_says_what_is_expected(tmp_path: Path, text: str, message: str) -> None:
    (found,) = problems(tmp_path, text)
    assert found.startswith(message)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, reason in (("missing", "No such file"), (".", "Is a directory"), ("binary", "not UTF-8")):
        with pytest.raises(JobFileError, match=reason):
            read_trace(tmp_path / name, GIB)


@given(st.lists(st.lists(st.text(max_size=8), max_size=6), max_size=5), st.booleans())
def test_whatever_a_file_holds_it_is_read_or_refused(rows: list[list[str]], with_header: bool) -> None:
    text = "\n".join(([HEADER] if with_header else []) + [",".join(row) for row in rows])
    with TemporaryDirectory() as directory:
        file = Path(directory) / "trace.csv"
        file.write_text(text, encoding="utf-8", errors="replace")
        try:
            assert read_trace(file, GIB)
        except JobFileError as error:
            assert error.problems
