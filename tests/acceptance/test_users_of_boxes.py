"""A job runs on another box as its user, whom that box must know as the daemon's does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .boxes import Box, Cluster, cluster
from .harness import ENDLESS, eventually
from .people import Person, cli_as, status_of, submit_as

pytestmark = pytest.mark.slow


def users_without(name: str) -> str:
    lines = Path("/etc/passwd").read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(f"{name}:"))


@pytest.fixture(scope="module")
def two(alice: Person, bob: Person) -> Iterator[Cluster]:
    """Box 2 knows alice, and no bob."""

    def prepare(made: list[Box]) -> None:
        for box in (made[0].root.parent, *(box.root for box in made)):
            box.chmod(0o711)
        (made[1].root / "passwd").write_text(users_without(bob.name))
        (made[1].root / "passwd").chmod(0o644)

    with cluster(2, site=True, prepare=prepare) as made:
        yield made


def test_a_trainer_there_is_its_users(two: Cluster, alice: Person) -> None:
    job = submit_as(alice, two.daemon, "hers", epochs=ENDLESS, more="resources: {node: box2}\n")
    pid = two.daemon.until_epoch(job, 1)["pid"]
    assert status_of(pid)["Uid"].split() == [str(alice.uid)] * 4
    (data,) = (two.nodes[0].state / "spool/data" / str(alice.uid)).iterdir()
    assert (data.stat().st_uid, data.stat().st_mode & 0o777) == (alice.uid, 0o400)
    assert cli_as(alice, two.daemon, "finish", job).returncode == 0
    results = Path(two.daemon.until(job, "COMPLETED")["results"])
    assert {path.stat().st_uid for path in results.iterdir() if not path.name.startswith(".")} == {alice.uid}


def test_a_box_without_the_user_is_named_and_others_run_there(
    two: Cluster, alice: Person, bob: Person
) -> None:
    bound = submit_as(bob, two.daemon, "bound", epochs=1, more="resources: {node: box2}\n")
    said = f"box2 has no user {bob.name}; expected one with uid {bob.uid}, as on the daemon's box"
    eventually(lambda: two.daemon.job(bound)["message"] == said, 30, lambda: two.daemon.story([bound]))
    free = submit_as(bob, two.daemon, "free", epochs=1)
    assert two.daemon.until(free, "COMPLETED")["node"] == "box1"
    hers = submit_as(alice, two.daemon, "hers2", epochs=1, more="resources: {node: box2}\n")
    assert two.daemon.until(hers, "COMPLETED")["node"] == "box2"
    assert cli_as(bob, two.daemon, "cancel", bound).returncode == 0


def test_the_token_is_closed(two: Cluster, alice: Person) -> None:
    for path in (two.daemon.paths.cluster_token, two.token, two.nodes[0].state / "run/ray-token"):
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (os.geteuid(), 0o600)
    said = cli_as(alice, two.daemon, "node", "token", alice.home / "mine.json")
    assert said.returncode == 5 and "may not have the cluster's token" in said.stderr
