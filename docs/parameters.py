"""Write docs/parameters.md from the notebooks' own declarations: python -m docs.parameters"""

from pathlib import Path

from helpers import manifest, parameters, runs

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# Parameters

Every notebook has a parameters cell, with a form in Colab. The same name means the same in every notebook.

In a notebook, change the value in the cell. From the command line:

    python -m helpers run 03_baseline_cnn -p EPOCHS 5 -p SEED 1

A value out of its range, or a name that no notebook has, is refused before anything runs. If `DATA_DIR` is empty, the
environment variable `ISIC9_DIR` is used.

| parameter | meaning | default | takes | notebooks |
| --- | --- | --- | --- | --- |
"""
FOOT = """
This page is made from the notebooks' sources by `python -m docs.parameters`.
"""


def page():
    """Return the text of docs/parameters.md: one row per parameter, in the order in which the course meets them."""
    known, where = {}, {}
    for notebook in runs.NOTEBOOKS:
        known |= runs.declared(notebook)
        for name in runs.declared(notebook):
            where.setdefault(name, []).append(notebook[:2])
    rows = [
        f"| `{name}` | {parameter.meaning} | {shown(parameter.default)} | {allowed(parameter)} | "
        f"{'all' if len(where[name]) == len(runs.NOTEBOOKS) else ' '.join(where[name])} |"
        for name, parameter in known.items()
    ]
    return HEAD + "\n".join(rows) + "\n" + FOOT


def allowed(parameter):
    """Return what a parameter may be, in words."""
    if parameter.choices:
        return " · ".join(f"`{choice}`" for choice in parameter.choices)
    kind = parameters.KINDS[type(parameter.default)][0].removeprefix("a ")
    return kind if parameter.low == parameter.high else f"{kind}, {parameter.low:.10g} to {parameter.high:.10g}"


def shown(default):
    """Return a default as a person would write it."""
    return f"`{default}`" if default != "" else "empty"


if __name__ == "__main__":
    manifest.write_text(page(), PAGE)
