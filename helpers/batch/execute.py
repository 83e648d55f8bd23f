"""Run the notebooks: one by one from each other, or all in order from the command line.

    python -m helpers.course run [NOTEBOOK ...] [--data-dir D] [--out-dir O] [-p NAME VALUE] ...
    python -m helpers.course sweep SWEEP.yml [--out-dir O] [--jobs N | --scheduler ADDRESS] [--dry-run]
"""

import argparse
import ast
import json
import os
import re
import sys
import time
from pathlib import Path

from helpers import datasets, manifest

NOTEBOOKS = ["01_eda", "02_augmentation", "03_baseline_cnn", "04_dropout_augmented_cnn", "05_evaluation"]
FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class CourseError(Exception):
    """A run that cannot start or did not end; the message says what was given, what is allowed and what to do."""


def parameters(namespace):
    """Return the notebook parameters in a namespace: upper-case names of numbers, truth values and text."""
    return {name: value for name, value in namespace.items()
            if name.isupper() and isinstance(value, (bool, int, float, str))}


def declared(notebook):
    """Return {name: default value} of the parameters cell of a notebook of the course.

    Raises
    ------
    CourseError
        If the course has no such notebook.
    """
    return {name: ast.literal_eval(entry["default"]) for name, entry in _inspect(notebook).items()}


def open_folder(out_dir):
    """Return the run folder as a Path, made if need be; a folder in Google Drive is mounted first."""
    if str(out_dir).startswith("/content/drive") and not os.path.ismount("/content/drive"):
        from google.colab import drive

        drive.mount("/content/drive")
    folder = Path(out_dir).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def open_run(namespace):
    """Return the images and the manifest of a notebook's run, made by notebook 01 if it is not there yet.

    Parameters
    ----------
    namespace : ``globals()`` of the notebook, with ``DATA_DIR`` and ``OUT_DIR``.

    Returns
    -------
    Images, DataFrame : where the images lie, and the run's manifest.
    """
    images, file = datasets.find(namespace["DATA_DIR"]), Path(namespace["OUT_DIR"]) / "manifest.csv"
    if not _same_images(images.root, file):
        (Path(namespace["OUT_DIR"]) / "01_eda.json").unlink(missing_ok=True)
    ensure("01_eda", namespace)
    return images, manifest.read(file, images.root)


def ensure(notebook, namespace):
    """Run another notebook with this one's parameters, and say so, unless its results are in the run folder already.

    Its results are taken as they are if they were made with the same values of the parameters that both notebooks have
    (``DATA_DIR`` apart: see :func:`open_run`) and, but for notebook 01, from the manifest that is in the run folder now.

    Parameters
    ----------
    notebook : name of a notebook of the course, such as "03_baseline_cnn".
    namespace : ``globals()`` of the notebook that asks.
    """
    out_dir = Path(namespace["OUT_DIR"])
    given = {name: value for name, value in parameters(namespace).items() if name in declared(notebook)}
    record = _read_record(out_dir, notebook)
    same = record and all(record["parameters"].get(name) == value for name, value in given.items()
                          if name not in ("DATA_DIR", "OUT_DIR"))
    if same and notebook != "01_eda":
        same = record["manifest"] == _fingerprint(out_dir)
    if not same:
        print(f"{notebook}'s results for these parameters are not in {out_dir} yet: running it now.", flush=True)
        execute(notebook, given, out_dir, progress=False)


def done(notebook, namespace):
    """Record in the run folder that a notebook has run to its end, and with which parameters."""
    out_dir = Path(namespace["OUT_DIR"])
    record = {"parameters": parameters(namespace), "manifest": _fingerprint(out_dir)}
    manifest.write_text(json.dumps(record, indent=2), out_dir / f"{notebook}.json")


def execute(notebook, values, out_dir, progress=True):
    """Execute one notebook with papermill; the executed copy goes to ``out_dir/notebooks``.

    Parameters
    ----------
    notebook : name of a notebook of the course.
    values : dict of parameters.
    out_dir : run folder.
    progress : show papermill's progress bar.

    Raises
    ------
    CourseError
        If a cell fails, with the notebook, the cell's number and the last lines of its error.
    """
    import papermill

    executed = Path(out_dir).absolute() / "notebooks" / f"{notebook}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # older kernels print a debugger's hint otherwise
    try:
        papermill.execute_notebook(FOLDER / f"{notebook}.ipynb", executed, values, progress_bar=progress,
                                   cwd=FOLDER, kernel_name="python3")
    except papermill.PapermillExecutionError as error:
        last = "\n".join(ANSI.sub("", "\n".join(error.traceback)).strip().splitlines()[-8:])
        raise CourseError(f"{notebook} failed in cell {error.exec_count}:\n{last}\n"
                          f"The whole notebook with its error: {executed}") from error


def _inspect(notebook):
    """Return papermill's description of a notebook's parameters: {name: {"default", "help", ...}}."""
    from papermill import inspect_notebook

    if notebook not in NOTEBOOKS:
        raise CourseError(f"There is no notebook {notebook!r}; the course has {', '.join(NOTEBOOKS)}.")
    return inspect_notebook(FOLDER / f"{notebook}.ipynb")


def _choices(notebook):
    """Return {name: list of allowed values} of the parameters whose form offers a list: ``# @param ["a", "b"]``."""
    lists = {name: re.search(r"@param (\[.*?\])", entry["help"]) for name, entry in _inspect(notebook).items()}
    return {name: json.loads(found[1]) for name, found in lists.items() if found}


def _same_images(root, file):
    if not file.exists():
        return False
    table = manifest.read(file, root)
    return set(table.loc[table["parent"] == "", "path"]) == set(datasets.list_images(root)["path"])


def _read_record(out_dir, notebook):
    file = out_dir / f"{notebook}.json"
    return json.loads(file.read_text()) if file.exists() else None


def _fingerprint(out_dir):
    file = out_dir / "manifest.csv"
    return manifest.fingerprint(manifest.read(file, "")) if file.exists() else ""


def _typed(name, text, default, choices):
    """Return the command line's ``text`` as a value of the type of the parameter's default."""
    if choices and text not in choices:
        raise CourseError(f"{name} is {text!r}, but it takes one of {choices}.")
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval(text.title() if isinstance(default, bool) else text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise CourseError(f"{name} is {text!r}, but it takes a {type(default).__name__} such as {default!r}.")
    return value


def plan(notebooks, given):
    """Check what is to be run before anything starts.

    Parameters
    ----------
    notebooks : names; [] means all.
    given : list of (parameter, text) pairs.

    Returns
    -------
    list of (notebook, dict of its parameters), in the order of the course.

    Raises
    ------
    CourseError
        On an unknown notebook, a parameter that none of the notebooks has, or a value of the wrong type.
    """
    chosen = [name.removesuffix(".ipynb") for name in notebooks] or NOTEBOOKS
    defaults = {name: declared(name) for name in chosen}
    known = {name: default for values in defaults.values() for name, default in values.items()}
    for name, _ in given:
        if name not in known:
            raise CourseError(f"{' '.join(chosen)} has no parameter {name!r}; it has {', '.join(sorted(known))}.")
    choices = {name: values for notebook in chosen for name, values in _choices(notebook).items()}
    typed = {name: _typed(name, text, known[name], choices.get(name)) for name, text in given}
    return [(notebook, {name: value for name, value in typed.items() if name in defaults[notebook]})
            for notebook in NOTEBOOKS if notebook in chosen]


def main(arguments=None):
    """The command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["sweep"]:
        from helpers import sweep

        return sweep.main(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m helpers.course", description="Run the course's notebooks.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sweep", add_help=False, help="run them for every set of parameters in a YAML file")
    run = commands.add_parser("run", help="run notebooks with papermill")
    run.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help=f"default: all of {', '.join(NOTEBOOKS)}")
    run.add_argument("--data-dir", help="folder of images; default: look for one, else the synthetic sample")
    run.add_argument("--out-dir", help="run folder; default: runs/course")
    run.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="set a parameter")
    options = parser.parse_args(arguments)
    given = [("OUT_DIR", str(Path(options.out_dir or "runs/course").expanduser().absolute())), *map(tuple, options.p)]
    if options.data_dir:
        given.append(("DATA_DIR", options.data_dir if options.data_dir == "sample"
                      else str(Path(options.data_dir).expanduser().absolute())))
    begun = time.perf_counter()
    try:
        steps = plan(options.notebooks, given)
        datasets.find(dict(given).get("DATA_DIR", ""))
        out_dir = dict(given)["OUT_DIR"]
        for notebook, values in steps:
            print(notebook, flush=True)
            execute(notebook, values, out_dir)
    except (CourseError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    from helpers import report

    print(f"{report.summary(out_dir)}\nDone in {time.perf_counter() - begun:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
