"""Patterns and lists of data files: looked at by the client, and recorded in the job as the files that they are."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import Any

import pytest

from gpujobs.client.submission import Submission, read_job_files
from gpujobs.daemon.jobs.submissions import SubmissionBody, resolve
from gpujobs.errors import JobFileError
from gpujobs.jobfile import load
from gpujobs.jobfile.resolve import ResolvedJob, dump
from gpujobs.jobfile.writing import with_absolute_paths

REST = "model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
TABLE = "data: {train: %s, target: v, window: {length: 3}}\n" + REST


class Daemon:
    """What the daemon does with a submission until it has all that it needs, without its store."""

    def post(self, path: str, body: Any) -> dict[str, Any]:
        ((file, job),) = resolve(SubmissionBody.model_validate(body))
        self.job: ResolvedJob = job
        self.data = file.data
        self.place = file.place
        needs = [one for one in job.data_paths if one not in file.data]
        in_place = [one for one in job.in_place_paths if one in needs]
        return {"needs": {file.path: needs}, "in_place": {file.path: in_place}} if needs else {"done": True}


def submitted(root: Path, text: str) -> Daemon:
    (root / "job.yaml").write_text(text)
    daemon = Daemon()
    read_job_files([str(root / "job.yaml")]).send(daemon, "/v1/jobs", {})  # type: ignore[arg-type]
    return daemon


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for name in ("b.csv", "a.csv", "c.csv.gz"):
        content = b"\x1f\x8b" if name.endswith("gz") else b"v\n1\n"
        (tmp_path / "data" / name).write_bytes(content)
    return tmp_path


def test_a_pattern_becomes_its_files_in_order(root: Path) -> None:
    daemon = submitted(root, TABLE % '"data/*.csv*"')
    assert daemon.job.resolved["data"]["train"]["files"] == ["data/a.csv", "data/b.csv", "data/c.csv.gz"]
    assert set(daemon.data) == {"data/a.csv", "data/b.csv", "data/c.csv.gz"}
    assert all(entry.sha256 for entry in daemon.data.values())


def test_what_is_recorded_is_a_job_file_that_says_the_same(root: Path) -> None:
    job = submitted(root, TABLE % '"data/[ab].csv"' + 'predict: ["data/?.csv"]\n').job
    assert load("job.yaml", dump(job.resolved)).resolved == job.resolved
    assert job.resolved["predict"][0]["files"] == ["data/a.csv", "data/b.csv"]


ARRAYS = """data:
  train: {arrays: {x: ../arrays/x.npy, y: arrays/y.npy}}
  validation: %s/arrays/v.npz
model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}
training: {loss: mse}
predict: [test.npz, {path: ~/home.npz, name: home}, validation]
"""


def test_the_job_file_among_results_leads_to_the_same_data_wherever_it_lies(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, elsewhere, home = root / "first", root / "elsewhere", root / "home"
    for directory in (first / "arrays", root / "arrays", elsewhere, home):
        directory.mkdir(parents=True)
    npz, npy = b"PK\x03\x04" + bytes(30) + b"PK\x05\x06" + bytes(18), b"\x93NUMPY" + bytes(122)
    for place, content in {
        "arrays/x.npy": npy + b"x", "first/arrays/y.npy": npy + b"y", "arrays/v.npz": npz,
        "first/test.npz": npz, "home/home.npz": npz,
    }.items():  # fmt: skip
        (root / place).write_bytes(content)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(root)
    daemon = submitted(Path("first"), ARRAYS % root)
    assert daemon.place == str(first / "job.yaml")
    text = dump(with_absolute_paths(daemon.job.resolved, PurePath(daemon.place).parent))
    again = submitted(elsewhere, text)
    assert again.data.keys() == {
        f"{root}/arrays/x.npy", f"{first}/arrays/y.npy", f"{root}/arrays/v.npz", f"{first}/test.npz", "~/home.npz",
    }  # fmt: skip
    assert [one.sha256 for one in again.data.values()] == [one.sha256 for one in daemon.data.values()]
    assert [entry["name"] for entry in again.job.resolved["predict"]] == ["test", "home", "validation"]
    assert with_absolute_paths(again.job.resolved, elsewhere) == again.job.resolved


def test_a_directory_without_a_name_in_utf_8_and_one_that_is_gone_are_not_said(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs are submitted there as ever; the file among their results has the paths as they were written."""
    odd = Path(os.fsdecode(os.fsencode(root) + b"/\xff"))
    odd.mkdir()
    monkeypatch.chdir(odd)
    assert Submission([{"path": "job.yaml", "text": REST, "data": {}}]).files[0]["directory"] is None
    (gone := root / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert Submission([{"path": "job.yaml", "text": REST, "data": {}}]).files[0]["directory"] is None
    job = load("job.yaml", TABLE % "d.csv")
    assert with_absolute_paths(job.resolved, PurePath("job.yaml").parent) == job.resolved


def test_files_of_a_pattern_stay_in_place_where_that_is_asked_for(root: Path) -> None:
    daemon = submitted(root, TABLE % '{path: "data/?.csv", in_place: true}')
    assert daemon.job.in_place_paths == ("data/a.csv", "data/b.csv")
    assert daemon.data["data/a.csv"].in_place == str(root / "data" / "a.csv")


def test_a_file_with_the_signs_of_a_pattern_in_its_name_is_a_file(root: Path) -> None:
    (root / "data" / "run[1].csv").write_text("v\n1\n")
    assert submitted(root, TABLE % '"data/run[1].csv"').job.data_paths == ("data/run[1].csv",)


def test_a_pattern_without_files_is_refused(root: Path) -> None:
    with pytest.raises(
        JobFileError, match=r"data file none/\*\.csv: no file matches; looked at .*none/\*\.csv;"
    ):
        submitted(root, TABLE % '"none/*.csv"')


def test_a_pattern_that_matches_arrays_is_refused(root: Path) -> None:
    (root / "data" / "x.npz").write_bytes(b"PK\x05\x06")
    with pytest.raises(
        JobFileError, match=r'"data/\*" matches "?data/x.npz"?; expected tables only|no format'
    ):
        submitted(root, TABLE % '"data/*"')


@pytest.mark.parametrize(
    ("predict", "names"),
    [
        (["a/x.csv", "b/x.csv"], ["a_x", "b_x"]),
        (["p/a/x.csv", "q/a/x.csv", "y.csv"], ["p_a_x", "q_a_x", "y"]),
        (["x.csv", "x.csv.gz"], ["x_csv", "x_csv_gz"]),
        (["validation", "../validation.csv"], ["validation", "validation"]),
        (["load.csv.gz"], ["load"]),
    ],
)
def test_predictions_of_files_of_one_name_are_told_apart(predict: list[str], names: list[str]) -> None:
    entries = [
        one if one != "validation" else {"source": "validation", "name": "validation"} for one in predict
    ]
    text = TABLE.replace("window", "validation: v.csv, window") % "t.csv" + f"predict: {entries}\n"
    if len(set(names)) < len(names):
        with pytest.raises(JobFileError, match="give it another name"):
            load("job.yaml", text)
        return
    assert [entry["name"] for entry in load("job.yaml", text).resolved["predict"]] == names
