"""A run folder: a notebook's parameters, what is done in the folder, and what one notebook needs of another."""

import ast
import contextlib
import json
import math
import numbers
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from helpers import manifest
from helpers.data import datasets

NOTEBOOKS = [
    "01_eda",
    "02_augmentation",
    "03_baseline_cnn",
    "04_dropout_augmented_cnn",
    "05_evaluation",
    "06_decisions",
    "07_transfer_learning",
]
FOLDER = datasets.ROOT / "notebooks"
_LINE = re.compile(r"^([A-Z][A-Z0-9_]*) = (.+?)  # @param (\[.*?\]|\{.*?\}) ?(.*)$", re.MULTILINE)


class RunError(Exception):
    """A run that cannot start or did not end; the message says what was given, what is allowed and what to do."""


class Parameter(NamedTuple):
    """A parameter of a notebook: its default, what it may be (``choices``, or ``low`` to ``high``) and its meaning."""

    default: bool | int | float | str
    choices: list
    low: float
    high: float
    meaning: str


def declared(notebook):
    """Return {name: Parameter} of a notebook of the course, as its source (``notebooks/src``) declares them.

    A declaration is a line ``NAME = default  # @param {type:"integer", min:1, max:9} meaning``: the form that Colab
    shows, in which a list ``["a", "b"]`` names all allowed values.

    Raises
    ------
    RunError
        If the course has no such notebook.
    """
    if notebook not in NOTEBOOKS:
        raise RunError(f"There is no notebook {notebook!r}; the course has {', '.join(NOTEBOOKS)}.")
    found = {}
    for name, default, form, meaning in _LINE.findall((FOLDER / "src" / f"{notebook}.py").read_text(encoding="utf-8")):
        low, high = (re.search(rf"{end}:([^,}}]+)", form) for end in ("min", "max"))
        found[name] = Parameter(
            ast.literal_eval(default),
            json.loads(form) if form[0] == "[" else [],
            float(low[1]) if low else -math.inf,
            float(high[1]) if high else math.inf,
            meaning,
        )
    return found


def checked(notebook, values):
    """Return ``values`` of a notebook's parameters in their types, or say what is wrong with the first that is wrong.

    Parameters
    ----------
    notebook : name of a notebook of the course.
    values : {name: value}; text stands for a value of any type, as on a command line ("5", "true").

    Raises
    ------
    RunError
        On a parameter that the notebook does not have, a value of another type, or one out of range.
    """
    known = declared(notebook)
    for name in values:
        if name not in known:
            raise RunError(f"{notebook} has no parameter {name!r}; it has {', '.join(sorted(known))}.")
    return {name: _checked(name, value, known[name]) for name, value in values.items()}


def _checked(name, value, parameter):
    kind, given = type(parameter.default), value
    if kind is str:
        value = os.fspath(value) if isinstance(value, (str, os.PathLike)) else value
    elif isinstance(value, str):
        with contextlib.suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value.strip().title() if kind is bool else value.strip())
    if kind in (int, float) and isinstance(value, (numbers.Integral, numbers.Real)[kind is float]):
        value = value if isinstance(value, bool) else kind(value)  # NumPy's numbers, and whole ones for fractions
    if type(value) is not kind:
        raise RunError(f"{name} is {given!r}, but it takes {_KINDS[kind]} such as {parameter.default!r}.")
    if parameter.choices and value not in parameter.choices:
        raise RunError(f"{name} is {value!r}, but it takes one of {parameter.choices}.")
    if kind in (int, float) and not parameter.low <= value <= parameter.high:
        raise RunError(
            f"{name} is {value!r}, but it takes {_KINDS[kind]} from {parameter.low:g} to {parameter.high:g}."
        )
    return value


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def open_folder(out_dir):
    """Return the run folder as an absolute Path, made if need be; a folder in Google Drive is mounted first.

    Raises
    ------
    RunError
        If the folder is one of the course's own, or nothing can be written there.
    """
    folder = Path(out_dir).expanduser().absolute()
    own = [datasets.ROOT / name for name in ("helpers", "notebooks", "tests", "data")]
    if not str(out_dir).strip() or datasets.ROOT.is_relative_to(folder) or any(map(folder.is_relative_to, own)):
        raise RunError(
            f"OUT_DIR is {str(out_dir)!r}, where a run would overwrite the course's own files; "
            "name a folder of its own, such as 'runs/course'."
        )
    if str(folder).startswith("/content/drive") and not os.path.ismount("/content/drive"):
        from google.colab import drive

        drive.mount("/content/drive")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        manifest.write_text("", folder / ".writable")
        (folder / ".writable").unlink()
    except OSError as error:
        raise RunError(
            f"OUT_DIR is {str(out_dir)!r}, but nothing can be written there ({error.strerror}); "
            "name another folder, or make room."
        ) from error
    return folder


def start(notebook, namespace):
    """Check a notebook's parameters, open its run folder, find its images, and return all three as a Run.

    Parameters
    ----------
    notebook : name of the notebook that calls.
    namespace : its ``globals()``, after the parameters cell.

    Raises
    ------
    RunError, FileNotFoundError
        If a parameter is wrong, the folder cannot be used, or no images are where ``DATA_DIR`` says.
    """
    values = checked(notebook, {name: namespace[name] for name in declared(notebook) if name in namespace})
    folder = open_folder(values["OUT_DIR"])
    run = Run(notebook, folder, values, None)
    if notebook != NOTEBOOKS[0] and not values["DATA_DIR"]:  # a run folder keeps to the images it was begun with
        values["DATA_DIR"] = run.record(NOTEBOOKS[0]).get("parameters", {}).get("DATA_DIR", "")
    run.images = datasets.find(values["DATA_DIR"])
    return run


@dataclass
class Run:
    """One notebook at work: its name, the run ``folder`` (Path), its ``parameters`` (dict), its ``images`` (Images)."""

    notebook: str
    folder: Path
    parameters: dict
    images: datasets.Images

    def manifest(self):
        """Return the run's manifest; notebook 01 makes it first where it is missing or was made of something else."""
        self.need(NOTEBOOKS[0])
        return manifest.read(self.folder / "manifest.csv", self.images.root)

    def need(self, notebook):
        """Run another notebook first, in a process of its own, unless its results are here and fit.

        Notebook 01's results fit if they were made of the same images with the same values of the parameters that this
        notebook has too; those of any other, if they were made from the manifest that is here now: a network that was
        trained otherwise than the defaults say is left as it is. What has to be made again keeps the parameters that it
        was made with, where this notebook does not have them.

        Raises
        ------
        RunError
            If it fails.
        """
        reason, values = self._missing(notebook), self._values_for(notebook)
        if reason:
            print(f"{notebook} runs first, because {reason}.", flush=True)
            given = [text for name, value in values.items() for text in ("-p", name, str(value))]
            done = subprocess.run(
                [sys.executable, "-m", "helpers", "run", notebook, *given],
                cwd=datasets.ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
            if done.returncode:
                raise RunError(done.stderr.strip()[-2000:])

    def done(self):
        """Record in the run folder that this notebook has run to its end, and with which parameters."""
        record = {"parameters": self.parameters, "manifest": self._fingerprint()}
        if self.notebook == NOTEBOOKS[0]:
            record["images"] = datasets.state(self.images)
        manifest.write_text(json.dumps(record, indent=2), self.folder / f"{self.notebook}.json")

    def record(self, notebook):
        """Return what ``done`` recorded of a notebook in this folder as a dict; {} if there is nothing to be read."""
        try:
            record = json.loads((self.folder / f"{notebook}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _missing(self, notebook):
        """Return why the results of ``notebook`` cannot be taken as they are, "" if they can."""
        record = self.record(notebook)
        if not record:
            return f"its results are not in {self.folder} yet"
        if notebook != NOTEBOOKS[0]:
            return "" if record["manifest"] == self._fingerprint() else "the images, labels or split have changed since"
        if not (self.folder / "manifest.csv").is_file():
            return f"{self.folder / 'manifest.csv'} is gone"
        if record["images"] != datasets.state(self.images):
            return "the images are not those it has seen"
        other = [
            name
            for name, value in record["parameters"].items()
            if name not in ("DATA_DIR", "OUT_DIR") and self.parameters.get(name, value) != value
        ]
        return f"{other[0]} is another now" if other else ""

    def _values_for(self, notebook):
        """Return the parameters to run ``notebook`` with: this notebook's, but a network's own from its last run."""
        known, data = declared(notebook), declared(NOTEBOOKS[0])
        before = {
            name: value
            for name, value in self.record(notebook).get("parameters", {}).items()
            if not (name in data and name in self.parameters)
        }
        values = {**self.parameters, **before, "OUT_DIR": str(self.folder)}
        return {name: value for name, value in values.items() if name in known}

    def _fingerprint(self):
        file = self.folder / "manifest.csv"
        return manifest.fingerprint(manifest.read(file, "")) if file.exists() else ""
