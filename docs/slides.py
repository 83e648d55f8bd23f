"""One deck of slides per notebook, of its figures and findings: ``make slides`` writes them to _slides/.

A slide is made of the outputs of each code cell tagged ``slide``, as they are stored in the notebook: a figure with its
alternative text, or lines of text. Its heading is the last one above the cell. A deck is one file, with reveal.js
(docs/reveal, MIT License) in it, so that it opens without a network.
"""

import re
from pathlib import Path

import jinja2
import nbformat

from helpers import manifest, runs
from helpers.data.datasets import ROOT


def slides(notebook):
    """Return what stands on each slide: a list of dictionaries heading, pictures ((base64 PNG, text), ...), said."""
    found, heading = [], ""
    for cell in notebook.cells:
        if cell["cell_type"] == "markdown":
            heading = ([heading] + re.findall(r"^##+ (.+)$", cell["source"], re.MULTILINE))[-1]
        elif "slide" in cell["metadata"].get("tags", []):
            outputs = cell["outputs"]
            pictures = [
                (each["data"]["image/png"].strip(), each["metadata"].get("image/png", {}).get("alt", heading))
                for each in outputs
                if "image/png" in each.get("data", {})
            ]
            said = " ".join(" ".join(each.get("text", "") for each in outputs).split())
            found.append({"heading": heading, "pictures": pictures, "said": "" if pictures else said})
    return found


def deck(notebook):
    """Return a notebook's deck as HTML."""
    title, promise = re.match(r"# (.+)\n\n\*\*(.+?)\*\*", notebook.cells[0]["source"], re.DOTALL).groups()
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    reveal = {kind: (ROOT / "docs" / "reveal" / f"reveal.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")}
    promise = " ".join(promise.split())
    return environment.get_template("slides.html").render(
        title=title, promise=promise, slides=slides(notebook), **reveal
    )


def main():
    for name in runs.NOTEBOOKS:
        notebook = nbformat.read(runs.FOLDER / f"{name}.ipynb", as_version=4)
        manifest.write_text(deck(notebook), ROOT / "_slides" / f"{name}.html")
        print(f"_slides/{name}.html: {1 + len(slides(notebook))} slides")


if __name__ == "__main__":
    main()
