"""Windows beside those of keras.utils.timeseries_dataset_from_array, and of the weather example of Keras's pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.trainer.data.making import alone, prepared

REST = "model: {layers: [LSTM: {units: 2}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"


@pytest.mark.parametrize(("length", "every", "stride", "ahead"), [(5, 6, 1, 12), (4, 1, 2, 1), (3, 2, 3, 5)])
def test_windows_are_those_of_keras(tmp_path: Path, length: int, every: int, stride: int, ahead: int) -> None:
    """Keras: `targets[i]` belongs to the window that begins at row i; here it lies `ahead` rows after the last."""
    import keras

    series = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    window = f"{{length: {length}, stride: {stride}, sampling_rate: {every}, gap: {ahead - 1}}}"
    data = f"{{train: t.npz, y: y, window: {window}}}"
    part = prepared(tmp_path, data, {"t.npz": {"x": series, "y": series[:, 0]}}, rest=REST).train
    x, y = map(alone, part.samples.batch(np.arange(len(part.samples)))[:2])
    delay = (length - 1) * every + ahead
    dataset = keras.utils.timeseries_dataset_from_array(
        series[:-ahead],
        series[delay:, 0],
        length,
        sequence_stride=stride,
        sampling_rate=every,
        batch_size=1000,
    )
    ((keras_x, keras_y),) = list(dataset)
    np.testing.assert_array_equal(x, keras_x.numpy())
    np.testing.assert_array_equal(y.reshape(-1), keras_y.numpy())
