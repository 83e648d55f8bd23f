"""What a run has found, as files that outlive it: metrics.json, and pages that can be sent."""

import json
import re
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from helpers import manifest, page

NOTICE = "This is teaching material, not a medical device. Nothing here may be used to judge anybody's skin."
SYNTHETIC = (
    "SYNTHETIC: the images of this run are drawings, not patients. The scores say that the course works, and nothing "
    "about skin."
)
REAL = "It shows images of the set it was made from: send it only where their licence and their patients allow it."


class ReportError(ValueError):
    """A file of a run that cannot be read; the message names the file and the way out."""


def read_json(file):
    """Return what a JSON file of a run (``run.json``, ``metrics.json``) holds, {} if there is none.

    Raises ReportError if it is no JSON object, such as a file cut short by a full disk.
    """
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ReportError(f"{file} cannot be read ({error}); delete it and run its notebook again.") from error
    if not isinstance(found, dict):
        raise ReportError(f"{file} holds {type(found).__name__}, not an object; delete it and run its notebook again.")
    return found


def summary(out_dir):
    """Return the closing lines of a run: accuracy of each model on validation and Test, and where to look."""
    file, lines = Path(out_dir) / "report" / "metrics.json", []
    try:
        found = read_json(file)
        if found:
            data = found["data"]
            sizes = ", ".join(f"{data[f'n_{split}']} {split}" for split in manifest.SPLITS)
            made = " (synthetic)" if data["synthetic"] else ""
            lines += [f"Images: {data['source']}{made}, labels {data['labels']}: {sizes}.", f"{'accuracy':14}{_ROW[9:]}"]
        for name, model in found.get("models", {}).items():
            values = [model["val"], model["test"]["audited"], model["test"]["published"]]
            a, b, c = ("-" if value["accuracy"] is None else f"{value['accuracy']:.3f}" for value in values)
            lines.append(f"{name:14}{model['epochs_run']:8}{model['train_seconds']:9.0f}{a:>12}{b:>14}{c:>16}")
        lines += [f"All scores: {file}"] * bool(found)
    except (ReportError, KeyError, TypeError) as error:
        lines = [f"{file} is not what 05_evaluation writes ({error!s:.200}); run 05_evaluation again."]
    return "\n".join([*lines, f"Executed notebooks, with every figure: {Path(out_dir) / 'notebooks'}"])


_ROW = f"{'model':9}{'epochs':>8}{'seconds':>9}{'validation':>12}{'test audited':>14}{'test published':>16}"


def write_metrics(run, table, scored):
    """Write ``report/metrics.json`` in the run's folder: the data, and each model's scores; return its path.

    Parameters
    ----------
    run : the Run of notebook 05.
    table : its manifest.
    scored : {model: {"val": scores, "test": {"published": scores, "audited": scores}, ...}}, scores as ``scores.score``
        returns them. A model that was trained elsewhere has run 0 epochs here, in 0 seconds.
    """
    used = manifest.active(table)
    counts = used["split"].value_counts()
    data = {
        "source": run.images.source,
        "synthetic": run.images.synthetic,
        "labels": run.parameters["LABELS"],
        "classes": sorted(used.loc[used["split"] == "train", "label"].unique()),
        **{f"n_{split}": int(counts.get(split, 0)) for split in manifest.SPLITS},
        "manifest": manifest.fingerprint(table),
    }
    records = {name: read_json(run.folder / name / "run.json") for name in scored}
    models = {
        name: {key: records[name].get(key, 0) for key in ("epochs_run", "train_seconds")} | values
        for name, values in scored.items()
    }
    file = run.folder / "report" / "metrics.json"
    manifest.write_text(json.dumps({"data": data, "models": models}, indent=2, allow_nan=False), file)
    return file


def estimate(values, name):
    """Return a score with its 95 % interval as text, such as "0.43 (0.34 to 0.52)"; "not defined" where it is None.

    ``values`` is a dictionary of ``scores.score``, ``scores.compare`` or ``decisions``. An interval without a width comes
    from resampling images that are all alike in what is scored: it is called unknown, not certain.
    """
    if values.get(name) is None:
        return "not defined"
    ends = values.get(f"{name}_interval") or values.get(f"{name}_bootstrap_interval")
    if not ends or ends[0] == ends[1]:
        return f"{values[name]:.2f} (interval unknown)"
    return f"{values[name]:.2f} ({ends[0]:.2f} to {ends[1]:.2f})"


def p_value(p):
    """Return a p-value as it is written: "p = .012", and "p < .001" where it is smaller than that."""
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".")


def in_words(name, scored, majority, patients, prevalence, synthetic):
    """Return the first screen of a report: cards of the main numbers, and sentences that claim no more than they can.

    Parameters
    ----------
    name : the model.
    scored : its scores on Test.
    majority : (class, accuracy) of always predicting the largest training class, on the same images.
    patients : ``decisions.per_thousand`` for "malignant or not"; None where that cannot be asked.
    prevalence : the share of patients with cancer that was assumed there.
    synthetic : the images are drawings.
    """
    low, high = (f"{100 * end:.0f}" for end in scored["accuracy_interval"] or (0, 1))
    cards = [
        (f"{scored['accuracy'] or 0:.0%}", f"of {scored['n']} Test images classified correctly (95 % interval {low} to {high} %)"),
        (f"{majority[1]:.0%}", f"is what calling every image {majority[0]} would get"),
    ]
    said = [f"These are the numbers of the network {name!r} on images that took no part in its training."]
    if patients is None:
        said.append("Whether a lesion is malignant was not asked: these classes or images do not allow it.")
    else:
        sick, ends = round(1000 * prevalence), {row: "{low:.0f} to {high:.0f}".format(**patients.loc[row]) for row in patients.index}
        texts = {
            "found": f"of {sick} patients with cancer found ({ends['found']})",
            "missed": f"of {sick} missed ({ends['missed']})",
            "needless": f"of {1000 - sick} without cancer sent on needlessly ({ends['needless']})",
        }
        cards += [(f"{patients.loc[row, 'value']:.0f}", text) for row, text in texts.items()]
        said.append(
            f"The last three count patients out of 1,000, of whom {sick} are assumed to have cancer; the share is not known "
            "from images. A patient is sent on when the network predicts one of the malignant classes. In brackets stands "
            "what the intervals on these few images allow."
        )
    limits = (
        "Not tried: another clinic, another camera, other skin tones, and whether a doctor does better with it. The images "
        "are of one collection or a few, and who took a picture can give its class away."
    )
    return [{"cards": cards}, *said, SYNTHETIC if synthetic else limits]


def run_record(folder, names):
    """Return the records of trained models as a table, a model a column: time, manifest, versions, parameters."""
    columns = {}
    for name in names:
        record = read_json(Path(folder) / name / "run.json")
        versions, parameters = record.pop("versions", {}), record.pop("parameters", {})
        facts = {key.replace("_", " "): value for key, value in record.items() if key not in ("name", "network")}
        hidden = ("DATA_DIR", "OUT_DIR", "METADATA")  # paths of somebody's machine
        facts |= versions | {key: value for key, value in parameters.items() if key not in hidden}
        columns[name] = {key: str(value) for key, value in facts.items()}
    return pd.DataFrame(columns, dtype=object).fillna("")


def write(run, name, title, sections):
    """Write the page ``report/<name>.html`` in the run's folder, and its figures beside it as PNG; return its path.

    ``sections`` are those of :func:`helpers.page.write`. Notes at the top say what the page is not.
    """
    folder = run.folder / "report"
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for heading, contents in sections.items():
        figures = [part for part in contents if isinstance(part, Figure)] if isinstance(contents, list) else []
        for number, figure in enumerate(figures, start=1):
            words = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
            figure.savefig(folder / "figures" / f"{name}-{words}-{number}.png", dpi=110)
    return page.write(folder / f"{name}.html", title, sections, [NOTICE, SYNTHETIC if run.images.synthetic else REAL])
