"""A run folder: a notebook's parameters, what is done in the folder, and what one notebook needs of another."""

import difflib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib

from helpers import manifest, messages, parameters
from helpers.data import datasets
from helpers.parameters import RunError

NETWORK = ["model.keras", "run.json", "predictions.csv"]
LEFT = {  # the notebooks of the course, and what others need of them
    "01_eda": ["manifest.csv", "metadata.csv"],
    "02_augmentation": ["augmented.csv"],
    "03_baseline_cnn": [f"baseline/{file}" for file in NETWORK],
    "04_dropout_augmented_cnn": [f"regularised/{file}" for file in NETWORK],
    "05_evaluation": [],
    "06_decisions": [],
    "07_transfer_learning": [],
}
NOTEBOOKS = list(LEFT)
FOLDER = datasets.ROOT / "notebooks"


def named(text):
    """Return the notebook that ``text`` names, which may be the beginning of one name alone; RunError if none is."""
    text = Path(text).name.removesuffix(".ipynb")
    found = [text] if text in NOTEBOOKS else [name for name in NOTEBOOKS if name.startswith(text)]
    if len(found) != 1:
        near = [name for name in NOTEBOOKS if name[:2] == text[:2]] or difflib.get_close_matches(text, NOTEBOOKS)
        meant = found or near or NOTEBOOKS
        raise RunError(f"No one notebook is named {text!r}; did you mean {', '.join(meant)}?")
    return found[0]


def declared(notebook):
    """Return {name: Parameter} of a notebook as its source declares them; RunError if there is no such notebook."""
    if notebook not in NOTEBOOKS:
        raise RunError(f"There is no notebook {notebook!r}; the course has {', '.join(NOTEBOOKS)}.")
    return parameters.declared((FOLDER / "src" / f"{notebook}.py").read_text(encoding="utf-8"))


def checked(notebook, values):
    """Return ``values`` {name: value} of a notebook's parameters in their types; text may stand for any ("5", "true").

    RunError on the first value that is of another type or out of range.
    """
    known = declared(notebook)
    return {name: parameters.checked(name, value, known[name]) for name, value in values.items()}


def open_folder(out_dir):
    """Return the run folder as an absolute Path, made if need be; a folder in Google Drive is mounted first.

    RunError if the folder is one of the course's own, or nothing can be written there.
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
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise RunError(f"OUT_DIR is {str(out_dir)!r}, but nothing can be written there ({error.strerror}).") from error
    return folder


def start(notebook, namespace):
    """Check a notebook's parameters, open its run folder, find its images, and return all three as a Run.

    ``namespace`` is the ``globals()`` of the notebook that calls, after its parameters cell; the values that were
    checked are written back into it, so that text which stands for a number is one from here on. RunError if a
    parameter is wrong or the folder cannot be used, FileNotFoundError if no images are where ``DATA_DIR`` says.
    """
    messages.shorten_errors()
    if "OUT_DIR" not in namespace:
        raise RunError(f"The parameters are not defined: {messages.ABOVE}.")
    values = checked(notebook, {name: namespace[name] for name in declared(notebook) if name in namespace})
    folder = open_folder(values["OUT_DIR"])
    if notebook != NOTEBOOKS[0] and not values["DATA_DIR"]:  # a run folder keeps to the images it was begun with
        record, file = recorded(folder, NOTEBOOKS[0]), folder / f"{NOTEBOOKS[0]}.json"
        if file.exists() and not record:
            raise RunError(f"{file} cannot be read any more; it said which images these are: give them in DATA_DIR.")
        values["DATA_DIR"] = record.get("parameters", {}).get("DATA_DIR", "")
    namespace.update(values)
    matplotlib.rcParams["text.parse_math"] = False  # a class may be named "$x$"
    return Run(notebook, folder, values, datasets.find(values["DATA_DIR"]))


def existing(run_dir):
    """Return a run folder in which notebook 01 has run, as a Path; RunError if it is none."""
    folder = Path(run_dir).expanduser()
    if not (folder / "manifest.csv").is_file():
        raise RunError(f"{run_dir} is no run folder yet (no manifest.csv): python -m helpers run --out-dir {run_dir}")
    return folder


def recorded(folder, notebook):
    """Return what :meth:`Run.done` recorded of a notebook in a run folder; {} if there is nothing that can be read."""
    try:
        record = json.loads((folder / f"{notebook}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("parameters"), dict) else {}


def apart(notebooks, values, log=subprocess.PIPE, **variables):
    """Run notebooks with these parameters in a process of their own, which ends with this one.

    What they print goes to the open file ``log``, by default, line by line, to where this process prints;
    ``variables`` are set in their environment, unless somebody has set them. RunError says what they say of a failure,
    or with which status the process ended.
    """
    given = [text for name, value in values.items() for text in ("-p", name, str(value))]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        child = subprocess.Popen(
            [sys.executable, "-m", "helpers", "run", *notebooks, "--with-parent", *given],
            cwd=datasets.ROOT,
            env={"PYTHONIOENCODING": "utf-8:replace"} | variables | os.environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=complaints,
            encoding="utf-8",
        )
        with child:
            try:
                for line in child.stdout or ():
                    print(f"    {line}", end="", flush=True)
                child.wait()
            except BaseException:  # an interrupt above all: its files are whole at any time
                child.kill()
                raise
        complaints.seek(0)
        complaint = complaints.read().strip()[-4000:]
    if child.returncode:
        ended = f"{', '.join(notebooks)} ended with status {child.returncode} (negative: killed by that signal)."
        raise RunError(complaint or ended)


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
        table = manifest.read(self.folder / "manifest.csv", self.images.root)
        if manifest.fingerprint(table) != recorded(self.folder, NOTEBOOKS[0]).get("manifest"):
            print(f"{self.folder / 'manifest.csv'} was changed since {NOTEBOOKS[0]} wrote it; it is taken as it is.")
        return table

    def need(self, notebook):
        """Run another notebook first, in a process of its own, unless its results fit; RunError if it fails.

        Notebook 01's fit if they were made of the same images with the same values of the parameters that this notebook
        has too; any other's if they were made from the manifest that is here: a network that was trained otherwise than
        the defaults say is left as it is. What is made again keeps its own parameters.
        """
        record = recorded(self.folder, notebook)
        if reason := self._misfit(notebook, record):
            print(f"{notebook} runs first, because {reason}.", flush=True)
            ours = {name: self.parameters[name] for name in declared(NOTEBOOKS[0]) if name in self.parameters}
            values = self.parameters | record.get("parameters", {}) | ours | {"OUT_DIR": str(self.folder)}
            apart([notebook], {name: values[name] for name in declared(notebook) if name in values})

    def done(self):
        """Record in the run folder that this notebook has run to its end, and with which parameters."""
        record = {"parameters": self.parameters, "manifest": self._fingerprint()}
        if self.notebook == NOTEBOOKS[0]:
            record["images"] = datasets.state(self.images)
        manifest.write_text(json.dumps(record, indent=2), self.folder / f"{self.notebook}.json")

    def _misfit(self, notebook, record):
        """Return why the results of ``notebook``, as recorded, cannot be taken as they are; "" if they can."""
        files = [self.folder / file for file in LEFT[notebook]]
        if not record or not all(map(Path.is_file, files)):
            return "not all of its results are here"
        try:
            fits = record.get("manifest") == self._fingerprint()
        except manifest.ManifestError as error:
            return str(error)
        if notebook != NOTEBOOKS[0]:
            return "" if fits else "the images, labels or split have changed since"
        if record.get("images") != datasets.state(self.images):
            return "the images are not those it has seen"
        shared = record["parameters"].keys() & self.parameters.keys() - {"DATA_DIR", "OUT_DIR"}
        other = [name for name in sorted(shared) if record["parameters"][name] != self.parameters[name]]
        return f"{other[0]} is another now" if other else ""

    def _fingerprint(self):
        file = self.folder / "manifest.csv"
        return manifest.fingerprint(manifest.read(file, "")) if file.exists() else ""
