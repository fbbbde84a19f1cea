"""Writes tutorial.npz beside this file: the six sequences of the notebook, and the class of each.

A sequence is six steps of one feature; its class is the number that appears in it.
"""

from pathlib import Path

import numpy as np

SEQUENCES = [
    [0, 1, 1, 0, 0, 0],
    [0, 0, 0, 2, 2, 0],
    [0, 0, 0, 0, 3, 3],
    [0, 2, 2, 0, 0, 0],
    [0, 0, 3, 3, 0, 0],
    [0, 0, 0, 0, 1, 1],
]
CLASSES = [1, 2, 3, 2, 3, 1]

if __name__ == "__main__":
    np.savez(
        Path(__file__).with_name("tutorial.npz"),
        x=np.array(SEQUENCES, dtype=np.float32)[:, :, np.newaxis],
        y=np.array(CLASSES, dtype=np.int64),
    )
