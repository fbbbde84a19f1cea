"""What `scripts/test` does about Chromium, with an apt-get that stands in for the machine's."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "cat", "date", "mktemp", "rm", "sleep", "tail", "timeout")
CALLS = f'. "{ROOT}/scripts/lib/chromium.sh"; set -euo pipefail; begin_chromium; await_chromium; echo on'


class Machine:
    """Has the tools that the script needs, and what a test says."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.log = directory / "asked"
        self._directory = directory
        self.bin.mkdir()
        for tool in TOOLS:
            found = subprocess.run(["which", tool], capture_output=True, text=True, check=True).stdout.strip()
            (self.bin / tool).symlink_to(found)
        self.has("id", "echo 0")

    def has(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!{self.bin}/bash\n{script}\n")
        path.chmod(0o755)

    def run(self, seconds: int = 20) -> subprocess.CompletedProcess[str]:
        surroundings = {
            "PATH": str(self.bin),
            "TMPDIR": str(self._directory),
            "GPUJOBS_CHROMIUM_SECONDS": str(seconds),
        }
        return subprocess.run(
            [self.bin / "bash", "-c", CALLS], env=surroundings, capture_output=True, text=True, check=False
        )

    @property
    def asked(self) -> list[str]:
        """Apt-get's last words of each call."""
        return self.log.read_text().split("\n")[:-1] if self.log.exists() else []

    def has_apt(self, script: str) -> None:
        self.has("apt-get", f'echo "${{*: -2}}" >>{self.log}\n{script}')


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_one_that_is_there_is_left_alone(machine: Machine) -> None:
    machine.has("chromium", "")
    machine.has_apt("")
    assert (machine.run().stdout, machine.asked) == ("on\n", [])


def test_it_is_fetched_with_new_lists_where_the_old_know_none_and_installed(machine: Machine) -> None:
    machine.has_apt(f'case "$*" in *update*) echo x >{machine.bin}/lists ;; esac; [ -f {machine.bin}/lists ]')
    done = machine.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "on\n", "")
    fetch, install = "--download-only chromium", "--no-download chromium"
    assert [one.removeprefix("DPkg::Lock::Timeout=5 ") for one in machine.asked] == [
        fetch, "update", fetch, install,
    ]  # fmt: skip


def test_who_may_not_or_cannot_goes_on_without_a_word(machine: Machine) -> None:
    assert machine.run().stdout == "on\n"
    machine.has_apt("")
    machine.has("id", "echo 1000")
    done = machine.run()
    assert (done.stdout, done.stderr, machine.asked) == ("on\n", "", [])


def test_what_cannot_be_installed_is_said_in_a_line_and_fails_nothing(machine: Machine) -> None:
    machine.has_apt("echo 'E: Unable to locate package chromium' >&2; exit 100")
    done = machine.run()
    assert (done.returncode, done.stdout) == (0, "on\n") and done.stderr.count("\n") == 1
    assert "Unable to locate package chromium; the tests of the pages are skipped" in done.stderr


def test_a_slow_network_is_waited_for_no_longer_than_the_limit(machine: Machine) -> None:
    machine.has_apt("exec sleep 30")
    before = time.monotonic()
    done = machine.run(seconds=1)
    assert (done.returncode, done.stdout) == (0, "on\n") and time.monotonic() - before < 15
    assert "chromium" in done.stderr
