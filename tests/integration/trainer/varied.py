"""For each key that does not change the signature, a value that is not the one of `text`, as `--set` takes it."""

from __future__ import annotations

BASE = """
data: {train: t.npz, y: c, split: {method: random, validation: 0.2, test: 0.2}}
model: {layers: [LSTM: {units: 3, dropout: 0.2}, Dense: {units: 1, activation: sigmoid}]}
training:
  loss: binary_crossentropy
  optimizer: {Adam: {learning_rate: 0.1}}
  metrics: [accuracy]
  epochs: 5
  batch_size: 4
  early_stopping: {patience: 1}
  reduce_lr_on_plateau: {patience: 1}
  best_weights: {}
predict: [validation]
"""
"""Of arrays."""

TABLE = """
data: {train: t.csv, features: [a, b], target: y, window: {length: 3}}
model: {layers: [GRU: {units: 2}, Dense: {units: 1}]}
training: {loss: mean_squared_error, epochs: 2, batch_size: 8}
predict: [{name: train, source: train}]
"""

VARIED: dict[str, dict[str, str]] = {
    "name": {"name": "another"},
    "data.train.path": {"data.train": "u.npz"},
    "data.train.arrays": {"data.train": "{arrays: {x: x.npy, c: c.npy}}"},
    "data.train.in_place": {"data.train": "{path: u.npz, in_place: true}"},
    "data.validation.path": {"data.split": "null", "data.validation": "u.npz"},
    "data.validation.arrays": {"data.split": "null", "data.validation": "{arrays: {x: x.npy, c: c.npy}}"},
    "data.validation.in_place": {"data.split": "null", "data.validation": "{path: u.npz, in_place: true}"},
    "data.test.path": {"data.split.test": "0.0", "data.test": "u.npz"},
    "data.test.arrays": {"data.split.test": "0.0", "data.test": "{arrays: {x: x.npy, c: c.npy}}"},
    "data.test.in_place": {"data.split.test": "0.0", "data.test": "{path: u.npz, in_place: true}"},
    "data.split.method": {"data.split.method": "stratified"},
    "data.split.validation": {"data.split.validation": "0.4"},
    "data.split.test": {"data.split.test": "0.1"},
    "data.split.seed": {"data.split.seed": "5"},
    "data.scaling.x": {"data.scaling.x": "standard"},
    "data.missing": {"data.missing": "drop"},
    "training.optimizer": {"training.optimizer": "{Adam: {learning_rate: 0.3}}"},
    "training.epochs": {"training.epochs": "3"},
    "training.batch_size": {"training.batch_size": "5"},
    "training.seed": {"training.seed": "9"},
    "training.shuffle": {"training.shuffle": "false"},
    "training.validation_split": {"data.split": "null", "training.validation_split": "0.3"},
    "training.class_weight": {"training.class_weight": "balanced"},
    "training.early_stopping.monitor": {"training.early_stopping.monitor": "loss"},
    "training.early_stopping.mode": {"training.early_stopping.mode": "max"},
    "training.early_stopping.min_delta": {"training.early_stopping.min_delta": "0.5"},
    "training.early_stopping.patience": {"training.early_stopping.patience": "4"},
    "training.early_stopping.baseline": {"training.early_stopping.baseline": "0.01"},
    "training.early_stopping.start_from_epoch": {"training.early_stopping.start_from_epoch": "2"},
    "training.early_stopping.restore_best_weights": {"training.early_stopping.restore_best_weights": "true"},
    "training.reduce_lr_on_plateau.monitor": {"training.reduce_lr_on_plateau.monitor": "loss"},
    "training.reduce_lr_on_plateau.mode": {"training.reduce_lr_on_plateau.mode": "max"},
    "training.reduce_lr_on_plateau.factor": {"training.reduce_lr_on_plateau.factor": "0.7"},
    "training.reduce_lr_on_plateau.patience": {"training.reduce_lr_on_plateau.patience": "2"},
    "training.reduce_lr_on_plateau.min_delta": {"training.reduce_lr_on_plateau.min_delta": "9.0"},
    "training.reduce_lr_on_plateau.cooldown": {"training.reduce_lr_on_plateau.cooldown": "2"},
    "training.reduce_lr_on_plateau.min_lr": {"training.reduce_lr_on_plateau.min_lr": "0.05"},
    "training.best_weights.monitor": {"training.best_weights.monitor": "val_accuracy"},
    "training.best_weights.mode": {"training.best_weights.mode": "max"},
    "predict": {"predict": "[{name: new, path: u.npz}, test]"},
    "resources.gpu": {"resources.gpu": "1"},
    "resources.node": {"resources.node": "other"},
    "resources.gpu_name": {"resources.gpu_name": "H100"},
    "resources.gpu_memory": {"resources.gpu_memory": "1GiB"},
    "resources.time_limit": {"resources.time_limit": "1h"},
    "resources.at_limit": {"resources.time_limit": "1h", "resources.at_limit": "finish"},
    "retries": {"retries": "3"},
    "priority": {"priority": "2"},
    "preemptible": {"preemptible": "true"},
    "share": {"share": "lab"},
    "notify.on": {"notify": "{on: [start], to: [mail]}"},
    "notify.to": {"notify": "{on: [failure], to: [mail]}"},
    "notify.command": {"notify": "{on: [failure], command: /bin/true}"},
}

OF_TABLES: dict[str, dict[str, str]] = {
    "data.scaling.y": {"data.scaling.y": "standard"},
    "data.season": {"data.season": "2"},
    "data.train.files": {"data.train": "[t.csv, u.csv]"},
    "data.validation.files": {"data.validation": "[u.csv]"},
    "data.test.files": {"data.test": "[u.csv]"},
}
"""Those of tables, and of numbers that are predicted."""

UNREAD = ("name", "resources.gpu", "resources.node", "resources.gpu_name", "resources.gpu_memory", "resources.at_limit",
          "retries", "priority", "preemptible", "share", "notify.on")  # fmt: skip
"""What can be said together, since no training reads it."""

TOGETHER = (
    UNREAD,
    ("data.train.path", "training.seed", "training.shuffle"),
    (
        "training.optimizer",
        "training.epochs",
        "training.early_stopping.restore_best_weights",
        "data.split.seed",
    ),
    ("training.class_weight", "data.scaling.x", "training.reduce_lr_on_plateau.factor", "predict"),
    ("training.batch_size", "training.best_weights.monitor", "data.validation.path"),
)
"""Keys that are changed at once, where each alone would take too long."""
