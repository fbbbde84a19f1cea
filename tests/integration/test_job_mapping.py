"""The files in which dcgm-exporter looks for the jobs of each GPU, of a daemon without Ray."""

from __future__ import annotations

import itertools
import logging
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gpujobs.cli.dry_run import findings
from gpujobs.config import site as siteconfig
from gpujobs.config.settings import SITE_CONFIG, Settings
from gpujobs.daemon.build import Parts
from gpujobs.daemon.devices.job_mapping import directory_in, write
from gpujobs.daemon.in_force import InForce
from gpujobs.daemon.reload import reload
from gpujobs.errors import ConfigError
from gpujobs.lifecycle import Finish
from gpujobs.model import Caller, Device, DeviceKind, Node, NodeStatus, Reason, State, utc_now
from tests.acceptance.harness import eventually
from tests.integration.served import Served
from tests.unit.store.jobs import new_job

ME = Caller(os.getuid(), os.getgid(), 1, "me")
FAILED = Finish(State.FAILED, Reason.SIGNAL, "")
EXIT = {"state": "FAILED", "exit": {"code": None, "signal": 9}}


numbers = itertools.count()


def gpu(node: str, index: int, uuid: str) -> Device:
    return Device(node, DeviceKind.GPU, index, uuid, "Some H100", 80 << 30)


def with_devices(daemon: Parts) -> None:
    """Three GPUs, the last of which is cut into two, and a CPU slot; and a GPU elsewhere."""
    own = daemon.node_name
    found = [gpu(own, 0, "GPU-0"), gpu(own, 1, "GPU-1"), gpu(own, 2, "MIG-a"), gpu(own, 2, "MIG-b")]
    slot = Device(own, DeviceKind.CPU, 0, "CPU-0", "cpu")
    other = Node("elsewhere", NodeStatus.OK, devices=(gpu("elsewhere", 0, "GPU-9"),))
    daemon.nodes._nodes = {own: Node(own, NodeStatus.OK, devices=(*found, slot)), "elsewhere": other}


def begun(daemon: Parts) -> None:
    daemon.tasks.spawn(daemon.mapping.run())
    daemon.mapping.wake()


def start(daemon: Parts, device: Device) -> None:
    (job,) = daemon.writer.jobs(lambda store: store.submit(ME, f"key {next(numbers)}", [new_job("a")]))
    daemon.writer.job(lambda store: store.start_attempt(job.id, device))
    daemon.writer.job(lambda store: store.mark_running(job.id, 1, 99, utc_now()))


def end(daemon: Parts, job: int) -> None:
    daemon.writer.job(lambda store: store.mark_completing(job, 1, EXIT))
    daemon.writer.job(lambda store: store.finish(job, FAILED, None))


def there(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def configured(settings: Settings, directory: Path | None) -> Settings:
    assert settings.config is not None
    line = "" if directory is None else f'[metrics]\ndcgm_job_mapping = "{directory}"\n'
    settings.config.write_text(line)
    return settings


def test_each_gpu_has_a_file_with_its_jobs_also_after_a_restart_and_a_reload(
    root: Path, settings: Settings
) -> None:
    first, second = root / "first", root / "second"
    with Served(configured(settings, first), with_devices) as served:
        served.on_loop(begun)
        eventually(lambda: first.is_dir() and there(first) == {"0": "", "1": "", "2": ""}, 10)
        names = [
            (served.daemon.node_name, *one)
            for one in ((0, "GPU-0"), (0, "GPU-0"), (2, "MIG-a"), (2, "MIG-b"))
        ]
        devices = [*(gpu(*one) for one in names), gpu("elsewhere", 0, "GPU-9")]
        for device in devices:
            served.on_loop(partial(start, device=device))
        eventually(lambda: there(first) == {"0": "1\n2\n", "1": "", "2": "3\n4\n"}, 10)
        assert {path.stat().st_mode & 0o777 for path in first.iterdir()} == {0o644}, (
            "the exporter is another user"
        )
        served.on_loop(lambda daemon: end(daemon, 1))
        eventually(lambda: there(first) == {"0": "2\n", "1": "", "2": "3\n4\n"}, 10)
    for name in ("0", "1", "7"):
        (first / name).write_text("9\n")
    with Served(settings, with_devices) as served:
        served.on_loop(begun)
        eventually(lambda: there(first) == {"0": "2\n", "1": "", "2": "3\n4\n", "7": ""}, 10)
        configured(settings, second)
        said = served.on_loop(lambda daemon: reload(daemon.in_force))
        assert said.endswith("1 settings changed")
        eventually(lambda: second.is_dir() and there(second) == {"0": "2\n", "1": "", "2": "3\n4\n"}, 10)
        assert set(there(first).values()) == {""}
        for job in (2, 3, 4):
            served.on_loop(partial(end, job=job))
        eventually(lambda: there(second) == {"0": "", "1": "", "2": ""}, 10)


def test_what_others_have_put_there_is_replaced_and_never_followed(tmp_path: Path) -> None:
    place, secret = tmp_path / "m", tmp_path / "secret"
    place.mkdir(mode=0o755)
    secret.write_text("mine")
    for name in ("0", ".0.tmp"):
        (place / name).symlink_to(secret)
    os.mkfifo(place / "1")
    (place / "notes").write_text("a file of somebody's")
    write(place, {"0": b"7\n", "1": b""})
    assert there(place) == {"0": "7\n", "1": "", "notes": "a file of somebody's"}
    assert secret.read_text() == "mine" and not (place / "0").is_symlink()
    written = (place / "0").stat().st_mtime_ns, (place / "0").stat().st_ino
    write(place, {"0": b"7\n", "1": b""})
    assert ((place / "0").stat().st_mtime_ns, (place / "0").stat().st_ino) == written, (
        "what is right is left alone"
    )


def test_a_directory_that_others_may_write_to_is_refused_and_the_daemon_goes_on(
    root: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "m").mkdir()
    (root / "m").chmod(0o777)
    with caplog.at_level(logging.WARNING), Served(configured(settings, root / "m"), with_devices) as served:
        served.on_loop(begun)
        eventually(lambda: "others may write there" in caplog.text, 10)
        for index in range(3):
            served.on_loop(partial(start, device=gpu(served.daemon.node_name, index, f"GPU-{index}")))
        (root / "m").chmod(0o755)
        served.on_loop(lambda daemon: daemon.mapping.wake())
        eventually(lambda: there(root / "m") == {"0": "1\n", "1": "2\n", "2": "3\n"}, 10)
    assert caplog.text.count("where dcgm-exporter looks for jobs, cannot be written") == 1, "said once"


def test_a_personal_daemon_leaves_the_sites_directory_alone(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "gpujobs.toml"
    file.write_text('[metrics]\ndcgm_job_mapping = "/run/gpujobs/dcgm"\n')
    site = siteconfig.read(file)
    assert directory_in(InForce(replace(settings, config=SITE_CONFIG), site)) is None
    assert directory_in(InForce(replace(settings, mode="site", config=SITE_CONFIG), site)) == Path(
        "/run/gpujobs/dcgm"
    )
    assert directory_in(InForce(settings, site)) == Path("/run/gpujobs/dcgm")
    assert directory_in(InForce(settings, siteconfig.SiteConfig())) is None
    file.write_text('[metrics]\ndcgm_job_mapping = "run/dcgm"\n')
    with pytest.raises(
        ConfigError, match=r":2: metrics\.dcgm_job_mapping is 'run/dcgm': expected a path that begins"
    ):
        siteconfig.read(file)


def test_a_dry_run_says_what_becomes_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    file = tmp_path / "gpujobs.toml"
    file.write_text(f'[metrics]\ndcgm_job_mapping = "{tmp_path / "m"}"\n')
    for mode, ok in ((0o755, None), (0o777, False)):
        (tmp_path / "m").chmod(mode)
        found = {key: (is_ok, said) for key, is_ok, said in findings(file)[0]}
        assert found["metrics.dcgm_job_mapping"][0] is ok
