"""Files that belong together, as those of one list: where a file's numbers could be read in two ways, another one
shows which is meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from gpujobs.trainer.data.reading import cells, signs
from gpujobs.trainer.data.reading.dialect import Head
from gpujobs.trainer.data.reading.loaded import NumberFormat
from gpujobs.trainer.data.reading.table_files import Source
from gpujobs.trainer.failures import DataError, together


def agree(
    sources: Sequence[Source], trained: NumberFormat | None = None, used: Collection[str] = ()
) -> NumberFormat:
    """How the numbers of files are written that have been looked at, where they show it. A file that does not is read
    as the others, or as those of the training (`trained`). `used`: the columns that the job file names. Raises
    DataError where these leave it open."""
    heads = {source.name: source.head for source in sources if source.head is not None}
    own = _by_decimal(
        NumberFormat(head.decimals, head.dialect.writing.thousands, name)
        for name, head in heads.items()
        if len(head.decimals) == 1
    )
    known = _by_decimal([*own.values(), *([trained] if trained is not None and trained.decimal else [])])
    errors = [*_against(heads, trained), *_one_or_two(heads, used)]
    for name, head in heads.items():
        try:
            if not head.decimals:
                _settle(name, head, list(known.values()))
        except DataError as error:
            errors.append(error)
    if errors:
        raise together(errors)
    if own:
        return next(iter(own.values())) if len(own) == 1 else NumberFormat()
    return next((found for name, head in heads.items() if (found := _left_open(name, head))), NumberFormat())


def _by_decimal(formats: Iterable[NumberFormat]) -> dict[str | None, NumberFormat]:
    """The first with each decimal sign, or the first that has a sign between thousands too."""
    found: dict[str | None, NumberFormat] = {}
    for one in formats:
        if one.decimal not in found or (one.thousands and not found[one.decimal].thousands):
            found[one.decimal] = one
    return found


def _against(heads: Mapping[str, Head], trained: NumberFormat | None) -> Iterator[DataError]:
    """The files with decimal commas, where the training's numbers were read with points for want of better."""
    if trained is None or trained.either is None:
        return
    for name, head in heads.items():
        if head.decimals == ",":
            one = signs.example(_columns(head), r",\d+$")
            yield DataError(
                f"{name}: has decimal commas{f', as in {one!r}' if one else ''}, and {trained.either!r} of "
                f"{trained.file}, which the model is trained on, has been read with a decimal point; {signs.WHICH}"
            )


def _one_or_two(heads: Mapping[str, Head], used: Collection[str]) -> Iterator[DataError]:
    """The files whose rows may be one column of decimal commas, where the second of two is not used."""
    for name, head in heads.items():
        if head.one_or_two and head.dialect.names[1] not in used:
            yield DataError(
                f"{name}: its rows, such as {head.one_or_two!r}, may be two columns or one of decimal commas; say "
                'which: data.csv: {separator: ","} or {separator: ";", decimal: ","}'
            )


def _settle(name: str, head: Head, known: Sequence[NumberFormat]) -> None:
    """How the numbers of a file are read that does not show it. Whoever separates fields by commas has no decimal ones.
    Raises DataError where nothing does, or several do."""
    columns, writing = _columns(head), head.dialect.writing
    known = [one for one in known if one.decimal != head.dialect.separator]
    if len(known) == 1:
        (like,) = known
        thousands = writing.thousands or like.thousands
        writing = replace(writing, decimal=like.decimal or ".", thousands=thousands)
        head.dialect = replace(
            head.dialect, writing=writing, said=(*head.dialect.said, *_said(columns, like, thousands))
        )
    elif writing.thousands:
        return
    elif known:
        one = signs.example(columns, signs.EITHER)
        if one is not None:
            others = " and ".join(f"{other.file} has a decimal {other.called}" for other in known)
            raise DataError(
                f"{name}: holds {one!r}, which may be a thousand or one and a bit, and {others}; {signs.WHICH}, with "
                "all files written alike"
            )
    else:
        head.is_open = True
        signs.refuse_groups(name, head.dialect.names, columns)
        if head.dialect.separator != "," and (found := signs.like_thousands(columns)):
            said = f"numbers such as {found[0]} with a decimal point"
            head.dialect = replace(head.dialect, said=(*head.dialect.said, said))


def _said(columns: Sequence[pa.Array], like: NumberFormat, thousands: str | None) -> Iterator[str]:
    """What is worth saying of a file that is read as another one."""
    if like.decimal == "," or thousands:
        between = f' and thousands "{thousands}"' if thousands else ""
        yield f"decimal {like.called}{between} as {like.file} has"
    elif found := signs.like_thousands(columns):
        yield f"numbers such as {found[0]} with a decimal point as {like.file} has"


def _left_open(name: str, head: Head) -> NumberFormat | None:
    """Of a file whose numbers could have been read in two ways."""
    if head.decimals or head.dialect.writing.thousands:
        return None
    found = signs.like_thousands(_columns(head))
    return NumberFormat(file=name, either=found[0]) if found else None


def _columns(head: Head) -> list[pa.Array]:
    """The text of all columns, without units."""
    return [cells.without_units(column, head.dialect.writing.units) for column in head.columns()]
