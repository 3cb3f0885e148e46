"""Turn conditions that pySigma parsed into those of ``conditions``.

Only this module, ``rules/parsing.py`` and ``rule_tools/convert.py`` import pySigma, which is slow to import: rules from
the cache need none of them.
"""

from __future__ import annotations

from typing import cast

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.types import (
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaType,
    SpecialChars,
)

from evtx_analyzer.sigma.conditions import (
    And,
    Boolean,
    Compare,
    Condition,
    Exists,
    FieldIs,
    FieldReference,
    Keyword,
    Network,
    Not,
    Null,
    Number,
    OneOf,
    Operator,
    Or,
    Regex,
    RegexFlag,
    Text,
    UnsupportedConditionError,
    Value,
    Wildcard,
)

_FLAGS: dict[SigmaRegularExpressionFlag, RegexFlag] = {
    SigmaRegularExpressionFlag.IGNORECASE: "i",
    SigmaRegularExpressionFlag.MULTILINE: "m",
    SigmaRegularExpressionFlag.DOTALL: "s",
}
_WILDCARDS = {SpecialChars.WILDCARD_SINGLE: Wildcard.ONE, SpecialChars.WILDCARD_MULTI: Wildcard.MANY}


def condition_of(parsed: object) -> Condition:
    """Return the condition for what ``rule.detection.parsed_condition`` of pySigma parsed.

    Raises UnsupportedConditionError for what cannot be evaluated.
    """
    match parsed:
        case ConditionAND(args=args):
            return And(tuple(condition_of(arg) for arg in args))
        case ConditionOR(args=args):
            return Or(tuple(condition_of(arg) for arg in args))
        case ConditionNOT(args=[arg]):
            return Not(condition_of(arg))
        case ConditionFieldEqualsValueExpression(field=name, value=value):
            return FieldIs(name, _field_value(value))
        case ConditionValueExpression(value=value):
            return Keyword(_value(value))
    raise UnsupportedConditionError(f"{type(parsed).__name__} is not supported")


def _field_value(value: SigmaType) -> Value | Null | Exists | FieldReference:
    match value:
        case SigmaNull():
            return Null()
        case SigmaExists():
            return Exists(value.exists)
        case SigmaFieldReference():
            return FieldReference(value.field, value.starts_with, value.ends_with)
    return _value(value)


def _value(value: SigmaType) -> Value:
    match value:
        case SigmaExpansion(values=values):
            return OneOf(tuple(_value(alternative) for alternative in values))
        case SigmaString():
            return Text(tuple(_part(part) for part in value.s), cased=isinstance(value, SigmaCasedString))
        case SigmaRegularExpression():
            return Regex(str(value.regexp), tuple(sorted(_FLAGS[flag] for flag in value.flags)))
        case SigmaCIDRExpression():
            return Network(value.cidr)
        case SigmaCompareExpression(number=number, op=operator):
            return Compare(cast("Operator", operator.name), float(number.number))
        case SigmaNumber():
            return Number(float(value.number))
        case SigmaBool():
            return Boolean(value.boolean)
    raise UnsupportedConditionError(f"values of type {type(value).__name__} are not supported")


def _part(part: object) -> str | Wildcard:
    if isinstance(part, str):
        return part
    if isinstance(part, SpecialChars) and part in _WILDCARDS:
        return _WILDCARDS[part]
    raise UnsupportedConditionError(f"the placeholder {part} is not expanded")
