"""The audit's findings as text and as a single page."""

import base64
import html
import io

from PIL import Image

from helpers.data.duplicates import read_files

COUNTS = {"images": "image files", "unreadable": "unreadable files",
          "contradictory_images": "pictures filed under two classes",
          "train_test_twins": "pictures in Train and in Test",
          "validation_twins": "pictures in validation and in another split",
          "same_class_duplicates": "pictures twice in one class folder",
          "near_duplicate_pairs": "pairs of pictures that are nearly the same"}
SHOWN = 200  # pairs of each kind on the page; a phone must still open it
SIDE = 160  # px, longest side of a picture on the page
STYLE = """:root{color-scheme:light dark}
body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:70rem}
table{border-collapse:collapse}td,th{padding:.2rem .6rem;border-bottom:1px solid #8886;text-align:left}
td:last-child{text-align:right;font-variant-numeric:tabular-nums}.pairs{display:flex;flex-wrap:wrap;gap:.8rem}
.pair{display:flex;gap:.3rem;border:1px solid #8886;border-radius:.4rem;padding:.4rem;max-width:100%;flex-wrap:wrap}
.pair p{flex-basis:100%;margin:0}figure{margin:0;flex:1 1 8rem;max-width:10rem;overflow-wrap:anywhere;font-size:.85rem}
img{width:100%;height:auto;display:block}"""


def text(found):
    """Return the counts and the pairs of labels of ``findings`` as lines of text."""
    lines = [f"{found[name]:6d} {meaning}" for name, meaning in COUNTS.items()]
    return "\n".join(lines + [f"{number:6d} pictures {meaning}" for meaning, number in _by_labels(found)])


def page(found, table):
    """Return the findings as one self-contained HTML page.

    Parameters
    ----------
    found : as ``audit.findings`` returns it.
    table : the manifest it was made from; the files are read once more.

    Returns
    -------
    str: HTML with the pictures embedded, the first 200 pairs of each kind.
    """
    lists = found["lists"]
    sections = {name: [("", [row["image_id"] for row in rows]) for rows in lists[name]]
                for name in ("contradictory_images", "train_test_twins", "validation_twins", "same_class_duplicates")}
    sections["near_duplicate_pairs"] = [
        (f"{pair['how']}: {pair['distance']} of 64 bits apart, similarity {pair['similarity']:.2f}",
         [pair["image_id"], pair["other_id"]]) for pair in lists["near_duplicate_pairs"]]
    shown = {image_id for pairs in sections.values() for _, ids in pairs[:SHOWN] for image_id in ids}
    files = table[table["image_id"].isin(shown)].set_index("image_id")
    files["picture"] = read_files(_embedded, files["path"])
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>Image audit</title>"
             f"<meta name=viewport content='width=device-width'><style>{STYLE}</style><h1>Image audit</h1>",
             _rows([(meaning, found[name]) for name, meaning in COUNTS.items()])]
    parts += ["<h2>Pictures by pair of labels</h2>", _rows(_by_labels(found))] if _by_labels(found) else []
    parts += [_section(COUNTS[name], pairs, files) for name, pairs in sections.items() if pairs]
    unreadable = "".join(f"<li>{html.escape(row['file'])}" for row in lists["unreadable"])
    parts += [f"<h2>{COUNTS['unreadable'].capitalize()}</h2><ul>{unreadable}</ul>"] if unreadable else []
    return "\n".join(parts) + "\n"


def _by_labels(found):
    """Return (meaning, number of pictures) of every pair of labels."""
    return ([(f"in {row['folders']}", row["images"]) for row in found["contradictory_folders"]]
            + [(f"filed under {row['published']}, officially {row['official']}", row["images"])
               for row in found["official_label_disagreements"]])


def _rows(rows):
    cells = "".join(f"<tr><td>{html.escape(name)}<td>{value}" for name, value in rows)
    return f"<table>{cells}</table>"


def _section(title, pairs, files):
    shown = "".join(_pair(note, [files.loc[image_id] for image_id in ids]) for note, ids in pairs[:SHOWN])
    more = f"<p>{len(pairs) - SHOWN} more are in the JSON file.</p>" if len(pairs) > SHOWN else ""
    return f"<h2>{title[0].upper() + title[1:]}: {len(pairs)}</h2><div class=pairs>{shown}</div>{more}"


def _pair(note, rows):
    figures = "".join(f"<figure><img src='{row['picture']}' alt=''><figcaption>"
                      f"{html.escape(row['split'])} <b>{html.escape(row['published_label'])}</b><br>"
                      f"{html.escape(str(row.name))}</figcaption></figure>" for row in rows)
    return f"<div class=pair>{f'<p>{note}</p>' if note else ''}{figures}</div>"


def _embedded(path):
    with Image.open(path) as file:
        file.draft("RGB", (SIDE, SIDE))
        image = file.convert("RGB")
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
