"""Collecting and reading what a hostile user has put in place of results."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpujobs.errors import UsageError
from gpujobs.paths import RESULT_MARK
from gpujobs.results import catalogue, collect
from gpujobs.results.catalogue import list_files, open_file, read_metrics
from gpujobs.results.collect import Limits, RefusedResultError, chunks
from gpujobs.results.handover import give_away

TRIES = 1000
ME = os.geteuid()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    directory = tmp_path / "results"
    (directory / "tensorboard").mkdir(parents=True)
    (directory / "metrics.json").write_text('{"loss": 1}')
    (directory / "tensorboard/events").write_bytes(b"")
    return directory


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Another's file, and a directory with one."""
    path = tmp_path / "another's"
    path.mkdir()
    (path / "metrics.json").write_text('{"secret": 1}')
    return path


def collected(directory: Path, limits: Limits | None = None) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, chunk in chunks(directory, frozenset({ME}), limits):
        found[name] = found.get(name, b"") + chunk
    return found


def test_plain_files_are_collected(results: Path) -> None:
    assert collected(results) == {"metrics.json": b'{"loss": 1}', "tensorboard/events": b""}


def link(results: Path, secret: Path) -> None:
    (results / "planted").symlink_to(secret / "metrics.json")


def linked_directory(results: Path, secret: Path) -> None:
    (results / "planted").symlink_to(secret)


def hard_link(results: Path, secret: Path) -> None:
    (results / "planted").hardlink_to(secret / "metrics.json")


def pipe(results: Path, secret: Path) -> None:
    os.mkfifo(results / "planted")


def listening_socket(results: Path, secret: Path) -> None:
    with socket.socket(socket.AF_UNIX) as planted:
        here = os.open(results, os.O_RDONLY)
        planted.bind(f"/proc/self/fd/{here}/planted")
        os.close(here)


def deep(results: Path, secret: Path) -> None:
    (results / "/".join("abcdef")).mkdir(parents=True)


def name_that_steers_a_terminal(results: Path, secret: Path) -> None:
    (results / "\x1b[2Jplanted").write_text("")


def name_that_is_no_text(results: Path, secret: Path) -> None:
    (results / os.fsdecode(b"planted\xff")).write_text("")


def name_of_the_log(results: Path, secret: Path) -> None:
    (results / "log.txt").write_text("")


def top_that_is_a_link(results: Path, secret: Path) -> None:
    results.rename(results.with_name("moved"))
    results.symlink_to(secret)


def nothing_at_all(results: Path, secret: Path) -> None:
    results.rename(results.with_name("moved"))


@pytest.mark.parametrize(
    "plant",
    [
        link, linked_directory, hard_link, pipe, listening_socket, deep, name_that_steers_a_terminal,
        name_that_is_no_text, name_of_the_log, top_that_is_a_link, nothing_at_all,
    ],
)  # fmt: skip
def test_anything_else_is_refused_in_words_that_can_be_stored(
    results: Path, secret: Path, plant: Callable[[Path, Path], None]
) -> None:
    plant(results, secret)
    with pytest.raises(RefusedResultError) as refused:
        collected(results)
    assert str(refused.value).isprintable()


@pytest.mark.skipif(ME != 0, reason="needs root: to make another's file")
def test_another_users_file_is_refused(results: Path) -> None:
    os.chown(results / "metrics.json", 12345, 12345)
    with pytest.raises(RefusedResultError, match="not a file of the job's user alone"):
        collected(results)


def test_there_are_not_too_many_nor_too_large(results: Path) -> None:
    with pytest.raises(RefusedResultError, match="more than 2 result files"):
        collected(results, Limits(entries=2))
    with (results / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RefusedResultError, match="larger than 1000000 bytes"):
        collected(results, Limits(total_bytes=1_000_000))


def test_the_bytes_of_all_files_are_counted_together(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is smaller than the limit, and so is each chunk."""
    monkeypatch.setattr(collect, "CHUNK_BYTES", 1000)
    for path in results.rglob("*"):
        if path.is_file():
            path.unlink()
    for name in ("a", "b"):
        (results / name).write_bytes(b"x" * 3000)
    assert len(collected(results, Limits(total_bytes=6000))) == 2
    with pytest.raises(RefusedResultError, match="larger than 5999 bytes"):
        collected(results, Limits(total_bytes=5999))


def exchange_for_ever(path: Path, other: Path) -> None:
    kept, planted = path.with_name("kept"), path.with_name("planted")
    while True:
        planted.symlink_to(other)
        path.rename(kept)
        planted.rename(path)
        path.unlink()
        kept.rename(path)


@contextmanager
def exchanging(path: Path, other: Path) -> Iterator[None]:
    """A process that puts a link to `other` in the place of `path`, and back, as fast as it can."""
    child = os.fork()
    if child == 0:
        try:
            exchange_for_ever(path, other)
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def until_met(found: set[str], *wanted: str) -> Iterator[None]:
    """TRIES times, and on a busy machine more: until all that is wanted was found."""
    deadline, tries = time.monotonic() + 60, 0
    while tries < TRIES or not found.issuperset(wanted):
        assert time.monotonic() < deadline, f"{wanted} were not all met in {tries} tries: {found}"
        yield
        tries += 1


def test_a_file_exchanged_for_a_link_is_never_read(results: Path, secret: Path) -> None:
    read: set[str] = set()
    with exchanging(results / "metrics.json", secret / "metrics.json"):
        for _ in until_met(read, "refused", '{"loss": 1}'):
            read.add(str(read_metrics(str(results), ME)))
            try:
                with open_file(str(results), "metrics.json", ME) as file:
                    read.add(file.read().decode())
            except UsageError:
                read.add("refused")
            try:
                read.add(collected(results).get("metrics.json", b"").decode())
            except RefusedResultError:
                read.add("refused")
    assert not any("secret" in text for text in read), read


def test_a_directory_exchanged_for_a_link_is_never_entered(results: Path, secret: Path) -> None:
    seen: set[str] = set()
    with exchanging(results / "tensorboard", secret):
        for _ in until_met(seen, "refused", "tensorboard/events"):
            seen.update(name for name, _ in list_files(str(results)))
            try:
                with open_file(str(results), "tensorboard/metrics.json", ME) as file:
                    seen.add(file.read().decode())
            except UsageError:
                pass
            try:
                seen.update(name for name in collected(results))
            except RefusedResultError:
                seen.add("refused")
    assert "tensorboard/metrics.json" not in seen and not any("secret" in text for text in seen), seen


@pytest.mark.parametrize(
    "name", ["../another's/metrics.json", "/etc/passwd", "", ".", "a\0b", "x" * 5000, "a//b"]
)
def test_names_that_lead_elsewhere_do_not_exist(results: Path, secret: Path, name: str) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        open_file(str(results), name, ME)


def test_a_file_that_has_another_name_elsewhere_is_not_read(results: Path, secret: Path) -> None:
    """A hard link to a file of others is a regular file, which nothing else tells from one's own."""
    os.link(secret / "metrics.json", results / "linked.json")
    with pytest.raises(UsageError, match=r"linked.json does not exist"):
        open_file(str(results), "linked.json", ME)
    (secret / "metrics.json").unlink()
    open_file(str(results), "linked.json", ME).close()


@pytest.mark.parametrize(("uid", "daemon", "is_read"), [(0, 7, True), (7, 0, True), (7, 8, False)])
def test_a_file_is_read_that_is_its_users_or_the_daemons(
    results: Path, monkeypatch: pytest.MonkeyPatch, uid: int, daemon: int, is_read: bool
) -> None:
    """Numbers from the file's own owner on."""
    monkeypatch.setattr(os, "geteuid", lambda: ME + daemon)
    if is_read:
        open_file(str(results), "metrics.json", ME + uid).close()
    else:
        with pytest.raises(UsageError, match="does not exist"):
            open_file(str(results), "metrics.json", ME + uid)
        assert read_metrics(str(results), ME + uid) == {}


def test_metrics_that_are_too_long_are_none_though_they_are_json(results: Path) -> None:
    path = results / "metrics.json"
    path.write_text('{"loss": 1}' + " " * (catalogue.MAX_METRICS_BYTES - 11))
    assert read_metrics(str(results), ME) == {"loss": 1}
    path.write_text('{"loss": 1}' + " " * (catalogue.MAX_METRICS_BYTES - 10))
    assert read_metrics(str(results), ME) == {}


def test_a_listing_is_as_deep_as_what_is_collected_and_without_the_mark(results: Path) -> None:
    deepest = results.joinpath(*"abcd")
    (deepest / "e").mkdir(parents=True)
    for path in (deepest / "shown", deepest / "e/hidden", results / RESULT_MARK):
        path.touch()
    assert [name for name, _ in list_files(str(results))] == [
        "a/b/c/d/shown",
        "metrics.json",
        "tensorboard/events",
    ]


def test_metrics_that_are_none(results: Path) -> None:
    path = results / "metrics.json"
    for content in (b"[" * 100_000, b"\xff\xfe", b"[1]", b'{"a": "' + b"x" * (5 << 20) + b'"}'):
        path.write_bytes(content)
        assert read_metrics(str(results), ME) == {}
    path.unlink()
    os.mkfifo(path)
    assert read_metrics(str(results), ME) == {}


def test_a_listing_has_an_end(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MAX_FILES", 20)
    for number in range(25):
        (results / f"{number}").touch()
    assert len(list_files(str(results))) == 20
    assert list_files(str(results / "missing")) == []


def bits(path: Path) -> tuple[str, int]:
    status = path.stat()
    return oct(stat.S_IMODE(status.st_mode)), status.st_gid


@pytest.mark.skipif(ME != 0, reason="needs root: to give files away")
def test_what_is_given_away_is_private_or_a_groups_to_read(results: Path) -> None:
    give_away(results, 1234, 1235, None)
    assert {path.stat().st_uid for path in (results, *results.rglob("*"))} == {1234}
    assert bits(results) == ("0o700", 1235)
    assert bits(results / "metrics.json") == ("0o600", 1235)
    give_away(results, 1234, 1235, 1236)
    assert bits(results) == bits(results / "tensorboard") == ("0o750", 1236)
    assert bits(results / "tensorboard/events") == ("0o640", 1236)


def replace_for_ever(path: Path) -> None:
    while True:
        path.with_name("new").write_text('{"loss": 1}')
        path.with_name("new").replace(path)


def test_a_file_that_is_replaced_meanwhile_is_there_all_the_time(results: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            replace_for_ever(results / "metrics.json")
        finally:
            os._exit(1)
    try:
        for _ in range(20 * TRIES):
            with open_file(str(results), "metrics.json", ME) as file:
                assert file.read() == b'{"loss": 1}'
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
