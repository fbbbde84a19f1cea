"""Programs that need Keras with TensorFlow, forked off a process that has imported it, as trainers are."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.forked import Forking

INSTALLATION = Path(__file__).parents[3]
KERAS = Forking(
    "from gpujobs.supervise import preload\npreload.load()",
    {"PYTHONPATH": str(INSTALLATION), "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
)


def python_with_keras(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return KERAS.run(code, *arguments)
