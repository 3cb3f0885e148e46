"""Commands that take plain values from the command line themselves.

typer 0.26 and later converts every argument by a pydantic validator; to import pydantic and to make the validators of
one command takes 110 ms, a third of a small analysis. A value of which it is plain what comes out (a text, a path, one
of an option's choices, lists of these, nothing) is converted here; any other goes to typer, which has the errors.
"""

from __future__ import annotations

import os
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup


class PlainCommand(TyperCommand):
    """A command whose parameters are asked for a validator only where one is needed."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401  typer's own types
        """Return all parameters, ``--help`` among them."""
        return _shortened(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """The same for what holds commands."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401  typer's own types
        """Return all parameters, ``--help`` among them."""
        return _shortened(super().get_params(ctx))


class Program(PlainGroup):
    """The whole program: options of the conversation may stand anywhere, and an input alone means ``analyze``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  typer's own context type
        """Put options of the conversation first, and the command that is meant before an input."""
        front, rest = _conversation(args)
        if rest and rest[0] not in self.commands and _is_input(rest[0]):
            rest = ["analyze", *rest]
        return super().parse_args(ctx, [*front, *rest])


def _conversation(args: list[str]) -> tuple[list[str], list[str]]:
    """Options that hold for every command, wherever they stand before ``--``, and all other arguments."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(args)
    for arg in waiting:
        if arg == "--":
            return front, [*rest, arg, *waiting]
        if arg in ("-q", "--quiet", "-v", "--verbose") or arg.startswith("--log-file="):
            front.append(arg)
        elif arg == "--log-file":
            front += [arg, *islice(waiting, 1)]
        else:
            rest.append(arg)
    return front, rest


def _is_input(text: str) -> bool:
    """Return whether a word is an input and no mistyped command."""
    return text == "-" or (not text.startswith("-") and ("://" in text or os.path.lexists(text)))


def _shortened(params: Any) -> Any:  # noqa: ANN401  as above
    """Put the short way in front of typer's, where this typer has it and nobody did before."""
    for param in params:
        if hasattr(param, "type_descriptor") and "get_runtime_param" not in vars(param):
            short = _Short(param.get_runtime_param, param.type_descriptor.annotation)
            param.get_runtime_param = lambda short=short: short
    return params


class _Short:
    """What typer calls to convert the value of one parameter."""

    def __init__(self, validator: Any, annotation: Any) -> None:  # noqa: ANN401  typer's own types
        self._validator, self._annotation = validator, annotation

    def coerce(self, value: object, *, param: Any, ctx: Any) -> object:  # noqa: ANN401  as above
        """Return the value as the command takes it; raises typer's error for one that does not fit."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        found = plain(value, self._annotation)
        if found is None and (wrong := _not_a_choice(value, self._annotation)):
            raise typer.BadParameter(wrong, ctx=ctx, param=param)
        return self._validator().coerce(value, param=param, ctx=ctx) if found is None else found


def _not_a_choice(value: object, annotation: object) -> str:
    """Return what is wrong with a value that is none of an option's choices, without pydantic's words; empty for others."""
    if get_origin(annotation) is list:
        values = value if isinstance(value, list | tuple) else ()
        return next(filter(None, (_not_a_choice(item, get_args(annotation)[0]) for item in values)), "")
    choices = list(annotation) if isinstance(annotation, type) and issubclass(annotation, Enum) else []
    if not choices or not isinstance(value, str) or value in [choice.value for choice in choices]:
        return ""
    return f"'{value}' is not one of {', '.join(repr(choice.value) for choice in choices)}."


def plain(value: object, annotation: object) -> object | None:
    """Return a value of the command line in the type of its parameter; None where that takes more than a look."""
    if get_origin(annotation) is list:
        found = [plain(item, get_args(annotation)[0]) for item in value] if isinstance(value, list | tuple) else [None]
        return None if None in found else found
    if isinstance(value, bool) and annotation is bool:
        return value
    if not isinstance(value, str) or not isinstance(annotation, type):
        return None
    if annotation is str:
        return value
    if issubclass(annotation, Enum):
        return next((enum for enum in annotation if value == enum.value), None)
    # An existing file that may not be read is refused by typer; nothing more is asked of a path by any of our options.
    readable = annotation is Path and (not os.path.lexists(value) or os.access(value, os.R_OK))
    return Path(value) if readable else None
