"""One self-contained HTML page from figures, tables and text: the report, the audit's page, a sweep's results."""

import base64
import io
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from helpers import manifest

TEMPLATE = Path(__file__).with_name("page.html")


def write(file, title, sections, notes=()):
    """Write a page atomically and return its Path; whatever is given as text is escaped.

    Parameters
    ----------
    file : path of the page.
    title : text.
    sections : {heading: content, or list of contents}; the first stands before the table of contents. A content is a
        Figure, a DataFrame, a text (one paragraph; after a figure or table, its caption), ``{"cards": [(number, text),
        ...]}``, numbers to be seen first, or ``{"caption": text, "images": [(bytes of a JPEG or PNG, caption), ...]}``,
        pictures that belong together.
    notes : texts to stand out at the top of the page.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    parts = [
        (heading, [_part(content) for content in (contents if isinstance(contents, list) else [contents])])
        for heading, contents in sections.items()
    ]
    manifest.write_text(template.render(title=title, notes=notes, sections=parts), file)
    return Path(file)


def _part(content):
    """Return a content as the template takes it: a dict with its ``kind``."""
    if isinstance(content, Figure):
        stream = io.BytesIO()
        content.savefig(stream, format="png", dpi=110)
        return {"kind": "figure", "source": _uri(stream.getvalue()), "width": round(100 * content.get_figwidth())}
    if isinstance(content, pd.DataFrame):
        table = content.to_html(border=0, na_rep="", index_names=False, float_format="{:.2f}".format)
        return {"kind": "table", "html": table}
    if isinstance(content, str):
        return {"kind": "text", "text": content}
    if "cards" in content:
        return {"kind": "cards", **content}
    images = [(_uri(image), caption) for image, caption in content["images"]]
    return {"kind": "pictures", "caption": content["caption"], "images": images}


def _uri(image):
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
