"""Make small wrong changes in helpers, one at a time, and see whether a test fails.

    python tests/mutate.py [FILE ...] [--changes 150] [--seed 0] [--known tests.json]

First the quick tests run once, to see which lines each of them runs. Then changes are drawn from the functions of each
file (of helpers, default: all) in proportion to its lines: another comparison, operator or truth value, a number plus
one, a ``not`` or the last keyword argument left out. Each is made in a copy of the course, and the tests that run its
line are tried. What none of them notices is printed, to be read: some changes make no difference that anybody could
see. ``--known`` keeps the list of tests and lines in a file for the next time.
"""

import argparse
import ast
import copy
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = ["checks", "colab", "docs", "faults", "lint", "notebooks", "slides"]  # left out: whole courses, and style
LEFT = ["killed", "cluster", "stopped_sweep", "failed_run", "failing_cell", "any_name", "was_changed", "_parent"]
LEFT += ["a_cell_that", "a_fault_keeps", "what_was_checked", "real_images"]  # so far tests that start kernels
LEFT += ["that_notebook_04_writes"]  # compares text
SLOW = 10  # seconds of CPU time of a test that is left out
PATIENCE = 600  # seconds of CPU time after which a change has made a loop without an end
HEAVY = ["keras", "tensorflow", "sklearn.metrics", "scipy.stats", "matplotlib.pyplot", "papermill"]  # imported once
COMPARISONS = {ast.Lt: ast.LtE, ast.Gt: ast.GtE, ast.Eq: ast.NotEq, ast.In: ast.NotIn, ast.Is: ast.IsNot}
COMPARISONS |= {other: one for one, other in COMPARISONS.items()}
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
             ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And}  # fmt: skip


class Noted:
    """A plugin of pytest that tells a Coverage which test runs, and notes what each takes and which fail."""

    def __init__(self, cover):
        self.cover, self.seconds, self.failed = cover, {}, set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.cover.switch_context(item.nodeid)
        begun = sum(os.times()[:4])  # of processes that it starts, too
        result = yield
        self.seconds[item.nodeid] = sum(os.times()[:4]) - begun
        return result

    def pytest_runtest_logreport(self, report):
        self.failed |= {report.nodeid} if report.failed else set()


def pytest_main(course, arguments, plugins=(), output=os.devnull):
    """Run tests of the course in this process, which is there for nothing else; return the exit status."""
    os.chdir(course)
    sys.path.insert(0, str(course))
    sys.dont_write_bytecode = True
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    return pytest.main(["-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", *arguments], list(plugins))


def note(course, file):
    """Run the quick tests; write {test: seconds} and {file of helpers: {line: its tests}} into a JSON file."""
    cover = coverage.Coverage(data_file=None, config_file=False, include=[f"{course}/helpers/*"])
    noted = Noted(cover)
    cover.start()
    left = [f"--ignore=tests/test_{name}.py" for name in FILES] + ["-k", f"not ({' or '.join(LEFT)})"]
    pytest_main(course, [*left, "--durations=60"], [noted], f"{file}.log")
    cover.stop()
    data, lines = cover.get_data(), {}
    quick = {test for test, seconds in noted.seconds.items() if seconds < SLOW} - noted.failed
    for path in sorted(data.measured_files()):
        if not path.endswith(".py"):
            continue  # a template of Jinja
        by_line = data.contexts_by_lineno(path).items()
        lines[str(Path(path).relative_to(course / "helpers"))] = {line: sorted(quick & {*by}) for line, by in by_line}
    seconds = {test: round(noted.seconds[test], 2) for test in sorted(quick)}
    Path(file).write_text(json.dumps({"seconds": seconds, "failed": sorted(noted.failed), "lines": lines}))


def try_tests(course, tests):
    resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE, PATIENCE))  # for each process that the tests start, too
    sys.exit(pytest_main(course, ["-x", *tests]))


def fails(context, course, tests):
    """Say whether one of these tests fails, or does not end."""
    process = context.Process(target=try_tests, args=(course, tests))
    process.start()
    process.join()
    return process.exitcode != 0


def changed(node):
    """Yield the nodes that a small wrong change makes of this one."""
    other = copy.copy(node)
    if isinstance(node, ast.Compare):
        other.ops = [COMPARISONS[type(node.ops[0])](), *node.ops[1:]]
    elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in OPERATORS:
        other.op = OPERATORS[type(node.op)]()
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        other.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert)):
        other = node.operand
    elif isinstance(node, ast.Call) and node.keywords and node.keywords[-1].arg:
        other.keywords = node.keywords[:-1]
    else:
        return
    yield other


def changes(text, lines):
    """Yield (node, other node, tests) for each small change of the functions of a module that tests run.

    ``lines`` is {line: tests}. Text is left as it is, also the parts of f-strings.
    """
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inside = range(function.body[0].lineno, function.end_lineno + 1)
            all_tests = {test for line in inside for test in lines.get(str(line), [])}
            parts = [function.args.defaults, function.body]
            nodes = [node for part in parts for each in part for node in _walk(each)] if all_tests else []
            for node in nodes:
                its = range(node.lineno, node.end_lineno + 1)
                tests = {test for line in its for test in lines.get(str(line), [])}
                for other in changed(node):
                    yield node, other, tests or all_tests


def _walk(node):
    """Yield the expressions in a node, but those in a function of its own, which comes by itself, and in f-strings."""
    if isinstance(node, ast.expr) and not isinstance(node, ast.JoinedStr):
        yield node
    if not isinstance(node, (ast.FunctionDef, ast.JoinedStr)):
        for child in ast.iter_child_nodes(node):
            yield from _walk(child)


def replaced(text, node, other):
    """Return a module's text with another expression in the place of one."""
    lines = text.encode().splitlines(keepends=True)
    before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
    after = lines[node.end_lineno - 1][node.end_col_offset :] + b"".join(lines[node.end_lineno :])
    return (before + f"({ast.unparse(other)})".encode() + after).decode()


def try_file(context, course, name, known, wanted, seed):
    """Try so many changes of a file of helpers; print what was not noticed, and (caught, of) with it; return these."""
    file = course / "helpers" / name
    text = file.read_text(encoding="utf-8")
    possible = list(changes(text, known["lines"][name]))
    drawn = random.Random(f"{seed} {name}").sample(possible, min(wanted, len(possible)))
    drawn = [(node, other, sorted(tests, key=known["seconds"].get)) for node, other, tests in drawn]
    chosen, caught = {test for *_, tests in drawn for test in tests}, 0
    seconds = sum(known["seconds"][test] for test in chosen)
    for node, other, tests in sorted(drawn, key=lambda each: each[0].lineno):
        file.write_text(replaced(text, node, other), encoding="utf-8")
        if fails(context, course, tests):
            caught += 1
        else:
            what = f"{ast.unparse(node)[:80]} -> {ast.unparse(other)[:80]}"
            print(f"    not noticed by {len(tests)} tests: {name}:{node.lineno}: {what}", flush=True)
    file.write_text(text, encoding="utf-8")
    print(f"{name}, {len(text.splitlines())}, {len(chosen)}, {seconds:.0f}, {caught}, {len(drawn)}", flush=True)
    return caught, len(drawn)


def main():
    """Draw changes, try each, and print a table, and what was not noticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="FILE", help="such as data/splits.py; default: all")
    parser.add_argument("--changes", type=int, default=150, help="over all files; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--known", metavar="JSON", help="where to keep which test runs which line")
    given = parser.parse_args()
    os.nice(10)
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    with tempfile.TemporaryDirectory() as folder:
        course, noted = Path(folder) / "course", Path(given.known or Path(folder) / "known.json").absolute()
        left = shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__")
        shutil.copytree(ROOT, course, symlinks=True, ignore=left)
        if not noted.exists():
            process = context.Process(target=note, args=(course, noted))
            process.start()
            process.join()
        known = json.loads(noted.read_text(encoding="utf-8"))
        print(f"{len(known['seconds'])} quick tests, {sum(known['seconds'].values()):.0f} s", flush=True)
        lines = {name: (course / "helpers" / name).read_text("utf-8").count("\n") for name in sorted(known["lines"])}
        print("file, lines, tests, their seconds of CPU time, caught, of", flush=True)
        wanted = {
            name: max(1, round(given.changes * lines[name] / sum(lines.values()))) for name in given.files or lines
        }
        counts = [try_file(context, course, name, known, share, given.seed) for name, share in wanted.items()]
        print("all, caught, of:", *map(sum, zip(*counts)))


if __name__ == "__main__":
    main()
