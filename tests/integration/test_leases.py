"""A box that hears nothing of the daemon stops its trainers itself, before their lease ends, and not before that."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpujobs.daemon.build import Parts
from gpujobs.errors import LauncherError, UnfitError
from gpujobs.linux import durable, lease
from gpujobs.linux.process import boot_id
from gpujobs.node.agent import NodeAgent
from gpujobs.node.localising import localised, user_problem
from gpujobs.paths import StatePaths
from gpujobs.protocol.boxes import Renew
from gpujobs.protocol.instructions import Start
from tests.integration.node import begin, files_of, new_daemon, spec_of, supervise, until
from tests.specs import attempt_spec, node_settings

GRACE = 0.5
MARGIN = GRACE + lease.MARGIN_SECONDS


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Parts]:
    made = new_daemon(tmp_path / "s")
    yield made
    made.store.close()


def leased(daemon: Parts, seconds: float) -> tuple[Parts, Path]:
    path = daemon.paths.lease
    lease.grant(path, lease.now() + seconds)
    return daemon, path


def test_a_trainer_is_stopped_a_margin_before_its_lease_ends(daemon: Parts) -> None:
    job = begin(daemon)
    _, path = leased(daemon, MARGIN + 1.0)
    paths = files_of(daemon, job)
    spec = replace(spec_of(daemon, job), lease=str(path), grace_seconds=GRACE)
    durable.write_json(paths.spec, json.loads(json.dumps(_written(spec))))
    began = time.monotonic()
    supervisor = supervise(daemon, job)
    assert supervisor.wait(30) == 0
    assert 0.5 < time.monotonic() - began < MARGIN
    assert lease.left(path) > 0, "it has ended before its lease"
    record = json.loads(paths.exit.read_text())
    assert (record["state"], record["stopped_for"]) == ("CANCELLED", "lease")
    assert "could not reach the daemon" in paths.log.read_text()


def test_a_lease_that_is_put_off_stops_nothing(daemon: Parts) -> None:
    job = begin(daemon)
    _, path = leased(daemon, MARGIN + 3.0)
    spec = replace(spec_of(daemon, job), lease=str(path), grace_seconds=GRACE)
    paths = files_of(daemon, job)
    durable.write_json(paths.spec, json.loads(json.dumps(_written(spec))))
    supervisor = supervise(daemon, job)
    lease.grant(path, lease.now() + 600)
    with pytest.raises(subprocess.TimeoutExpired):
        supervisor.wait(3.5)
    supervisor.terminate()
    supervisor.wait(30)


def test_a_stop_under_way_keeps_its_reason_when_the_lease_ends(daemon: Parts) -> None:
    job = begin(daemon)
    _, path = leased(daemon, 2.0 + lease.MARGIN_SECONDS + 1.0)
    spec = replace(spec_of(daemon, job), lease=str(path), grace_seconds=2.0)
    paths = files_of(daemon, job)
    durable.write_json(paths.spec, json.loads(json.dumps(_written(spec))))
    durable.write_json(paths.stop, {"reason": "cancel", "message": "somebody has asked for it"})
    supervisor = supervise(
        daemon,
        job,
        """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(1, b"it trains")
        time.sleep(60)
        """,
    )
    asyncio.run(until(lambda: paths.log.read_text()))  # so it hears signals
    supervisor.terminate()
    assert supervisor.wait(30) == 0
    assert lease.left(path) < 2.0 + lease.MARGIN_SECONDS, "its end was looked at meanwhile"
    assert "could not reach the daemon" not in paths.log.read_text()
    assert "somebody has asked for it" in json.loads(paths.exit.read_text())["message"]


def test_what_was_asked_for_before_the_lease_ended_does_not_begin_under_the_next_one(daemon: Parts) -> None:
    """A launcher may take longer than a lease lasts: the daemon has given the job to another box by then."""
    job = begin(daemon)
    path, paths = daemon.paths.lease, files_of(daemon, job)
    lease.grant(path, lease.now() + 0.05)
    lease.note_asked(paths.asked, lease.now())
    time.sleep(0.1)
    lease.grant(path, lease.now() + 600)
    durable.write_json(
        paths.spec, json.loads(json.dumps(_written(replace(spec_of(daemon, job), lease=str(path)))))
    )
    assert supervise(daemon, job, "os.write(1, b'it trains')").wait(30) == 0
    assert not paths.log.exists()
    record = json.loads(paths.exit.read_text())
    assert (record["state"], record["stopped_for"]) == ("CANCELLED", "lease")


def test_a_supervisor_that_slept_over_the_end_of_its_lease_ends_what_it_has(daemon: Parts) -> None:
    job = begin(daemon)
    _, path = leased(daemon, MARGIN + 1.5)
    paths = files_of(daemon, job)
    spec = replace(spec_of(daemon, job), lease=str(path), grace_seconds=GRACE)
    durable.write_json(paths.spec, json.loads(json.dumps(_written(spec))))
    supervisor = supervise(daemon, job)
    supervisor.send_signal(signal.SIGSTOP)
    asyncio.run(until(lambda: lease.left(path) <= 0))
    lease.grant(path, lease.now() + 600)
    supervisor.send_signal(signal.SIGCONT)
    assert supervisor.wait(30) == 0
    assert json.loads(paths.exit.read_text())["stopped_for"] == "lease"


def _written(spec: object) -> object:
    from gpujobs.protocol import codec
    from gpujobs.protocol.spec import AttemptSpec

    assert isinstance(spec, AttemptSpec)
    return codec.write(spec)


# What grants it


def test_an_older_word_that_comes_later_takes_nothing_back(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    lease.grant(path, lease.now() + 600)
    lease.grant(path, lease.now() + 10)
    assert lease.left(path) == pytest.approx(600, abs=5)


def test_one_that_begins_after_another_has_ended_is_another(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    lease.grant(path, lease.now() + 0.05)
    first = lease.now()
    assert lease.holds_since(path, first)
    time.sleep(0.1)
    assert not lease.holds_since(path, first)
    lease.grant(path, lease.now() + 600)
    second = lease.now()
    lease.grant(path, lease.now() + 900)
    assert lease.holds_since(path, second) and not lease.holds_since(path, first)


def test_a_lease_of_an_earlier_version_has_no_beginning(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    durable.write_json(path, {"boot_id": boot_id(), "until": lease.now() + 600})
    lease.grant(path, lease.now() + 700)
    assert lease.holds_since(path, 1.0)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"boot_id": "x", "until": 1e12}', '{"until": 1e12}'])
def test_a_lease_that_cannot_be_believed_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lease.json"
    assert lease.left(path) == 0
    path.write_text(text)
    assert lease.left(path) == 0


def test_a_word_of_before_the_last_boot_grants_nothing(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path)
    paths.run.mkdir()
    agent = NodeAgent(node_settings(tmp_path))
    named = agent.renew(Renew("another boot", named_until := lease.now() + 600))
    assert lease.left(paths.lease) == 0
    agent.renew(Renew(named.boot_id, named_until))
    assert lease.left(paths.lease) == pytest.approx(600, abs=5)


def test_nothing_is_started_on_a_box_without_a_lease(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path)
    paths.run.mkdir()
    settings = replace(node_settings(tmp_path, name="box2", state_id="own"), instance="daemon's")
    agent = NodeAgent(settings)
    spec = attempt_spec(state_id="daemon's")
    with pytest.raises(LauncherError, match="box2 has no lease of the daemon's"):
        asyncio.run(agent.start(Start(spec, 1.0, None, None, (), None)))
    assert not paths.job(1).root.exists()


def test_nothing_is_started_that_its_lease_would_stop_at_once(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path)
    paths.run.mkdir()
    spec = attempt_spec(state_id="daemon's")
    lease.grant(paths.lease, lease.now() + spec.grace_seconds + lease.MARGIN_SECONDS - 0.5)
    agent = NodeAgent(replace(node_settings(tmp_path, name="box2", state_id="own"), instance="daemon's"))
    with pytest.raises(LauncherError, match="box2 has no lease of the daemon's"):
        asyncio.run(agent.start(Start(spec, 1.0, None, None, (), None)))
    assert not paths.job(1).root.exists()


def test_a_word_to_start_that_comes_after_its_lease_starts_nothing(tmp_path: Path) -> None:
    """It was granted another one since: the job may run elsewhere."""
    paths = StatePaths(tmp_path)
    paths.run.mkdir()
    settings = replace(node_settings(tmp_path, name="box2", state_id="own"), instance="daemon's")
    agent = NodeAgent(settings)
    lease.grant(paths.lease, lease.now() + 600)
    now = agent.renew(Renew("", None))
    for before in (None, replace(now, at=now.at - 1), replace(now, boot_id="another", at=now.at + 60)):
        with pytest.raises(LauncherError, match="came to box2 too late"):
            asyncio.run(
                agent.carry_out(Start(attempt_spec(state_id="daemon's"), 1.0, before, None, (), None))
            )
    assert not paths.job(1).root.exists()


# As whom


def test_a_user_whom_the_box_does_not_know_as_the_daemons_does_is_named() -> None:
    assert user_problem("gjnobody1", 4711, "box2") == (
        "box2 has no user gjnobody1; expected one with uid 4711, as on the daemon's box"
    )
    assert user_problem("daemon", 4711, "box2") == (
        "user daemon has uid 1 on box2, and 4711 on the daemon's box; expected the same"
    )
    assert user_problem("daemon", 1, "box2") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to become a user")
def test_a_spec_is_put_into_the_terms_of_its_box(tmp_path: Path) -> None:
    settings = replace(node_settings(tmp_path, state_id="own"), instance="daemon's")
    spec = attempt_spec(
        state_id="daemon's", user="daemon", job=7, checkpoint_from=("/head/spool/jobs/3/work/checkpoint",),
        job_dir=Path("/head/spool/jobs/7"), model_results="/head/results/3",
    )  # fmt: skip
    spec = replace(spec, identity=replace(spec.identity, uid=1, gid=4711, groups=(4711,), home="/elsewhere"))
    here = localised(spec, settings, StatePaths(tmp_path))
    assert here.state_id == "own" and here.lease == str(tmp_path / "run/lease.json")
    assert here.job_dir == tmp_path / "spool/jobs/7"
    assert here.checkpoint_from == (), "it comes with the attempt"
    assert here.model_results == str(tmp_path / "spool/jobs/7/model")
    assert (here.identity.uid, here.identity.gid, here.identity.home) == (1, 1, "/usr/sbin")
    with pytest.raises(UnfitError):
        localised(replace(spec, user="gjnobody1"), settings, StatePaths(tmp_path))


def test_on_the_daemons_own_box_nothing_changes(tmp_path: Path) -> None:
    spec = attempt_spec()
    assert localised(spec, node_settings(tmp_path), StatePaths(tmp_path)) is spec
