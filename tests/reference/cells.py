"""The recurrent layers in numpy, straight from their equations, as an oracle. No Keras here.

Shapes: `x` (samples, steps, inputs); `h` and `c` (samples, units), zeros where they are not given; `mask`
(samples, steps), False where a step is padding. Every function returns the outputs, shape (samples, steps, units),
and the states after the last step. Weights have Keras's shapes and its order of gates: `layer.get_weights()` is
(kernel, recurrent_kernel, bias), and one column of it after another belongs to the gates in the order named below.
Everything is computed in float64.

At a masked step the states stay what they were and the output is that of the step before, zeros at the first
(`keras.layers.RNN` with `zero_output_for_mask=False`, its default; `Bidirectional` sets it, and has zeros instead).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
States = tuple[Array, ...]
Step = Callable[[Array, States], States]
"""One step of a cell: (x_t, the states before) to the states after. The first state is the output."""


def sigmoid(a: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-a))


def lstm(
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    *,
    h: Array | None = None,
    c: Array | None = None,
    mask: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Long short-term memory: S. Hochreiter and J. Schmidhuber, Neural Computation 9(8), 1997; the forget gate is
    of F. Gers, J. Schmidhuber and F. Cummins, Neural Computation 12(10), 2000. No peepholes.

        i = sigmoid(x W_i + h U_i + b_i)     input gate
        f = sigmoid(x W_f + h U_f + b_f)     forget gate
        g = tanh(x W_g + h U_g + b_g)        candidate
        o = sigmoid(x W_o + h U_o + b_o)     output gate
        c' = f c + i g
        h' = o tanh(c')

    kernel W: (inputs, 4 units), recurrent_kernel U: (units, 4 units), bias b: (4 units,); gates i, f, g, o, as in
    `keras.layers.LSTMCell`, which calls the third c. Returns outputs, h, c.
    """

    def step(x_t: Array, states: States) -> States:
        before, carry = states
        i, f, g, o = np.split(x_t @ kernel + before @ recurrent_kernel + bias, 4, axis=-1)
        carry = sigmoid(f) * carry + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(carry), carry

    units = len(recurrent_kernel)
    outputs, (h, c) = unroll(step, x, (_state(h, x, units), _state(c, x, units)), mask)
    return outputs, h, c


def gru(
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    *,
    h: Array | None = None,
    mask: Array | None = None,
    reset_after: bool = True,
) -> tuple[Array, Array]:
    """Gated recurrent unit: K. Cho et al., EMNLP 2014, arXiv:1406.1078, equations 5 to 8.

        z = sigmoid(x W_z + h U_z + b_z)     update gate
        r = sigmoid(x W_r + h U_r + b_r)     reset gate
        h' = z h + (1 - z) g

    and the candidate g, with the reset gate before the matrix product (version 3 of the paper), or after it (version
    1 of it, cuDNN's form, and Keras's default), where the recurrent products have biases d of their own:

        reset_after=False    g = tanh(x W_g + (r h) U_g + b_g)
        reset_after=True     g = tanh(x W_g + b_g + r (h U_g + d_g)); z and r have h U + d likewise

    kernel W: (inputs, 3 units), recurrent_kernel U: (units, 3 units); gates z, r, g, as in
    `keras.layers.GRUCell`, which calls the third h. bias: (3 units,), with reset_after (2, 3 units): b and d. Returns
    outputs, h.
    """
    units = len(recurrent_kernel)
    b, d = bias if reset_after else (bias, np.zeros_like(bias))

    def step(x_t: Array, states: States) -> States:
        (before,) = states
        x_z, x_r, x_g = np.split(x_t @ kernel + b, 3, axis=-1)
        u_z, u_r, u_g = np.split(recurrent_kernel, 3, axis=-1)
        d_z, d_r, d_g = np.split(d, 3)
        z = sigmoid(x_z + before @ u_z + d_z)
        r = sigmoid(x_r + before @ u_r + d_r)
        inner = r * (before @ u_g + d_g) if reset_after else (r * before) @ u_g
        return (z * before + (1 - z) * np.tanh(x_g + inner),)

    outputs, (h,) = unroll(step, x, (_state(h, x, units),), mask)
    return outputs, h


def simple_rnn(
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    *,
    h: Array | None = None,
    mask: Array | None = None,
) -> tuple[Array, Array]:
    """The simple recurrent network: J. Elman, "Finding Structure in Time", Cognitive Science 14(2), 1990, with tanh
    as in `keras.layers.SimpleRNNCell`.

        h' = tanh(x W + h U + b)

    kernel W: (inputs, units), recurrent_kernel U: (units, units), bias b: (units,). Returns outputs, h.
    """

    def step(x_t: Array, states: States) -> States:
        return (np.tanh(x_t @ kernel + states[0] @ recurrent_kernel + bias),)

    outputs, (h,) = unroll(step, x, (_state(h, x, len(recurrent_kernel)),), mask)
    return outputs, h


def unroll(step: Step, x: Array, states: States, mask: Array | None) -> tuple[Array, States]:
    """The steps one after the other. Returns the outputs, shape (samples, steps, units), and the last states."""
    x = np.asarray(x, np.float64)
    output = np.zeros_like(states[0])
    outputs = []
    for t in range(x.shape[1]):
        after = step(x[:, t], states)
        shown = np.ones((len(x), 1), bool) if mask is None else mask[:, t, None]
        states = tuple(np.where(shown, new, old) for new, old in zip(after, states, strict=True))
        output = np.where(shown, after[0], output)
        outputs.append(output)
    return np.stack(outputs, axis=1), states


def reversed_in_time(values: Array) -> Array:
    """x or a mask as a layer with `go_backwards: true`, and the backward half of Bidirectional, reads it. Such a
    layer's outputs come in the order in which it reads; Bidirectional turns them round again."""
    return values[:, ::-1]


def _state(given: Array | None, x: Array, units: int) -> Array:
    return np.zeros((len(x), units)) if given is None else np.asarray(given, np.float64)
