"""Groups on the command line: how they are named, folded and ranked."""

from __future__ import annotations

import json

import pytest

from gpujobs.cli.ranking import setting, short_names
from tests.unit.cli.conftest import Cli, Protocol, job
from tests.unit.cli.rows import RUNNING
from tests.unit.cli.sweeps import ADAM, sweep


def test_a_group_is_one_line_of_status(cli: Cli, server: Protocol) -> None:
    sweep(server, "RUNNING", "OUT_OF_MEMORY", "PENDING", "PENDING")
    server.jobs[6] = job(6)
    lines = cli("status").stdout.splitlines()
    assert len(lines) == 3 and max(map(len, lines)) <= 80
    assert lines[1].startswith("6 ")
    assert lines[2].split()[:4] == ["g1", "sweep", "alice", "RUNNING"]
    assert "50%: 1 out of memory, 1 runni" in lines[2]


@pytest.mark.parametrize("arguments", [("--unfold",), ("g1",), ("sweep",)])
def test_it_unfolds(cli: Cli, server: Protocol, arguments: tuple[str, ...]) -> None:
    sweep(server, "RUNNING", "PENDING")
    lines = cli("status", *arguments).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", "g1", "1", "2"]
    assert [line[:3] for line in lines[2:]] == ["  1", "  2"]
    assert "..." not in "".join(lines)


def test_the_json_of_a_group_is_an_array_of_its_jobs(cli: Cli, server: Protocol) -> None:
    sweep(server, "RUNNING", "PENDING")
    server.jobs[3] = job(3, **RUNNING)
    jobs = json.loads(cli("status", "--json", "sweep").stdout)
    assert [j["id"] for j in jobs] == [1, 2]
    assert {(j["group"], j["group_id"], j["sweep"] == ADAM) for j in jobs} == {("sweep", 1, True)}


@pytest.mark.parametrize("name", ["a,b", "100 %", "ä g1", "-x-", "a=b&c"])
def test_any_name_of_a_group_can_be_said(cli: Cli, server: Protocol, name: str) -> None:
    sweep(server, "PENDING", name=name)
    done = cli("status", "--json", "--", name)
    assert [j["group"] for j in json.loads(done.stdout)] == [name]
    assert cli("cancel", "--", name).returncode == 0
    assert server.requests[-1] == ("POST", "/v1/jobs/cancel", {"ids": [name]})


def test_changes_of_groups_and_jobs(cli: Cli, server: Protocol) -> None:
    sweep(server, "PENDING", "PENDING")
    server.jobs[7] = job(7)
    assert cli("hold", "007", "g1", 7, "sweep").returncode == 0
    assert server.requests[-1] == ("POST", "/v1/jobs/hold", {"ids": [7, "g1", "sweep"]})


def test_many_changed_jobs_are_counted(cli: Cli, server: Protocol) -> None:
    sweep(server, *["PENDING"] * 30)
    lines = cli("cancel", "g1").stdout.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "... 30 jobs in all: 30 pending"


def test_wait_for_a_group(cli: Cli, server: Protocol) -> None:
    sweep(server, "COMPLETED", "COMPLETED")
    assert cli("wait", "sweep").stdout.splitlines() == ["1 sweep-1: COMPLETED", "2 sweep-2: COMPLETED"]
    sweep(server, "COMPLETED", "FAILED", first=3, name="other")
    assert cli("wait", "g3").returncode == 1


def test_show_says_what_the_sweep_sets(cli: Cli, server: Protocol) -> None:
    sweep(server, "COMPLETED")
    shown = cli("show", 1).stdout
    assert "group           g1 sweep\n" in shown
    assert "the sweep sets  training.optimizer: Adam(learning_rate=0.01)\n" in shown
    server.jobs[2] = job(2)
    assert "sweep" not in cli("show", 2).stdout


def test_what_is_for_one_job_says_how_to_find_it(cli: Cli, server: Protocol) -> None:
    sweep(server, "RUNNING", "PENDING")
    done = cli("logs", "g1")
    assert (done.returncode, done.stderr) == (2, "gpujobs: g1 are 2 jobs (1, 2); expected one of them\n")
    done = cli("predict", "g1", "x.npz")
    assert done.returncode == 2
    assert "g1 names several jobs; expected the number of one; `gpujobs status g1`" in done.stderr


def test_a_group_that_does_not_exist(cli: Cli, server: Protocol) -> None:
    for command in ("status", "cancel", "wait", "results"):
        done = cli(command, "g9")
        assert (done.returncode, done.stderr) == (2, "gpujobs: group g9 does not exist\n")
    done = cli("cancel", "")
    assert done.returncode == 2 and "the empty text names nothing" in done.stderr


def ranked(server: Protocol) -> None:
    sweep(server, "COMPLETED", "COMPLETED", "FAILED", "RUNNING")
    server.jobs[1]["sweep"] = {"training.optimizer": {"SGD": {"momentum": 0.9, "nesterov": True}}}
    server.jobs[3]["reason"] = "NaNLoss"
    values = {2: (1, 0.012345678), 1: (2, 0.5), 3: (None, None), 4: (None, None)}
    server.ranking = {
        "metric": "val_loss", "mode": "min", "why": "which training.best_weights watches", "best": 2,
        "members": [
            {"rank": rank, "value": value, "figures": {}, "job": server.jobs[number]}
            for number, (rank, value) in values.items()
        ],
    }  # fmt: skip


def test_results_of_a_group_are_ranked(cli: Cli, server: Protocol) -> None:
    ranked(server)
    done = cli("results", "sweep", "--metric", "val_loss", "--mode", "min")
    assert server.requests[-1] == (
        "GET", "/v1/ranking", {"ids": "sweep", "metric": "val_loss", "mode": "min"},
    )  # fmt: skip
    assert done.stdout == (
        "g1 sweep: 4 jobs, 1 failed, 2 completed, 1 running\n"
        "ranked by val_loss (less is better), which training.best_weights watches\n"
        "\n"
        "RANK  JOB  VAL_LOSS        OPTIMIZER\n"
        "1     2    0.012346        Adam(learning_rate=0.01)\n"
        "2     1    0.5             SGD(momentum=0.9, nesterov=true)\n"
        "-     3    FAILED NaNLoss  Adam(learning_rate=0.01)\n"
        "-     4    RUNNING         Adam(learning_rate=0.01)\n"
        "\n"
        "best: job 2, val_loss 0.012346; `gpujobs fetch 2` copies its results\n"
    )
    assert json.loads(cli("results", "g1", "--json").stdout)["best"] == 2


def test_what_has_figures_and_compares_by_none_is_told_to_choose_one(cli: Cli, server: Protocol) -> None:
    ranked(server)
    nothing = {"metric": None, "mode": None, "why": None, "best": None}
    members = [
        {**member, "rank": None, "value": None, "figures": {"val_mae": 2.0} if number < 2 else {}}
        for number, member in enumerate(server.ranking["members"])
    ]
    server.ranking = {**nothing, "members": members}
    said = "no figure compares these jobs by itself; --metric NAME ranks them by one that you choose"
    assert cli("results", "sweep").stdout.splitlines()[1] == said
    done = cli("fetch", "sweep", "--best")
    assert done.returncode == 2 and "--metric NAME says which one does" in done.stderr
    server.ranking = {**nothing, "members": [{**member, "figures": {}} for member in members]}
    assert cli("results", "sweep").stdout.splitlines()[1] == "no job has figures to rank by yet"


def test_a_ranking_fits_80_columns_however_much_the_sweep_sets(cli: Cli, server: Protocol) -> None:
    ranked(server)
    for number in server.jobs:
        server.jobs[number]["sweep"] = {f"training.optimizer.Adam.a{n}": "x" * 50 for n in range(3)}
    assert max(map(len, cli("results", "g1").stdout.splitlines())) <= 80
    for number in server.jobs:
        server.jobs[number]["sweep"] = {f"data.split.a{n}": n / 7 for n in range(9)}
    lines = cli("results", "g1").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "SETTINGS" in lines[3] and "a0=0 a1=0.1429" in lines[4]


def test_metric_is_for_groups(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1)
    done = cli("results", 1, "--metric", "loss")
    assert done.returncode == 2 and "expected its id or name too" in done.stderr


def test_submitted_groups_are_one_line(cli: Cli, server: Protocol) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    server.membership = {"group": "a", "group_id": 1, "sweep": ADAM}
    assert cli("submit", "a.yaml", "a.yaml").stdout == "g1 a queued: 2 jobs, 1 to 2\n"


def test_short_names_tell_fields_apart() -> None:
    optimizer, adam, sgd = "training.optimizer", "training.optimizer.Adam.rate", "training.optimizer.SGD.rate"
    assert short_names([optimizer, adam, sgd, "retries"]) == {
        optimizer: "optimizer", adam: "Adam.rate", sgd: "SGD.rate", "retries": "retries",
    }  # fmt: skip
    assert short_names(["rate", "a.rate"]) == {"rate": "rate", "a.rate": "a.rate"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.00123456, "0.001235"), (1, "1"), (True, "true"), (None, "null"), ("adam", "adam"), ([1, "a"], "[1, a]"),
        ({"LSTM": {"units": 4}}, "LSTM(units=4)"), ({"Flatten": None}, "Flatten"), ({"a": 1}, "{a: 1}"),
        ({"Adam": {"learning_rate": {"CosineDecay": {"decay_steps": 9}}}},
         "Adam(learning_rate=CosineDecay(decay_steps=9))"),
        ({"a": 1, "b": {}}, "{a: 1, b: {}}"),
    ],
)  # fmt: skip
def test_settings_are_written_as_keras_would(value: object, shown: str) -> None:
    assert setting(value) == shown
