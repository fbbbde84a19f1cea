"""Parameters that people counted by hand."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


PAGE = (ROOT / "docs/cells.md").read_text(encoding="utf-8")


COUNTS = re.findall(r"^\| (\w+)(?: with `(.*)`)? \| (.*units.*) \| (\d+) \|$", PAGE, re.MULTILINE)
