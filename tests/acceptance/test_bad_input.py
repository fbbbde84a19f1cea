"""What a user can get wrong: one clear line with file and line, the exit code, and nothing queued."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import RunningDaemon, write_job
from .people import Person, as_person

GOOD = "name: quick"


@pytest.fixture(scope="module")
def daemon(shared_daemon: RunningDaemon) -> RunningDaemon:
    return shared_daemon


@pytest.fixture(autouse=True)
def nothing_is_queued(daemon: RunningDaemon) -> Iterator[None]:
    before = daemon.known()
    yield
    assert daemon.known() == before


def changed(daemon: RunningDaemon, old: str, new: str) -> Path:
    """A job file that is good but for one thing."""
    path = write_job(daemon.root, units=4)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def refusal(daemon: RunningDaemon, *arguments: object, code: int = 2) -> str:
    """The one line that a command says when it refuses."""
    done = daemon.cli(*arguments, code=code)
    (line,) = done.stderr.splitlines()
    assert done.stdout == ""
    return line


def test_files_that_cannot_be_read(daemon: RunningDaemon) -> None:
    (daemon.root / "folder").mkdir()
    (daemon.root / "empty.yaml").touch()
    os.mkfifo(daemon.root / "pipe.yaml")
    cases = {
        "none.yaml": "none.yaml: does not exist",
        "folder": "folder: is a directory",
        "empty.yaml": "empty.yaml: is empty",
        "pipe.yaml": "pipe.yaml: is not a regular file",
    }
    for name, expected in cases.items():
        assert refusal(daemon, "submit", name).startswith(expected)
        assert refusal(daemon, "run", name).startswith(expected)


def test_an_unreadable_file(daemon: RunningDaemon, tmp_path: Path) -> None:
    path = write_job(daemon.root)
    path.chmod(0)
    if os.geteuid() == 0:  # root reads everything: somebody else tries, up to the daemon
        from gpujobs.client.submission import read_job_files

        nobody = Person("nobody", 65534, 65534, Path("/"))
        daemon.root.chmod(0o711)
        said = as_person(nobody, lambda: read_job_files([str(path)]))["message"]
    else:
        said = refusal(daemon, "submit", path)
    path.unlink()
    assert said.startswith(f"{path}: cannot be read by you")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: quick", "name: [quick", "quick.yaml:2: "),
        (
            "  epochs: 2",
            "  epoch: 2",
            "quick.yaml:10: training.epoch is not a known key; did you mean training.epochs?",
        ),
        ("  epochs: 2", "  epochs: many", 'quick.yaml:10: training.epochs is "many"; expected an integer'),
        ("  epochs: 2", "  epochs: 2\n  epochs: 3", "quick.yaml:11: "),
        ("LSTM:", "LTSM:", "quick.yaml:6: model.layers[0].LTSM is not a known layer; did you mean LSTM?"),
        ("{units: 4}", "{units: 4, unit: 4}", "quick.yaml:6: model.layers[0].LSTM.unit"),
        ("predict:", "resources: {gpu: 9}\npredict:", "quick.yaml:12: GPU 9: this box has no GPU"),
        ("tutorial.npz", "other.npz", "quick.yaml: data file other.npz: does not exist"),
    ],
    ids=["broken YAML", "unknown key", "wrong type", "duplicate key", "layer", "argument", "GPU", "data"],
)
def test_job_files_with_one_mistake(daemon: RunningDaemon, old: str, new: str, expected: str) -> None:
    changed(daemon, old, new)
    for command in ("submit", "run", "check"):
        assert refusal(daemon, command, "quick.yaml").startswith(expected)


def test_several_mistakes_are_shown_at_once(daemon: RunningDaemon) -> None:
    path = changed(daemon, "LSTM:", "LTSM:")
    path.write_text(path.read_text().replace("epochs: 2", "epochs: 0"))
    good = write_job(daemon.root, "good")
    done = daemon.cli("submit", good.name, path.name, "none.yaml", code=2)
    assert done.stderr.splitlines() == ["none.yaml: does not exist; expected a job file; check the path."]
    lines = daemon.cli("submit", good.name, path.name, code=2).stderr.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["quick.yaml:6:", "quick.yaml:10:"]


def test_a_good_file_is_not_queued_beside_a_bad_one(daemon: RunningDaemon) -> None:
    good = write_job(daemon.root, "good")
    bad = changed(daemon, "epochs: 2", "epochs: 0")
    assert refusal(daemon, "submit", good.name, bad.name).startswith("quick.yaml:10:")


@pytest.mark.parametrize("command", ["show", "logs", "wait", "cancel", "hold", "release", "requeue", "fetch"])
def test_an_id_that_does_not_exist(daemon: RunningDaemon, command: str) -> None:
    assert "job 999 does not exist" in refusal(daemon, command, 999)


def test_ids_that_do_not_exist_elsewhere(daemon: RunningDaemon) -> None:
    write_job(daemon.root)
    assert "job 999 does not exist" in refusal(daemon, "status", 999)
    assert "job 999 does not exist" in refusal(daemon, "results", 999)
    assert "job 999 does not exist" in refusal(daemon, "submit", "quick.yaml", "--after", 999)
    assert "999 do not exist" in refusal(daemon, "status", 99999999999999999999, 999)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["show", "seven"], "a group 'seven' of yours does not exist; a job is named by its number"),
        (["show", "0"], "0 is not in the range x>=1"),
        (["sumbit", "quick.yaml"], "Did you mean 'submit'?"),
        (["submit", "--piority", "1", "quick.yaml"], "Did you mean '--priority'?"),
        (["submit"], "Missing argument 'FILE...'"),
        (["submit", "--set", "epochs", "quick.yaml"], "expected KEY=VALUE"),
        (["submit", "--set", "training.epoch=3", "quick.yaml"], "training.epochs"),
        (["submit", "--priority", "9999999999", "quick.yaml"], "priority"),
        (["status", "--state", "SLEEPING"], "expected any of PENDING"),
        (
            ["wait", "--timeout", "-1", "1"],
            "'--timeout': '-1'; expected more than nothing, and less than a year",
        ),
    ],
)
def test_wrong_usage(daemon: RunningDaemon, arguments: list[str], expected: str) -> None:
    write_job(daemon.root)
    assert expected in refusal(daemon, *arguments)


def test_no_daemon(daemon: RunningDaemon) -> None:
    line = refusal(
        daemon, "status", "--socket", daemon.root / "none.sock", "--state-dir", daemon.root / "none", code=3
    )
    assert "no daemon answers" in line and "gpujobs serve" in line


def test_a_daemon_that_does_not_answer_there_is_named(daemon: RunningDaemon) -> None:
    line = refusal(daemon, "status", "--socket", daemon.root / "none.sock", code=3)
    assert f"holds {daemon.state}, but does not answer at {daemon.root / 'none.sock'}" in line


def test_a_personal_daemon_shares_with_nobody(daemon: RunningDaemon) -> None:
    path = write_job(daemon.root, "lab", more="share: lab\n")
    refused = daemon.cli("submit", path, code=2)
    assert "share is lab, but this is a personal daemon, which serves its own user only" in refused.stderr


@pytest.mark.parametrize("name", ["a/b", "", "a\nb", "n" * 101])
def test_a_name_on_the_command_line_is_one_that_a_file_may_have(daemon: RunningDaemon, name: str) -> None:
    refused = daemon.cli("submit", "--name", name, write_job(daemon.root), code=2)
    assert "expected a name of 1 to 100 printable characters without /" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_more_retries_than_the_site_allows(daemon: RunningDaemon) -> None:
    path = write_job(daemon.root, "often", more="retries: 50\n")
    assert "retries is 50; this site allows at most 10" in daemon.cli("submit", path, code=2).stderr
    refused = daemon.cli("submit", "--retries", 11, write_job(daemon.root), code=2)
    assert "--retries 11: this site allows at most 10" in refused.stderr
