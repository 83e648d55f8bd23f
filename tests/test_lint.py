"""The code keeps its form, its rooms and its list of packages."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.data.datasets import ROOT

ELSEWHERE = {"google": "Colab's own", "kagglehub": "Colab's own", "dask": "for clusters, see --scheduler"}


def call(tool, *arguments):
    """Run a tool of this environment; return its exit status and what it said, or skip the test if it is not here."""
    place = shutil.which(tool, path=str(Path(sys.executable).parent))
    if place is None:
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run([place, *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]])
def test_the_code_keeps_its_form(arguments):
    status, said = call("ruff", *arguments, "helpers", "tests")
    assert status == 0, said


def test_a_room_imports_only_rooms_above_it():
    status, said = call("lint-imports", "--no-cache")
    assert status == 0, said


def imported(file):
    """Return the names of the packages that a Python file imports, in functions too."""
    text = re.sub(r"^[%!].*$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def test_what_is_imported_is_in_the_requirements():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    named = {re.split(r"[=<>~!;\[ ]", line)[0].lower() for line in lines if line and line[0] != "#"}
    files = [*(ROOT / "helpers").rglob("*.py"), *(ROOT / "notebooks").rglob("*.py")]
    names = set().union(*map(imported, files)) - sys.stdlib_module_names - {"helpers", "notebooks"} - {*ELSEWHERE}
    packages = importlib.metadata.packages_distributions()
    assert "numpy" in names
    missing = {name for name in names if not {package.lower() for package in packages.get(name, [])} & named}
    assert not missing, f"{sorted(missing)} are imported, but requirements.txt does not name them"
