"""Parameters for which shells offer something: what, `completion` knows, which is imported when a shell asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.types import StringParamType

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Completed(StringParamType):
    """A text, with what to offer for it."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from gpujobs.cli import completion

        offer = completion.OFFERS.get(param.name or "")
        return (
            super().shell_complete(ctx, param, incomplete) if offer is None else list(offer(ctx, incomplete))
        )


def teach(parameter: click.Parameter) -> None:
    """What is known by its name is offered where it is a plain text."""
    if type(parameter.type) is StringParamType:
        parameter.type = Completed()
