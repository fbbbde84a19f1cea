"""The job's metrics as Keras objects that tell classes as `decision` does."""

from __future__ import annotations

from typing import Any

import keras

from gpujobs.jobfile.keras_names import catalogue
from gpujobs.metric_names import snake_case
from gpujobs.trainer.decision import Decision, Scale

THRESHOLDS = ("Precision", "Recall", "TruePositives", "TrueNegatives", "FalsePositives", "FalseNegatives")
AT = ("PrecisionAtRecall", "RecallAtPrecision", "SensitivityAtSpecificity", "SpecificityAtSensitivity")
F_SCORES = ("F1Score", "FBetaScore")
ENTROPIES = ("BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy")
OF_PROBABILITIES = (*THRESHOLDS, *AT, *F_SCORES, *ENTROPIES, "AUC", "BinaryAccuracy", "BinaryIoU")
"""What compares with thresholds between 0 and 1."""


def adapted(entry: Any, decision: Decision | None) -> tuple[Any, bool]:
    """The job file's entry with the arguments that the decision implies, where the file does not give them; and
    whether the metric must be shown probabilities, since none of its arguments can say so."""
    kind, arguments = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
    name = entry if isinstance(entry, str) else (arguments or {}).get("name") or snake_case(kind)
    given = dict(arguments or {})
    if decision is None:
        return entry, False
    if str(kind).lower() in ("accuracy", "acc"):
        if not decision.is_compared or (decision.scale is Scale.PROBABILITY and not decision.is_each):
            return entry, False
        return {"BinaryAccuracy": {"threshold": decision.threshold, "name": name}}, False
    kind = catalogue()["metrics"]["ids"].get(kind, kind)
    more = {key: value for key, value in _implied(kind, decision).items() if key not in given}
    is_shown = decision.scale is not Scale.PROBABILITY and kind in OF_PROBABILITIES and not more
    is_shown &= kind in (*F_SCORES, *AT) or not {"threshold", "thresholds", "from_logits"} & set(given)
    if decision.scale is Scale.MARGIN and kind in ENTROPIES:
        is_shown = False
    if kind in F_SCORES and more:
        is_shown = decision.scale is not Scale.PROBABILITY
    return ({kind: {**given, **more, "name": name}} if more else entry), is_shown


def _implied(kind: str, decision: Decision) -> dict[str, Any]:
    if kind in F_SCORES:  # without a threshold the largest unit is the class, of a single one always that
        return {"threshold": 0.5} if decision.is_compared else {}
    if decision.scale is Scale.PROBABILITY:
        return {}
    if kind in ENTROPIES and decision.scale is Scale.LOGIT:
        return {"from_logits": True} if decision.is_categorical != (kind == "BinaryCrossentropy") else {}
    if decision.is_categorical:
        return {}
    if kind == "AUC":
        return {"from_logits": True}
    if kind in THRESHOLDS:
        return {"thresholds": 0.0}
    return {"threshold": 0.0} if kind in ("BinaryAccuracy", "BinaryIoU") else {}


def showing_probabilities(metric: keras.metrics.Metric, decision: Decision) -> keras.metrics.Metric:
    """On the object alone, so that it is saved, and loaded, as Keras's own."""
    update = metric.update_state

    def update_state(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return update(y_true, decision.probabilities(y_pred), sample_weight=sample_weight)

    metric.update_state = update_state
    return metric
