"""The condition of a signal as data: a tree with values at its leaves, which needs no Sigma parser.

``from_pysigma`` makes it of what pySigma parsed, ``match`` evaluates it, and the cache of rules stores it. Each class
means what the Sigma specification says.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

from msgspec import Struct

Operator = Literal["LT", "LTE", "GT", "GTE", "NEQ"]
RegexFlag = Literal["i", "m", "s"]


class Wildcard(IntEnum):
    """Stands for other characters in a text: exactly one, or any number of them."""

    ONE = 1
    MANY = 2


class Text(Struct, frozen=True, tag="text"):
    """A text of literal parts and wildcards, compared without case unless ``cased``."""

    parts: tuple[str | Wildcard, ...]
    cased: bool = False


class Regex(Struct, frozen=True, tag="regex"):
    """A regular expression that is searched for."""

    pattern: str
    flags: tuple[RegexFlag, ...] = ()


class Network(Struct, frozen=True, tag="network"):
    """An address in this network."""

    cidr: str


class Compare(Struct, frozen=True, tag="compare"):
    """A number that is less or greater than another, or not equal to it."""

    operator: Operator
    number: float


class Number(Struct, frozen=True, tag="number"):
    """A number, however it is written."""

    number: float


class Boolean(Struct, frozen=True, tag="boolean"):
    """``true`` or ``false``."""

    value: bool


class OneOf(Struct, frozen=True, tag="one-of"):
    """Any of several values, to which a modifier expanded one value of the rule (``windash``, ``base64offset``)."""

    values: tuple[Value, ...]


class Null(Struct, frozen=True, tag="null"):
    """The field is absent, or empty."""


class Exists(Struct, frozen=True, tag="exists"):
    """The field is there (``expected`` is True), or it is not."""

    expected: bool


class FieldReference(Struct, frozen=True, tag="field-reference"):
    """The value of another field; with ``starts_with`` or ``ends_with`` the field begins or ends with it."""

    field: str
    starts_with: bool = False
    ends_with: bool = False


Value = Text | Regex | Network | Compare | Number | Boolean | OneOf


class FieldIs(Struct, frozen=True, tag="field"):
    """A field has the value."""

    field: str
    value: Value | Null | Exists | FieldReference


class Keyword(Struct, frozen=True, tag="keyword"):
    """Any field has the value."""

    value: Value


class And(Struct, frozen=True, tag="and"):
    """All of the conditions hold."""

    args: tuple[Condition, ...]


class Or(Struct, frozen=True, tag="or"):
    """Any of the conditions holds."""

    args: tuple[Condition, ...]


class Not(Struct, frozen=True, tag="not"):
    """The condition does not hold."""

    arg: Condition


Condition = And | Or | Not | FieldIs | Keyword


ALL_FIELDS = "*"
"""Stands for all fields in ``fields_of``: a keyword searches all values of an event."""


def fields_of(condition: Condition) -> frozenset[str]:
    """Return the names of the fields that a condition looks at."""
    match condition:
        case And(args=args) | Or(args=args):
            return frozenset().union(*map(fields_of, args))
        case Not(arg=arg):
            return fields_of(arg)
        case FieldIs(field=name, value=FieldReference(field=other)):
            return frozenset({name, other})
        case FieldIs(field=name):
            return frozenset({name})
        case Keyword():
            return frozenset({ALL_FIELDS})


class UnsupportedConditionError(ValueError):
    """A Sigma construct that this program cannot evaluate: a query expression or a placeholder."""
