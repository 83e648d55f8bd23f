"""What a run has found, as files that outlive it: figures, numbers, and a page that can be sent."""

import html
import json
import os
import re
import tempfile
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from helpers import manifest
from helpers.evaluation import scores as evaluation
from helpers.evaluation.intervals import wilson

NOTICE = "This is teaching material, not a medical device. Nothing here may be used to judge anybody's skin."
SYNTHETIC = ("SYNTHETIC: the images of this run are drawings, not patients. The scores say that the course works, and "
             "nothing about skin.")
REAL = "It shows images of the set it was made from: send it only where their licence and their patients allow it."
READING = [
    "In brackets stand 95 % intervals: with so few images, the true value may well lie anywhere in them.",
    "Published labels are those of the image folders, audited labels those that survived the check of the set.",
    "Validation chose the training's end, the temperature and the threshold; Test chose nothing.",
    "Decisions use probabilities scaled by the temperature. Malignant are melanoma, squamous and basal cell carcinoma."]
STYLE = """
body {font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 62rem; margin: 0 auto; padding: 1rem}
h1 {line-height: 1.2} h2 {margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem; font-size: 1.25rem}
.note {background: #fff3e0; border-left: 4px solid #d55e00; padding: .6rem 1rem}
.wide {overflow-x: auto; margin: 1rem 0} img {max-width: 100%; height: auto}
table {border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums}
th, td {padding: .3rem .7rem; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top; min-width: 3.5rem}
td {white-space: nowrap} .hint {display: none; color: #555}
thead th {border-bottom: 2px solid #888}
@media (max-width: 50rem) {img {max-width: none; width: var(--width)} .hint {display: block}}
"""


def read_run(folder):
    """Return the record (``run.json``) of a trained model's folder as a dict, {} if it was trained elsewhere."""
    file = Path(folder) / "run.json"
    return json.loads(file.read_text()) if file.exists() else {}


def summary(out_dir):
    """Return the closing lines of a run: scores of each model on Test, and where to look."""
    file = Path(out_dir) / "report" / "metrics.json"
    lines = []
    if file.exists():
        metrics = json.loads(file.read_text())
        data = metrics["data"]
        lines.append(f"Images: {data['source']}{' (synthetic)' if data['synthetic'] else ''}, labels {data['labels']}: "
                     f"{data['n_train']} train, {data['n_val']} validation, {data['n_test']} test.")
        lines.append(f"{'model':14}{'epochs':>8}{'seconds':>9}{'validation':>12}{'test audited':>14}"
                     f"{'test published':>16}")
        for name, model in metrics["models"].items():
            scores = [model["val"], model["test"]["audited"], model["test"]["published"]]
            a, b, c = ("-" if score["accuracy"] is None else f"{score['accuracy']:.3f}" for score in scores)
            lines.append(f"{name:14}{model['epochs_run']:8}{model['train_seconds']:9.0f}{a:>12}{b:>14}{c:>16}")
        lines.append(f"(accuracy) All scores: {file}")
    return "\n".join([*lines, f"Executed notebooks, with every figure: {Path(out_dir) / 'notebooks'}"])


def write_metrics(out_dir, images, table, labels, scores):
    """Write ``out_dir/report/metrics.json``: the data, and each model's scores on validation and Test.

    Parameters
    ----------
    out_dir : run folder, with a folder for each model.
    images : where the images lie, as ``datasets.find`` returns it.
    table : manifest of the run.
    labels : the label policy, "audited" or "published".
    scores : {model: {"val": scores, "test": {"published": scores, "audited": scores}}}, scores as
        ``evaluation.score`` returns them.

    Returns
    -------
    Path of the file. A model that was trained elsewhere has run 0 epochs here, in 0 seconds.
    """
    used = manifest.active(table)
    counts = used["split"].value_counts()
    data = {"source": images.source, "synthetic": images.synthetic, "labels": labels,
            "classes": sorted(used.loc[used["split"] == "train", "label"].unique()),
            **{f"n_{split}": int(counts.get(split, 0)) for split in manifest.SPLITS},
            "manifest": manifest.fingerprint(table)}
    models = {}
    for name, scored in scores.items():
        record = read_run(Path(out_dir) / name)
        models[name] = {key: record.get(key, 0) for key in ("epochs_run", "train_seconds")} | scored
    file = Path(out_dir) / "report" / "metrics.json"
    manifest.write_text(json.dumps({"data": data, "models": models}, indent=2, allow_nan=False), file)
    return file


def estimate(values, name):
    """Return a score with its interval as text, such as "0.43 (0.34 to 0.52)"; "not defined" where it is None.

    ``values`` is a dictionary of ``evaluation.score``, ``decisions.operating_point`` or ``evaluation.compare``.
    """
    if values.get(name) is None:
        return "not defined"
    ends = values.get(f"{name}_interval") or values.get(f"{name}_bootstrap_interval")
    return f"{values[name]:.2f}" + (f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends else "")


def others():
    """Return what was found in 26 public notebooks of this case study, and with a plain tutorial network, as a table.

    Validation is leaked where augmented copies of one image lie on both sides of the split. The Test is the published
    one: 118 images.
    """
    low, high = wilson(56, 118)
    rows = [("25 of 26 public notebooks, which augment first and split afterwards", "0.66 to 0.91, leaked",
             "6 of the 26 score it"),
            ("the best of these 6, trained from scratch", "", f"{56 / 118:.3f} ({low:.2f} to {high:.2f})"),
            ("the best transfer learning among them", "", "0.449"),
            ("the one notebook that splits first", "0.45", "0.475"),
            ("a plain three-convolution tutorial network, 20 epochs", "0.52", "0.29")]
    return pd.DataFrame(rows, columns=["who", "accuracy, validation", "accuracy, published Test"]).set_index("who")


def in_words(name, scores, counts, point, patients, prevalence, synthetic):
    """Return what a run says, in sentences that claim no more than it can.

    Parameters
    ----------
    name : the model.
    scores : its scores on Test (``evaluation.score`` with intervals).
    counts : images of each class in Test.
    point : its ``decisions.operating_point`` for "malignant or not" on Test; None where that cannot be asked.
    patients : ``decisions.per_thousand`` of that point; None likewise.
    prevalence : the share of patients with cancer that was assumed there.
    synthetic : the images are drawings.
    """
    few = int((counts < evaluation.FEW).sum())
    said = [f"Of {scores['n']} test images the {name} network named {_per_cent(scores, 'accuracy')} rightly; {few} of "
            f"{len(counts)} classes have fewer than {evaluation.FEW} images there, too few to judge them one by one."]
    if point:
        sick = point["true_positives"] + point["false_negatives"]
        well = point["false_positives"] + point["true_negatives"]
        ends = {row: "{value:.0f} ({low:.0f} to {high:.0f})".format(**patients.loc[row]) for row in patients.index}
        said.append(f"Asked only whether a lesion is malignant, with a threshold set on other images, it found "
                    f"{point['true_positives']} of {sick} cancers, {_per_cent(point, 'sensitivity')}, and flagged "
                    f"{point['false_positives']} of {well} other lesions needlessly; if {1000 * prevalence:.0f} of "
                    f"1,000 patients had cancer, which is assumed, it would miss {ends['missed']} of them and flag "
                    f"{ends['needless']} of the others.")
    else:
        said.append("Whether a lesion is malignant was not asked: these classes or images do not allow it.")
    said.append(SYNTHETIC if synthetic else "It was tried only on images of the collection that it learned from, not "
                "in another clinic, with another camera or on other skin tones, and never beside a doctor: it must not "
                "be used to judge anybody's skin.")
    return said


def _per_cent(values, name):
    if values[name] is None:
        return "none"
    low, high = values[f"{name}_interval"]
    return f"{100 * values[name]:.0f} % (95 % interval {100 * low:.0f} to {100 * high:.0f} %)"


def run_record(out_dir, names):
    """Return the records of trained models as a table, a model a column: time, manifest, versions, parameters."""
    columns = {}
    for name in names:
        record = read_run(Path(out_dir) / name)
        versions, parameters = record.pop("versions", {}), record.pop("parameters", {})
        facts = {key.replace("_", " "): value for key, value in record.items() if key not in ("name", "network")}
        hidden = ("DATA_DIR", "OUT_DIR", "METADATA")  # paths of somebody's machine
        facts |= versions | {key: value for key, value in parameters.items() if key not in hidden}
        columns[name] = {key: str(value) for key, value in facts.items()}
    return pd.DataFrame(columns, dtype=object).fillna("")


def write_page(out_dir, title, sections, synthetic):
    """Write the self-contained page ``out_dir/report/report.html``, and its figures into ``out_dir/report/figures``.

    Parameters
    ----------
    out_dir : run folder.
    title : title of the page.
    sections : {heading: Figure, DataFrame, text, or list of texts}, in the order of the page.
    synthetic : the images are drawings; the page says so at its top.

    Returns
    -------
    Path of the page. Numbered figures of an earlier page are removed.
    """
    folder = Path(out_dir) / "report"
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for old in (folder / "figures").glob("[0-9][0-9]-*.png"):
        old.unlink()
    parts = []
    for number, (heading, content) in enumerate(sections.items(), start=1):
        parts.append(f"<h2>{html.escape(heading)}</h2>")
        if isinstance(content, Figure):
            name = f"{number:02d}-{re.sub(r'[^a-z0-9]+', '-', heading.lower()).strip('-')}.png"
            parts.append(_image(content, heading, folder / "figures" / name))
        elif isinstance(content, pd.DataFrame):
            table = content.to_html(border=0, na_rep="", index_names=False, float_format="{:.2f}".format)
            parts.append(f'<div class="wide">{table}</div>')
        else:
            parts += [f"<p>{html.escape(text)}</p>" for text in ([content] if isinstance(content, str) else content)]
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in (NOTICE, SYNTHETIC if synthetic else REAL))
    page = (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
            f"<body><h1>{html.escape(title)}</h1>\n{notes}\n"
            '<p class="hint">Wide tables and figures scroll sideways.</p>\n' + "\n".join(parts) + "\n</body></html>\n")
    manifest.write_text(page, folder / "report.html")
    return folder / "report.html"


def _image(figure, heading, file):
    """Write a figure as PNG, and return it as HTML; on a phone it keeps a legible width and scrolls."""
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(handle, "wb") as part:
        part.write(stream.getvalue())
    os.chmod(temporary, 0o644)
    os.replace(temporary, file)
    width = round(100 * figure.get_figwidth())
    data = b64encode(stream.getvalue()).decode()
    return (f'<div class="wide"><img style="--width: {width}px" width="{width}" alt="{html.escape(heading)}" '
            f'src="data:image/png;base64,{data}"></div>')
