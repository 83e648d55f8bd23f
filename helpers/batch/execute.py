"""Run notebooks of the course in their order, each with papermill in a kernel of its own."""

import contextlib
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
FOLLOW = "__import__('sys').path.insert(0, {root!r}); __import__('helpers.batch').batch.follow_parent({parent})"


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

    ``notebooks`` are names as ``runs.named`` takes them, [] means all; ``given`` is {parameter: value}. RunError on an
    unknown notebook, a parameter that none of them has, or a value of the wrong type or range.
    """
    chosen = sorted({*map(runs.named, notebooks)}) or runs.NOTEBOOKS
    known = {notebook: runs.declared(notebook) for notebook in chosen}
    everything = set().union(*known.values())
    if odd := [name for name in given if name not in everything]:
        near = ", ".join(difflib.get_close_matches(odd[0].upper(), sorted(everything), cutoff=0.5))
        meant = f"did you mean {near}? " if near else ""
        raise runs.RunError(f"{', '.join(chosen)}: no parameter {odd[0]!r}; {meant}All: python -m helpers run --help")
    values = {notebook: {name: given[name] for name in given if name in known[notebook]} for notebook in chosen}
    return [(notebook, runs.checked(notebook, values[notebook])) for notebook in chosen]


def altered(notebook):
    """Return a line that says how a stored notebook differs from its source, as after an autosave; "" if it does not.

    Named are parameters with another value, and the numbers of other code cells, counted from 1 as papermill does.
    """
    source = (runs.FOLDER / "src" / f"{notebook}.py").read_text(encoding="utf-8")
    cells = nbformat.read(runs.FOLDER / f"{notebook}.ipynb", as_version=4).cells
    was, found = parameters.declared(source), []
    for number, cell in enumerate((cell for cell in cells if cell["cell_type"] == "code"), 1):
        text = re.sub("^(?=[%!])", "# ", cell["source"], flags=re.MULTILINE)
        now = [(name, of.default, was.get(name, of).default) for name, of in parameters.declared(text).items()]
        other = [f"{name} is {new!r}, not {old!r}" for name, new, old in now if new != old]
        if other or (text not in source and "set-up" not in cell["metadata"].get("tags", [])):
            found += other or [f"cell {number}"]
    undo = f"To undo it: git restore notebooks/{notebook}.ipynb"
    return f"notebooks/{notebook}.ipynb was changed ({', '.join(found)}) and runs as changed. {undo}\n" if found else ""


def run(notebooks, given, alone=True):
    """Run notebooks with the given parameters (see :func:`plan`), and print what evaluation found if it was among them.

    RunError or FileNotFoundError if a notebook fails or, before anything starts, if a parameter is wrong, no images are
    where it says, or another process runs notebooks there (``alone`` False: the one that started this one does).
    """
    begun, steps = time.perf_counter(), dict(plan(notebooks, given))
    images = datasets.find(given["DATA_DIR"]) if given["DATA_DIR"] else None
    folder = runs.open_folder(given["OUT_DIR"])
    if images:
        runs.keep_outside(folder, images)
    with processes.claim(folder, "run") if alone else contextlib.nullcontext():
        print("".join(map(altered, steps)), end="")
        for notebook, values in steps.items():
            print(notebook, flush=True)
            execute(notebook, values | {"OUT_DIR": str(folder)}, folder)
        if "05_evaluation" in steps:
            from helpers.evaluation import report

            print(report.summary(folder))
    print(f"Done in {time.perf_counter() - begun:.0f} s. The executed notebooks: {folder / 'notebooks'}")


def execute(notebook, values, folder):
    """Execute one notebook; the executed copy goes to ``folder/notebooks``.

    RunError if a cell fails (with its number; the message alone of what the course itself refuses, else the last lines
    of the traceback), if the copy cannot be written, or if the kernel dies.
    """
    source, executed = runs.FOLDER / f"{notebook}.ipynb", folder / "notebooks" / f"{notebook}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # older kernels print a debugger's hint otherwise
    for name in ("asyncio", "papermill"):  # what they, or the kernel's log, say of a stop or its death is said below
        logging.getLogger(name).setLevel(logging.CRITICAL)
    cells = range(len(nbformat.read(source, as_version=4).cells) + 1)  # papermill adds one, of the parameters
    steps = messages.progress(cells, f"Cells of {notebook}")
    follow = FOLLOW.format(root=str(datasets.ROOT), parent=os.getpid())
    try:
        papermill.execute_notebook(
            *(re.sub(r"[{}]", r"\g<0>\g<0>", str(file)) for file in (source, executed)),  # taken as format strings
            values,
            progress_bar=False,
            stdout_file=Sieve(),
            on_cell_start=lambda **_: next(steps),
            cwd=runs.FOLDER,
            kernel_name="python3",
            start_timeout=300,
            extra_arguments=["--quiet", f"--IPKernelApp.exec_lines={follow}"],
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
        raise runs.RunError(
            f"{notebook}: its kernel died, most likely because the machine ran out of memory. Training needs less with "
            f"a smaller IMAGE_SIZE or BATCH_SIZE (-p NAME VALUE).\nThe notebook up to that point: {executed}"
        ) from error
