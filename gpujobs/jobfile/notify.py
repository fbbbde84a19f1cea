"""`notify:` of a job file, as a pydantic model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gpujobs.jobfile import recipients
from gpujobs.jobfile.section import Section, TextOrList, field


def _recipient(value: str) -> str:
    recipients.recipient(value)
    return value


def _program(value: list[str]) -> list[str]:
    if not value[0].startswith("/") or "\n" in value[0]:
        raise ValueError("not a program")
    return value


def _word(value: str) -> str:
    if "\0" in value:
        raise ValueError("not an argument")
    return value


Occasions = Annotated[list[Literal["end", "failure", "start", "stranger", "time_limit"]], TextOrList]
Recipients = Annotated[
    list[Annotated[str, AfterValidator(_recipient)]],
    Field(min_length=1, max_length=recipients.MAX_RECIPIENTS),
    TextOrList,
]
Word = Annotated[str, Field(max_length=recipients.MAX_LENGTH), AfterValidator(_word)]
Command = Annotated[
    list[Word], Field(min_length=1, max_length=recipients.MAX_WORDS), AfterValidator(_program), TextOrList
]
TO = (
    "a list of at most 10: mail (your own mailbox), addresses such as ada@example.org, and URLs such as "
    "https://example.org/hook, without a user's name in them"
)


class Notify(Section):
    """Who is told of what. What is left out is as `gpujobs notify` says."""

    on: Occasions | None = field(
        None, f"a list out of {', '.join(recipients.OCCASIONS)} ([]: of nothing)", max_length=10
    )
    to: Recipients | None = field(None, TO)
    command: Command | None = field(
        None, "a program with its arguments, by its absolute path, such as [/home/ada/bin/told, --quiet]"
    )
