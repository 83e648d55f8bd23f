"""Run notebooks of the course in their order, each with papermill in a kernel of its own."""

import difflib
import logging
import os
import re
import time

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError

from helpers import messages, parameters, processes, runs
from helpers.data import datasets

PASSED_ON = re.compile(r"\s*(epoch +\d+/.*|.+: [\d,]+ of [\d,]+, \d+ s|.+ runs first, because .*)")
FOLLOW = "__import__('sys').path.insert(0, {root!r}); __import__('helpers.batch').batch.follow_parent()"


class Sieve:
    """A file for what a notebook prints, of which it prints the lines that say how far the notebook is."""

    rest = ""

    def write(self, text):
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            if PASSED_ON.fullmatch(line):
                print(line, flush=True)

    def flush(self):
        """There is nothing to do: lines are printed at once."""


def plan(notebooks, given):
    """Check what is to be run before anything starts; return [(notebook, its parameters)] in the order of the course.

    ``notebooks`` are names, or beginnings such as "03" (see ``runs.named``); none of them means all. ``given`` is
    {parameter: value}; text stands for a value of any type. RunError on an unknown notebook, a parameter that none of
    them has, or a value of the wrong type or range.
    """
    chosen = list(map(runs.named, notebooks)) or runs.NOTEBOOKS
    known = {notebook: runs.declared(notebook) for notebook in chosen}
    everything = set().union(*known.values())
    if odd := [name for name in given if name not in everything]:
        near = ", ".join(difflib.get_close_matches(odd[0].upper(), sorted(everything), cutoff=0.5))
        meant = f"did you mean {near}? " if near else ""
        raise runs.RunError(
            f"{', '.join(chosen)}: no parameter {odd[0]!r}; {meant}All of them: python -m helpers run --help"
        )
    return [
        (notebook, runs.checked(notebook, {name: value for name, value in given.items() if name in known[notebook]}))
        for notebook in runs.NOTEBOOKS
        if notebook in chosen
    ]


def altered(notebook):
    """Return a line that says how a stored notebook differs from its source, as after an autosave; "" if it does not.

    Named are parameters with another value, and the numbers of other code cells, counted from 1 as papermill does.
    """
    source = (runs.FOLDER / "src" / f"{notebook}.py").read_text(encoding="utf-8")
    cells = nbformat.read(runs.FOLDER / f"{notebook}.ipynb", as_version=4).cells
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    found = []
    for number, cell in enumerate(code, 1):
        tags, text = cell["metadata"].get("tags", []), re.sub("^(?=[%!])", "# ", cell["source"], flags=re.MULTILINE)
        was = parameters.declared(source)
        now = parameters.declared(text)
        other = [
            f"{name} is {of.default!r}, not {was[name].default!r}" for name, of in now.items() if was.get(name) != of
        ]
        found += other or ([f"cell {number}"] if text not in source and "set-up" not in tags else [])
    undo = f"To undo it: git restore notebooks/{notebook}.ipynb"
    return f"notebooks/{notebook}.ipynb was changed ({', '.join(found)}) and runs as changed. {undo}\n" if found else ""


def run(notebooks, given, alone=True):
    """Run notebooks with the given parameters (see :func:`plan`), and print what evaluation found if it was among them.

    RunError or FileNotFoundError before anything starts, if a parameter is wrong, no images are where it says, or
    another process runs notebooks there (``alone`` False: the one that started this one does); else RunError if a
    notebook fails.
    """
    begun, steps, lock = time.perf_counter(), dict(plan(notebooks, given)), None
    places = [datasets.find(place) for place in {values["DATA_DIR"] for values in steps.values()} - {""}]
    folder = runs.open_folder(given["OUT_DIR"])
    for images in places:
        runs.keep_outside(folder, images)
    if alone:
        lock = processes.claim(folder, "run")
    print("".join(map(altered, steps)), end="")
    for notebook, values in steps.items():
        print(notebook, flush=True)
        execute(notebook, values | {"OUT_DIR": str(folder)}, folder)
    if "05_evaluation" in steps:
        from helpers.evaluation import report

        print(report.summary(folder))
    print(f"Done in {time.perf_counter() - begun:.0f} s. The executed notebooks: {folder / 'notebooks'}")
    if lock:
        lock.release()


def execute(notebook, values, folder):
    """Execute one notebook; the executed copy goes to ``folder/notebooks``.

    RunError if a cell fails (with its number; the message alone of what the course itself refuses, else the last lines
    of the traceback), if the copy cannot be written, or if the kernel dies.
    """
    source, executed = runs.FOLDER / f"{notebook}.ipynb", folder / "notebooks" / f"{notebook}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # older kernels print a debugger's hint otherwise
    for name in ("asyncio", "papermill"):  # what they say of a stopped or dead kernel is said better below
        logging.getLogger(name).setLevel(logging.CRITICAL)
    cells = range(len(nbformat.read(source, as_version=4).cells) + 1)  # papermill adds one, of the parameters
    sieve, steps = Sieve(), messages.progress(cells, f"Cells of {notebook}")
    try:
        papermill.execute_notebook(
            *(re.sub(r"[{}]", r"\g<0>\g<0>", str(file)) for file in (source, executed)),  # taken as format strings
            values,
            progress_bar=False,
            stdout_file=sieve,
            on_cell_start=lambda **_: next(steps),
            cwd=runs.FOLDER,
            kernel_name="python3",
            start_timeout=300,
            extra_arguments=[f"--IPKernelApp.exec_lines={FOLLOW.format(root=str(datasets.ROOT))}"],
        )
    except papermill.PapermillExecutionError as error:
        trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)).strip()
        reason = "\n".join(trace.splitlines()[-8:])  # of what the course refuses, this is the sentence alone
        raise runs.RunError(
            f"{notebook} failed in cell {error.exec_count}:\n{reason}\nThe whole notebook with its error: {executed}"
        ) from error
    except OSError as error:
        raise runs.RunError(
            f"{executed} cannot be written ({error.strerror}). Free some space, or choose another OUT_DIR, and run "
            "it again: what is finished in the run folder is kept."
        ) from error
    except DeadKernelError as error:
        smaller = [name for name in ("IMAGE_SIZE", "BATCH_SIZE") if name in runs.declared(notebook)]
        advice = f" A smaller {' or '.join(smaller)} (-p NAME VALUE) needs less." if smaller else ""
        raise runs.RunError(
            f"{notebook}: its kernel died, most likely because the machine ran out of memory.{advice}\n"
            f"The notebook up to that point: {executed}"
        ) from error
