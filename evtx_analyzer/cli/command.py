"""Commands that convert simple values of the command line themselves.

typer 0.26 and later converts every argument by a pydantic validator. To import pydantic and to make the validators of
one command takes 110 ms, a third of a small analysis. Simple values (a text, a path, one of an option's choices, lists
of these, nothing) are converted here; any other value goes to typer, which also words the errors.
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
    """A command whose parameters get a validator only if they need one."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401  typer's own types
        """Return all parameters, ``--help`` among them."""
        return _shortened(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """A group of commands whose own parameters get a validator only if they need one."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401  typer's own types
        """Return all parameters, ``--help`` among them."""
        return _shortened(super().get_params(ctx))


class Program(PlainGroup):
    """The whole program: ``-q``, ``-v`` and ``--log-file`` may stand anywhere, and an input alone means ``analyze``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  typer's own context type
        """Put the options of all commands first, and ``analyze`` in front of an input that stands for a command."""
        shared, others = _shared_options(args)
        if others and others[0] not in self.commands and _is_input(others[0]):
            others = ["analyze", *others]
        return super().parse_args(ctx, [*shared, *others])


def _shared_options(args: list[str]) -> tuple[list[str], list[str]]:
    """Return the options of all commands, wherever they stand before ``--``, and all other arguments."""
    shared: list[str] = []
    others: list[str] = []
    waiting = iter(args)
    for arg in waiting:
        if arg == "--":
            return shared, [*others, arg, *waiting]
        if arg in ("-q", "--quiet", "-v", "--verbose") or arg.startswith("--log-file="):
            shared.append(arg)
        elif arg == "--log-file":
            shared += [arg, *islice(waiting, 1)]
        else:
            others.append(arg)
    return shared, others


def _is_input(text: str) -> bool:
    """Return whether a word is an input, not a mistyped command."""
    return text == "-" or (not text.startswith("-") and ("://" in text or os.path.lexists(text)))


def _shortened(params: Any) -> Any:  # noqa: ANN401  as above
    """Replace the conversion of each parameter by ``_Shortcut``; older versions of typer have nothing to replace."""
    for param in params:
        # get_params may be called several times with the same parameters.
        if hasattr(param, "type_descriptor") and "get_runtime_param" not in vars(param):
            shortcut = _Shortcut(param.get_runtime_param, param.type_descriptor.annotation)
            param.get_runtime_param = lambda shortcut=shortcut: shortcut
    return params


class _Shortcut:
    """Stands in for typer's converter of one parameter, which it makes only if it needs it."""

    def __init__(self, validator: Any, annotation: Any) -> None:  # noqa: ANN401  typer's own types
        self._validator, self._annotation = validator, annotation

    def coerce(self, value: object, *, param: Any, ctx: Any) -> object:  # noqa: ANN401  as above
        """Return the value in the type of the parameter. Raises typer's error for one that does not fit."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        converted = plain(value, self._annotation)
        if converted is None and (mistake := _not_a_choice(value, self._annotation)):
            raise typer.BadParameter(mistake, ctx=ctx, param=param)
        return self._validator().coerce(value, param=param, ctx=ctx) if converted is None else converted


def _not_a_choice(value: object, annotation: object) -> str:
    """Return the error for a value that is none of an option's choices; empty if it is one, or there are no choices."""
    if get_origin(annotation) is list:
        values = value if isinstance(value, list | tuple) else ()
        return next(filter(None, (_not_a_choice(member, get_args(annotation)[0]) for member in values)), "")
    choices = list(annotation) if isinstance(annotation, type) and issubclass(annotation, Enum) else []
    if not choices or not isinstance(value, str) or value in [choice.value for choice in choices]:
        return ""
    return f"'{value}' is not one of {', '.join(repr(choice.value) for choice in choices)}."


def plain(value: object, annotation: object) -> object | None:
    """Return a simple value of the command line in the type of its parameter; None if typer must convert it."""
    if get_origin(annotation) is list:
        if not isinstance(value, list | tuple):
            return None
        members = [plain(member, get_args(annotation)[0]) for member in value]
        return None if None in members else members
    if isinstance(value, bool) and annotation is bool:
        return value
    if not isinstance(value, str) or not isinstance(annotation, type):
        return None
    if annotation is str:
        return value
    if issubclass(annotation, Enum):
        return next((enum for enum in annotation if value == enum.value), None)
    # typer refuses an existing file that may not be read; none of our options demands more of a path.
    readable = annotation is Path and (not os.path.lexists(value) or os.access(value, os.R_OK))
    return Path(value) if readable else None
