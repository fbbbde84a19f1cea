"""The phases of jobs from marks that were made by hand."""

from __future__ import annotations

import pytest
from benchmarks.phases import marks, phases

TEXT = """\
10.0 1.0 1 attempts.launch
10.5 0.0 7 run.begin
10.6 0.1 7 prepare.begin
11.6 0.3 7 prepare.end
12.0 0.5 7 TrainingLoop.run.begin
14.0 1.5 7 TrainingLoop.epoch.end
15.0 1.6 7 TrainingLoop.epoch.end
15.1 1.7 7 TrainingLoop.run.end
16.0 2.0 7 run.end
16.4 1.2 1 attempts.exited.commit
16.5 1.3 1 attempts.launch
16.6 1.3 1 collect.begin
16.7 2.0 7 run.begin
17.0 1.3 1 collect.rename
17.1 1.4 1 attempts.finish.commit
17.2 2.2 7 TrainingLoop.run.begin
17.3 2.3 7 TrainingLoop.epoch.end
"""


def test_what_one_process_does_is_in_its_own_time_and_what_several_do_by_the_clock() -> None:
    (first,) = phases(list(marks(TEXT)))
    assert first == pytest.approx(
        {
            "start": 0.5,
            "data": 0.2,
            "build": 0.2,
            "trace": 1.0,
            "epochs": 0.2,
            "exit record": 0.4,
            "next start": 0.1,
            "collect": 0.4,
            "commit": 0.1,
            "all": 6.5,
        }
    )
