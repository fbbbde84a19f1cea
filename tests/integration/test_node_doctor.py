"""`gpujobs doctor` on a box that has joined, and what it says of certificates on both."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_server

import pytest

from gpujobs.cluster import certificates, health
from gpujobs.cluster.box import remember
from gpujobs.cluster.certificates import TlsFiles
from gpujobs.cluster.health import Finding
from gpujobs.linux import durable, statelock
from gpujobs.paths import StatePaths

from .test_joining import SECRET, free_base
from .test_tls_of_joining import box, files_of_a_head, gate


@pytest.fixture
def head(tmp_path: Path) -> TlsFiles:
    return files_of_a_head(tmp_path / "head-tls")


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    made = StatePaths(tmp_path / "node")
    made.run.mkdir(parents=True)
    durable.write(made.ray_token, SECRET.encode())
    return made


def found(paths: StatePaths) -> dict[str, Finding]:
    return {finding[0]: finding for finding in health.of_a_node(paths)}


def joined(paths: StatePaths, head: TlsFiles, base: int) -> None:
    """As `node join` leaves it."""
    remember(box(paths, base, certificates.for_token(head)))
    certificates.put_box(TlsFiles(paths.tls), certificates.issued(head, "box2", "127.0.0.1"))


def test_a_box_that_has_joined_nobody_has_nothing_to_say(paths: StatePaths) -> None:
    assert found(paths) == {}


def test_a_box_asks_its_head_what_would_be_in_the_way(paths: StatePaths, head: TlsFiles) -> None:
    base = free_base()
    joined(paths, head, base)
    lock = statelock.take(paths.lock)

    async def look() -> dict[str, Finding]:
        from gpujobs.cluster.ports import Ports

        async with gate(head, base):
            with (
                closing(create_server(("127.0.0.1", Ports(base)["gcs"]))),
                closing(create_server(("127.0.0.1", Ports(base)["raylet"]))),
                closing(create_server(("127.0.0.1", Ports(base)["object_manager"]))),
            ):
                return await asyncio.to_thread(found, paths)

    try:
        said = asyncio.run(look())
    finally:
        os.close(lock)
    assert {name: finding[1] for name, finding in said.items()} == {
        "node": True, "head": True, "certificates": True, "users": True,
    }  # fmt: skip
    assert said["node"][2].startswith(
        f"box2 belongs to the queue of 127.0.0.1:{base}; `node join` runs (pid "
    )
    assert said["head"][2].startswith(f"head at 127.0.0.1:{base} would take this box as 127.0.0.1: versions")


def test_a_head_that_is_away_and_a_join_that_does_not_run_are_named(
    paths: StatePaths, head: TlsFiles
) -> None:
    joined(paths, head, free_base())
    said = found(paths)
    assert said["node"][1] is False and "`systemctl start gpujobs-node`" in said["node"][2]
    assert said["head"][1] is False and "cannot be reached from here: Connection refused" in said["head"][2]


@pytest.mark.skipif(os.geteuid() != 0, reason="all jobs run as one user where none is root")
def test_a_user_who_is_not_known_here_is_named(paths: StatePaths, head: TlsFiles) -> None:
    joined(paths, head, free_base())
    (paths.spool / "data" / "654321").mkdir(parents=True)
    assert found(paths)["users"][1:] == (
        False,
        "uid 654321, whose data is here, is no user of this box; expected the users of the head's box, by name and uid",
    )


@pytest.mark.parametrize(
    ("days", "ok", "words"),
    [
        (731, True, "this box's lasts until {end}, the cluster's authority until "),
        (61, True, "this box's lasts until {end}"),
        (59, False, "those of this box end on {end}, in 58 days: restart the daemon, which makes another"),
        (-2, False, "those of this box ended on {end}: restart the daemon"),
    ],
)
def test_certificates_near_their_end_are_named_with_how_to_renew_them(
    head: TlsFiles, monkeypatch: pytest.MonkeyPatch, days: int, ok: bool, words: str
) -> None:
    monkeypatch.setattr(certificates, "BOX_DAYS", days)
    monkeypatch.setattr(certificates, "BACKDATED", timedelta(days=30))
    certificates.put_box(head, certificates.issued(head, "head", "127.0.0.1"))
    name, is_well, said = health.of_certificates(head, health.ON_THE_HEAD)
    end = f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"
    assert (name, is_well) == ("certificates", ok)
    assert said.startswith(words.format(end=end))


def test_an_authority_near_its_end_is_named_with_how_to_make_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "AUTHORITY_DAYS", 30)
    files = TlsFiles(tmp_path / "tls")
    certificates.keep_box(files, "127.0.0.1")
    _, is_well, said = health.of_certificates(files, health.ON_THE_HEAD)
    assert not is_well and "those of the cluster's authority end on " in said
    assert (
        "`gpujobs node renew` on the head's box makes another, and gives the boxes that are there theirs"
        in said
    )


def test_certificates_that_are_gone_or_damaged_are_named(head: TlsFiles) -> None:
    head.box.write_text("x")
    assert health.of_certificates(head, "")[1:2] == (False,)
    head.box.unlink()
    assert f"{head.box} is no certificate" in health.of_certificates(head, "")[2]
