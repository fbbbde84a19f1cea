"""What a trainer that has completed one job may take next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gpujobs.model import DeviceKind
from gpujobs.protocol.residents import fits
from gpujobs.protocol.spec import DeviceName
from tests.specs import attempt_spec

TRAINING: dict[str, Any] = {"model": {"layers": []}, "training": {"optimizer": "adam"}}
KEPT = attempt_spec(may_stay=True, jobfile=TRAINING, user="ada")
IDENTITY = KEPT.identity


def test_one_like_the_last_is_taken() -> None:
    later = replace(KEPT, job=2, nonce="n", name="other", attempt=3, submitted_at="2027-01-01T00:00:00Z")
    assert fits(KEPT, later)
    assert fits(KEPT, replace(later, may_stay=False)), "it may be the last"


@pytest.mark.parametrize(
    "other",
    [
        {"user": "eve"},
        {"identity": replace(IDENTITY, uid=IDENTITY.uid + 1)},
        {"identity": replace(IDENTITY, gid=IDENTITY.gid + 1)},
        {"identity": replace(IDENTITY, groups=(*IDENTITY.groups, 4711))},  # who has joined or left a group
        {"state_id": "of another queue"},
        {"backend": "other"},
        {"device": DeviceName(DeviceKind.GPU, 1, "GPU-1", "gpu")},
        {"require_gpu": not KEPT.require_gpu},
        {"cpu_threads": KEPT.cpu_threads + 1},
        {"jobfile": {"model": {"layers": []}, "training": {"optimizer": "sgd"}}},
        {"jobfile": {"model": {"job": 3}}},
    ],
)
def test_none_of_another_person_place_or_model_is(other: dict[str, Any]) -> None:
    assert not fits(KEPT, replace(KEPT, job=2, **other))
    assert not fits(replace(KEPT, job=2, **other), KEPT)


def test_who_may_not_stay_takes_nothing() -> None:
    assert not fits(replace(KEPT, may_stay=False), KEPT)
