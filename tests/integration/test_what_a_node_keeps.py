"""What comes to a box for an attempt and what leaves it: checkpoints and models get their places, what an attempt has
left is taken without trust, and data makes way by user, the longest unread first."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from gpujobs.errors import LauncherError, UsageError
from gpujobs.linux import durable
from gpujobs.node import arrivals, attempts, keeping, leaving, seeding
from gpujobs.paths import StatePaths
from gpujobs.protocol.boxes import Blob, Brought, DropData, Leavings, TreeFile
from gpujobs.protocol.spec import AttemptSpec, DataFile
from gpujobs.trainer import checkpoint
from tests.specs import attempt_spec, own_identity

UID = os.geteuid()


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    made = StatePaths(tmp_path)
    (made.spool / "data").mkdir(parents=True)
    return made


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def kept(paths: StatePaths, content: bytes, read_before_seconds: float = 0.0) -> TreeFile:
    """Came to the box so long ago."""
    blob = Blob(UID, sha(content), len(content))
    arrivals.put(paths, blob, 0, content)
    then = time.time() - read_before_seconds
    os.utime(paths.data(UID, blob.sha256), (then, then))
    return TreeFile("", blob.sha256, blob.bytes)


def named(file: TreeFile, name: str) -> TreeFile:
    return TreeFile(name, file.sha256, file.bytes)


def started(paths: StatePaths, brought: Brought, **fields: object) -> AttemptSpec:
    spec = attempt_spec(job=7, job_dir=paths.job(7).root, **fields)
    seeding.mark_read(paths, spec, brought)
    attempts.make(paths.job(7), spec)
    seeding.place(paths, spec, brought)
    return spec


def test_names_of_checkpoints_are_the_trainers() -> None:
    assert leaving.CHECKPOINTS == (checkpoint.FILE, checkpoint.OLDER)


def test_a_checkpoint_takes_the_place_of_the_one_that_is_there(paths: StatePaths) -> None:
    job = paths.job(7)
    started(paths, Brought((), None))
    job.checkpoint.mkdir()
    (job.checkpoint / checkpoint.FILE).write_bytes(b"stale")
    (job.checkpoint / checkpoint.OLDER).write_bytes(b"staler")
    newer = named(kept(paths, b"newer"), checkpoint.FILE)
    started(paths, Brought((), (newer,)), attempt=3)
    assert {path.name: path.read_bytes() for path in job.checkpoint.iterdir()} == {checkpoint.FILE: b"newer"}
    assert (job.checkpoint / checkpoint.FILE).stat().st_nlink == 1, "it can be taken home again"
    started(paths, Brought((), None), attempt=4)
    assert (job.checkpoint / checkpoint.FILE).read_bytes() == b"newer", "None leaves it as it is"
    started(paths, Brought((), ()), attempt=5)
    assert list(job.checkpoint.iterdir()) == []


def test_a_link_in_the_place_of_a_checkpoint_leads_nowhere(paths: StatePaths, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("mine")
    started(paths, Brought((), None))
    paths.job(7).checkpoint.symlink_to(elsewhere)
    newer = named(kept(paths, b"newer"), checkpoint.FILE)
    started(paths, Brought((), (newer,)), attempt=3)
    assert (elsewhere / "kept").read_text() == "mine"
    assert not paths.job(7).checkpoint.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to become a user")
def test_the_checkpoint_of_an_ended_job_can_be_read_by_the_job_that_goes_on_from_it() -> None:
    with tempfile.TemporaryDirectory(prefix="gj-") as root:
        Path(root).chmod(0o711)
        paths = StatePaths(Path(root))
        own = replace(own_identity(), uid=4711, gid=4711, groups=())
        attempts.make(paths.job(3), attempt_spec(job=3, identity=own, job_dir=paths.job(3).root))
        paths.job(3).checkpoint.mkdir()
        file = paths.job(3).checkpoint / checkpoint.FILE
        file.touch()
        os.chown(file.parent, 4711, 4711)
        paths.job(3).root.chmod(0o700)  # as its supervisor closes it
        origins = (str(file.parent), str(paths.job(2).checkpoint))
        spec = attempt_spec(job=7, identity=own, job_dir=paths.job(7).root, checkpoint_from=origins)
        attempts.make(paths.job(7), spec)
        subprocess.run(["test", "-r", file], user=4711, group=4711, extra_groups=[], check=True)
        assert not paths.job(2).root.exists()


def test_a_model_lies_beside_the_job_and_stays_while_the_job_is_there(paths: StatePaths) -> None:
    model = named(kept(paths, b"weights", 1e5), "model.keras")
    started(paths, Brought((model,), None))
    assert (paths.job(7).model / "model.keras").read_bytes() == b"weights"
    os.utime(paths.data(UID, model.sha256), (1, 1))
    assert keeping.drop(paths, DropData((Blob(UID, model.sha256, model.bytes),))).blobs == ()
    with pytest.raises(LauncherError, match="no plain name"):
        started(paths, Brought((named(model, "../model.keras"),), None), attempt=3)


def test_what_had_to_make_way_before_the_start_is_said(paths: StatePaths) -> None:
    gone = TreeFile("model.keras", "00" * 32, 7)
    with pytest.raises(LauncherError, match="had to make way meanwhile; it comes again"):
        started(paths, Brought((gone,), None))
    assert not paths.job(7).root.exists()


def test_what_an_attempt_has_left_is_surveyed_with_its_hashes(paths: StatePaths) -> None:
    started(paths, Brought((), None), attempt=2)
    job = paths.job(7)
    for path, content in (
        (job.checkpoint / checkpoint.FILE, b"weights"),
        (job.checkpoint / "checkpoint.npz.damaged", b"nothing for others"),
        (job.results / "pictures/one.png", b""),
        (job.attempt(2).log, b"Epoch 1/2\n"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    found = leaving.survey(job, 2, UID, 1 << 20, Leavings.ALL)
    assert {file.name: (file.sha256, file.bytes) for file in found.files} == {
        "work/checkpoint/checkpoint.npz": (sha(b"weights"), 7),
        "work/results/pictures/one.png": (sha(b""), 0),
        "attempt-2/log.txt": (sha(b"Epoch 1/2\n"), 10),
    }
    assert leaving.take(job, 2, UID, "work/checkpoint/checkpoint.npz", 3, 2) == b"gh"
    assert [f.name for f in leaving.survey(job, 2, UID, 1 << 20, Leavings.CHECKPOINT).files] == [
        "work/checkpoint/checkpoint.npz"
    ]
    assert leaving.survey(job, 2, UID, 6, Leavings.CHECKPOINT).refused == (
        "the checkpoint has 7 bytes; at most 6 are taken",
    )


@pytest.mark.parametrize(
    "name", ["attempt-2/spec.json", "work/../attempt-2/spec.json", "/etc/passwd", "work/x"]
)
def test_nothing_else_is_taken(paths: StatePaths, name: str) -> None:
    started(paths, Brought((), None), attempt=2)
    with pytest.raises(UsageError):
        leaving.take(paths.job(7), 2, UID, name, 0, 9)


def test_a_link_a_second_name_and_a_pipe_are_no_checkpoints(paths: StatePaths, tmp_path: Path) -> None:
    started(paths, Brought((), None))
    job = paths.job(7)
    job.checkpoint.mkdir()
    target, secret = job.checkpoint / checkpoint.FILE, tmp_path / "secret"
    secret.write_text("of another")
    target.symlink_to(secret)
    assert leaving.survey(job, 1, UID, 1 << 20, Leavings.CHECKPOINT).files == ()
    target.unlink()
    target.hardlink_to(secret)
    assert leaving.survey(job, 1, UID, 1 << 20, Leavings.CHECKPOINT).files == ()
    target.unlink()
    os.mkfifo(target)
    assert leaving.survey(job, 1, UID, 1 << 20, Leavings.CHECKPOINT).files == ()
    target.unlink()
    job.checkpoint.rmdir()
    job.checkpoint.symlink_to(tmp_path)
    (tmp_path / checkpoint.FILE).write_text("elsewhere")
    assert leaving.survey(job, 1, UID, 1 << 20, Leavings.CHECKPOINT).files == ()


def test_beyond_the_limit_of_a_user_the_longest_unread_makes_way(paths: StatePaths) -> None:
    old, older, fresh = (kept(paths, bytes([n]) * 100, age) for n, age in ((1, 2e4), (2, 3e4), (3, 1.0)))
    coming = Blob(UID, "00" * 32, 100)
    here = [paths.data(UID, file.sha256) for file in (old, older, fresh)]
    keeping.limit(paths, UID + 1, 100, [coming])
    keeping.limit(paths, UID, 400, [coming])
    assert all(path.exists() for path in here), "another user's limit, and one that is kept"
    keeping.limit(paths, UID, 300, [coming])
    assert [path.exists() for path in here] == [True, False, True]
    keeping.limit(paths, UID, 1, [coming, Blob(UID, old.sha256, 100)])
    assert [path.exists() for path in here] == [True, False, True], "needed, and new"


def test_what_an_attempt_reads_that_lives_stays_whatever_the_limit(paths: StatePaths) -> None:
    read = kept(paths, b"x" * 100, 3e4)
    place = paths.data(UID, read.sha256)
    spec = started(paths, Brought((), None), data={"x.npz": DataFile(read.sha256, 100, str(place), False)})
    assert place.stat().st_atime > time.time() - 60, (
        "a start counts as reading, whatever the file system says"
    )
    os.utime(place, (1, 1))
    lock = durable.lock(paths.job(7).attempt(spec.attempt).lock)
    keeping.limit(paths, UID, 1, [])
    assert keeping.drop(paths, DropData((Blob(UID, read.sha256, 100),))).blobs == ()
    assert place.exists()
    assert keeping.kept(paths).jobs[0].is_live
    os.close(lock)
    keeping.limit(paths, UID, 1, [])
    assert not place.exists()
    assert json.loads(paths.job(7).attempt(1).spec.read_text())["job"] == 7


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to become a user")
def test_what_trainers_leave_for_each_other_is_each_users_own() -> None:
    """Where others could write, they could have a trainer do what they like."""
    with tempfile.TemporaryDirectory(prefix="gj-") as root:
        Path(root).chmod(0o711)
        paths = StatePaths(Path(root))
        for job, uid in ((1, 4711), (2, 4711), (3, 4712)):
            own = replace(own_identity(), uid=uid, gid=uid, groups=())
            spec = attempt_spec(job=job, identity=own, job_dir=paths.job(job).root, may_stay=job != 3)
            attempts.make(paths.job(job), spec)
        (shelf,) = (paths.spool / "steps").iterdir()
        assert shelf == paths.job(2).steps(4711)
        status = shelf.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (4711, 4711, 0o700)
        for uid, allowed in ((4711, True), (4712, False)):
            done = subprocess.run(["touch", shelf / "x"], user=uid, group=uid, extra_groups=[], check=False)
            assert (done.returncode == 0) is allowed


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to become a user")
def test_a_shelf_whose_making_was_cut_off_becomes_its_users(paths: StatePaths) -> None:
    """As it is found where two attempts are made at once, too."""
    spec = attempt_spec(
        job=7, identity=replace(own_identity(), uid=4711, gid=4711, groups=()), job_dir=paths.job(7).root,
        may_stay=True,
    )  # fmt: skip
    shelf = paths.job(7).steps(4711)
    shelf.mkdir(parents=True, mode=0o700)
    attempts.make(paths.job(7), spec)
    assert (shelf.stat().st_uid, stat.S_IMODE(shelf.stat().st_mode)) == (4711, 0o700)


def test_attempts_of_one_user_can_be_made_at_once(paths: StatePaths) -> None:
    together = threading.Barrier(16)

    def make(number: int) -> bool:
        together.wait()
        root = paths.job(number).root
        return attempts.make(
            paths.job(number), attempt_spec(job=number, job_dir=root, may_stay=True)
        ).spec.exists()

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(make, range(1, 17)))
