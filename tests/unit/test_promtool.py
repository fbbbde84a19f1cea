"""How `scripts/test` comes by promtool, with an apt-get and a dpkg that stand in for the machine's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit import test_chromium
from tests.unit.test_chromium import ROOT, Machine

CALLS = """root="{root}"; . "{scripts}/scripts/lib/promtool.sh"; set -euo pipefail
begin_promtool; await_promtool; echo on"""
UNPACK = 'mkdir -p "$3/usr/bin"; echo program >"$3/usr/bin/promtool"'


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(test_chromium, "TOOLS", (*test_chromium.TOOLS, "mkdir", "mv"))
    monkeypatch.setattr(test_chromium, "CALLS", CALLS.format(root=tmp_path, scripts=ROOT))
    return Machine(tmp_path)


def test_the_program_alone_is_taken_out_of_the_package(machine: Machine, tmp_path: Path) -> None:
    machine.has_apt("echo deb >prometheus.deb")
    machine.has("dpkg", UNPACK)
    done = machine.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "on\n", "")
    assert (tmp_path / "build/promtool").read_text() == "program\n" and machine.asked == [
        "download prometheus"
    ]
    assert not list(tmp_path.glob("gpujobs-promtool.*")), "nothing is left"


def test_one_that_is_there_is_left_alone(machine: Machine) -> None:
    machine.has("promtool", "")
    machine.has_apt("")
    assert (machine.run().stdout, machine.asked) == ("on\n", [])


def test_what_cannot_be_had_is_said_in_a_line_and_fails_nothing(machine: Machine) -> None:
    machine.has_apt("echo 'E: Unable to locate package prometheus' >&2; exit 100")
    machine.has("dpkg", UNPACK)
    done = machine.run()
    assert (done.returncode, done.stdout) == (0, "on\n") and done.stderr.count("\n") == 1
    assert (
        "promtool cannot be had: E: Unable to locate package prometheus; its test is skipped" in done.stderr
    )
