"""The only package that talks to NVML: readings of the devices, as values."""

from gpujobs.nvml.reading import NoDriverError, read, shutdown

__all__ = ["NoDriverError", "read", "shutdown"]
