"""Read a sweep's YAML file, and check it whole before anything starts."""

from pathlib import Path

import yaml

from helpers import course, sweep_report

KEYS = {"notebooks": list, "parameters": dict, "grid": dict, "one_at_a_time": bool, "seeds": list, "record": list}


def read(file):
    """Read and check a sweep's YAML file.

    Its keys: ``notebooks`` (names); ``parameters`` {name: value}, the same for every run; ``grid`` {name: list of
    values} and ``seeds`` (values of ``SEED``), of which every combination is a run, or with ``one_at_a_time: true`` every
    one in which at most one parameter of the grid has another than its first value (an ablation); ``record`` (what goes
    into the table: see ``sweep_report.collect``). Only ``notebooks`` is needed.

    Returns
    -------
    dict with ``notebooks`` (in the course's order), ``parameters``, ``grid`` (seeds among them), ``one_at_a_time`` and
    ``record``.

    Raises
    ------
    CourseError
        On the first thing that is wrong, with its line and what is allowed.
    """
    spec, lines = _parse(file)
    path = ("notebooks",)
    try:
        notebooks = [notebook for notebook, _ in course.plan([str(name) for name in spec["notebooks"]], [])]
        given = [(("parameters", name), [value]) for name, value in spec.get("parameters", {}).items()]
        given += [(("grid", name), values) for name, values in spec.get("grid", {}).items()]
        given += [(("seeds",), spec["seeds"])] if "seeds" in spec else []
        checked = {}
        for path, values in given:
            name = "SEED" if path == ("seeds",) else path[1]
            if name in checked:
                raise course.CourseError(f"{name} is given twice; keep it in one of parameters, grid and seeds.")
            checked[name] = path[0], _values(name, values, notebooks)
        record = spec.get("record", sweep_report.keys(notebooks)[:1])
        for number, key in enumerate(record):
            path = ("record", number)
            sweep_report.check(key, notebooks, record[:number])
    except course.CourseError as error:
        raise course.CourseError(f"{file}, line {lines.get(path, 1)}: {error}") from None
    return {"notebooks": notebooks, "record": record, "one_at_a_time": spec.get("one_at_a_time", False),
            "parameters": {name: values[0] for name, (place, values) in checked.items() if place == "parameters"},
            "grid": {name: values for name, (place, values) in checked.items() if place != "parameters"}}


def _parse(file):
    """Return a sweep's content, its keys checked, and {path of keys and positions: line} of each place in it."""
    lines = {}

    def walk(node, line, path=()):
        if path in lines:
            raise course.CourseError(f"{file}, line {line}: {path[-1]!r} stands here for the second time.")
        lines[path] = line
        for number, child in enumerate(node.value if isinstance(node, yaml.CollectionNode) else []):
            key, value = child if isinstance(child, tuple) else (child, child)
            walk(value, key.start_mark.line + 1, (*path, number if key is value else key.value))

    try:
        text = Path(file).read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise course.CourseError(f"{file} has an alias (*name): write the values out.")
        spec = yaml.safe_load(text)
        walk(yaml.compose(text, yaml.SafeLoader) or yaml.ScalarNode("", ""), 1)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise course.CourseError(f"{file} cannot be read as YAML: {error}") from error
    if not isinstance(spec, dict) or "notebooks" not in spec:
        raise course.CourseError(f"{file} names no notebooks; a sweep has the keys {', '.join(KEYS)}.")
    for key, value in spec.items():
        if not isinstance(value, KEYS.get(key, ())) or not value:
            wrong = {list: "takes a list", dict: "takes names with their values", bool: "takes true, or is left out"}
            what = wrong.get(KEYS.get(key), f"is not one of {', '.join(KEYS)}")
            raise course.CourseError(f"{file}, line {lines.get((key,), 1)}: {key} {what}.")
    return spec, lines


def _values(name, values, notebooks):
    """Return the values given for a parameter, each of its type; raise CourseError if one is wrong."""
    if name == "OUT_DIR":
        raise course.CourseError("OUT_DIR is each run's own folder: leave it out; --out-dir is the sweep's folder.")
    if not isinstance(values, list) or not values:
        raise course.CourseError(f"{name} takes a list of values, such as [1, 2].")
    typed = []
    for value in values:
        if not isinstance(value, (bool, int, float, str)):
            raise course.CourseError(f"{name} is {value!r}, but it takes one number, truth value or text.")
        value = next(steps[name] for _, steps in course.plan(notebooks, [(str(name), str(value))]) if name in steps)
        if name in ("DATA_DIR", "METADATA") and value not in ("", "sample"):
            value = str(Path(value).expanduser().absolute())
        if value in typed:
            raise course.CourseError(f"{name} has the value {value!r} twice.")
        typed.append(value)
    return typed
