"""What was found, by group of cases; the same into docs/faults.md."""

from __future__ import annotations

from collections import defaultdict

from .box import ROOT
from .running import Outcome

PAGE = ROOT / "docs/faults.md"
BEGIN, END = "<!-- table of scripts/faults -->", "<!-- end of the table -->"
KINDS = ("lost", "doubled", "wrong")
HEAD = ("case group", "cases", *KINDS, "not reached", "not run", "seconds")


def rows(outcomes: list[Outcome]) -> list[tuple[str, ...]]:
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.case.group].append(outcome)
    return [row(name, groups[name]) for name in sorted(groups)] + [row("all", outcomes)]


def row(name: str, outcomes: list[Outcome]) -> tuple[str, ...]:
    counts = [sum(one.kind == kind for one in outcomes) for kind in (*KINDS, "not reached", "not run")]
    tried = len(outcomes) - counts[-1] - counts[-2]
    return (name, str(tried), *map(str, counts), f"{sum(one.seconds for one in outcomes):.0f}")


def table(outcomes: list[Outcome]) -> str:
    """`cases` are those that were run and reached what they are about."""
    lines = [HEAD, *rows(outcomes)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(
            [
                line[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
            ]
        )
        for line in lines
    )


def write(outcomes: list[Outcome]) -> None:
    """Between its two marks."""
    lines = [HEAD, ("---", *["---:"] * (len(HEAD) - 1)), *rows(outcomes)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
