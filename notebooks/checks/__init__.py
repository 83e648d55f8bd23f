"""The checks of the exercises: each works the truth out in another way than the solution, and says what is wrong."""

import numbers

import numpy as np


def number(given, name, most=np.inf):
    """Check that an answer is a number from 0 to ``most``."""
    assert given is not None, f"{name} is still None: put your answer into it."
    assert isinstance(given, numbers.Real) and not isinstance(given, bool), f"{name} is {given!r}, not a number."
    share = ", a share and not a percentage" if most == 1 else ""
    assert 0 <= given <= most, f"{name} is {given}; it has to lie between 0 and {most}{share}."


def compare(given, truth, slips, otherwise, within=0.0):
    """Check that an answer is the truth; say which mistake it comes from, if it is one of ``slips``: {sentence: value}."""
    if abs(given - truth) <= within:
        return
    for sentence, value in slips.items():
        assert abs(given - value) > max(1e-6, within / 10), sentence
    raise AssertionError(otherwise)
