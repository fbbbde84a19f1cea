"""The files of the pages: small, from nowhere else, and no markup is made of what somebody wrote."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

import gpujobs.web
from gpujobs.config.settings import listen_address
from gpujobs.daemon.web.pages import read_files
from gpujobs.daemon.web.peers import uid_of_peer
from gpujobs.errors import UsageError

STATIC = Path(gpujobs.web.__file__).parent / "static"
OWN = [
    path for path in STATIC.iterdir() if path.suffix in (".js", ".html", ".css") and "uPlot" not in path.name
]


SVG = '"http://www.w3.org/2000/svg"'
"""The name of what a drawing is made of, which no browser fetches."""


def test_all_together_are_small_and_each_is_served() -> None:
    assert sum(path.stat().st_size for path in STATIC.iterdir()) <= 150_000
    assert set(read_files()) == {path.name for path in STATIC.iterdir()}


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_nothing_is_markup_and_nothing_comes_from_elsewhere(path: Path) -> None:
    text = path.read_text()
    code = re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE).replace(SVG, "")
    for banned in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "http://",
        "https://",
    ):
        assert banned not in code
    assert not re.search(r"<script(?! src=)|\son\w+=|\sstyle=", code if path.suffix == ".html" else "")


def test_uplot_has_its_licence_and_makes_no_markup() -> None:
    assert "MIT License" in (STATIC / "uPlot.LICENSE.txt").read_text()
    assert "innerHTML" not in (STATIC / "uPlot.iife.min.js").read_text()


@pytest.mark.parametrize(
    "text",
    ["", "8470", "box:1", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:x", "::1:80", "[127.0.0.1]:1", "127.0.0.1:٣"],
)  # fmt: skip
def test_an_address_is_one_or_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected ADDRESS:PORT such as 127\.0\.0\.1:8470"):
        listen_address(text)
    assert listen_address("[::1]:0") == ("::1", 0) and listen_address("127.0.0.1:65535")[1] == 65535


@pytest.mark.parametrize("mine", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_the_kernel_says_whose_the_other_end_is(mine: str) -> None:
    family = socket.AF_INET6 if ":" in mine else socket.AF_INET
    with socket.socket(socket.AF_INET6 if mine == "::1" else socket.AF_INET) as listener:
        listener.bind(("::1" if mine == "::1" else "127.0.0.1", 0))
        listener.listen()
        with socket.socket(family) as asking:
            asking.connect((mine, listener.getsockname()[1]))
            answering, _ = listener.accept()
            with answering:
                assert uid_of_peer(answering) == os.getuid()
                assert uid_of_peer(answering) is not None
