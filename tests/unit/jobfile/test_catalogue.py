"""The catalogue, the schema and the installed Keras agree; one process imports Keras for all of it."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from gpujobs.jobfile import json_schema
from gpujobs.jobfile.keras_names import catalogue

ROOT = Path(__file__).parents[3]


def test_schema_json_is_what_the_models_say() -> None:
    written = json.loads((ROOT / "gpujobs" / "jobfile" / "schema.json").read_text(encoding="utf-8"))
    assert written == json_schema()


@pytest.mark.parametrize("sign", [" ", "\u00a0", "\u202f", ".", "'"])
def test_patterns_of_the_schema_are_read_by_others_too(sign: str) -> None:
    """Editors have no Rust: what pydantic's regular expressions know alone would be an error there."""
    (pattern,) = (
        one["pattern"] for one in json_schema()["$defs"]["Csv"]["properties"]["thousands"]["anyOf"][:1]
    )
    assert re.match(pattern, sign) and not re.match(pattern, "5")


def test_the_job_file_package_imports_neither_keras_nor_ray() -> None:
    code = "import sys, gpujobs.jobfile; print({'keras', 'tensorflow', 'ray', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.skipif(
    version("keras") != catalogue()["keras"],
    reason="the catalogue is of another version of Keras; run scripts/catalogue to renew it",
)
def test_the_catalogue_is_that_of_the_installed_keras() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "catalogue"), "--print"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == catalogue()


def test_layers_that_carry_code_or_need_several_inputs_are_left_out() -> None:
    layers = catalogue()["layers"]["classes"]
    assert {"LSTM", "GRU", "SimpleRNN", "Bidirectional", "ConvLSTM1D", "Conv1D", "Embedding", "Masking",
            "Dense", "TimeDistributed", "Dropout", "BatchNormalization",
            "LayerNormalization"} <= set(layers)  # fmt: skip
    assert not {"Lambda", "TFSMLayer", "Concatenate", "RNN", "Attention"} & set(layers)
    assert layers["LSTM"]["units"] == {"type": "count", "required": True}
