"""scripts/install-site --join: a box becomes a node of another's queue, with the libraries that are here."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from socket import create_server

import pytest

from gpujobs.cluster import certificates
from gpujobs.cluster.ports import Ports
from gpujobs.protocol import codec
from gpujobs.protocol.joining import FORMAT, TokenFile
from tests.acceptance.boxes import ip, why_not

from .test_install_site import PYTHON, Site, nothing_installed
from .test_joining import INSTANCE, OURS, SECRET, free_base
from .test_tls_of_joining import files_of_a_head, gate


@pytest.fixture
def site() -> Iterator[Site]:
    with nothing_installed() as site:
        yield site


def _version_of(python: str | None) -> str:
    """Both boxes must have the same, and the tests' own may be another than that for everybody."""
    command = [str(python), "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def another_box() -> Iterator[tuple[str, tuple[str, ...]]]:
    """This box's address, and by which words a command runs on another, whose ports are its own."""
    if why := why_not():
        pytest.skip(why)
    space, number = f"gjin{os.getpid()}", os.getpid() % 250
    here, there = f"10.214.{number}.1", f"10.214.{number}.2"
    ip("netns", "add", space)
    try:
        ip("link", "add", f"{space}-h", "type", "veth", "peer", "eth0", "netns", space)
        ip("address", "add", f"{here}/24", "dev", f"{space}-h")
        ip("link", "set", f"{space}-h", "up")
        ip("-n", space, "address", "add", f"{there}/24", "dev", "eth0")
        for name in ("lo", "eth0"):
            ip("-n", space, "link", "set", name, "up")
        yield here, ("ip", "netns", "exec", space)
    finally:
        ip("netns", "delete", space)


@contextmanager
def head(root: Path, here: str) -> Iterator[tuple[str, Path]]:
    """A head's door, with ports of Ray that answer: its address, and a token file."""
    files, base = files_of_a_head(root / "head-tls", here), free_base()
    address = f"{here}:{base}"
    made = TokenFile(
        format=FORMAT, address=address, secret=SECRET, instance=INSTANCE, tls=certificates.for_token(files)
    )
    token = root / "token.json"
    token.write_text(json.dumps(codec.write(made)))
    token.chmod(0o600)
    versions = replace(OURS, python=_version_of(PYTHON))
    loop, is_open, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with gate(files, base, versions, here):
            is_open.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    with ExitStack() as stack:
        for name in ("gcs", "raylet", "object_manager"):
            stack.enter_context(closing(create_server((here, Ports(base)[name]))))
        thread.start()
        assert is_open.wait(10)
        try:
            yield address, token
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join()
            loop.close()


def test_all_that_is_in_the_way_of_joining_is_named_and_nothing_is_changed(site: Site) -> None:
    token = site.root / "open.json"
    token.write_text("{}")
    token.chmod(0o644)
    store = site.rest / "var/lib/gpujobs/gpujobs.db"
    store.parent.mkdir(parents=True)
    store.touch()
    before = site.files()
    options = ("--from-venv", sys.prefix, "--python", PYTHON, "--check")
    said = site.run("--join", "127.0.0.1:9", "--token-file", token, *options, code=4).stderr
    for words in (
        f"this box has a queue of its own ({site.rest}/var/lib/gpujobs); a node has none",
        f"--token-file {token} has owner and mode 0 644; expected root's, 0600",
        '127.0.0.1:9 does not answer; expected the daemon of the head\'s box, with listen = "127.0.0.1:9" under',
        "nothing was changed; 3 obstacle(s)",
    ):
        assert words in said, said
    assert "--join needs --token-file FILE" in site.run("--join", "127.0.0.1:9", *options, code=4).stderr
    said = site.run("--join", "head.example", *options, code=4).stderr
    assert "--join head.example:8480: expected an IPv4 address, such as 10.0.0.5:8480" in said
    assert site.files() == before


def test_a_box_that_joins_has_a_service_and_a_token_and_is_updated_and_uninstalled_as_such(
    site: Site,
) -> None:
    unit = site.rest / "etc/systemd/system/gpujobs-node.service"
    kept = site.rest / "etc/gpujobs/node.json"
    with another_box() as (here, there):
        with head(site.root, here) as (address, token):
            options = ("--from-venv", sys.prefix, "--python", PYTHON)
            said = site.run("--join", address, "--token-file", token, *options, within=there).stdout
            assert "head would take this box, as " in said
            text = unit.read_text()
            command = (
                f"{site.prefix}/venv/bin/gpujobs node join {address} --token-file /etc/gpujobs/node.json"
            )
            assert f"ExecStart={command}\n" in text and "@PREFIX@" not in text and "@HEAD@" not in text
            assert kept.read_text() == token.read_text() and stat.S_IMODE(kept.stat().st_mode) == 0o600
            assert not unit.with_name("gpujobs.service").exists()
            if shutil.which("systemd-analyze") is not None:
                subprocess.run(["systemd-analyze", "verify", "--man=no", unit], check=True)
            wrong = site.root / "wrong.json"
            wrong.write_text(token.read_text().replace(SECRET, "00" * 32))
            wrong.chmod(0o600)
            said = site.run(
                "--join", address, "--token-file", wrong, *options, remembers=True, code=4, within=there
            ).stderr
            assert "does not take this box" in said and kept.read_text() == token.read_text()
            token.unlink()
            assert (
                "head would take this box" in site.run(*options, remembers=True, within=there).stdout
            )  # an update
        refused = site.run(*options, remembers=True, code=4, within=there).stderr
        assert f"{address} does not answer" in refused
    site.run("--uninstall", remembers=True)
    assert not unit.exists() and kept.exists()
