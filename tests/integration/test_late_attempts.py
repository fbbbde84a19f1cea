"""Attempts that would begin when the job has another one, and trainers whose supervisor dies as they are born."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from gpujobs.linux import durable
from gpujobs.node import attempts
from gpujobs.paths import StatePaths
from gpujobs.supervise.supervisor import claim
from tests.specs import attempt_spec


def test_an_attempt_that_has_not_begun_never_does_once_there_is_another(tmp_path: Path) -> None:
    """Its supervisor is still to be forked: by a launcher that imports TensorFlow, say."""
    job = StatePaths(tmp_path).job(7)
    first = attempts.make(job, attempt_spec(job=7, attempt=1, nonce="1", job_dir=job.root))
    second = attempts.make(job, attempt_spec(job=7, attempt=2, nonce="2", job_dir=job.root))
    assert claim(first) is None
    lock = claim(second)
    assert lock is not None
    os.close(lock)


def test_one_that_has_begun_is_in_the_way(tmp_path: Path) -> None:
    job = StatePaths(tmp_path).job(7)
    first = attempts.make(job, attempt_spec(job=7, attempt=1, nonce="1", job_dir=job.root))
    lock = claim(first)
    assert lock is not None
    with pytest.raises(attempts.OccupiedError, match="attempt-1 lives"):
        attempts.make(job, attempt_spec(job=7, attempt=2, nonce="2", job_dir=job.root))
    os.close(lock)
    attempts.make(job, attempt_spec(job=7, attempt=2, nonce="2", job_dir=job.root))
    assert durable.read(first.claim) == b"supervisor"


FORK = """
import os, sys
from pathlib import Path
from gpujobs.supervise import trainer_process
from tests.specs import attempt_spec

def run_trainer(spec, output, messages):
    Path(sys.argv[1]).write_text("it trains")
    os._exit(0)

trainer = trainer_process.fork(attempt_spec(), run_trainer)
print(trainer.pid, flush=True)
os.waitpid(trainer.pid, 0)
"""


def test_a_trainer_whose_supervisor_dies_before_it_has_run_a_line_does_nothing(tmp_path: Path) -> None:
    """The kernel is told only by the trainer that it is to die with its supervisor."""
    mark = tmp_path / "mark"
    environment = {**os.environ, "GPUJOBS_FAILPOINTS": "trainer.forked=pause:1"}
    supervisor = subprocess.Popen(
        [sys.executable, "-c", FORK, str(mark)], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert supervisor.stdout is not None
    trainer = int(supervisor.stdout.readline())
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    descriptor = os.pidfd_open(trainer)
    assert select.select([descriptor], [], [], 30)[0], "it has ended"
    os.close(descriptor)
    assert not mark.exists()
