"""The job file's JSON Schema, for editors. `scripts/catalogue` writes it to `schema.json` beside it."""

from __future__ import annotations

from typing import Any

from gpujobs.jobfile.distributions import DISTRIBUTIONS
from gpujobs.jobfile.keras_names import catalogue
from gpujobs.jobfile.schema import JobFile
from gpujobs.jobfile.sweep import MAX_JOBS, MAX_SEED

_TEXT = {"type": "string"}
_AT_MOST = {"type": "integer", "minimum": 1, "maximum": MAX_JOBS}


def json_schema() -> dict[str, Any]:
    """Draft 2020-12, with the short forms that the models take before validation, and Keras's names."""
    schema = JobFile.model_json_schema()
    parts = schema["$defs"]
    texts = {"type": "array", "items": _TEXT, "minItems": 1}
    parts["DataSource"] = {"anyOf": [_TEXT, texts, parts["DataSource"]]}
    column = {"type": ["string", "integer"], "minLength": 1, "maxLength": 500}
    columns = {"anyOf": [column, {"type": "array", "items": column, "minItems": 1}, {"type": "null"}]}
    for key in ("features", "target"):
        parts["Data"]["properties"][key] |= columns
    for key in ("names", "missing", "dates", "units"):
        parts["Csv"]["properties"][key] |= {
            "anyOf": [{"type": ["string", "number"]}, {"type": "array"}, {"type": "null"}]
        }
    prediction = parts["Prediction"]
    prediction["required"] = []
    parts["Prediction"] = {"anyOf": [_TEXT, prediction]}
    duration = {"type": "string", "pattern": r"^(\d+:[0-5]\d:[0-5]\d|(\d+[smhd])+)$"}
    resources = parts["Resources"]["properties"]
    resources["time_limit"]["anyOf"].append(duration)
    resources["gpu_memory"]["anyOf"].append({"type": "string", "pattern": r"^\d+(\.\d+)? ?([KMGT]i)?B$"})
    parts["Model"]["properties"]["layers"]["items"] = _named("layers")
    training = parts["Training"]["properties"]
    training["loss"] |= _named("losses")
    training["optimizer"] |= _named("optimizers")
    training["metrics"]["items"] = {"anyOf": [_named("metrics"), _TEXT]}
    for key in ("on", "to", "command"):
        parts["Notify"]["properties"][key]["anyOf"].append(_TEXT)
    schema["properties"]["sweep"] = _sweep()
    schema["properties"]["at_most"] = _AT_MOST
    schema["required"] = [name for name in schema["required"] if name != "name"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _sweep() -> dict[str, Any]:
    settings = {"type": "object", "minProperties": 1}
    return {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "at_most": _AT_MOST,
            "grid": {**settings, "additionalProperties": {"type": "array", "minItems": 1}},
            "list": {"type": "array", "minItems": 1, "items": settings},
            "random": {
                "type": "object",
                "required": ["count", "distributions"],
                "additionalProperties": False,
                "properties": {
                    "count": {"type": "integer", "minimum": 1, "maximum": MAX_JOBS},
                    "seed": {"type": "integer", "minimum": 0, "maximum": MAX_SEED, "default": 0},
                    "distributions": {**settings, "additionalProperties": _distribution()},
                },
            },
        },
    }


def _distribution() -> dict[str, Any]:
    kinds = {name: {"type": "array", "minItems": 1} for name in DISTRIBUTIONS}
    for name in DISTRIBUTIONS.keys() - {"choice"}:
        item = {"type": "integer" if "integers" in name else "number"}
        kinds[name] = {"type": "array", "items": item, "minItems": 2, "maxItems": 2}
    return {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": kinds,
    }


def _named(section: str) -> dict[str, Any]:
    known = catalogue()[section]
    arguments = {name: {"type": ["object", "null"]} for name in known["classes"]}
    return {
        "anyOf": [
            {"enum": sorted({*known["classes"], *known["ids"]})},
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": section != "layers",
                "properties": arguments,
            },
        ]
    }
