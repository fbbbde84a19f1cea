"""Copies of the store: made while a daemon serves, put back where none does. The daemon's parts and its socket are
real; Ray is not started."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gpujobs import failpoints
from gpujobs.cli.main import cli
from gpujobs.config.settings import Settings, resolve
from gpujobs.daemon.build import Parts, build
from gpujobs.daemon.jobs.service import cancelled_by
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.daemon.server import door_of, serving
from gpujobs.linux import statelock
from gpujobs.paths import StatePaths
from gpujobs.store.opening import open_store
from gpujobs.store.store import Store
from tests.acceptance.harness import short_directory
from tests.unit.store.jobs import A, new_job


@pytest.fixture
def settings() -> Iterator[Settings]:
    root = short_directory()
    (root / "gpujobs.toml").write_text("[limits]\nmax_waiting = 99\n")
    flags = {"state_dir": str(root / "s"), "config": str(root / "gpujobs.toml")}
    settings = resolve(flags, environ={})
    prepare_state(StatePaths(settings.state_dir), Mode.PERSONAL)
    yield settings
    shutil.rmtree(root)


@pytest.fixture
def gpujobs(settings: Settings) -> Callable[..., Result]:
    """The command line, for this state directory."""

    def run(*arguments: object) -> Result:
        places = ["--state-dir", str(settings.state_dir), "--config", str(settings.config)]
        return CliRunner().invoke(cli, [*map(str, arguments), *places])

    return run


def while_served(settings: Settings, work: Callable[[Parts], Any], jobs: int) -> Any:
    """What `work` gives in a thread while a daemon with so many waiting jobs answers."""

    async def serve() -> Any:
        daemon = build(settings)
        daemon.store.submit(A, "key", [new_job(f"j{n}") for n in range(jobs)])
        async with serving(daemon, door_of(daemon)):
            done = await asyncio.to_thread(work, daemon)
        daemon.store.close()
        settings.socket.unlink(missing_ok=True)
        return done

    return asyncio.run(serve())


def backed_up(settings: Settings, gpujobs: Callable[..., Result], jobs: int = 3) -> Path:
    target = settings.state_dir.parent / "copy"
    done = while_served(settings, lambda _: gpujobs("backup", target), jobs)
    assert done.exit_code == 0, done.output
    return target


def test_a_backup_is_the_store_as_of_one_moment_and_closed_to_others(
    settings: Settings, gpujobs: Callable[..., Result]
) -> None:
    target = backed_up(settings, gpujobs)
    assert sorted(path.name for path in target.iterdir()) == ["backup.json", "gpujobs.db", "gpujobs.toml"]
    assert {oct(path.stat().st_mode & 0o777) for path in (target, *target.glob("gpujobs.*"))} == {
        "0o700",
        "0o600",
    }
    with sqlite3.connect(target / "gpujobs.db") as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone()[0] == 3
    connection.close()
    manifest = json.loads((target / "backup.json").read_text())
    assert (manifest["highest"], manifest["jobs"]) == (3, {"PENDING": 3})
    assert not list(StatePaths(settings.state_dir).run.glob("backup-*")), "nothing of it is left in the state"
    again = while_served(settings, lambda _: gpujobs("backup", target), 0)
    assert again.exit_code == 2 and "is not empty" in again.output


def test_a_dry_run_makes_no_state_directory(settings: Settings, gpujobs: Callable[..., Result]) -> None:
    target = backed_up(settings, gpujobs)
    shutil.rmtree(settings.state_dir)
    looked = gpujobs("restore", target, "--dry-run")
    assert looked.exit_code == 0 and "of jobs up to 3" in looked.output, looked.output
    assert not settings.state_dir.exists()


def backed_up_before_two_more(settings: Settings, gpujobs: Callable[..., Result]) -> tuple[Path, StatePaths]:
    """A copy with jobs 1 to 3, and the store that has 1 to 5."""
    target, paths = backed_up(settings, gpujobs), StatePaths(settings.state_dir)
    store, _ = open_store(paths)
    store.submit(A, "later", [new_job()] * 2)
    store.close()
    return target, paths


def test_a_restored_store_gives_no_number_again_and_what_is_newer_is_said(
    settings: Settings, gpujobs: Callable[..., Result]
) -> None:
    target, paths = backed_up_before_two_more(settings, gpujobs)
    (paths.results / "2").mkdir()
    (paths.results / "5").mkdir()
    paths.job(4).root.mkdir()
    looked = gpujobs("restore", target, "--dry-run")
    assert looked.exit_code == 0, looked.output
    for text in (
        "of jobs up to 3",
        "numbers up to 5 were given",
        "does not list, of jobs 2, 5",
        "does not know, in",
        "taken up again from there: 1, 2, 3",
    ):
        assert text in looked.output
    assert Store(paths.database).counts() == {"PENDING": 5}, "nothing was changed"
    asked = gpujobs("restore", target)
    assert asked.exit_code == 2 and "--yes" in asked.output
    done = gpujobs("restore", target, "--yes")
    assert done.exit_code == 0, done.output
    restored, _ = open_store(paths)
    assert restored.counts() == {"PENDING": 3}
    assert [job.id for job in restored.submit(A, "new", [new_job()])] == [6]
    restored.close()
    (old,) = paths.root.glob("before-restore-*/gpujobs.db")
    assert Store(old).counts() == {"PENDING": 5}


def test_the_log_of_a_store_that_was_killed_goes_aside_with_it(
    settings: Settings, gpujobs: Callable[..., Result], tmp_path: Path
) -> None:
    """Half of the store is in it; beside the copy it would be taken for the copy's own."""
    target = backed_up(settings, gpujobs)
    paths = StatePaths(settings.state_dir)
    store, _ = open_store(paths)
    store.submit(A, "later", [new_job()] * 2)
    killed = [paths.database, paths.database.with_name("gpujobs.db-wal")]
    for path in killed:
        shutil.copy(path, tmp_path)
    store.close()
    for path in killed:
        shutil.copy(tmp_path / path.name, path)
    for mark in (paths.numbers, paths.numbers_copy):  # the store alone knows the numbers that were given
        mark.unlink(missing_ok=True)
    assert gpujobs("restore", target, "--yes").exit_code == 0
    restored = Store(paths.database)
    assert restored.counts() == {"PENDING": 3}
    assert [job.id for job in restored.submit(A, "new", [new_job()])] == [6]
    restored.close()
    (old,) = paths.root.glob("before-restore-*")
    assert {"gpujobs.db", "gpujobs.db-wal"} <= {path.name for path in old.iterdir()}
    assert old.stat().st_mode & 0o777 == 0o700
    kept = Store(old / "gpujobs.db")
    assert kept.counts() == {"PENDING": 5}
    kept.close()


def test_a_copy_that_others_could_read_is_the_owners_alone_where_it_is_put(
    settings: Settings, gpujobs: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = backed_up(settings, gpujobs)
    (target / "gpujobs.db").chmod(0o644)
    seen: list[int] = []
    monkeypatch.setattr(
        "gpujobs.store.backups.reach",
        lambda _: seen.extend(path.stat().st_mode & 0o777 for path in settings.state_dir.glob("*.restoring")),
    )
    assert gpujobs("restore", target, "--yes").exit_code == 0
    assert set(seen) == {0o600} and (settings.state_dir / "gpujobs.db").stat().st_mode & 0o777 == 0o600


def test_a_store_that_was_lost_or_damaged_is_restored(
    settings: Settings, gpujobs: Callable[..., Result]
) -> None:
    target = backed_up(settings, gpujobs)
    paths = StatePaths(settings.state_dir)
    paths.database.write_bytes(b"not a database at all")
    assert gpujobs("restore", target, "--yes").exit_code == 0
    shutil.rmtree(paths.root)
    done = gpujobs("restore", target, "--yes")
    assert done.exit_code == 0, done.output
    assert Store(paths.database).counts() == {"PENDING": 3}


def test_a_copy_that_is_damaged_or_half_is_not_put_in_place(
    settings: Settings, gpujobs: Callable[..., Result]
) -> None:
    target = backed_up(settings, gpujobs)
    before = (settings.state_dir / "gpujobs.db").read_bytes()
    content = bytearray((target / "gpujobs.db").read_bytes())
    content[5000] ^= 1
    (target / "gpujobs.db").write_bytes(content)
    damaged = gpujobs("restore", target, "--yes")
    assert damaged.exit_code == 4 and "is damaged: its SHA-256" in damaged.output
    (target / "backup.json").unlink()
    half = gpujobs("restore", target, "--yes")
    assert half.exit_code == 2 and "it is no whole copy" in half.output
    assert (settings.state_dir / "gpujobs.db").read_bytes() == before


POINTS = ("restore.aside", "restore.rename")


@pytest.mark.parametrize("point", POINTS)
def test_a_restore_that_fails_leaves_the_store_where_it_was(
    settings: Settings, gpujobs: Callable[..., Result], point: str
) -> None:
    target, paths = backed_up_before_two_more(settings, gpujobs)
    failpoints.arm(f"{point}=error:ENOSPC*1")
    try:
        failed = gpujobs("restore", target, "--yes")
    finally:
        failpoints.arm("")
    assert failed.exit_code == 4, failed.output
    assert "No space left on device; the copy was not put in place\n" in failed.output
    assert not [*paths.root.glob("before-restore-*"), *paths.root.glob("*.restoring")]
    assert Store(paths.database).counts() == {"PENDING": 5}
    assert gpujobs("restore", target, "--yes").exit_code == 0
    assert Store(paths.database).counts() == {"PENDING": 3}


@pytest.mark.parametrize("point", POINTS)
def test_a_restore_that_is_killed_is_made_again(
    settings: Settings, gpujobs: Callable[..., Result], point: str
) -> None:
    target, paths = backed_up_before_two_more(settings, gpujobs)
    options = ["--yes", "--state-dir", str(paths.root)]
    killed = subprocess.run(
        [sys.executable, "-m", "gpujobs", "restore", str(target), *options],
        env={**os.environ, "GPUJOBS_FAILPOINTS": f"{point}=kill"},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (kept,) = [paths.database] if paths.database.exists() else paths.root.glob("before-restore-*/gpujobs.db")
    assert Store(kept).counts() == {"PENDING": 5}
    done = gpujobs("restore", target, "--yes")
    assert done.exit_code == 0, done.output
    restored, _ = open_store(paths)
    assert restored.counts() == {"PENDING": 3}
    assert [job.id for job in restored.submit(A, "new", [new_job()])] == [6], "no number is given again"
    restored.close()


def test_nothing_is_restored_under_a_running_daemon(
    settings: Settings, gpujobs: Callable[..., Result]
) -> None:
    target = backed_up(settings, gpujobs)
    lock = statelock.take(StatePaths(settings.state_dir).lock)
    refused: list[Result] = []
    thread = threading.Thread(target=lambda: refused.append(gpujobs("restore", target, "--yes")))
    thread.start()
    thread.join()
    assert refused[0].exit_code == 2 and "already serves" in refused[0].output
    os.close(lock)


def test_jobs_that_ended_stay_ended_in_a_copy(settings: Settings, gpujobs: Callable[..., Result]) -> None:
    target = settings.state_dir.parent / "copy"

    def work(daemon: Parts) -> Result:
        return gpujobs("backup", target)

    store, _ = open_store(StatePaths(settings.state_dir))
    (job,) = store.submit(A, "k", [new_job()])
    store.cancel_pending(job.id, "a", cancelled_by("a"))
    store.close()
    assert while_served(settings, work, 0).exit_code == 0
    assert "taken up again" not in gpujobs("restore", target, "--dry-run").output
