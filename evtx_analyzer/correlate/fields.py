"""Fields of a view: the name that signals use, its meaning, and the function that takes its values.

Facts are made from such tables, and docs/rules.md is generated from them. A field has values or is absent: a value is
never an empty text, and what no input shows is never "false".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from evtx_analyzer.model.origin import Fields

Answer = str | bool | Iterable[str] | None


class Field(Struct, frozen=True):
    """One field; ``take`` returns its value or values, None or nothing where the field is absent."""

    name: str
    meaning: str
    take: Callable[[Any], Answer]


def facts(fields: Iterable[Field], view: object) -> Fields:
    """Return the fields that the view has, with their values as rules compare them."""
    taken = ((field.name, texts(field.take(view))) for field in fields)
    return {name: values for name, values in taken if values}


def texts(answer: Answer) -> tuple[str, ...]:
    """Return an answer as texts: ``true`` and ``false`` for a truth value, and no empty text."""
    if answer is None:
        return ()
    if isinstance(answer, bool):
        return ("true",) if answer else ("false",)
    return tuple(filter(None, (answer,) if isinstance(answer, str) else answer))


def verdict(answers: Iterable[bool | None]) -> bool | None:
    """Return True if any answer is True, False if there are answers and all are False, else None (not known)."""
    known = list(answers)
    if True in known:
        return True
    return False if known and None not in known else None
