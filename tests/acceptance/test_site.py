"""A site's configuration: its admins, what is shared with the lab, and names that are hidden."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .conftest import running
from .harness import ENDLESS, RunningDaemon
from .people import Person, as_person, can_read, cli_as, new_person, request_as, submit_as

ADMINS, LAB = f"gjadmin{os.getpid()}", f"gjlab{os.getpid()}"


@contextmanager
def group(name: str) -> Iterator[None]:
    subprocess.run(["groupadd", name], check=True)
    try:
        yield
    finally:
        subprocess.run(["groupdel", name], check=True)


def join(person: Person, name: str) -> None:
    subprocess.run(["gpasswd", "--add", person.name, name], check=True, capture_output=True)


def leave(person: Person, name: str) -> None:
    subprocess.run(["gpasswd", "--delete", person.name, name], check=True, capture_output=True)


@dataclass(frozen=True)
class People:
    alice: Person
    """Whose jobs they are."""
    bob: Person
    """In neither group."""
    carol: Person
    """An admin."""
    dora: Person
    """Of the lab."""


@pytest.fixture(scope="module")
def people(place: Path, alice: Person, bob: Person) -> Iterator[People]:
    with (
        group(ADMINS),
        group(LAB),
        new_person(f"gjcarol{os.getpid()}", place / "carol") as carol,
        new_person(f"gjdora{os.getpid()}", place / "dora") as dora,
    ):
        join(carol, ADMINS)
        join(dora, LAB)
        yield People(alice, bob, carol, dora)


@pytest.fixture(scope="module")
def daemon(people: People) -> Iterator[RunningDaemon]:
    config = (
        f'[access]\nadmin_group = "{ADMINS}"\nshare_group = "{LAB}"\nhide_names = true\n'
        "[priority]\nmax_priority = 10\n"
    )
    with running(site=True, slots=1, config=config) as daemon:
        daemon.root.chmod(0o711)
        yield daemon


@pytest.fixture(scope="module")
def shared(daemon: RunningDaemon, people: People) -> int:
    """A completed job of alice's that the lab may read."""
    job = submit_as(people.alice, daemon, "shared", more="share: lab\n")
    daemon.until(job, "COMPLETED")
    return job


@pytest.fixture(scope="module")
def private(daemon: RunningDaemon, people: People) -> int:
    job = submit_as(people.alice, daemon, "private")
    daemon.until(job, "COMPLETED")
    return job


@pytest.fixture
def held(daemon: RunningDaemon, people: People) -> Iterator[int]:
    """A job of alice's that waits."""
    job = submit_as(people.alice, daemon, "held", "--hold", epochs=ENDLESS)
    yield job
    daemon.cli("cancel", job, code=0)


def events(daemon: RunningDaemon, job: int) -> list[tuple[str, str]]:
    return [(event["kind"], event["actor"]) for event in daemon.show(job)["events"]]


def jobs_of(person: Person, daemon: RunningDaemon, *options: object) -> dict[int, dict[str, Any]]:
    done = cli_as(person, daemon, "status", "--json", *options)
    assert done.returncode == 0, done.stderr
    return {job["id"]: job for job in json.loads(done.stdout)}


# Admins


def test_an_admin_changes_anybodys_job_and_each_act_is_an_event(
    daemon: RunningDaemon, people: People, held: int
) -> None:
    carol = people.carol
    for arguments in (("prioritize", held, -5), ("release", held)):
        done = cli_as(carol, daemon, *arguments)
        assert done.returncode == 0, done.stderr
    daemon.until_epoch(held, 1)
    for command in ("requeue", "cancel"):
        assert cli_as(carol, daemon, command, held).returncode == 0
        daemon.until(held, "CANCELLED" if command == "cancel" else "RUNNING")
    told = events(daemon, held)
    for kind in ("prioritized", "released", "requeue_requested", "cancel_requested"):
        assert (kind, carol.name) in told, told
    assert daemon.job(held)["priority"] == -5
    assert people.alice.name == daemon.job(held)["user"]


def test_an_admin_requeues_an_ended_job_for_its_user(
    daemon: RunningDaemon, people: People, private: int
) -> None:
    done = cli_as(people.carol, daemon, "requeue", private, "--json")
    assert done.returncode == 0, done.stderr
    (copy,) = json.loads(done.stdout)
    ended = daemon.until(copy["id"], "COMPLETED")
    assert ended["user"] == people.alice.name
    assert events(daemon, copy["id"])[0] == ("submitted", people.carol.name)
    assert Path(ended["results"]).stat().st_uid == people.alice.uid


@pytest.mark.parametrize("command", ["logs", "results", "fetch"])
def test_an_admin_does_not_read_what_a_job_has_produced(
    daemon: RunningDaemon, people: People, private: int, command: str
) -> None:
    carol = people.carol
    assert cli_as(carol, daemon, "show", private).returncode == 0
    refused = cli_as(
        carol, daemon, command, private, *([carol.home / "stolen"] if command == "fetch" else [])
    )
    assert refused.returncode == 5 and "may not read" in refused.stderr, refused.stdout + refused.stderr
    directory = daemon.paths.result(private)
    assert as_person(carol, lambda: can_read(directory / "model.keras")) is False


def test_an_admin_does_not_stop_the_daemon(daemon: RunningDaemon, people: People) -> None:
    assert cli_as(people.carol, daemon, "stop").returncode == 5
    assert daemon.is_running()


@pytest.mark.parametrize("command", [("cancel",), ("hold",), ("release",), ("requeue",), ("prioritize", 5)])
def test_who_is_no_admin_changes_only_own_jobs(
    daemon: RunningDaemon, people: People, held: int, command: tuple[object, ...]
) -> None:
    verb, *value = command
    before = events(daemon, held)
    for person in (people.bob, people.dora):
        refused = cli_as(person, daemon, verb, held, *value)
        assert refused.returncode == 5, refused.stdout + refused.stderr
        assert f"may not {verb} it" in refused.stderr
    assert events(daemon, held) == before


def test_membership_is_what_it_is_at_the_moment(daemon: RunningDaemon, people: People, held: int) -> None:
    join(people.bob, ADMINS)
    try:
        assert cli_as(people.bob, daemon, "prioritize", held, 7).returncode == 0
    finally:
        leave(people.bob, ADMINS)
    assert cli_as(people.bob, daemon, "prioritize", held, 8).returncode == 5
    assert daemon.job(held)["priority"] == 7


def test_the_higher_priority_starts_first(daemon: RunningDaemon, people: People, held: int) -> None:
    """By its owner, who needs nobody for that."""
    assert cli_as(people.alice, daemon, "release", held).returncode == 0
    daemon.until_epoch(held, 1)
    first, second = (submit_as(people.alice, daemon, name) for name in ("first", "second"))
    done = cli_as(people.alice, daemon, "prioritize", second, 10, "--json")
    assert [job["priority"] for job in json.loads(done.stdout)] == [10]
    daemon.cli("cancel", held, code=0)
    started = [daemon.until(job, "COMPLETED")["started_at"] for job in (first, second)]
    assert started[1] < started[0]
    ended = cli_as(people.alice, daemon, "prioritize", first, 1)
    assert ended.returncode == 2 and "only a job that has not ended" in ended.stderr


# What is shared


def test_the_lab_reads_what_is_shared(
    daemon: RunningDaemon, people: People, shared: int, private: int
) -> None:
    dora = people.dora
    for command in ("logs", "show", "results"):
        done = cli_as(dora, daemon, command, shared)
        assert done.returncode == 0 and done.stdout, done.stderr
        assert cli_as(dora, daemon, command, private).returncode == 5
    assert [entry["job"] for entry in json.loads(cli_as(dora, daemon, "results", "--json").stdout)] == [
        shared
    ]
    copied = cli_as(dora, daemon, "fetch", shared, dora.home / "fetched")
    assert copied.returncode == 0, copied.stderr
    assert (dora.home / "fetched/model.keras").stat().st_uid == dora.uid


def test_the_lab_reads_it_on_the_disk_and_writes_nothing(
    daemon: RunningDaemon, people: People, shared: int, private: int
) -> None:
    directory = daemon.paths.result(shared)
    files = [path for path in directory.rglob("*") if path.is_file()]
    for path in (directory, *directory.rglob("*")):
        status = path.stat()
        assert status.st_uid == people.alice.uid
        assert stat.S_IMODE(status.st_mode) == (0o750 if path.is_dir() else 0o640)
    assert as_person(people.dora, lambda: all(can_read(path) for path in files)) is True
    assert as_person(people.dora, lambda: any(os.access(path, os.W_OK) for path in files)) is False
    assert as_person(people.dora, lambda: can_read(daemon.paths.result(private))) is False
    assert as_person(people.bob, lambda: any(can_read(path) for path in files)) is False


def test_another_applies_a_shared_model(
    daemon: RunningDaemon, people: People, shared: int, private: int
) -> None:
    """Its trainer opens the model with the rights of who asks, who is in the group too."""
    text = (
        "name: applied\nmodel: {job: %d}\npredict:\n  - {name: one, values: [[0], [0], [1], [1], [0], [0]]}\n"
    )

    def submit(person: Person, job: int) -> tuple[int, str]:
        file = {"path": "applied.yaml", "text": text % job, "data": {}}
        body = {"request_key": f"{person.name}-{job}", "files": [file]}
        return request_as(person, daemon, "POST", "/v1/jobs", body)

    status, answer = submit(people.dora, shared)
    assert status == 201, answer
    ended = daemon.until(json.loads(answer)["jobs"][0]["id"], "COMPLETED")
    assert ended["user"] == people.dora.name
    for person, job in ((people.dora, private), (people.bob, shared)):
        status, answer = submit(person, job)
        assert status == 403 and "may not use the model of it" in answer


def test_what_somebody_else_shares_is_not_theirs_to_change(
    daemon: RunningDaemon, people: People, shared: int
) -> None:
    for command in ("requeue", "cancel"):
        assert cli_as(people.dora, daemon, command, shared).returncode == 5


# Names that are hidden


def test_the_queue_has_other_peoples_jobs_without_names(
    daemon: RunningDaemon, people: People, held: int, shared: int
) -> None:
    job = jobs_of(people.bob, daemon)[held]
    assert {job[key] for key in ("name", "user", "message", "group", "results", "pid", "share")} == {None}
    assert (job["state"], job["reason"], job["held"]) == ("PENDING", "Held", True)
    for person in (people.alice, people.carol):
        assert jobs_of(person, daemon)[held]["name"] == "held"
    line = next(
        line for line in cli_as(people.bob, daemon, "status").stdout.splitlines() if "PENDING" in line
    )
    assert line.split()[:3] == [str(held), "-", "-"]
    assert jobs_of(people.dora, daemon, shared)[shared]["user"] == people.alice.name
    assert jobs_of(people.bob, daemon, shared)[shared]["user"] is None


def test_a_name_cannot_be_found_by_asking_for_it(daemon: RunningDaemon, people: People, held: int) -> None:
    assert jobs_of(people.bob, daemon, "--user", people.alice.name) == {}
    assert held in jobs_of(people.carol, daemon, "--user", people.alice.name)
    refused = cli_as(people.bob, daemon, "cancel", held)
    assert "belongs to somebody else" in refused.stderr and people.alice.name not in refused.stderr


def test_a_reservation_tells_only_its_user_whose_it_is(daemon: RunningDaemon, people: People) -> None:
    made = daemon.json("reserve", 0, "--user", people.alice.name, "--from", "+2h")
    try:
        for person, user in (
            (people.alice, people.alice.name),
            (people.carol, people.alice.name),
            (people.bob, None),
        ):
            (one,) = json.loads(cli_as(person, daemon, "reserve", "--json").stdout)
            (device,) = json.loads(cli_as(person, daemon, "gpus", "--json").stdout)
            assert one["user"] == device["reserved"][0]["user"] == user
        shown = cli_as(people.bob, daemon, "gpus").stdout
        assert "reserved for others from" in shown and people.alice.name not in shown
        history = cli_as(people.bob, daemon, "gpus", 0).stdout
        assert "reserved by root" in history and people.alice.name not in history
    finally:
        daemon.cli("unreserve", made[0]["id"], code=0)


def test_a_running_job_shows_how_far_it_is_and_no_more(
    daemon: RunningDaemon, people: People, held: int
) -> None:
    cli_as(people.alice, daemon, "release", held)
    found = daemon.until_epoch(held, 1)
    job = jobs_of(people.bob, daemon)[held]
    assert set(job["progress"]) == {"epoch", "epochs", "eta_seconds"}
    title = Path(f"/proc/{found['pid']}/cmdline").read_bytes().rstrip(b"\0").decode()
    assert title == f"gpujobs trainer: job {held}"


# What the daemon says of itself


def test_serve_and_doctor_say_the_mode_and_the_groups(daemon: RunningDaemon, people: People) -> None:
    checks = json.loads(cli_as(people.bob, daemon, "doctor", "--json").stdout)
    (mode,) = [check["message"] for check in checks if check["name"] == "mode"]
    for words in (
        "site daemon: serves everybody",
        f"root and group {ADMINS}",
        f"group {LAB}",
        "names are hidden",
    ):
        assert words in mode
    assert mode in daemon.log.read_text()
    (groups,) = [check for check in checks if check["name"] == "groups"]
    assert groups["ok"] is True
