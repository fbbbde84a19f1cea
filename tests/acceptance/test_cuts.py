"""Links between boxes are cut, and nothing is lost or doubled. The long run of it, on three boxes and with all that can
be killed, is `scripts/faults --boxes 200` (docs/faults.md)."""

from __future__ import annotations

import random

import pytest
from faultsuite.cuts import KNOWN_SECONDS, Stream, end, happen
from faultsuite.disturbances import kinds
from faultsuite.site import site

from .boxes import why_not

pytestmark = pytest.mark.slow  # two Rays start, which takes long where others use the machine

SHORT = (40, 120, 400)
"""Epochs, of which the trainers do a hundred a second: some outlive a cut."""

SMOKE = ("one way, from the node", "link down, short", "supervisor killed")


def test_links_that_are_cut_and_a_supervisor_that_is_killed_lose_and_double_nothing() -> None:
    if why := why_not():
        pytest.skip(why)
    known = {one.kind: one for one in kinds()}
    with site(is_small=True, count=2) as made:
        with Stream(made, SHORT):
            cuts = [cut for kind in SMOKE for cut in happen(made, known[kind], draws=random.Random(7))]
        end(made)
    late = [cut for cut in cuts if cut.disturbance.is_cut and cut.known > KNOWN_SECONDS]
    assert not late, late
