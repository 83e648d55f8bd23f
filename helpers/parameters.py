"""The parameters that a notebook's source declares, and whether given values are allowed for them."""

import ast
import contextlib
import json
import numbers
import os
import re
import reprlib
from typing import NamedTuple

KINDS = {  # of parameters: in words, and as Python's types
    bool: ("true or false", bool),
    int: ("a whole number", numbers.Integral),
    float: ("a number", numbers.Real),
    str: ("text", (str, os.PathLike)),
}
_LINES = re.compile(r"^# (.+)\n([A-Z][A-Z0-9_]*) = (.+?)  # @param (\[.*?\]|\{.*?\})$", re.MULTILINE)


class RunError(ValueError):
    """A run that cannot start or did not end; the message says what was given, what is allowed and what to do."""


class Parameter(NamedTuple):
    """A parameter of a notebook: default, meaning, and what it may be: one of ``choices``, or ``low`` to ``high``."""

    default: bool | int | float | str
    meaning: str
    choices: list
    low: float = 0
    high: float = 0


def declared(text):
    """Return {name: Parameter} of what the text of a notebook's source, or of a cell of one, declares.

    A declaration is a line ``# meaning`` and, in the form that Colab shows, ``NAME = default  # @param {type:"integer",
    min:1, max:9}``, or a list of all allowed values, ``["a", "b"]``.
    """
    found = {}
    for meaning, name, default, form in _LINES.findall(text):
        choices = json.loads(form) if form[0] == "[" else []
        ends = dict(re.findall(r"(min|max):([^,}]+)", form))
        low, high = (float(ends.get(end, 0)) for end in ("min", "max"))
        found[name] = Parameter(ast.literal_eval(default), meaning, choices, low, high)
    return found


def checked(name, given, parameter):
    """Return the value ``given`` for a Parameter in its type; text may stand for any ("5", "true"); else RunError."""
    kind, value = type(parameter.default), given
    allowed, accepted = KINDS[kind]
    if kind is not str and isinstance(value, str):
        with contextlib.suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value.strip().title() if kind is bool else value.strip())
    right = isinstance(value, accepted) and isinstance(value, bool) == (kind is bool)
    if parameter.choices:
        allowed, right = f"one of {parameter.choices}", value in parameter.choices
    elif kind in (int, float):
        allowed += f" from {parameter.low:.10g} to {parameter.high:.10g}"
        right = right and parameter.low <= value <= parameter.high
    if not right:
        raise RunError(f"{name} is {reprlib.repr(given)}, but it takes {allowed}.")
    value = os.fspath(value) if kind is str else kind(value)  # NumPy's numbers too
    if kind is str and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise RunError(f"{name} is {value!r}, but a notebook holds UTF-8 only: rename that file or folder.")
    return value
