"""What the runs of a sweep have found: the table, its spread over seeds, and a plot for each number."""

import base64
import html
import io
import json
from pathlib import Path

import pandas as pd

from helpers import course, manifest

TRAINED = ["val_accuracy", "predicted_val_accuracy", "val_loss", "accuracy", "loss", "best_epoch", "epochs_run",
           "train_seconds", "weights", "manifest"]
MODELS = {"03_baseline_cnn": ["baseline"], "04_dropout_augmented_cnn": ["regularised", "baseline"],
          "05_evaluation": ["regularised", "baseline"]}
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>body{{font:16px/1.5 sans-serif;max-width:60rem;margin:auto;padding:1rem}}
.wide{{overflow-x:auto}} table{{border-collapse:collapse}} th,td{{border-bottom:1px solid #ccc;padding:.25rem .6rem;
text-align:left;vertical-align:top}} img{{max-width:100%;height:auto}} .failed{{white-space:pre-wrap}}</style>
<h1>{title}</h1><p>{intro}</p>{body}</html>
"""


def keys(notebooks):
    """Return the names of what any run of these notebooks finds, the one to look at first in front."""
    models = list(dict.fromkeys(model for notebook in notebooks for model in reversed(MODELS.get(notebook, []))))
    return [f"{model}.{name}" for name in TRAINED for model in models]


def check(key, notebooks, before=()):
    """Raise CourseError if a key to record is not what runs of these notebooks find, or stands among those before it.

    What notebook 05 writes, ``data...``, ``<model>.val...`` and ``<model>.test...``, is looked up when it is there.
    """
    if key in before:
        raise course.CourseError(f"{key!r} stands here twice.")
    known = keys(notebooks)
    scores = {name.split(".")[0] + part for name in known for part in (".val.", ".test.")} | {"data."}
    scored = "05_evaluation" in notebooks and any(str(key).startswith(start) for start in scores)
    if key not in known and not scored:
        also = "needs" if "05_evaluation" not in notebooks else "comes from"
        raise course.CourseError(f"{key!r} is not something that these notebooks find; they find {', '.join(known)}; a "
                                 f"score such as baseline.test.audited.accuracy {also} 05_evaluation.")


def collect(folder):
    """Return what a run's folder holds, as a dict of dicts.

    For each model: its ``run.json`` (but parameters and versions), the losses and accuracies of its best epoch from
    ``history.csv``, ``predicted_val_accuracy`` (of ``predictions.csv``: test-time augmentation, where it is on, included)
    and, if notebook 05 has run, its ``val`` and ``test`` scores; and 05's ``data``.
    """
    found = {}
    for file in sorted(Path(folder).glob("*/run.json")):
        history = pd.read_csv(file.with_name("history.csv"))
        best = history.loc[history["val_loss"].idxmin()].drop(["epoch", "seconds"])
        answers = pd.read_csv(file.with_name("predictions.csv")).query("split == 'val'")
        right = answers.filter(regex="^p_").idxmax(axis=1).str[2:] == answers["label"]
        found[file.parent.name] = {**json.loads(file.read_text()), **best, "predicted_val_accuracy": right.mean()}
        del found[file.parent.name]["parameters"], found[file.parent.name]["versions"]
    scores = Path(folder) / "report" / "metrics.json"
    if scores.exists():
        metrics = json.loads(scores.read_text())
        found["data"] = metrics["data"]
        for model, values in metrics["models"].items():
            found.setdefault(model, {}).update(values)
    return found


def table(runs, outcomes, record):
    """Return the table of a sweep: one row for each run that has ended, in the sweep's order.

    Columns: run, status ("finished" or "failed"), the parameters given, what was to be recorded (empty where there is
    none), seconds, images (how the run found them), error.
    """
    rows = [{"run": job["name"], "status": outcomes[job["name"]]["status"], **job["values"],
             **{key: _look_up(outcomes[job["name"]].get("found", {}), key) for key in record},
             **{key: outcomes[job["name"]].get(key) for key in ("seconds", "images", "error")}}
            for job in runs if job["name"] in outcomes]
    return pd.DataFrame(rows, columns=["run", "status", *runs[0]["values"], *record, "seconds", "images", "error"])


def line(job, outcome, record):
    """Return a line about a job that has ended."""
    if outcome["status"] == "failed":
        lines = [text for text in outcome["error"].splitlines() if text and not text.startswith("The whole notebook")]
        return f"{job['name']}  FAILED: {lines[-1]}"
    found = [(key, _look_up(outcome["found"], key)) for key in record]
    said = [f"  {key} {value:.3f}" if isinstance(value, float) else f"  {key} {value}"
            for key, value in found if value is not None]
    return f"{job['name']}  finished in {outcome['seconds']:.0f} s{''.join(said)}"


def absent(table, record, outcomes):
    """Return a sentence on what was to be recorded and is in no finished run, "" if there is no such thing."""
    done = [outcome["found"] for outcome in outcomes.values() if outcome["status"] == "finished"]
    nowhere = [key for key in record if done and table[key].isna().all()]
    return (f"No run has {', '.join(nowhere)}. Correct it under record and run again (what is finished is only read "
            f"again); there are: {', '.join(_names(done[0]))}.") if nowhere else ""


def write_csv(table, out_dir):
    """Write ``results.csv`` atomically."""
    manifest.write_text(table.to_csv(index=False), Path(out_dir) / "results.csv")


def spread(table, record):
    """Return mean, standard deviation and number of finished runs for each combination of parameters other than SEED.

    The runs of one combination differ in ``SEED`` alone. One row a combination; columns (key, "mean" | "std" | "n").
    """
    numbers = [key for key in record if pd.api.types.is_numeric_dtype(table[key])]
    done = table[table["status"] == "finished"]
    if done.empty or not numbers:
        return pd.DataFrame()
    combinations = done.groupby(_labels(done), sort=False)
    return combinations[numbers].agg(["mean", "std", "count"]).rename(columns={"count": "n"})


def write_html(table, spec, out_dir):
    """Write ``results.html``, one file with the table, the spread over seeds and a plot for each number recorded."""
    out_dir, record = Path(out_dir), spec["record"]
    failed = table[table["status"] == "failed"]
    fixed = ", ".join(f"{name} = {value}" for name, value in spec["parameters"].items()) or "the notebooks' own"
    images = ", ".join(sorted(set(table["images"].dropna()))) or "unknown"
    intro = (f"{len(table)} runs of {', '.join(spec['notebooks'])} have ended, {len(failed)} of them failed. "
             f"Parameters of all: {fixed}. Images found by: {images}.")
    means = spread(table, record)
    shown = table[["run", "status", *record, "seconds"]].assign(run=table["run"].str.replace(",", ", "))
    parts = ["<h2>Runs</h2>", _wide(shown.to_html(index=False, border=0, na_rep="", float_format="{:.4g}".format))]
    parts += [f'<h3>{html.escape(row.run)}</h3><p class="failed">{html.escape(row.error)}</p>'
              for row in failed.itertuples()]
    if len(means):
        parts += ["<h2>Spread over seeds</h2><p>In the plots a dot is a run, a bar the mean.</p>",
                  _wide(means.to_html(border=0, na_rep="", float_format="{:.4g}".format))]
        for key in dict.fromkeys(means.columns.get_level_values(0)):
            picture = base64.b64encode(_plot(table[table["status"] == "finished"], key)).decode()
            parts.append(f'<h2>{html.escape(key)}</h2><img alt="{html.escape(key)} of each run" '
                         f'src="data:image/png;base64,{picture}">')
    page = PAGE.format(title=html.escape(f"Sweep {out_dir.name}"), intro=html.escape(intro), body="\n".join(parts))
    manifest.write_text(page, out_dir / "results.html")


def _plot(done, key):
    """Return a PNG: for each combination of parameters a dot for each run, and a bar for the mean."""
    from matplotlib.figure import Figure

    groups = list(done[key].groupby(_labels(done), sort=False))[::-1]
    lines = max(label.count(", ") for label, _ in groups) + 1
    figure = Figure(figsize=(5, 1 + (0.4 + 0.17 * lines) * len(groups)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for place, (_, values) in enumerate(groups):
        axes.plot(values, [place] * len(values), "o", color="tab:blue", alpha=0.6)
        axes.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color="black")
    axes.set_yticks(range(len(groups)), [label.replace(", ", "\n") for label, _ in groups], fontsize=10)
    axes.set_ylim(-0.6, len(groups) - 0.4)
    axes.set_xlabel(key, fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _labels(rows):
    """Return a Series that names, for each row, its run's parameters other than SEED."""
    names = [", ".join(part for part in run.split(",") if not part.startswith("SEED=")) for run in rows["run"]]
    return pd.Series(names, index=rows.index, dtype=object).replace({"": "as given", "run": "as given"})


def _wide(text):
    return f'<div class="wide">{text}</div>'


def _look_up(found, key):
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _names(found, before=""):
    """Return the dotted names of everything in a dict of dicts."""
    return [name for key, value in found.items()
            for name in (_names(value, f"{before}{key}.") if isinstance(value, dict) else [f"{before}{key}"])]
