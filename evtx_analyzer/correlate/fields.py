"""The fields of a view: the name that signals use, what it means, and how its values are taken.

Facts are made from these tables, and docs/rules.md is generated from them. A field has values or is absent: nothing is
ever an empty text, and what no input shows is never "false".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from evtx_analyzer.model.origin import Fields

Answer = str | bool | Iterable[str] | None


class Field(Struct, frozen=True):
    """One field; ``take`` gives its value or values, and nothing or None where the field is absent."""

    name: str
    meaning: str
    take: Callable[[Any], Answer]


def facts(fields: Iterable[Field], view: object) -> Fields:
    """Return the fields that are there, with their values as rules compare them."""
    made = ((field.name, texts(field.take(view))) for field in fields)
    return {name: values for name, values in made if values}


def texts(answer: Answer) -> tuple[str, ...]:
    """Return an answer as texts: ``true`` and ``false`` for a truth value, and no empty text."""
    if answer is None:
        return ()
    if isinstance(answer, bool):
        return ("true",) if answer else ("false",)
    return tuple(filter(None, (answer,) if isinstance(answer, str) else answer))


def verdict(answers: Iterable[bool | None]) -> bool | None:
    """Return True where any answer is, False where there are some and all are False, else None: not known."""
    known = list(answers)
    if True in known:
        return True
    return False if known and None not in known else None
