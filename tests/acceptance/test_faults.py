"""The smoke of `scripts/faults`, and that its cases are what docs/faults.md promises."""

from __future__ import annotations

from faultsuite.__main__ import SMOKE, every_case
from faultsuite.box import ROOT
from faultsuite.running import Runner
from faultsuite.table import table


def test_no_job_is_lost_doubled_or_wrong_whatever_fails() -> None:
    cases = [case for case in every_case() if case.name in SMOKE]
    assert len(cases) == len(SMOKE)
    outcomes = Runner(ROOT, 2).run(cases)
    bad = [f"{one.case.title}: {one.kind} {one.message}" for one in outcomes if one.kind]
    assert not bad, "\n".join([*bad, table(outcomes)])


def test_every_named_point_is_tried() -> None:
    tried = {point for case in every_case() for point in case.points}
    from faultsuite.points import ELSEWHERE, found

    assert {point for point in found() if not point.startswith(ELSEWHERE)} <= tried


def test_there_are_three_hundred_cases_each_with_a_name_of_its_own() -> None:
    names = [case.title for case in every_case()]
    assert len(names) >= 300
    assert len(set(names)) == len(names)
