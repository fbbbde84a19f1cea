"""A job's data: read, checked, cut into samples, split, scaled; in numpy, without Keras."""

from gpujobs.trainer.data.fitting.preprocessing import Preprocessing
from gpujobs.trainer.data.prepare import Part, Prepared, prepare
from gpujobs.trainer.data.reading.archives import Header, check, headers
from gpujobs.trainer.data.samples.samples import Samples

__all__ = ["Header", "Part", "Prepared", "Preprocessing", "Samples", "check", "headers", "prepare"]
