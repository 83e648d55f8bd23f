"""What a run has found, as files that outlive it: metrics.json, and pages that can be sent."""

import json
from pathlib import Path

import pandas as pd

from helpers import manifest, page
from helpers.runs import LEFT, RunError, recorded, shaping

NOTICE = "This is teaching material, not a medical device. Nothing here may be used to judge anybody's health."
UNSEEN = "Test, unseen pairs"  # training has the class from other clinics only
SYNTHETIC = (
    "SYNTHETIC: these images are drawings, not patients. The scores say that the course works, nothing about skin."
)
REAL = "It shows images of its set: send it only where their licence, and the people in them, allow it."


def read_json(file):
    """Return the object in a JSON file of a run, {} if there is no such file; RunError if it is cut short."""
    try:
        return dict(json.loads(Path(file).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{file} cannot be read ({error}); delete it and run its notebook again.") from error


def summary(out_dir):
    """Return the closing lines of a run that 05 has scored: each network's accuracy, and where to look."""
    file = Path(out_dir) / "report" / "metrics.json"
    data, models = (read_json(file)[part] for part in ("data", "models"))
    sizes = ", ".join(f"{data[f'n_{split}']} {split}" for split in manifest.SPLITS)
    about = f"Images: {data['source']}{' (synthetic)' * data['synthetic']}, labels {data['labels']}: {sizes}. Accuracy:"
    table = accuracies(models)["accuracy"].unstack(sort=False).to_string(na_rep="")
    return f"{about}\n{table}\nAll scores: {file}\nExecuted notebooks, with every figure: {Path(out_dir) / 'notebooks'}"


def write_metrics(run, table, scored):
    """Write ``report/metrics.json`` in a run's folder: the data, and each model's scores; return its path.

    ``table`` is the manifest; ``scored`` is {model: {"val": scores, "test": {"published": scores, "audited": scores},
    ...}}. A model that was trained elsewhere has run 0 epochs here, in 0 seconds.
    """
    used = manifest.active(table)
    data = {"source": run.images.source, "synthetic": run.images.synthetic, "labels": run.parameters["LABELS"]}
    data |= {f"n_{split}": int((used["split"] == split).sum()) for split in manifest.SPLITS}
    data["classes"] = sorted(used.loc[used["split"] == "train", "label"].unique())
    data["manifest"] = manifest.fingerprint(table)
    models = {}
    for name, values in scored.items():
        record = read_json(run.folder / name / "run.json")
        models[name] = {key: record.get(key, 0) for key in ("epochs_run", "train_seconds")} | values
    file = run.folder / "report" / "metrics.json"
    manifest.write_text(json.dumps({"data": data, "models": models}, indent=2, allow_nan=False), file)
    return file


def estimate(values, name):
    """Return a score with its 95% interval as text, such as "0.43 (0.34 to 0.52)"; "not defined" where it is None.

    ``values`` comes from ``scores.score``, ``scores.compare`` or ``decisions``. An interval without a width comes from
    resampling images that are all alike in what is scored: it is called unknown, not certain.
    """
    if values.get(name) is None:
        return "not defined"
    low, high = values.get(f"{name}_interval") or (0, 0)
    return f"{values[name]:.2f} " + (f"({low:.2f} to {high:.2f})" if low < high else "(interval unknown)")


def in_words(scored, patients, prevalence, skin=True):
    """Return the first screen of a report: cards of the main numbers, and sentences that claim no more than they can.

    ``scored`` are a network's numbers as metrics.json has them; ``patients`` is ``decisions.per_thousand`` at this
    ``prevalence`` for "malignant or not", None where that cannot be asked; ``skin``: whether its classes are of skin.
    """
    test, majority, external = scored["test"]["audited"], scored["majority"], scored.get("external")
    low, high = (f"{end:.0%}" for end in test["accuracy_interval"])
    right = f"of {test['n']} Test images classified correctly (95% interval {low} to {high})"
    always = f"is the accuracy of always predicting {majority['class']}"
    cards = [(f"{test['accuracy']:.0%}", right), (f"{majority['audited']:.0%}", always)]
    said = ["Whether a lesion is malignant was not evaluated: these classes or images do not allow it."] * skin
    if patients is not None:
        rows = zip(("cancers found", "cancers missed", "false alarms"), patients.to_numpy().tolist())
        cards += [(str(n), f"{kind} ({low} to {high})") for kind, (n, low, high) in rows]
        said = [
            f"Found, missed and false alarms are of 1,000 patients, of whom {round(1000 * prevalence)} are assumed to "
            "have cancer; images do not show that. A patient is sent on when a malignant class is predicted. In "
            "brackets: the range that so few images allow."
        ]
    if external:
        said.append(f"On another set, {external['n']} images, {external['accuracy']:.0%} were classified correctly.")
    new = "" if external else "clinics and cameras that are not in training, " if skin else "images from elsewhere, "
    people = "other skin tones, and whether a doctor" if skin else "and " * bool(new) + "whether an expert"
    said.append(f"Not tried: {new}{people} does better with it.")
    return [{"cards": cards}, *said]


def write(run, name, title, sections):
    """Write the page ``report/<name>.html`` of a run, what it is not at its top; see :func:`helpers.page.write`."""
    notes = [NOTICE, SYNTHETIC if run.images.synthetic else REAL]
    return page.write(run.folder / "report" / f"{name}.html", title, sections, notes)


def plain(name):
    """Return the name of a network as it is written in a sentence."""
    return name.replace("_", " ")


def networks(folder, scored):
    """Return how each network in a run folder (Path) was trained, as a table for reading.

    Its last column names the parameters of training that it shares with a network above it, but with another value:
    the scores may differ because of them.
    """
    rows, asked = {}, {}
    for name in scored:
        record = read_json(folder / name / "run.json")
        given = record.get("parameters", {})
        notebook = next((of for of, files in LEFT.items() if f"{name}/run.json" in files), "")
        epochs = recorded(folder, notebook).get("parameters", {}).get("EPOCHS", 0)
        size = given.get("IMAGE_SIZE", given.get("TRANSFER_SIZE", "unknown"))
        asked[plain(name)] = shaping(given) | {"IMAGE_SIZE": size, "EPOCHS": epochs or "default"}
        rows[plain(name)] = {
            "weights": record.get("weights", "unknown"),
            "epochs": record.get("epochs_run", "unknown"),
            "saved epoch": record.get("best_epoch", "unknown"),
            "image size": size,
            "seed": given.get("SEED", "unknown"),
        }
    known = pd.DataFrame.from_dict(asked, "index")
    first = known.apply(lambda values: values.dropna().iloc[0])
    other = known.notna() & known.ne(first)
    differs = [", ".join(sorted(known.columns[row])) or "–" for row in other.to_numpy()]
    return pd.DataFrame.from_dict(rows, "index").assign(**{"other parameters": differs}).rename_axis("network")


def accuracies(scored):
    """Return the scores of every network, on validation and on Test, as a table for reading."""
    rows = {}
    for name, found in scored.items():
        places = {"validation": found["val"]}
        places |= {f"Test, {which} labels": values for which, values in found["test"].items()}
        places |= {UNSEEN: found["unseen_at_clinic"]} if "unseen_at_clinic" in found else {}
        for place, values in places.items():
            texts = {plain(key): estimate(values, key) for key in ("accuracy", "balanced_accuracy", "macro_f1")}
            rows[plain(name), place] = {"images": values["n"], **texts}
    return pd.DataFrame(rows).T.rename_axis(["network", "scored on"])


def colours(scored):
    """Return each network's accuracy on validation by the colours it is shown: a table for reading."""
    why = {"colours": "unknown: one collection, or predictions only"}
    rows = {
        plain(name): {f"colours: {plain(kind)}": round(value, 2) for kind, value in found["colours"].items()} or why
        for name, found in scored.items()
    }
    return pd.DataFrame(rows).T.rename_axis("network")
