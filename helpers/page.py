"""One self-contained HTML page from figures, tables and text: the report, the audit's page, a sweep's results."""

import base64
import io
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from helpers import manifest


def write(file, title, sections, notes=()):
    """Write a page atomically and return its Path; whatever is given as text is escaped.

    ``sections`` are {heading: content, or list of contents}; the first stands before the table of contents. A content
    is a Figure, a DataFrame, a text (one paragraph; before a table its title, after it its caption),
    ``{"cards": [(number, text), ...]}``, numbers to be seen first, or ``{"caption": text, "images": [(bytes of a JPEG
    or PNG, caption), ...]}``, pictures that belong together. ``notes`` are texts to stand out at the top.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["uri"] = _uri
    parts = {heading: content if isinstance(content, list) else [content] for heading, content in sections.items()}
    text = environment.get_template("page.html").render(title=title, notes=notes, sections=parts)
    manifest.write_text(text, file)
    return Path(file)


def _uri(image):
    """Return a Figure, or the bytes of a JPEG or PNG, as an address that holds the picture itself."""
    if isinstance(image, Figure):
        stream = io.BytesIO()
        image.savefig(stream, format="png", dpi=110)
        image = stream.getvalue()
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
