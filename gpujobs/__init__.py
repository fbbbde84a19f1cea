"""gpujobs: a job runner for LSTM training on shared GPU machines."""

__version__ = "0.1.0"
