"""The job file: reading, checking against the schema and Keras's names, and what it resolves to."""

from gpujobs.jobfile.json_schema import json_schema
from gpujobs.jobfile.resolve import ResolvedJob, dump, expand, load

__all__ = ["ResolvedJob", "dump", "expand", "json_schema", "load"]
