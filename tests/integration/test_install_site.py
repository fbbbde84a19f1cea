"""scripts/install-site into a temporary prefix, with the libraries that are here; and the unit that it installs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpujobs.cli.app import COMMANDS

ROOT = Path(__file__).parents[2]
NOBODY = 65534


def python_for_all() -> str | None:
    """One of the version that the libraries here are for; that of the tests may be in somebody's home."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (os.path.realpath(sys.executable), f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            if (
                subprocess.run(
                    [candidate, "-c", "import venv"], user=NOBODY, group=NOBODY, cwd="/"
                ).returncode
                == 0
            ):
                return candidate
        except OSError:
            continue
    return None


PYTHON = python_for_all() if os.geteuid() == 0 else None


@dataclass(frozen=True)
class Site:
    root: Path

    @property
    def prefix(self) -> Path:
        return self.root / "opt"

    @property
    def rest(self) -> Path:
        """Where all goes that lies outside of the prefix."""
        return self.root / "rest"

    def run(
        self, *options: object, code: int = 0, remembers: bool = False, within: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """`remembers`: without naming the prefix. `within`: by which words a command runs elsewhere."""
        prefix = () if remembers else ("--prefix", self.prefix)
        done = subprocess.run(
            [*within, ROOT / "scripts/install-site", *prefix, "--destdir", self.rest, *map(str, options)],
            capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"], "HOME": str(self.root)},
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def install(self) -> subprocess.CompletedProcess[str]:
        return self.run("--from-venv", sys.prefix, "--python", PYTHON)

    def files(self) -> dict[str, tuple[int, int]]:
        """Mode and size of each file, without those of the library that Python writes by itself."""
        found = {}
        for path in self.root.rglob("*"):
            if not path.is_symlink() and "__pycache__" not in path.parts:
                status = path.stat()
                found[str(path)] = (status.st_mode, status.st_size if path.is_file() else 0)
        return found


@contextmanager
def nothing_installed() -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("a site installation needs root")
    if PYTHON is None or Path(sys.prefix).stat().st_uid != 0:
        pytest.skip(
            "there is no Python of this version for everybody to use, or the libraries are not root's"
        )
    root = Path(tempfile.mkdtemp(prefix="gj-"))
    root.chmod(0o755)
    try:
        yield Site(root)
    finally:
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with nothing_installed() as site:
        site.install()
        yield site


def test_everybody_can_run_it_and_only_root_can_change_it(site: Site) -> None:
    command = site.rest / "usr/local/bin/gpujobs"
    done = subprocess.run(
        [command, "--version"],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.startswith("gpujobs, version"), done.stderr
    for path, (mode, _) in site.files().items():
        assert Path(path).stat().st_uid == 0
        assert mode & 0o022 == 0, path
    assert (site.rest / "var/lib/gpujobs").stat().st_mode & 0o777 == 0o711


def test_the_program_that_was_installed_is_the_one_that_runs(site: Site) -> None:
    where = "import gpujobs, gpujobs.store.database as d; print(gpujobs.__file__, len(d.migrations()))"
    done = subprocess.run(
        [site.prefix / "venv/bin/python", "-I", "-c", where],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    file, migrations = done.stdout.split()
    assert Path(file).is_relative_to(site.prefix) and int(migrations) >= 2


def test_again_it_changes_nothing_and_keeps_the_configuration(site: Site) -> None:
    config = site.rest / "etc/gpujobs/gpujobs.toml"
    assert config.read_text() == (ROOT / "scripts/gpujobs.toml").read_text()
    config.write_text("cpu_slots = 3\n")
    before = site.files()
    again = site.install()
    assert site.files() == before
    assert config.read_text() == "cpu_slots = 3\n"
    assert f"{config} stays as it is" in again.stdout


@pytest.mark.parametrize(("shell", "file"), [("bash", "bash-completion/completions/gpujobs"),
                                             ("zsh", "zsh/site-functions/_gpujobs"),
                                             ("fish", "fish/vendor_completions.d/gpujobs.fish")])  # fmt: skip
def test_shells_complete_its_commands(site: Site, shell: str, file: str) -> None:
    text = (site.rest / "usr/local/share" / file).read_text()
    assert f"_GPUJOBS_COMPLETE={shell}_complete" in text


def test_it_comes_with_documentation_samples_and_a_man_page(site: Site) -> None:
    doc = site.prefix / "share/doc/gpujobs"
    for file in ("README.md", "CHANGELOG.md", "docs/admin.md", "docs/security.md", "docs/jobfile.md"):
        assert (doc / file).read_bytes() == (ROOT / file).read_bytes()
    for sample in (ROOT / "jobs").glob("*.yaml"):
        assert (doc / "jobs" / sample.name).read_bytes() == sample.read_bytes()
    page = site.rest / "usr/local/share/man/man1/gpujobs.1"
    assert page.stat().st_mode & 0o777 == 0o644
    text = page.read_text()
    for name in COMMANDS:
        assert f".SS gpujobs {name} " in text, name
    if shutil.which("groff") is not None:
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-z", page],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""


def test_the_next_run_knows_where_it_is(site: Site) -> None:
    said = site.run("--from-venv", sys.prefix, "--check", remembers=True).stdout
    assert f"gpujobs can be installed in {site.prefix}, with {os.path.realpath(PYTHON or '')}" in said
    other = site.run("--from-venv", sys.prefix, "--prefix", site.root / "other", code=4).stderr
    assert f"gpujobs is installed in {site.prefix}; leave --prefix out to update it" in other
    assert not (site.root / "other").exists()


def test_all_obstacles_are_named_before_anything_is_done(site: Site) -> None:
    """A Python in a directory that is closed to others, a place that others can change, a command that is somebody
    else's, a group that is not there: found at once, and nothing is written."""
    closed, theirs, rest = site.root / "closed", site.root / "open", site.root / "rest2"
    closed.mkdir(mode=0o700)
    python = closed / "python3"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && echo {python}\n')
    python.chmod(0o755)
    theirs.mkdir()
    theirs.chmod(0o777)
    command = rest / "usr/local/bin/gpujobs"
    command.parent.mkdir(parents=True)
    command.write_text("another program")
    config = rest / "etc/gpujobs/gpujobs.toml"
    config.parent.mkdir(parents=True)
    config.write_text("[access]\nadmin_group = 'no-such-group'\n")
    before = site.files()
    options = ("--prefix", theirs / "opt", "--destdir", rest, "--python", python, "--from-venv", "/nowhere")
    said = site.run(*options, code=4).stderr
    for words in (
        "can be changed by others than root",
        "--from-venv /nowhere: expected an environment",
        f"{command} is there and not ours",
        f"{python}, which is {python}, cannot be run by everybody",
        "nothing was changed; 4 obstacle(s)",
    ):
        assert words in said, said
    assert site.files() == before
    good = site.run("--prefix", site.root / "new", "--destdir", rest, "--from-venv", sys.prefix, "--python", PYTHON,
                    code=4).stderr  # fmt: skip
    assert "there is no group no-such-group; `groupadd no-such-group` makes it" in good
    for path in (closed, theirs, rest):
        shutil.rmtree(path)


def test_bash_takes_its_completion(site: Site) -> None:
    file = site.rest / "usr/local/share/bash-completion/completions/gpujobs"
    script = (
        f"source {file}; complete -p gpujobs; COMP_WORDS=(gpujobs pri) COMP_CWORD=1; "
        f'PATH={site.prefix}/venv/bin:$PATH; _gpujobs_completion gpujobs; echo "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "prioritize"


def test_the_unit_is_one_that_systemd_takes(site: Site) -> None:
    unit = site.rest / "etc/systemd/system/gpujobs.service"
    text = unit.read_text()
    assert f"ExecStart={site.prefix}/venv/bin/gpujobs serve\n" in text and "@PREFIX@" not in text
    for line in (
        "Type=notify",
        "KillMode=process",
        "Delegate=yes",
        "OOMPolicy=continue",
        "NoNewPrivileges=yes",
    ):
        assert line in text.splitlines()
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_leaves_little_open(site: Site) -> None:
    unit = site.rest / "etc/systemd/system/gpujobs.service"
    for setting in (
        "WatchdogSec=",
        "MemoryMax=",
        "ExecReload=",
        "CapabilityBoundingSet=",
        "SystemCallFilter=~",
    ):
        assert f"\n{setting}" in unit.read_text()
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=50", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_place_that_others_can_change_is_refused(site: Site) -> None:
    theirs = site.root / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    refused = site.run("--prefix", theirs / "opt", code=4)
    assert f"{theirs}, on the way to {theirs}/opt, can be changed by others than root" in refused.stderr
    assert list(theirs.iterdir()) == []
    theirs.rmdir()


def test_only_root_installs(site: Site) -> None:
    done = subprocess.run(
        ["bash", ROOT / "scripts/install-site"], user=NOBODY, group=NOBODY, capture_output=True, text=True
    )
    assert done.returncode != 0
    if ROOT.stat().st_mode & 0o005 == 0o005:
        assert "needs root" in done.stderr or "Permission denied" in done.stderr


def test_uninstalling_leaves_what_is_the_sites(site: Site) -> None:
    """The last of this module."""
    result = site.rest / "var/lib/gpujobs/kept"
    result.write_text("a result")
    elsewhere = site.run("--uninstall", "--prefix", site.root / "elsewhere", code=4).stderr
    assert f"gpujobs is installed in {site.prefix}, not in" in elsewhere
    said = site.run("--uninstall", remembers=True).stdout
    assert f"gpujobs is removed from {site.prefix}" in said
    left = {path for path in site.root.rglob("*") if path.is_file() or path.is_symlink()}
    assert left == {site.rest / "etc/gpujobs/gpujobs.toml", result}
    assert "stay" in said
    site.run("--uninstall")
