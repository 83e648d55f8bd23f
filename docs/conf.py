"""The site's settings (Sphinx): README, notebooks as they are stored, and docs; `make site` writes it to _site/html."""

import json
import shutil
from pathlib import Path

project = "Skin-lesion classification with a CNN"
author = copyright = "The authors of the skin-lesion course"
extensions = ["myst_nb"]
root_doc = "README"
include_patterns = ["*.md", "notebooks/*.ipynb", "docs/*.md", "data/README.md"]
exclude_patterns = [".*", "_site", "runs", "helpers", "tests"]  # not to be searched, which takes long
nb_execution_mode = "off"  # stored outputs only
nb_merge_streams = True
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]

html_theme = "sphinx_book_theme"
html_title = "Skin lesions, honestly"
html_static_path = ["site.css", "site.js"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {
    "show_toc_level": 2,
    "navbar_persistent": [],
    "show_navbar_depth": 1,
    "home_page_in_toc": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "toc_title": "On this page",
    "footer_content_items": ["author"],
}

CONTENTS = """
```{{toctree}}
:hidden:
:caption: {caption}
:glob:

{pages}
```
"""
PARTS = {
    "The course": ["notebooks/*"],
    "Reference": ["docs/results", "docs/data", "docs/parameters", "docs/batch", "docs/glossary"],
    "For teachers": ["docs/teaching", "docs/quiz"],
    "For contributors": ["CONTRIBUTING", "CODE_OF_CONDUCT", "CHANGELOG", "data/README"],
}
FOLDED = {"set-up": "Set-up", "parameters": "Parameters", "solution": "Solution"}


def prepare(app, name, source):
    """Give README the site's contents; fold the set-up cells and the solutions of a notebook."""
    if name == root_doc:
        source[0] += "".join(CONTENTS.format(caption=part, pages="\n".join(PARTS[part])) for part in PARTS)
    elif name.startswith("notebooks/"):
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            tags = cell["metadata"].get("tags", [])
            for tag in {*FOLDED} & {*tags}:
                cell["metadata"]["tags"] = [*tags, "hide-cell" if tag == "solution" else "hide-input"]
                cell["metadata"]["mystnb"] = {"code_prompt_show": FOLDED[tag], "code_prompt_hide": FOLDED[tag]}
            for output in cell.get("outputs", []):  # a figure's alternative text, which myst-nb looks for in the cell
                if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
                    cell["metadata"].setdefault("mystnb", {})["image"] = {"alt": alt}
        source[0] = json.dumps(notebook)


def finish(app, error):
    """Let the site's folder open with README."""
    if not error:
        shutil.copy(Path(app.outdir, "README.html"), Path(app.outdir, "index.html"))


def setup(app):
    app.connect("source-read", prepare)
    app.connect("build-finished", finish)
