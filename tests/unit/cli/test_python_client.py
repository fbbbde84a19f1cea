"""`from gpujobs import Client`, against a server that answers by the protocol."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from gpujobs import Client
from gpujobs.errors import UsageError
from tests.unit.cli.conftest import Protocol, job
from tests.unit.cli.rows import ended


@pytest.fixture
def client(server: Protocol) -> Client:
    archive = io.BytesIO()
    np.savez(archive, y_class=np.array([1, 2]))
    server.jobs = {7: job(7, name="first", **ended())}
    server.histories = {7: "epoch,loss\n0,1.5\n1,0.5\n"}
    server.files = {"predictions.npz": archive.getvalue(), "metrics.json": b'{"final": {"loss": 0.5}}'}
    return Client(socket=str(server.server_address))


def test_results_are_dicts_lists_and_arrays(client: Client) -> None:
    with client:
        done = client.job(7).wait()
        assert (done.state, done.name) == ("COMPLETED", "first")
        assert done.history == {"epoch": [0.0, 1.0], "loss": [1.5, 0.5]}
        assert done.metrics == {"final": {"loss": 0.5}}
        assert done.predictions["y_class"].tolist() == [1, 2]
        assert done.log == "line one\nline two\n"
        assert [one["kind"] for one in client.gpus()] == ["gpu"]


def test_a_dict_goes_as_its_json_and_a_list_comes_back_as_a_list(
    client: Client, server: Protocol, tmp_path: Path
) -> None:
    path = tmp_path / "j.yaml"
    path.write_text("name: x\n")
    with client:
        one = client.submit(
            {"name": "y", "training": {"epochs": np.int64(3)}}, set={"training.epochs": 5}, hold=True
        )
        two = client.submit([path, {"name": "z"}])
    assert one.name == "job" and [each.name for each in two] == ["j", "job"]
    bodies = [body for method, _, body in server.requests if method == "POST"]
    assert json.loads(bodies[0]["files"][0]["text"]) == {"name": "y", "training": {"epochs": 3}}
    assert (bodies[0]["set"], bodies[0]["options"]) == ({"training.epochs": "5"}, {"hold": True})
    assert [file["text"] for file in bodies[1]["files"]] == ["name: x\n", '{"name": "z"}']


def test_the_bar_goes_to_stderr(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    with client:
        client.job(7).wait(progress=True)
    shown = capsys.readouterr()
    assert shown.out == "" and "7 COMPLETED" in shown.err


def test_what_is_not_there_is_said_in_the_words_of_the_command_line(client: Client) -> None:
    with client:
        with pytest.raises(UsageError, match=r"^job 99 does not exist$"):
            client.job(99)
        with pytest.raises(UsageError, match=r"job 7 has no none; it has predictions.npz, metrics.json"):
            client.job(7).read("none")
