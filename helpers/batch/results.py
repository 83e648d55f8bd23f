"""What the runs of a sweep have found: the table, its spread over seeds, and a page with a plot for each number."""

import json
import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from helpers import manifest, page
from helpers.runs import RunError

MARK = "sweep.json"  # written last: a run whose folder has it is finished
COLUMNS = ["run", "status", "seconds", "images", "error"]  # of the table, beside parameters and what is recorded


def finished(job):
    """Return the record of a finished run (``status, notebooks, values, seconds, images, found``), None if it is to do.

    If one of its files is gone or broken, it is to do again, which is said. RunError if what is finished there was made
    with other notebooks or parameters, or of other images than ``job["state"]`` says, if it is known.
    """
    folder = Path(job["folder"])
    if not (folder / MARK).exists():
        return None
    try:
        record = json.loads((folder / MARK).read_text(encoding="utf-8"))
        there, wanted = ({"notebooks": each["notebooks"], **each["values"]} for each in (record, job))
        outcome = record | {"status": "finished", "found": found(folder)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        print(f"{folder} is run again: a file of this finished run is missing or damaged ({error}).", flush=True)
        return None
    for name in sorted(there.keys() | wanted.keys()):
        was, now = (repr(values[name]) if name in values else "not given" for values in (there, wanted))
        if was != now:
            raise RunError(f"{folder} was run with {name} {was}, but this sweep says {now}: choose another --out-dir.")
    if record.get("state") != job.get("state", record.get("state")):
        raise RunError(f"{folder} holds a finished run on other images than those found now: choose another --out-dir.")
    return outcome


def found(folder):
    """Return {name: value} of what a run's folder holds.

    ``<network>.<name>`` for all in a network's ``run.json`` and for losses and accuracies of its best epoch, that of
    the lowest ``val_loss`` (``history.csv``); ``<network>.predicted_val_accuracy`` (``predictions.csv``); what notebook
    06 measures of its network (``numbers.json``); and if notebook 05 has run, ``<network>.val...``,
    ``<network>.test...`` and ``data...`` of ``report/metrics.json``.
    """
    facts = {}
    for file in sorted(folder.glob("*/run.json")):
        best = pd.read_csv(file.with_name("history.csv")).dropna(subset="val_loss").nsmallest(1, "val_loss")
        best = best.drop(columns=["epoch", "seconds"], errors="ignore").squeeze()
        rows = pd.read_csv(file.with_name("predictions.csv")).query("split == 'val'")
        right = rows.filter(regex="^p_").idxmax(axis=1).str[2:] == rows["label"]
        facts[file.parent.name] = json.loads(file.read_text(encoding="utf-8")) | best.to_dict()
        facts[file.parent.name]["predicted_val_accuracy"] = right.mean()
    for file in sorted(folder.glob("*/numbers.json")):
        facts[file.parent.name] |= json.loads(file.read_text(encoding="utf-8"))
    if (scores := folder / "report" / "metrics.json").exists():
        metrics = json.loads(scores.read_text(encoding="utf-8"))
        for network, values in (metrics["models"] | {"data": metrics["data"]}).items():
            facts[network] = facts.get(network, {}) | values
    flat = pd.json_normalize([facts]).iloc[0]
    return flat[~flat.index.str.contains(r"^\w+\.(?:parameters|versions)\.")].to_dict()


def write(jobs, outcomes, record, folder):
    """Write ``results.csv`` and ``results.html``, and return the table: a row for each run that has ended.

    Its columns are run, status, the parameters, what to ``record`` ([]: each network's val_accuracy), seconds, images
    and error. The page shows mean, standard deviation and number (n) of finished runs that differ in ``SEED`` alone.
    """
    ended = [(job, outcomes[job["name"]]) for job in jobs if job["name"] in outcomes]
    rows = [{"run": job["name"], **job["values"], **outcome.get("found", {}), **outcome} for job, outcome in ended]
    record = record or sorted({key for row in rows for key in row.get("found", {}) if key.endswith(".val_accuracy")})
    parameters = dict.fromkeys(name for job in jobs for name in job["values"])
    table = pd.DataFrame(rows, columns=[*COLUMNS[:2], *parameters, *record, *COLUMNS[2:]])
    defused = table.astype(object).map(_defused).rename(columns=_defused)
    try:
        manifest.write_text(defused.to_csv(index=False, lineterminator="\n"), folder / "results.csv")
        page.write(folder / "results.html", f"Sweep {folder.name}", _sections(table, record))
    except PermissionError as error:
        said = "is it open in another program? Close it: the next run that ends, or the same sweep again, writes it."
        print(f"{error.filename} cannot be written; {said}", file=sys.stderr, flush=True)
    return table


def _defused(value):
    """Return text such that no spreadsheet runs it as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(tuple("=+-@\t\r")) else value


def _sections(table, record):
    named = table["run"].str.replace(r",?SEED=[^,]*", "", regex=True).str.strip(",").replace(["", "run"], "as given")
    done, failed = (table.assign(combination=named)[table["status"] == status] for status in ("finished", "failed"))
    images = ", ".join(done["images"].unique())
    said = f"{len(table)} runs have ended, {len(failed)} of them failed. Images: {images or 'unknown'}."
    sections = {"Runs": [said, _short(table.set_index("run")[["status", *record, "seconds"]])]}
    if len(failed):
        sections["What failed"] = "\n".join(failed["run"] + ": " + failed["error"]).splitlines()
    if numbers := [key for key in record if pd.api.types.is_numeric_dtype(done[key]) and done[key].notna().any()]:
        groups = done.groupby("combination", sort=False)[numbers]
        spread = groups.agg(["mean", "std", "count"]).rename(columns={"count": "n"}).rename_axis(index=None)
        sections["Spread over seeds"] = ["In the plots below a dot is a run, a bar the mean.", _short(spread)]
    for key in numbers:
        figure = Figure(figsize=(8, 1.2 + 0.5 * len(spread)), layout="constrained")
        axes = figure.add_subplot(title=f"{key}\n{images}", xlabel=key)
        axes.plot(spread[key, "mean"], spread.index, "|", color="black", markersize=20)
        axes.plot(done[key], done["combination"], "o", alpha=0.6)
        axes.invert_yaxis()
        axes.margins(y=0.5 / len(spread))
        sections[key] = figure
    return sections


def _short(table):
    """Return a table for reading: numbers as text of four digits, nothing where there is none."""
    return table.map(lambda value: f"{value:.4g}" if isinstance(value, float) else value).replace("nan", "")
