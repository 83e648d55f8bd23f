"""What a reader sees of long work and of what stops it: how far it is, and a sentence in place of a traceback."""

import time
import traceback
import warnings
from pathlib import Path

ABOVE = "run the cells above first: Run > Run All Above Selected Cell (in Colab: Runtime > Run before)"
INTERRUPTED = "Interrupted. Finished work, epochs included, is kept: run this cell again to resume."


def progress(items, what, total=None):
    """Return a generator of ``items`` that prints how far it is, such as "Reading images: 120 of 693, 12 s".

    It does so after 3, 6, 12, 24 and 48 seconds, and then once a minute: the same lines in a notebook, in a terminal
    and in a log. ``total`` is how many items there are, where they have no length of their own.
    """
    total, begun, due = len(items) if total is None else total, time.monotonic(), 3
    for number, item in enumerate(items, 1):
        if (seconds := time.monotonic() - begun) >= due:
            print(f"{what}: {number:,} of {total:,}, {seconds:.0f} s", flush=True)
            due = seconds + min(seconds, 60)
        yield item


def stop(reason):
    """End a notebook here, with a sentence: SystemExit, which papermill takes for an end and not for a failure."""
    print(reason)
    warnings.filterwarnings("ignore", "To exit: use")  # IPython would say how to leave it
    raise SystemExit


def shorten_errors():
    """In a notebook, let the cell that fails show a sentence alone where that says what is wrong and what to do.

    That is so for what the course itself raises, an interrupt, and a name that a cell above defines. The error itself
    is as it was, so that papermill and nbval see a cell that failed. Outside IPython nothing is changed.
    """
    from IPython import get_ipython  # only now: the command line starts sooner without it

    if shell := get_ipython():
        shell.set_custom_exc((OSError, ValueError, NameError, KeyboardInterrupt), _show)


def _show(shell, kind, error, trace, tb_offset=None):
    frame, last = [*traceback.walk_tb(trace)][-1][0], traceback.extract_tb(trace)[-1]
    raised_here = Path(last.filename).is_relative_to(Path(__file__).parent) and last.line.startswith("raise")
    sentence = str(error) if raised_here and kind is not KeyboardInterrupt else ""
    if kind is KeyboardInterrupt:
        sentence = INTERRUPTED
    elif kind is NameError and frame.f_globals is shell.user_ns:
        sentence = f"Line {last.lineno}: {error}. If a cell above defines it, {ABOVE}."
    if sentence:
        error._render_traceback_ = lambda: [sentence]  # IPython's way for an error to say how it is shown
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
