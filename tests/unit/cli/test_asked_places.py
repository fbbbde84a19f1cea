"""The options that say on which devices jobs may start, and what `show` says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpujobs.cli.commands.show import _place
from gpujobs.cli.commands.submit import places
from tests.unit.cli.conftest import Cli, Protocol


def test_options_are_settings_of_the_job_file(cli: Cli, server: Protocol, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x: 1")
    done = cli(
        "submit", "a.yaml", "--node", "box1", "--node", "box 2", "--gpu-name", "4090", "--gpu-memory", "3GiB", "--set",
        "training.epochs=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (sent,) = [body for _, path, body in server.requests if path == "/v1/jobs" and body is not None]
    assert sent["set"] == {
        "training.epochs": "2",
        "resources.node": '["box1", "box 2"]',
        "resources.gpu_name": '"4090"',
        "resources.gpu_memory": "3GiB",
    }


def test_an_option_and_its_setting_are_not_both_taken(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x: 1")
    done = cli("submit", "a.yaml", "--node", "box1", "--set", "resources.node=box2")
    assert (done.returncode, "expected resources.node by --set or by its own option" in done.stderr) == (
        2,
        True,
    )


@pytest.mark.parametrize("name", ["box1", "a: b", '"', "[x", "é", "#"])
def test_whatever_a_node_is_called_it_is_text(name: str) -> None:
    from gpujobs.jobfile import load

    text = "data: {train: d.npz}\nmodel: {layers: [Flatten, Dense: {units: 2}]}\ntraining: {loss: mse}\n"
    for names in ((name,), (name, "other")):
        given = dict(one.split("=", 1) for one in places(names, name, None))
        job = load("a.yaml", text, given)
        assert set(job.demand.nodes) == set(names)
        assert job.demand.gpu_name == name


def test_show_says_what_a_job_asks_for() -> None:
    assert _place({"gpu": None, "gpu_name": None, "nodes": []}) is None
    assert _place({}) is None  # of an older daemon
    asked = {"gpu": 2, "gpu_name": "H100", "nodes": ["a", "b"]}
    assert _place(asked) == "GPU 2 called H100 of a or b"
    assert _place({**asked, "gpu": None, "nodes": []}) == "GPU called H100"
