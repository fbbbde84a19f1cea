"""The admin's day with a site daemon that has the rights which the unit leaves it, and no others: users' jobs, its
journal, a reload, completion, retention."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import running
from .harness import COMMAND, ENDLESS, ROOT, RunningDaemon, eventually, write_job
from .people import Person, cli_as, request_as, status_of, submit_as

CONFIG = "[limits]\nmax_running = 4\n"


def rights_of_the_service() -> list[str]:
    """A program that keeps no more of root's rights than the unit does, and becomes another."""
    unit = (ROOT / "scripts/gpujobs.service").read_text()
    kept = re.findall(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
    names = [name.removeprefix("CAP_").lower() for line in kept for name in line.split()]
    assert "setuid" in names
    return ["setpriv", "--no-new-privs", f"--bounding-set=-all,{','.join(f'+{name}' for name in names)}"]


@pytest.fixture(scope="module")
def daemon(as_root: None) -> Iterator[RunningDaemon]:
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv here")
    with running(site=True, config=CONFIG, within=rights_of_the_service()) as daemon:
        daemon.root.chmod(0o711)
        yield daemon


@pytest.fixture(scope="module")
def done(daemon: RunningDaemon) -> int:
    """A completed job of root's."""
    (job,) = daemon.json("submit", write_job(daemon.root, "done"))
    daemon.until(job["id"], "COMPLETED")
    return int(job["id"])


@pytest.fixture(scope="module")
def hers(daemon: RunningDaemon, alice: Person) -> int:
    """A completed job of alice's."""
    job = submit_as(alice, daemon, "hers")
    daemon.until(job, "COMPLETED")
    return job


def log_has(daemon: RunningDaemon, *texts: str) -> None:
    eventually(
        lambda: all(text in daemon.log.read_text() for text in texts),
        10,
        lambda: daemon.log.read_text()[-3000:],
    )


def test_it_has_only_the_rights_of_the_unit_and_trainers_have_none(
    daemon: RunningDaemon, alice: Person
) -> None:
    job = submit_as(alice, daemon, "long", epochs=ENDLESS)
    pid = daemon.until_epoch(job, 1)["pid"]
    own, theirs = status_of(daemon.pid), status_of(pid)
    assert own["CapEff"] == own["CapBnd"] and int(own["CapEff"], 16).bit_count() <= 9
    assert int(theirs["CapEff"], 16) == int(theirs["CapPrm"], 16) == 0 and theirs["Uid"].split()[0] == str(
        alice.uid
    )
    daemon.cli("cancel", job, code=0)
    daemon.until(job, "CANCELLED")


def test_the_journal_tells_who_did_what(daemon: RunningDaemon, done: int, hers: int, alice: Person) -> None:
    daemon.cli("drain", 0, "--reason", "fan", code=0)
    daemon.cli("resume", 0, code=0)
    made = daemon.json("reserve", 1, "--user", alice.name, "--from", "+2h")
    daemon.cli("unreserve", made[0]["id"], code=0)
    held = submit_as(alice, daemon, "held", "--hold")
    daemon.cli("cancel", held, code=0)
    log_has(
        daemon,
        f'job {done} of root: submitted by root "done"',
        f'job {done} of root: starts "done", attempt 1: on ',
        f'job {done} of root: COMPLETED "done" on cpu ',
        f'job {hers} of {alice.name}: submitted by {alice.name} "hers"',
        "drained by root: fan",
        "resumed by root",
        f"reserved by root: for {alice.name} from",
        "unreserved by root",
        f'job {held} of {alice.name}: CANCELLED by root "held"',
    )
    about = [line for line in daemon.log.read_text().splitlines() if f"job {done} of" in line]
    assert len(about) == 3, about


def test_a_reload_takes_what_it_can_and_a_bad_file_changes_nothing(daemon: RunningDaemon, done: int) -> None:
    config = daemon.root / "gpujobs.toml"
    config.write_text("cpu_slots = 7\n[limits]\nmax_waiting = 0\n")
    os.kill(daemon.pid, signal.SIGHUP)
    log_has(daemon, "limits.max_waiting: None -> 0", "needs a restart: cpu_slots")
    config.write_text("[limits]\nmax_waiting = 'none'\n[quotas]\ndata = 1.5\n")
    os.kill(daemon.pid, signal.SIGHUP)
    log_has(daemon, f"{config}:2: limits.max_waiting is 'none'", f"{config}:4: quotas.data is 1.5",
            "what counted before still counts")  # fmt: skip
    config.write_text(CONFIG)
    os.kill(daemon.pid, signal.SIGHUP)
    log_has(daemon, "limits.max_waiting: 0 -> None")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fetch ", "plain,{done}"),
        ("gpus ", "plain,0"),
        ("status --state RUNNING,COMPLETE", "plain,RUNNING,COMPLETED"),
        ("submit jo", "file,jo"),
        ("predict 1 da", "file,da"),
        ("fetch 1 ", "dir,"),
        ("reserve --group roo", "plain,root"),
        ("--config et", "file,et"),
    ],
)
def test_shells_are_offered_what_is_there(
    daemon: RunningDaemon, done: int, words: str, expected: str
) -> None:
    given = words.split()
    place = len(given) + words.endswith(" ")
    environment = {
        **daemon.environment,
        "_GPUJOBS_COMPLETE": "bash_complete",
        "COMP_WORDS": f"gpujobs {words}",
        "COMP_CWORD": str(place),
    }
    command = [
        COMMAND[0],
        "-c",
        "import sys; sys.argv = ['gpujobs']; from gpujobs.cli.main import main; main()",
    ]
    offered = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout
    assert expected.format(done=done) in offered.splitlines(), offered


def test_others_prune_only_what_is_theirs(
    daemon: RunningDaemon, done: int, hers: int, alice: Person, bob: Person
) -> None:
    status, answer = request_as(bob, daemon, "POST", "/v1/prune", {"older_than_seconds": 0})
    assert (status, json.loads(answer)["removed"]) == (200, [])
    status, answer = request_as(
        bob, daemon, "POST", "/v1/prune", {"older_than_seconds": 0, "kinds": ["jobs"]}
    )
    assert status == 403 and "may not remove the records of jobs" in answer
    said = cli_as(alice, daemon, "prune", "--older-than", "0s", "--dry-run").stdout
    assert "results" in said and f" {hers}" in said and "would be removed" in said
    assert cli_as(alice, daemon, "prune", "--older-than", "0s", "--kind", "results").returncode == 0
    assert daemon.job(hers)["results"] is None and daemon.job(done)["results"] is not None
    refused = cli_as(alice, daemon, "results", hers)
    assert refused.returncode == 2
    assert f"the results of job {hers} were removed by {alice.name} on 20" in refused.stderr
    log = cli_as(alice, daemon, "logs", hers)
    assert f"the results of job {hers} were removed" in log.stderr


def test_an_admin_prunes_everybodys_and_the_record_goes_last(daemon: RunningDaemon, done: int) -> None:
    results = Path(daemon.job(done)["results"])
    removed = daemon.json("prune", "--older-than", "0s")
    assert ("results", done) in {(one["kind"], one["job"]) for one in removed}
    assert not results.exists()
    shown = daemon.cli("show", done, code=0).stdout
    assert "removed on 20" in shown and "removed by root: its results (" in shown
    log_has(daemon, f"job {done} of root: removed by root")
    daemon.json("prune", "--older-than", "0s", "--kind", "jobs")
    assert "does not exist" in daemon.cli("show", done, code=2).stderr
    assert daemon.json("prune", "--older-than", "0s", "--kind", "jobs", "--dry-run") == []
