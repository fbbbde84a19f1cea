"""Whether cuDNN's fused kernel will compute a recurrent layer, by the conditions that Keras looks at.

Source: `cudnn_ok` and `lstm`, `gru` in keras/src/backend/{tensorflow,jax}/rnn.py, and `inner_loop` of the layers.
Whether there is a GPU is another matter: on a CPU slot no layer is fused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gpujobs.backends import JAX
from gpujobs.trainer.checking.chain import LayerInfo

FUSED = ("LSTM", "GRU")
EXPECTED: dict[str, Any] = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "recurrent_dropout": 0,
    "unroll": False,
    "use_bias": True,
}
LOST = "its steps run one after another, several kernels each, instead of one fused kernel for the sequence"


def verdicts(links: Iterable[LayerInfo], backend: str, unfit: int) -> list[dict[str, Any]]:
    """Of each recurrent layer: `layer`, `class`, `eligible`, `why` (what prevents it, or what is wrong with its use)
    and `cost`, what is lost without it. `unfit`: samples whose mask is not right-padded."""
    found = []
    for link in links:
        if link.is_recurrent:
            wrong = _wrong(link, backend)
            found.append(
                {
                    "layer": link.name,
                    "class": ", ".join(dict.fromkeys(one.kind for one in link.directions)),
                    "eligible": not wrong,
                    "why": "; ".join(wrong) or _warning(link, unfit),
                    "cost": LOST if wrong else "",
                }
            )
    return found


def _wrong(link: LayerInfo, backend: str) -> list[str]:
    """Of both directions once, where it is the same."""
    each = [
        reasons(
            one.kind,
            {**one.arguments, "use_cudnn": link.use_cudnn},
            is_masked=link.is_masked,
            backend=backend,
        )
        for one in link.directions
    ]
    if each[0] == each[-1]:
        return each[0]
    return [
        f"{side}: {why}" for side, some in zip(("forward", "backward"), each, strict=True) for why in some
    ]


def reasons(kind: str, arguments: Mapping[str, Any], *, is_masked: bool, backend: str) -> list[str]:
    """What prevents it: none, where it is used. Arguments that are left out have Keras's defaults."""
    if kind not in FUSED:
        return [f"Keras has no fused kernel for {kind}"]
    expected = {**EXPECTED, "reset_after": True} if kind == "GRU" else EXPECTED
    wrong = [
        f"{name} is {_written(arguments[name])}"
        for name, value in expected.items()
        if arguments.get(name, value) != value
    ]
    if arguments.get("use_cudnn", "auto") is False:
        wrong.append("use_cudnn is false")
    if backend == JAX and is_masked:
        wrong.append("its input is masked, which JAX's fused kernels do not support")
    return wrong


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _warning(link: LayerInfo, unfit: int) -> str:
    """cuDNN cannot skip steps in the middle, and TensorFlow then ends the training instead of using the loop."""
    if not link.is_masked or not unfit:
        return ""
    return f"fails: the masks of {unfit:,} samples are not right-padded; set use_cudnn: false"
