"""A run folder: a notebook's parameters, what is done in the folder, and what one notebook needs of another."""

import difflib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from filelock import FileLock

from helpers import manifest, messages, parameters, processes
from helpers.data import archive, datasets
from helpers.parameters import RunError

NETWORK = ["model.keras", "run.json", "predictions.csv"]
LEFT = {  # the notebooks of the course, and what others need of them
    "01_eda": ["manifest.csv", "metadata.csv"],
    "02_augmentation": ["augmented.csv"],
    "03_baseline_cnn": [f"baseline/{file}" for file in NETWORK],
    "04_dropout_augmented_cnn": [f"colours_{how}/{file}" for how in ("kept", "exchanged") for file in NETWORK],
    "05_evaluation": [],
    "06_transfer_learning": [],
    "07_decisions": [],
}
NOTEBOOKS = list(LEFT)
NO_MATTER = {"DATA_DIR", "OUT_DIR", "METADATA", "EXTERNAL_DIR", "TENSORBOARD", "TTA"}  # they shape no weight themselves
FOLDER = datasets.ROOT / "notebooks"


def named(text):
    """Return the notebook whose name, and no other's, begins with ``text`` (such as "03"); RunError if none does."""
    text = Path(text).name.removesuffix(".ipynb")
    found = [name for name in NOTEBOOKS if name.startswith(text)]
    if len(found) != 1:
        near = [name for name in NOTEBOOKS if name[:2] == text[:2]] or difflib.get_close_matches(text, NOTEBOOKS)
        raise RunError(f"No single notebook matches {text!r}; did you mean {', '.join(found or near or NOTEBOOKS)}?")
    return found[0]


def declared(notebook):
    """Return {name: Parameter} of a notebook as its source declares them (see ``parameters.declared``)."""
    return parameters.declared((FOLDER / "src" / f"{notebook}.py").read_text(encoding="utf-8"))


def checked(notebook, values):
    """Return ``values`` {name: value} of a notebook's parameters in their types (see ``parameters.checked``)."""
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

    ``namespace`` is the ``globals()`` of the notebook, after its parameters cell; the checked values, in their types,
    are written back into it. RunError if a parameter is wrong or the folder cannot be used, FileNotFoundError if no
    images are where ``DATA_DIR`` says.
    """
    messages.shorten_errors()
    if "OUT_DIR" not in namespace:
        raise RunError(f"The parameters are not defined: {messages.ABOVE}.")
    values = checked(notebook, {name: namespace[name] for name in declared(notebook) if name in namespace})
    folder = open_folder(values["OUT_DIR"])
    if not values["DATA_DIR"]:
        values["DATA_DIR"] = begun_with(folder)
        if notebook == NOTEBOOKS[0] and values["DATA_DIR"] == "sample":  # perhaps there are images by now
            values["DATA_DIR"] = ""
        elif notebook == NOTEBOOKS[0] and values["DATA_DIR"]:
            print(f"{folder} continues with the images in {values['DATA_DIR']}. For others, set DATA_DIR or OUT_DIR.")
    namespace.update(values)
    matplotlib.rcParams["text.parse_math"] = False  # a class may be named "$x$"
    images = datasets.find(values["DATA_DIR"])
    if values.get("EXTERNAL_DIR") == "" and datasets.KAGGLE_SET in dict(images.sets):
        namespace["EXTERNAL_DIR"] = values["EXTERNAL_DIR"] = archive.clinics_in_colab()
    keep_outside(folder, images)
    if values.get("EXTERNAL_DIR"):
        keep_outside(folder, datasets.find(values["EXTERNAL_DIR"]))
    seen = datasets.state(images) if notebook == NOTEBOOKS[0] else ""
    return Run(notebook, folder, values, images, processes.claim(folder, notebook), seen)


def keep_outside(folder, images):
    """Raise RunError if a run folder lies in a set of images, where its own tables would be read as the set's."""
    if inside := [str(place) for _, place in images.sets if folder.resolve().is_relative_to(place.resolve())]:
        raise RunError(f"OUT_DIR is {str(folder)!r}, which lies in the images' folder {inside[0]!r}: choose another.")


def existing(run_dir):
    """Return a run folder in which notebook 01 has run, as a Path; RunError if it is none."""
    folder = Path(run_dir).expanduser()
    if not (folder / "manifest.csv").is_file():
        raise RunError(f"{run_dir} is not a run folder (no manifest.csv): python -m helpers run --out-dir {run_dir}")
    return folder


def begun_with(folder):
    """Return the ``DATA_DIR`` that a run folder was begun with, "" if none; RunError if its record is damaged."""
    record, file = recorded(folder, NOTEBOOKS[0]), folder / f"{NOTEBOOKS[0]}.json"
    if file.exists() and not record:
        raise RunError(f"{file} cannot be read any more; it recorded which images these are: set DATA_DIR to them.")
    return record.get("found") or record.get("parameters", {}).get("DATA_DIR", "")


def recorded(folder, notebook):
    """Return what :meth:`Run.done` recorded of a notebook (dict); {} if there is nothing that can be read."""
    try:
        record = json.loads((folder / f"{notebook}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("parameters"), dict) else {}


def shaping(parameters):
    """Return those of a notebook's ``parameters`` {name: value} that shape a training, without its length."""
    return {name: value for name, value in parameters.items() if name not in NO_MATTER and not name.endswith("EPOCHS")}


@dataclass
class Run:
    """One notebook at work, which alone works on that notebook in the run ``folder`` until it is :meth:`done`.

    What it is made from is fixed when it begins: the state of the images that notebook 01 has ``seen``, the fingerprint
    of the manifest that another one reads (``made_from``).
    """

    notebook: str
    folder: Path
    parameters: dict
    images: datasets.Images
    lock: FileLock | None = None
    seen: str = ""
    made_from: str = ""

    def manifest(self, augmented=False):
        """Return the run's manifest, with the images that notebook 02 wrote if ``augmented``.

        Notebook 01, or 02, runs first where its results are missing or were made of something else.
        """
        self.need(NOTEBOOKS[0])
        table = manifest.read(self.folder / "manifest.csv", self.images.root)
        self.made_from = manifest.fingerprint(table)
        if self.made_from != recorded(self.folder, NOTEBOOKS[0]).get("manifest"):
            print(f"{self.folder / 'manifest.csv'} was changed since {NOTEBOOKS[0]} wrote it; it is used as it is.")
        if not augmented:
            return table
        self.need("02_augmentation")
        return manifest.read(self.folder / "augmented.csv", self.images.root)

    def need(self, notebook):
        """Run another notebook first, in a process of its own, unless its results fit; RunError if it fails.

        Notebook 01's fit if they were made of the same images with the same values of the parameters that this notebook
        has too; any other's if they were made from the manifest that is here. What is made again keeps its parameters.
        """
        record = recorded(self.folder, notebook)
        if reason := self._misfit(notebook, record):
            print(f"{notebook} runs first, because {reason}.", flush=True)
            ours = {name: self.parameters[name] for name in declared(NOTEBOOKS[0]) if name in self.parameters}
            values = self.parameters | record.get("parameters", {}) | ours | {"OUT_DIR": str(self.folder)}
            processes.apart([notebook], {name: values[name] for name in declared(notebook) if name in values})

    def networks(self, table):
        """Return {name: folder} of the networks with predictions that fit the manifest ``table``; say which do not.

        They are in the order in which the course trains them, others last. A folder without a ``run.json`` holds
        predictions of another tool, which are taken as they are.
        """
        found, fits = {}, manifest.fingerprint(table[table["parent"] == ""])
        course = [file for files in LEFT.values() for file in files]
        trained = [self.folder / file for file in course if file.endswith("/predictions.csv")]
        others = sorted(set(self.folder.glob("*/predictions.csv")).difference(trained))
        for folder in (file.parent for file in [*filter(Path.exists, trained), *others]):
            if not (folder / "run.json").exists() or recorded(folder, "run").get("manifest") == fits:
                found[folder.name] = folder
            else:
                print(f"{folder.name} is left out: it was trained on another split or other labels. Train it again.")
        return found

    def answer(self, notebook, name, default):
        """Return what another notebook recorded under ``name`` (see :meth:`done`), else ``default``."""
        return recorded(self.folder, notebook).get("answers", {}).get(name, default)

    def done(self, **answers):
        """Record that this notebook has run to its end, and the reader's ``answers`` (numbers or text) in it."""
        record = {"parameters": self.parameters, "manifest": self.made_from, "answers": answers}
        if self.notebook == NOTEBOOKS[0]:
            found = ";".join("sample" if folder == datasets.SAMPLE else str(folder) for _, folder in self.images.sets)
            found = self.images.source.replace("Kaggle ", "kaggle:") if "Kaggle " in self.images.source else found
            record |= {"manifest": self._fingerprint(), "images": self.seen}
            record["found"] = self.parameters["DATA_DIR"] or found
        text = json.dumps(record, indent=2, default=lambda number: number.item())  # NumPy's
        manifest.write_text(text, self.folder / f"{self.notebook}.json")
        self.lock.release(force=True)

    def _misfit(self, notebook, record):
        """Return why the results of ``notebook``, as recorded, cannot be taken as they are; "" if they can."""
        files = [self.folder / file for file in LEFT[notebook]]
        if not record or not all(map(Path.is_file, files)):
            return "not all of its results are here"
        try:
            here = self._fingerprint()
            tables = [manifest.read(file, "") for file in files if file.name == "augmented.csv"]
        except manifest.ManifestError as error:
            return str(error)
        made_from = [record, *(recorded(file.parent, "run") for file in files if file.name == "run.json")]
        if notebook != NOTEBOOKS[0]:
            written = [path for table in tables for path in table.loc[table["parent"] != "", "path"]]
            if any(each.get("manifest") != here for each in made_from):
                return "the images, labels or split have changed since"
            return "" if all(map(os.path.isfile, written)) else "images that it wrote are missing"
        if record.get("images") != datasets.state(self.images):
            return "the images are not those it used"
        shared = record["parameters"].keys() & self.parameters.keys() - {"DATA_DIR", "OUT_DIR"}
        other = [name for name in sorted(shared) if record["parameters"][name] != self.parameters[name]]
        return f"{other[0]} has changed" if other else ""

    def _fingerprint(self):
        file = self.folder / "manifest.csv"
        return manifest.fingerprint(manifest.read(file, "")) if file.exists() else ""
