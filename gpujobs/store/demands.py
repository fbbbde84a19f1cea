"""What a job asks for, as the column `demand` has it: JSON, without what the job waits for, which has its own table.

All fields are written, so that a new default changes no old job; one that is not there has its default. Anything
else that is not as it is written is an error.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from pydantic import TypeAdapter, ValidationError

from gpujobs.demand import NO_DEPENDENCIES, Demand, Dependencies

_ADAPTER = TypeAdapter(Demand)


def written(demand: Demand) -> str:
    return _ADAPTER.dump_json(demand, exclude={"awaits", "without"}).decode()


def read(text: str, awaits: Dependencies) -> Demand:
    """Raises ValueError that says what is wrong."""
    found = _read(text)
    return found if awaits is NO_DEPENDENCIES else replace(found, awaits=awaits)


@lru_cache(maxsize=4096)
def _read(text: str) -> Demand:
    """Cached, since most jobs ask for what others ask for."""
    try:
        demand = _ADAPTER.validate_json(text)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        raise ValueError(f"demand {text}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from None
    if demand.awaits is not NO_DEPENDENCIES:
        raise ValueError(f"demand {text}: awaits has a table of its own")
    if demand.begin_at is not None and demand.begin_at.tzinfo is None:
        raise ValueError(f"demand {text}: begin_at has no time zone")
    return demand
