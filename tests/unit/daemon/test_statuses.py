"""Which HTTP status an error has: by what it is, not by what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpujobs.daemon.devices.drains import named
from gpujobs.daemon.server import status_of
from gpujobs.errors import MachineError, NotFoundError, NotPermittedError, UsageError, from_wire
from gpujobs.paths import StatePaths
from gpujobs.results.catalogue import open_file
from gpujobs.store.store import Store
from tests.unit.store.jobs import A


def test_a_value_that_makes_no_sense_is_no_unknown_path_whatever_its_words_are() -> None:
    assert status_of(UsageError("a job named 'does not exist' cannot be held")) == 400
    assert status_of(NotFoundError("job 7 is unknown")) == 404
    assert status_of(NotPermittedError("does not exist")) == 403
    assert status_of(MachineError("the file system does not exist")) == 503


def test_an_unknown_id_is_a_usage_error_on_the_wire_and_comes_back_as_what_it_is() -> None:
    body = NotFoundError("job 7 does not exist").to_wire()
    assert body["code"] == "usage"
    assert isinstance(from_wire(body), NotFoundError)
    assert not isinstance(from_wire(UsageError("x").to_wire()), NotFoundError)


UNKNOWN: dict[str, Callable[[Store, Path], Any]] = {
    "job": lambda store, _: store.job(7),
    "jobs": lambda store, _: store.jobs([7, 8]),
    "group": lambda store, _: store.members(7),
    "reservation": lambda store, _: store.reservations.cancel(7, "a"),
    "device": lambda *_: named([], ["7"]),
    "file": lambda _, root: open_file(str(root), "metrics.json", A.uid),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_does_not_exist_is_404(tmp_path: Path, what: str) -> None:
    store = Store(StatePaths(tmp_path).database)
    try:
        with pytest.raises(NotFoundError) as refused:
            UNKNOWN[what](store, tmp_path)
        assert status_of(refused.value) == 404
    finally:
        store.close()
