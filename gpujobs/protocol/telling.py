"""What all instructions have in common: each knows the class of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast

from annotated_types import Ge

from gpujobs.protocol.codec import Message, Tagged, parse

A = TypeVar("A", bound=Message)

Seconds = Annotated[float, Ge(0)]


@dataclass(frozen=True, slots=True)
class Instruction(Tagged, Generic[A]):
    """A is the class of its answer, which `answer` names again for when the program runs."""

    answer: ClassVar[type[Message]]

    def read(self, answer: Mapping[str, Any]) -> A:
        """Raises ShapeError."""
        return cast(A, parse(self.answer, answer, f"answer to {self.tag}"))

    def own(self, answer: Message) -> A:
        """Of an agent in the same process."""
        assert isinstance(answer, self.answer)
        return cast(A, answer)


@dataclass(frozen=True, slots=True)
class Nothing(Message):
    """Answering is all."""
