"""What `gpujobs node join` sees to on its own box, beside joining."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path

import pytest

from gpujobs.cluster import certificates, joiner, obstacles, ray_node
from gpujobs.cluster.certificates import TlsFiles
from gpujobs.cluster.joiner import Joiner
from gpujobs.cluster.obstacles import require_disk
from gpujobs.cluster.ray_node import RayNode, RayProcesses
from gpujobs.errors import MachineError
from gpujobs.paths import StatePaths
from gpujobs.protocol.joining import TokenTls

from .test_joining import box, free_base


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    made = StatePaths(tmp_path / "s")
    made.run.mkdir(parents=True)
    return made


def test_a_box_without_room_is_told_how_much_is_expected(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_disk(paths)
    monkeypatch.setattr(obstacles, "FREE_BYTES", 1 << 60)
    with pytest.raises(
        MachineError, match=r"has .* GiB free; expected at least 1073741824 GiB for data, checkpoints"
    ):
        require_disk(paths)


def test_certificates_in_a_token_file_that_make_no_sense_are_named(paths: StatePaths) -> None:
    with pytest.raises(
        MachineError, match="certificates in the token file make no sense; `gpujobs node token FILE`"
    ):
        certificates.keep_token(TlsFiles(paths.tls), TokenTls(authority="x", certificate="y", key="z"))


def test_a_new_token_of_another_authority_makes_what_the_old_one_gave_void(
    paths: StatePaths, tmp_path: Path
) -> None:
    files, tokens = TlsFiles(paths.tls), []
    for name in ("one", "two"):
        head = TlsFiles(tmp_path / name)
        tokens.append(certificates.for_token(head))
        certificates.keep_token(files, tokens[-1])
        if name == "one":
            certificates.put_box(files, certificates.issued(head, "box2", "127.0.0.1"))
            certificates.keep_token(files, tokens[-1])
            assert certificates.shown(files) == (files.box, files.box_key)
    assert certificates.shown(files) == (files.token, files.token_key)
    assert not files.box.exists() and not files.box_key.exists()


def test_a_log_of_ray_begins_anew_beyond_its_limit_and_keeps_its_end(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where that could not be done before."""
    monkeypatch.setattr(joiner, "LOG_BYTES", 1000)
    monkeypatch.setattr(joiner, "LOG_SECONDS", 0.01)
    log, in_the_way = paths.run / "ray.log", paths.run / "ray.log.1"
    log.write_bytes(b"x" * 2000)
    in_the_way.mkdir()

    async def run() -> None:
        limiting = asyncio.create_task(joiner._limit_logs(paths))
        async with asyncio.timeout(5):
            while "cannot be limited" not in caplog.text:
                await asyncio.sleep(0.01)
        in_the_way.rmdir()
        with log.open("ab", buffering=0) as writer:
            writer.write(b"a" * 3000 + b"the end")
            while log.stat().st_size:
                await asyncio.sleep(0.01)
            writer.write(b"goes on")
        limiting.cancel()

    asyncio.run(run())
    assert log.read_bytes() == b"goes on"
    assert (paths.run / "ray.log.1").read_bytes().endswith(b"athe end")
    assert (paths.run / "ray.log.1").stat().st_size == 1000


def test_a_ray_that_does_not_end_holds_up_nothing_else(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper of the launchers answers meanwhile: the loop goes on."""
    monkeypatch.setattr(ray_node, "END_SECONDS", 1.0)
    made = box(paths, free_base())
    node = RayNode(address="127.0.0.1", ports=made.ports, head=None, incarnation="1", gpus=0, temp=paths.root)
    ray = RayProcesses(node, {}, paths.run / "ray.log")
    ray.process = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], stdout=subprocess.PIPE
    )
    assert ray.process.stdout is not None
    with ray.process.stdout as ready:
        ready.readline()

    async def run() -> list[float]:
        joining, seen = Joiner(made), [time.monotonic()]
        joining._ray = ray
        ending = asyncio.create_task(joining._end_ray())
        while not ending.done():
            await asyncio.sleep(0.02)
            seen.append(time.monotonic())
        await ending
        return seen

    seen = asyncio.run(run())
    assert seen[-1] - seen[0] >= 1.0
    assert len(seen) > 10, "the loop stood still"
