"""Turn conditions that pySigma parsed into those of ``conditions``.

Only this module, ``rules/parsing.py`` and ``rule_tools/convert.py`` import pySigma, which is slow to import: rules from
the cache need none of them.
"""

from __future__ import annotations

from typing import cast

from sigma import conditions as parsed_as
from sigma import types as sigma

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

_FLAGS: dict[sigma.SigmaRegularExpressionFlag, RegexFlag] = {
    sigma.SigmaRegularExpressionFlag.IGNORECASE: "i",
    sigma.SigmaRegularExpressionFlag.MULTILINE: "m",
    sigma.SigmaRegularExpressionFlag.DOTALL: "s",
}
_WILDCARDS = {sigma.SpecialChars.WILDCARD_SINGLE: Wildcard.ONE, sigma.SpecialChars.WILDCARD_MULTI: Wildcard.MANY}


def condition_of(parsed: object) -> Condition:
    """Return the condition for what ``rule.detection.parsed_condition`` of pySigma parsed.

    Raises UnsupportedConditionError for what cannot be evaluated.
    """
    match parsed:
        case parsed_as.ConditionAND(args=args):
            return And(tuple(condition_of(arg) for arg in args))
        case parsed_as.ConditionOR(args=args):
            return Or(tuple(condition_of(arg) for arg in args))
        case parsed_as.ConditionNOT(args=[arg]):
            return Not(condition_of(arg))
        case parsed_as.ConditionFieldEqualsValueExpression(field=name, value=value):
            return FieldIs(name, _field_value(value))
        case parsed_as.ConditionValueExpression(value=value):
            return Keyword(_value(value))
    raise UnsupportedConditionError(f"{type(parsed).__name__} is not supported")


def _field_value(value: sigma.SigmaType) -> Value | Null | Exists | FieldReference:
    match value:
        case sigma.SigmaNull():
            return Null()
        case sigma.SigmaExists():
            return Exists(value.exists)
        case sigma.SigmaFieldReference():
            return FieldReference(value.field, value.starts_with, value.ends_with)
    return _value(value)


def _value(value: sigma.SigmaType) -> Value:
    match value:
        case sigma.SigmaExpansion(values=values):
            return OneOf(tuple(_value(alternative) for alternative in values))
        case sigma.SigmaString():
            return Text(tuple(_part(part) for part in value.s), cased=isinstance(value, sigma.SigmaCasedString))
        case sigma.SigmaRegularExpression():
            return Regex(str(value.regexp), tuple(sorted(_FLAGS[flag] for flag in value.flags)))
        case sigma.SigmaCIDRExpression():
            return Network(value.cidr)
        case sigma.SigmaCompareExpression(number=number, op=operator):
            return Compare(cast("Operator", operator.name), float(number.number))
        case sigma.SigmaNumber():
            return Number(float(value.number))
        case sigma.SigmaBool():
            return Boolean(value.boolean)
    raise UnsupportedConditionError(f"values of type {type(value).__name__} are not supported")


def _part(part: object) -> str | Wildcard:
    if isinstance(part, str):
        return part
    if isinstance(part, sigma.SpecialChars) and part in _WILDCARDS:
        return _WILDCARDS[part]
    raise UnsupportedConditionError(f"the placeholder {part} is not expanded")
