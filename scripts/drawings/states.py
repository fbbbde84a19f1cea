"""Draws the state diagram of docs/states.md from the table of legal steps.

Usage: python scripts/drawings/states.py
"""

from __future__ import annotations

import re
from pathlib import Path

from gpujobs.lifecycle import mermaid

PAGE = Path(__file__).parents[2] / "docs/states.md"
DRAWN = re.compile(r"(<!-- made by [^\n]* -->\n).*?(<!-- end -->)", re.DOTALL)


def with_diagram(page: str) -> str:
    """The text of the page, with the diagram as it is now."""
    return DRAWN.sub(lambda found: f"{found[1]}```mermaid\n{mermaid()}\n```\n{found[2]}", page)


if __name__ == "__main__":
    PAGE.write_text(with_diagram(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
