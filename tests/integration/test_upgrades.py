"""A trainer outlives the version that has started it; a supervisor starts nothing by a spec that is not whole."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpujobs.daemon.build import Parts
from gpujobs.errors import LauncherError
from gpujobs.model import DeviceKind, Reason, State, StopReason
from gpujobs.node import pieces
from gpujobs.node.agent import NodeAgent
from gpujobs.protocol.instructions import AttemptStatus, ListResults, ReadLog, ReadResult, Start
from gpujobs.protocol.records import AttemptKey
from tests.integration.events import run
from tests.integration.node import begin, files_of, new_daemon, settled, spec_of, supervise
from tests.integration.test_unrecorded import reconciled
from tests.specs import node_settings

SINCE = (
    "backend",
    "finish",
    "log_limit_bytes",
    "is_named",
    "model_results",
    "checkpoint_from",
    "begins_anew",
)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Parts]:
    made = new_daemon(tmp_path / "s")
    yield made
    made.store.close()


def as_before(path: Path, **changed: Any) -> None:
    """As an earlier version has written it: with less."""
    written = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in written.items() if key not in SINCE} | changed))


def test_a_trainer_that_an_earlier_version_has_started_is_adopted_and_can_be_stopped(daemon: Parts) -> None:
    """The personal daemon of that version wrote no identity; its supervisor is told as it understands it."""
    job = begin(daemon)
    supervisor = supervise(daemon, job)
    paths = files_of(daemon, job)
    as_before(paths.spec, identity=None)

    async def work() -> None:
        await daemon.attempts.recover(daemon.node_name)
        assert daemon.store.job(job.id).state is State.RUNNING and supervisor.poll() is None
        await daemon.attempts.stop(job, StopReason.PREEMPT, "room")
        await asyncio.to_thread(supervisor.wait, 20)
        as_before(paths.exit)
        daemon.attempts._inquiries.begin(job)
        await settled(daemon, job.id, State.PENDING)

    run(daemon, work)
    assert daemon.store.job(job.id).message == "attempt 1 was stopped: room"


def test_the_results_of_an_earlier_versions_attempt_are_the_daemons_own_users(daemon: Parts) -> None:
    job = begin(daemon)
    assert job.current is not None
    as_before(files_of(daemon, job).spec, identity=None)
    results = daemon.paths.job(job.id).results
    results.mkdir(parents=True)
    (results / "metrics.json").write_text("{}")
    agent = NodeAgent(node_settings(daemon.paths.root))
    key = AttemptKey(job.id, 1, job.current.nonce)
    assert dict(agent.collect(key, 1 << 20)) == {"metrics.json": b"{}"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"identity": None}, "spec.json: identity is None; expected an object"),
        ({"colour": "red"}, "spec.json: colour is unknown"),
        ({"grace_seconds": "2"}, "spec.json: grace_seconds is '2'; expected number"),
    ],
    ids=str,
)
def test_a_supervisor_starts_nothing_by_a_spec_that_is_not_whole(
    daemon: Parts, change: dict[str, Any], words: str
) -> None:
    job = begin(daemon, State.STARTING)
    paths = files_of(daemon, job)
    paths.spec.write_text(json.dumps({**json.loads(paths.spec.read_text()), **change}))
    assert supervise(daemon, job, "os.write(1, b'ran')").wait(20) == 0
    assert not paths.record.exists() and not paths.log.exists()
    (report,) = asyncio.run(reconciled(daemon, job))
    assert report.status is AttemptStatus.ENDED and report.exit is not None
    assert report.exit.reason is Reason.LAUNCH_FAILED
    assert report.exit.message == f"the attempt cannot be started: {words}"


def test_a_spec_without_an_identity_is_refused_by_name(daemon: Parts) -> None:
    job = begin(daemon, State.STARTING)
    paths = files_of(daemon, job)
    spec = json.loads(paths.spec.read_text())
    del spec["identity"]
    paths.spec.write_text(json.dumps(spec))
    assert supervise(daemon, job).wait(20) == 0
    assert json.loads(paths.exit.read_text())["message"].endswith("spec.json: identity is missing")


def test_a_spec_of_another_state_directory_is_not_started(daemon: Parts) -> None:
    job = begin(daemon, State.STARTING)
    agent = NodeAgent(node_settings(daemon.paths.root, state_id="another"))
    with pytest.raises(LauncherError, match="of another state directory"):
        asyncio.run(agent.start(Start(spec_of(daemon, job), 1.0, None, None, (), None)))


def test_a_personal_daemon_names_its_own_identity(daemon: Parts) -> None:
    job = begin(daemon, State.STARTING)
    spec = daemon.specs.attempt(job, ())
    assert (spec.identity.uid, spec.identity.gid) == (os.geteuid(), os.getegid())
    assert set(spec.identity.groups) == set(os.getgroups())
    assert (spec.device.kind, spec.state_id) == (DeviceKind.CPU, daemon.state_id)


def test_files_of_attempts_are_not_read_on_the_event_loop(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that does not answer keeps whoever has asked, and nobody else."""
    job = begin(daemon)
    results = daemon.paths.job(job.id).results
    results.mkdir(parents=True)
    (results / "metrics.json").write_text("{}")
    files_of(daemon, job).log.write_text("x")
    opened: list[bool] = []

    agent = NodeAgent(node_settings(daemon.paths.root))
    real = pieces.piece_of

    def piece_of(*arguments: Any) -> Any:
        opened.append(threading.current_thread() is threading.main_thread())
        return real(*arguments)

    monkeypatch.setattr(pieces, "piece_of", piece_of)
    monkeypatch.setattr("gpujobs.node.left.piece_of", piece_of)

    async def work() -> None:
        assert (await agent.carry_out(ReadLog(job.id, 1, 0, 9))).content == b"x"  # type: ignore[attr-defined]
        assert (await agent.carry_out(ReadResult(job.id, 1, "metrics.json", 0, 9))).content == b"{}"  # type: ignore[attr-defined]
        await agent.carry_out(ListResults(job.id, 1))

    asyncio.run(work())
    assert opened == [False, False]
