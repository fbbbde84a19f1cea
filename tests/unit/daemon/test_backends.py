"""A job for a backend that is not installed is refused when it is submitted."""

from __future__ import annotations

import sys

import pytest

from gpujobs.backends import backend_of, missing
from gpujobs.daemon.jobs.checks import check_backends
from gpujobs.daemon.jobs.submissions import FileBody
from gpujobs.errors import JobFileError
from gpujobs.jobfile import expand

TEXT = """\
data: {train: t.npz}
model: {layers: [LSTM: {units: 4}, Dense: {units: 1}]}
training:
  loss: mse
  backend: jax
"""


def submitted(overrides: dict[str, str]) -> list[tuple[FileBody, object]]:
    file = FileBody(path="a.yaml", text=TEXT)
    return [(file, job) for job in expand(file.path, file.text, overrides)]


@pytest.fixture
def no_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)  # as Python marks a module that cannot be imported


@pytest.mark.usefixtures("no_jax")
@pytest.mark.parametrize(("on_gpu", "extra"), [(False, "gpujobs[jax]"), (True, "gpujobs[jax-cuda]")])
def test_without_jax(on_gpu: bool, extra: str) -> None:
    with pytest.raises(JobFileError) as raised:
        check_backends(submitted({}), on_gpu=on_gpu)  # type: ignore[arg-type]
    assert str(raised.value) == (
        f"a.yaml:5: training.backend is jax: JAX is not installed here; install it with `pip install '{extra}'`."
    )


@pytest.mark.usefixtures("no_jax")
def test_tensorflow_needs_nothing() -> None:
    check_backends(submitted({"training.backend": "tensorflow"}), on_gpu=True)  # type: ignore[arg-type]


def test_jax_without_cuda_on_a_box_with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    if lack := missing("jax", on_gpu=False):
        pytest.skip(lack)
    for name in ("jax_cuda12_plugin", "jax_cuda13_plugin"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "gpujobs[jax-cuda]" in (missing("jax", on_gpu=True) or "")


def test_a_job_that_trains_nothing_names_no_backend() -> None:
    assert backend_of({"model": {"job": 7}}) == "tensorflow"
