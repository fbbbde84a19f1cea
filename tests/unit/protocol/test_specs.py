"""The spec of an attempt is whole, or refused in words that name the field."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any

import pytest

from gpujobs.protocol.codec import ShapeError, encode, parse
from gpujobs.protocol.spec import AttemptSpec, CheckSpec, head_of
from tests.specs import check_json, data_file, own_identity, spec_json

FIELDS = [field.name for field in fields(AttemptSpec)]


def test_a_spec_is_read_as_it_was_written() -> None:
    whole = parse(AttemptSpec, json.dumps(spec_json(jobfile={"a": [1, 2.5, None, "x"]})))
    assert parse(AttemptSpec, encode(whole)) == whole
    assert whole.jobfile == {"a": [1, 2.5, None, "x"]}


@pytest.mark.parametrize("name", FIELDS)
def test_a_spec_without_one_of_its_fields_is_refused(name: str) -> None:
    lacking = {key: value for key, value in spec_json().items() if key != name}
    with pytest.raises(ShapeError, match=f"^spec.json: {name} is missing$"):
        parse(AttemptSpec, lacking, "spec.json")


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_of_a_spec_has_a_default(name: str) -> None:
    (field,) = (field for field in fields(AttemptSpec) if field.name == name)
    assert (field.default, field.default_factory) == (MISSING, MISSING)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"identity": None}, "identity is None; expected an object"),
        ({"identity": {"uid": 0}}, "identity.gid is missing; identity.groups is missing; identity.home is missing"),
        ({"colour": "red"}, "colour is unknown"),
        ({"job": "1"}, "job is '1'; expected integer"),
        ({"job": True}, "job is True; expected integer"),
        ({"attempt": 0}, "attempt is 0; expected greater than or equal to 1"),
        ({"time_limit_seconds": float("nan")}, "time_limit_seconds is nan; expected a finite number"),
        ({"started_at": "2026-01-01T00:00:00"}, "expected an instant with its zone"),
        ({"device": {"kind": "tpu", "index": 0, "uuid": "", "name": ""}}, "kind is 'tpu'; expected 'gpu' or 'cpu'"),
    ],
    ids=str,
)  # fmt: skip
def test_a_spec_of_another_shape_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ShapeError) as refused:
        parse(AttemptSpec, {**spec_json(), **change}, "spec.json")
    assert words in str(refused.value)


@pytest.mark.parametrize("name", ["identity", "jobfile", "data", "model_results"])
def test_a_check_is_told_all_of_it_too(name: str) -> None:
    whole = check_json(spec_json())
    assert parse(CheckSpec, whole).identity == own_identity()
    del whole[name]
    with pytest.raises(ShapeError, match=f"{name} is missing"):
        parse(CheckSpec, whole)


def test_what_an_earlier_version_has_written_still_says_whose_attempt_it_is() -> None:
    """Its personal daemon has written no identity, and the oldest of all neither id."""
    head = head_of({"job": 7, "attempt": 2, "identity": None, "device": {"uuid": "GPU-1"}, "user": "alice"})
    assert (head.job, head.attempt, head.nonce, head.uid) == (7, 2, "", None)
    assert (head.user, head.device_uuid) == ("alice", "GPU-1")
    assert head_of({**spec_json(), "later": 1}).uid == own_identity().uid


@pytest.mark.parametrize(
    "value", [{"job": 1}, {"job": 1, "attempt": 0}, {"job": 1, "attempt": 1, "identity": {"gid": 1}},
              {"job": 1, "attempt": 1, "identity": 7}, {"job": 1, "attempt": 1, "nonce": 7}]
)  # fmt: skip
def test_what_does_not_say_whose_attempt_it_is_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ShapeError):
        head_of(value)


def test_a_data_file_has_all_its_fields() -> None:
    whole = {"sha256": "", "bytes": 0, "path": "/none", "in_place": False}
    spec = parse(AttemptSpec, spec_json(data={"d": whole}))
    assert spec.data["d"] == data_file("/none")
    del whole["in_place"]
    with pytest.raises(ShapeError, match=r"data\.d\.in_place is missing"):
        parse(AttemptSpec, spec_json(data={"d": whole}))
