"""The checks of the exercises: each works the truth out in another way than the solution, and says what is wrong."""

import numpy as np
import pandas as pd


def number(given, name, most=np.inf, least=0):
    """Return an answer as a number from ``least`` to ``most``; an array or a table that holds one number will do."""
    assert given is not None, f"{name} is still None: put your answer into it."
    values = np.asarray(given)
    assert values.size == 1 and values.dtype.kind in "iuf", f"{name} is {given!r:.60}, not a number."
    value = values.item()
    share = ", a share and not a percentage" if most == 1 else ""
    limits = f"lie between {least} and {most}{share}" if most < np.inf else f"be {least} or more"
    assert least <= value <= most, f"{name} is {value}; it has to {limits}."
    return value


def entry(given, name, key, most=np.inf):
    """Return the number that an answer, a dictionary, has under ``key``."""
    assert isinstance(given, (dict, pd.Series)), f"{name} is {given!r:.60}, not a dictionary of networks' names."
    assert key in given, f"{name} has no entry {key!r}: one number per network, under its name."
    return number(given[key], f"{name}[{key!r}]", most)


def compare(given, truth, slips, otherwise, within=0.0, same=0.0):
    """Check that an answer is the truth; say which mistake it comes from, if it is one of ``slips``: {sentence: value}.

    An answer that lies as near to the truth as ``within`` will do, unless it is exactly what a mistake gives. Answers
    nearer than ``same`` cannot be distinguished from it: the last digits differ from machine to machine.
    """
    tiny = 1e-6 * max(1, abs(truth))
    if abs(given - truth) <= max(same, tiny):
        return
    close = abs(given - truth) <= within
    off = {sentence: abs(given - value) for sentence, value in slips.items()}
    likely = min(off, key=off.get)
    assert off[likely] > (tiny if close else max(tiny, min(within, 5e-3))), likely
    assert close, otherwise
