"""A site is updated box by box: a head of the next version, with a node of this one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from .boxes import Box, cluster
from .harness import ROOT

pytestmark = pytest.mark.slow


def next_version(root: Path) -> None:
    """This program, as a later one may be: another number, and something new in what a node is told."""
    shutil.copytree(ROOT / "gpujobs", root / "gpujobs", ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in (
        ("__init__.py", r'__version__ = "[^"]*"', '__version__ = "99.0"'),
        ("protocol/joining.py", r"\nFORMAT = (\d+)", "\nFORMAT = \\1 + 1"),
        (
            "protocol/instructions.py",
            r"(?s)(\nclass Start\(.*?\n)(\n\n@dataclass)",
            '\\1    new: str = "of the next version"\n\\2',
        ),
        (
            "protocol/settings.py",
            r"(\n    @property\n    def is_remote)",
            "\n    later: bool = True\n\\1",
        ),
    ):
        path = root / "gpujobs" / name
        text, count = re.subn(old, new, path.read_text(), count=1)
        assert count == 1, name
        path.write_text(text)


def test_a_node_of_this_version_serves_a_head_of_the_next_one() -> None:
    def prepare(made: list[Box]) -> None:
        next_version(made[0].root)

    with cluster(2, prepare=prepare, head_from=lambda box: box.root) as two:
        assert two.daemon.get("/v1/info")["version"] == "99.0"
        job = two.on("box2", epochs=2)
        (ended,) = two.until_ended([job])
        assert (ended["state"], ended["node"]) == ("COMPLETED", "box2")
