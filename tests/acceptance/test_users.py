"""Several UNIX users and one site daemon: each job is its user's, and nobody gets at another's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import running
from .harness import ENDLESS, RunningDaemon, environment_of, eventually, processes_of, write_job
from .people import (
    Person,
    as_person,
    body_for,
    can_read,
    cli_as,
    known_jobs,
    request_as,
    status_of,
    submit_as,
)

TRAINER_VARIABLES = {
    "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "HOME", "LANG", "LOGNAME", "PATH", "TF_CPP_MIN_LOG_LEVEL",
    "TF_FORCE_GPU_ALLOW_GROWTH", "TMPDIR", "TZ", "USER",
}  # fmt: skip

RUN_CODE_ON_RAY = """
import sys, ray
ray.init(address=sys.argv[1], configure_logging=False, log_to_driver=False)
print(ray.get(ray.remote(num_cpus=0)(lambda: "code has run").remote(), timeout=20))
"""


@pytest.fixture(scope="module")
def daemon(alice: Person, bob: Person) -> Iterator[RunningDaemon]:
    """Started by a root whose environment holds what no user is to see."""
    secrets = {"SECRET_OF_ROOT": "in the environment", "RAY_SECRET": "too"}
    with running(site=True, environment=secrets) as daemon:
        daemon.root.chmod(0o711)
        yield daemon


@pytest.fixture(scope="module")
def completed(daemon: RunningDaemon, alice: Person) -> int:
    """A job of alice's, with results."""
    job = submit_as(alice, daemon, "done")
    daemon.until(job, "COMPLETED")
    return job


@pytest.fixture(scope="module")
def trainer(daemon: RunningDaemon, alice: Person) -> Iterator[dict[str, Any]]:
    """A job of alice's that runs."""
    job = submit_as(alice, daemon, "endless", epochs=ENDLESS)
    yield daemon.until_epoch(job, 1)
    daemon.cli("cancel", job, code=0)
    daemon.until(job, "CANCELLED")


# A job runs as its user


def test_a_trainer_has_its_users_identity_and_no_way_back(trainer: dict[str, Any], alice: Person) -> None:
    status = status_of(trainer["pid"])
    assert status["Uid"].split() == [str(alice.uid)] * 4
    assert status["Gid"].split() == [str(alice.gid)] * 4
    assert set(map(int, status["Groups"].split())) == set(os.getgrouplist(alice.name, alice.gid))
    assert len(status["Groups"].split()) == 2
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["Umask"] == "0077"
    assert trainer["user"] == alice.name


def test_a_trainer_inherits_no_descriptor_of_ours(
    trainer: dict[str, Any], daemon: RunningDaemon, alice: Person
) -> None:
    folder = Path(f"/proc/{trainer['pid']}/fd")
    links = {int(entry.name): str(entry.readlink()) for entry in folder.iterdir()}
    assert links[0] == "/dev/null"
    assert [links[number].partition(":")[0] for number in (1, 2, 3)] == ["pipe", "pipe", "socket"]
    own_data = str(daemon.paths.spool / "data" / str(alice.uid))
    own_work = str(daemon.paths.job(trainer["id"]).work)  # a checkpoint that is just being written
    others = [link for number, link in links.items() if number > 3]
    assert all(link.startswith(("anon_inode:", own_data, own_work)) for link in others), links


def test_a_trainer_has_a_clean_environment(
    trainer: dict[str, Any], daemon: RunningDaemon, alice: Person
) -> None:
    environment = environment_of(trainer["pid"])
    assert set(environment) == TRAINER_VARIABLES
    assert (environment["HOME"], environment["USER"]) == (str(alice.home), alice.name)
    work = daemon.paths.job(trainer["id"]).work
    assert Path(f"/proc/{trainer['pid']}/cwd").readlink() == work
    assert work.stat().st_uid == alice.uid


def test_results_are_their_users_files(daemon: RunningDaemon, completed: int, alice: Person) -> None:
    directory = daemon.paths.result(completed)
    assert {path.stat().st_uid for path in (directory, *directory.rglob("*"))} == {alice.uid}
    assert as_person(alice, lambda: can_read(directory / "model.keras")) is True
    copied = cli_as(alice, daemon, "fetch", completed, alice.home / "fetched")
    assert copied.returncode == 0, copied.stderr
    assert (alice.home / "fetched/model.keras").stat().st_uid == alice.uid


def test_sharing_needs_a_group_to_share_with(daemon: RunningDaemon, alice: Person) -> None:
    before = known_jobs(daemon)
    path = write_job(alice.home, "lab", more="share: lab\n")
    os.chown(path, alice.uid, alice.gid)
    refused = cli_as(alice, daemon, "submit", path)
    assert refused.returncode == 2, refused.stdout
    line = path.read_text().splitlines().index("share: lab") + 1
    assert refused.stderr.startswith(f"{path}:{line}: share is lab, but this site has no share group")
    assert known_jobs(daemon) == before


# What another user asks for


@pytest.mark.parametrize("command", ["logs", "show", "cancel", "hold", "requeue", "release"])
def test_another_users_running_job(
    daemon: RunningDaemon, trainer: dict[str, Any], bob: Person, command: str
) -> None:
    refused = cli_as(bob, daemon, command, trainer["id"])
    assert refused.returncode == 5, refused.stdout + refused.stderr
    assert f"job {trainer['id']} belongs to {trainer['user']}; {bob.name} may not" in refused.stderr
    assert refused.stdout == ""
    found = daemon.job(trainer["id"])
    assert (found["state"], found["pid"], found["attempt"]) == ("RUNNING", trainer["pid"], 1)


@pytest.mark.parametrize("command", ["logs", "show", "results", "fetch", "requeue"])
def test_another_users_results(daemon: RunningDaemon, completed: int, bob: Person, command: str) -> None:
    before = known_jobs(daemon)
    refused = cli_as(bob, daemon, command, completed, *([bob.home / "stolen"] if command == "fetch" else []))
    assert refused.returncode == 5, refused.stdout + refused.stderr
    assert f"job {completed} belongs to " in refused.stderr and refused.stdout == ""
    assert not (bob.home / "stolen").exists()
    assert known_jobs(daemon) == before


def test_the_queue_is_for_everybody_the_catalogue_is_not(
    daemon: RunningDaemon, trainer: dict[str, Any], completed: int, alice: Person, bob: Person
) -> None:
    queue = json.loads(cli_as(bob, daemon, "status", "--json").stdout)
    assert trainer["id"] in [job["id"] for job in queue]
    assert json.loads(cli_as(bob, daemon, "results", "--json").stdout) == []
    hers = json.loads(cli_as(alice, daemon, "results", "--json").stdout)
    assert completed in [entry["job"] for entry in hers]


def test_a_single_file_of_another_users_results(daemon: RunningDaemon, completed: int, bob: Person) -> None:
    for name in ("model.keras", "../../gpujobs.db", "%2e%2e/%2e%2e/gpujobs.db"):
        status, text = request_as(bob, daemon, "GET", f"/v1/results/{completed}/{name}")
        assert status in (403, 404), (name, status, text)


def test_the_daemon_is_not_anybodys_to_stop(daemon: RunningDaemon, alice: Person) -> None:
    for mode in ((), ("--drain",), ("--cancel",)):
        refused = cli_as(alice, daemon, "stop", *mode)
        assert refused.returncode == 5, refused.stdout + refused.stderr
    assert daemon.is_running()


# What another user reads from the disk


def test_files_that_another_user_cannot_read(
    daemon: RunningDaemon, trainer: dict[str, Any], completed: int, alice: Person, bob: Person
) -> None:
    paths = daemon.paths
    job, attempt = paths.job(trainer["id"]), paths.job(trainer["id"]).attempt(1)
    (data,) = (paths.spool / "data" / str(alice.uid)).iterdir()
    closed = [
        paths.root, paths.database, *(Path(f"{paths.database}-{end}") for end in ("wal", "shm")), paths.lock,
        paths.run, paths.ray_token, paths.launcher_socket("tensorflow"), paths.ray, paths.ray / "s",
        paths.spool, paths.spool / "data", data, data.parent, paths.spool / "jobs", job.root, job.work, job.results,
        attempt.root, attempt.spec, attempt.log, attempt.record, attempt.progress,
        paths.results, paths.result(completed), paths.result(completed) / "model.keras",
        *(Path(f"/proc/{pid}/environ") for pid in (trainer["pid"], daemon.pid)),
    ]  # fmt: skip
    missing = [str(path) for path in closed if not os.path.lexists(path)]
    assert not missing
    readable = as_person(bob, lambda: [str(path) for path in closed if can_read(path)])
    assert readable == []
    own = bob.home / "own"
    own.write_text("his")
    assert as_person(bob, lambda: can_read(own)) is True, "the test itself could read nothing"


def test_only_the_owner_can_read_what_she_uploaded(
    daemon: RunningDaemon, completed: int, alice: Person
) -> None:
    (data,) = (daemon.paths.spool / "data" / str(alice.uid)).iterdir()
    assert as_person(alice, lambda: can_read(data)) is True
    assert data.stat().st_mode & 0o777 == 0o400


def test_another_user_cannot_replace_the_socket(daemon: RunningDaemon, bob: Person) -> None:
    def replace() -> list[str]:
        said = []
        for attempt in (
            lambda: daemon.socket.unlink(),
            lambda: daemon.socket.rename(bob.home / "socket"),
            lambda: (bob.home / "planted").rename(daemon.socket),
            lambda: daemon.socket.chmod(0o777),
        ):
            try:
                attempt()
            except OSError as error:
                said.append(type(error).__name__)
            else:
                said.append("done")
        return said

    (bob.home / "planted").write_text("")
    os.chown(bob.home / "planted", bob.uid, bob.gid)
    assert as_person(bob, replace) == ["PermissionError"] * 4
    assert daemon.is_running() and daemon.get("/v1/info")["pid"] == daemon.pid


# What another user sends


def test_a_payload_cannot_say_who_asks(
    daemon: RunningDaemon, completed: int, alice: Person, bob: Person
) -> None:
    before = known_jobs(daemon)
    for more in (
        {"uid": alice.uid}, {"user": alice.name}, {"options": {"user": alice.name}}, {"options": {"uid": 0}},
        {"caller": {"uid": 0, "gid": 0, "user": "root", "pid": 1}},
    ):  # fmt: skip
        status, text = request_as(bob, daemon, "POST", "/v1/jobs", body_for(daemon, alice, **more))
        assert status == 400, (more, text)
    assert known_jobs(daemon) == before
    status, text = request_as(
        bob, daemon, "POST", f"/v1/jobs/cancel?uid=0&user={alice.name}", {"ids": [completed]},
        **{"X-User": alice.name, "Authorization": "Basic cm9vdDo=", "X-Forwarded-User": "root"},
    )  # fmt: skip
    assert status == 403 and "belongs to" in text


def test_a_job_is_the_callers_and_a_request_key_too(
    daemon: RunningDaemon, completed: int, alice: Person, bob: Person
) -> None:
    """The same key of another user is another submission, and tells nothing of the first."""
    body = body_for(daemon, alice, options={"hold": True})
    status, text = request_as(alice, daemon, "POST", "/v1/jobs?user=root&uid=0", body, **{"X-User": "root"})
    assert status == 201, text
    (hers,) = json.loads(text)["jobs"]
    assert hers["user"] == alice.name
    status, text = request_as(bob, daemon, "POST", "/v1/jobs", body)
    assert (status, list(json.loads(text))) == (200, ["missing"])
    daemon.cli("cancel", hers["id"], code=0)


def test_knowing_a_hash_is_not_permission(
    daemon: RunningDaemon, completed: int, alice: Person, bob: Person
) -> None:
    before = known_jobs(daemon)
    body = body_for(daemon, alice)
    sha256 = body["files"][0]["data"]["tutorial.npz"]["sha256"]
    assert request_as(bob, daemon, "POST", "/v1/jobs", body) == (200, json.dumps({"missing": [sha256]}))
    status, text = request_as(bob, daemon, "PUT", f"/v1/data/{sha256}", b"other bytes")
    assert status == 400 and "hash to" in text
    status, text = request_as(bob, daemon, "POST", "/v1/jobs", body)
    assert (status, list(json.loads(text))) == (200, ["missing"])
    assert known_jobs(daemon) == before


def test_anothers_file_in_place_is_not_opened(
    daemon: RunningDaemon, completed: int, alice: Person, bob: Person
) -> None:
    """The trainer opens it, with the rights of who has submitted."""
    body = body_for(daemon, alice)
    (file,) = body["files"]
    file["text"] = file["text"].replace("train: tutorial.npz", "train: {path: tutorial.npz, in_place: true}")
    file["data"]["tutorial.npz"]["in_place"] = str(alice.home / "tutorial.npz")
    body["options"] = {"retries": 0}
    status, text = request_as(bob, daemon, "POST", "/v1/jobs", body)
    assert status == 201, text
    (job,) = json.loads(text)["jobs"]
    ended = daemon.until(job["id"], "FAILED")
    assert "ermission" in ended["message"], ended
    assert ended["user"] == bob.name


# Ray


def ray_address(daemon: RunningDaemon) -> str:
    """From the command line of the raylet, which everybody can read."""
    for command in processes_of(daemon.state).values():
        for word in command.split():
            if word.startswith("--gcs-address="):
                return word.partition("=")[2]
    pytest.fail(f"no raylet among {daemon.processes()}")


@contextmanager
def run_code(daemon: RunningDaemon, home: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """As root, who can read the installation and every session directory: only the token is missing."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN_CODE_ON_RAY, ray_address(daemon)],
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_ray_runs_code_for_nobody_without_the_token(daemon: RunningDaemon, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)
    token = daemon.paths.ray_token
    with (
        run_code(daemon, tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(wrong)) as another_token,
        run_code(daemon, tmp_path, RAY_AUTH_MODE="disabled") as no_token,
        run_code(daemon, tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token)) as our_token,
    ):
        output = our_token.communicate(timeout=60)[0]
        assert "code has run" in output, output
        for refused in (another_token, no_token):
            output = refused.communicate(timeout=90)[0]
            assert refused.returncode != 0 and "code has run" not in output, output
    assert daemon.get("/v1/info")["nodes"][0]["status"] == "ok"


# A personal daemon, and a socket that is not what it seems


def test_a_personal_daemon_refuses_others(place: Path, bob: Person) -> None:
    with running() as daemon:
        refused = cli_as(bob, daemon, "status")
        assert refused.returncode == 5, refused.stderr  # its directory is closed
        for path in (daemon.root, daemon.state):
            path.chmod(0o711)
        daemon.socket.chmod(0o666)
        refused = cli_as(bob, daemon, "status")
        assert refused.returncode == 5, refused.stderr
        assert "this is the personal daemon of root" in refused.stderr
        assert refused.stdout == ""


def test_a_client_sends_nothing_to_a_socket_of_another_user(place: Path, alice: Person, bob: Person) -> None:
    path = place / "planted.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        os.seteuid(bob.uid)
        try:
            listener.listen()  # the kernel notes who does this: SO_PEERCRED of those who connect
        finally:
            os.seteuid(0)
        listener.settimeout(10)
        for person in (None, alice):
            refused = status_at(path, person)
            assert refused.returncode == 5, refused.stderr
            assert f"is served by uid {bob.uid}" in refused.stderr
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(1) == b""


def status_at(path: Path, person: Person | None) -> subprocess.CompletedProcess[str]:
    root = path.parent / "client"
    root.mkdir(exist_ok=True)
    daemon = RunningDaemon(root, environment={"GPUJOBS_SOCKET": str(path)})
    daemon.socket = path
    return daemon.cli("status") if person is None else cli_as(person, daemon, "status")


# News are told with the rights of whoever is told


@pytest.fixture(scope="module")
def hook(alice: Person) -> Path:
    """Says who runs it, and keeps what it is told and what it sees."""
    path = alice.home / "hook"
    path.write_text(
        f"#!/bin/sh\nid -u > {alice.home}/who; env > {alice.home}/env; cat > {alice.home}/news; id -un\n"
    )
    path.chmod(0o700)
    os.chown(path, alice.uid, alice.gid)
    return path


def test_a_command_is_run_as_the_jobs_user_and_the_history_has_what_it_said(
    daemon: RunningDaemon, alice: Person, hook: Path
) -> None:
    more = f"notify: {{on: failure, to: mail, command: {hook}}}\n"
    job = submit_as(alice, daemon, "newsworthy", "--hold", more=more)
    daemon.cli("cancel", job, code=0)

    def told() -> list[str]:
        found = [event["message"] for event in daemon.show(job)["events"] if event["kind"] == "news"]
        return found if len(found) == 2 else []

    by_command, by_mail = sorted(eventually(told), key=lambda line: "mailbox" in line)
    assert by_command == f"failure told to the command {hook}: {alice.name}"
    assert by_mail.startswith("failure ") and "your mailbox" in by_mail  # there may be a sendmail, or none
    assert (alice.home / "who").read_text() == f"{alice.uid}\n"
    assert (alice.home / "news").stat().st_uid == alice.uid
    news = json.loads((alice.home / "news").read_text())
    assert (news["event"], news["job"]["id"], news["job"]["state"]) == ("failure", job, "CANCELLED")
    variables = dict(line.split("=", 1) for line in (alice.home / "env").read_text().splitlines())
    assert (variables["HOME"], variables["USER"]) == (str(alice.home), alice.name)
    own = {name for name in variables if name.startswith("GPUJOBS_")}
    assert variables.keys() - own <= {
        "HOME",
        "USER",
        "LOGNAME",
        "PATH",
        "LANG",
        "TZ",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
    }


def test_what_one_wants_to_be_told_is_ones_own(
    daemon: RunningDaemon, alice: Person, bob: Person, hook: Path
) -> None:
    done = cli_as(alice, daemon, "notify", "--on", "end,failure", "--command", hook, "--test")
    assert (done.returncode, done.stdout) == (
        0,
        f"you are told: end, failure: the command {hook}\nthe command {hook}: sent: {alice.name}\n",
    )
    shown = json.loads(cli_as(bob, daemon, "notify", "--json").stdout)
    assert shown["setting"] is None and str(hook) not in json.dumps(shown)
    tried = cli_as(bob, daemon, "notify", "--command", hook, "--test")
    assert tried.returncode == 4 and "NOT sent" in tried.stdout and "Permission denied" in tried.stdout
    wrong = cli_as(bob, daemon, "notify", "--on", "ended")
    assert wrong.returncode == 2 and 'notify.on[0] is "ended"; expected a list out of end' in wrong.stderr
    for person in (alice, bob):
        assert cli_as(person, daemon, "notify", "--off").stdout.startswith("you are told: nobody; ")
