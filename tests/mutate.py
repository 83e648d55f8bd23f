"""Make small wrong changes in helpers, one at a time, and see whether the tests of the room notice.

    python tests/mutate.py [ROOM ...] [--each 10] [--seed 0]

A room is a file or folder of ``ROOMS``; default: all. In each, so many changes are drawn: another comparison, operator,
number or truth value, ``and`` for ``or``, a ``not`` or an argument less. Changes that no test notices are printed, each
to be read: some change nothing that anybody could see. The tests run on a copy of the course. It takes hours.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {  # what is changed, and the tests that should notice
    "manifest.py": ["manifest", "runs", "small_changes"],
    "parameters.py": ["runs", "sweep -k not(cluster)"],
    "runs.py": ["runs", "small_changes"],
    "processes.py": ["runs", "sweep -k not(cluster)"],
    "figures.py": ["small_changes", "lessons"],
    "augmentation.py": ["augmentation"],
    "data/splits.py": ["splits"],
    "data/duplicates.py": ["audit", "small_changes"],
    "data/labels.py": ["audit", "splits"],
    "data/classes.py": ["audit", "layouts", "evaluation"],
    "data/tables.py": ["layouts"],
    "data/layouts.py": ["layouts"],
    "data/images.py": ["audit", "pipeline"],
    "data/datasets.py": ["layouts", "runs"],
    "training/pipeline.py": ["pipeline", "small_changes"],
    "training/callbacks.py": ["training", "small_changes"],
    "training/backbones.py": ["backbones"],
    "evaluation/scores.py": ["evaluation", "predictions"],
    "evaluation/intervals.py": ["evaluation", "decisions", "small_changes"],
    "evaluation/decisions.py": ["decisions"],
    "evaluation/explain.py": ["explain"],
    "evaluation/predict.py": ["predict"],
    "evaluation/report.py": ["report"],
    "evaluation/shortcut.py": ["shortcut", "evaluation"],
    "batch/results.py": ["sweep -k not(cluster)", "small_changes"],
    "batch/sweep.py": ["sweep -k not(cluster)"],
    "batch/execute.py": ["batch"],
}
COMPARISONS = {ast.Lt: ast.LtE, ast.Gt: ast.GtE, ast.Eq: ast.NotEq, ast.In: ast.NotIn, ast.Is: ast.IsNot}
COMPARISONS |= {other: one for one, other in COMPARISONS.items()}
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
             ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And}  # fmt: skip


def changes(tree):
    """Yield (line, what was changed, the changed tree) for every small change of a module that can be made."""
    for place, node in enumerate(ast.walk(tree)):
        for change in (_comparison, _operator, _constant, _negation, _argument):
            other = copy.deepcopy(tree)
            target = next(each for number, each in enumerate(ast.walk(other)) if number == place)
            if change(target):
                yield node.lineno, f"{ast.unparse(node)[:70]} -> {ast.unparse(target)[:70]}", other


def _comparison(node):
    if isinstance(node, ast.Compare):
        node.ops[0] = COMPARISONS[type(node.ops[0])]()
        return True
    return False


def _operator(node):
    if isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in OPERATORS:
        node.op = OPERATORS[type(node.op)]()
        return True
    return False


def _constant(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
        return True
    return False


def _negation(node):
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert)):
        node.op = ast.UAdd()
        return True
    return False


def _argument(node):
    if isinstance(node, ast.Call) and node.keywords and node.keywords[-1].arg:
        node.keywords.pop()
        return True
    return False


def noticed(course, tests):
    """Run tests in a copy of the course; say whether one fails."""
    for test in tests:
        name, *options = test.split(" ", 2)
        options = [option.replace("not(", "not (") for option in options]
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            f"tests/test_{name}.py",
            *options,
        ]
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        try:
            if subprocess.run(command, cwd=course, env=environment, capture_output=True, timeout=900).returncode:
                return True
        except subprocess.TimeoutExpired:
            return True
    return False


def main():
    """Draw changes, try each, and print what was not noticed and a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", default=list(ROOMS))
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        course = Path(folder) / "course"
        shutil.copytree(
            ROOT, course, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__")
        )
        print("room, caught, of")
        for room in given.rooms:
            file, caught = course / "helpers" / room, 0
            text = file.read_text(encoding="utf-8")
            possible = list(changes(ast.parse(text)))
            drawn = random.Random(given.seed).sample(possible, min(given.each, len(possible)))
            if noticed(course, ROOMS[room]):
                sys.exit(f"The tests of {room} fail before anything is changed.")
            for line, what, tree in drawn:
                file.write_text(ast.unparse(tree), encoding="utf-8")
                if noticed(course, ROOMS[room]):
                    caught += 1
                else:
                    print(f"    not noticed: {room}, line {line}: {what}", flush=True)
            file.write_text(text, encoding="utf-8")
            print(f"{room}, {caught}, {len(drawn)}", flush=True)


if __name__ == "__main__":
    main()
