"""From probabilities to decisions: what is positive, thresholds, patients, calibration, and for whom it works."""

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.metrics import confusion_matrix, roc_auc_score

from helpers import figures, manifest
from helpers.data import classes
from helpers.evaluation import intervals, report, scores
from helpers.evaluation.intervals import number, share, units
from helpers.runs import RunError


def network(results, name):
    """Return the ``name`` of one of the networks of ``results``, "": the recommended; RunError if there is none."""
    if name and name not in results.places:
        raise RunError(f"NETWORK is {name!r}, but the run folder has {', '.join(results.places)}.")
    return name or results.recommended


def positive(table, val, test, given=""):
    """Return the classes that a decision is about: those that ``given`` names, else the malignant ones.

    ``table`` is the manifest; ``val`` and ``test`` are the labels (Series) of validation and Test, both of which must
    have images of these classes and of others. If they do not, or no class is known to be malignant, it is the class
    that is rarest in Test of those of which they do; none ([]) if there is no such class.
    """
    names = sorted({*manifest.active(table, "train")["label"], *table["published_label"]} - {""})
    choices = [classes.malignant(names, given), *([name] for name in test.value_counts(ascending=True).index)]
    return next((each for each in choices if all(labels.isin(each).nunique() == 2 for labels in (val, test))), [])


def binary(labelled, positive):
    """Return labelled predictions with truth (bool: the class is ``positive``) and probability (of those classes)."""
    columns = [f"p_{name}" for name in scores.classes(labelled) if name in positive]
    probability = labelled[columns].sum(axis=1).clip(0, 1)
    return labelled.assign(truth=labelled["label"].isin(positive), probability=probability)


def melanoma_or_nevus(labelled):
    """Return the melanomas and nevi among labelled predictions as :func:`binary` does, the probability of the two."""
    pair = labelled[labelled["label"].isin(["melanoma", "nevus"])]
    chances = pair.reindex(columns=["p_melanoma", "p_nevus"], fill_value=0.0)
    probability = chances["p_melanoma"] / chances.sum(axis=1).clip(1e-12)
    return pair.assign(truth=pair["label"] == "melanoma", probability=probability)


def places(results, name):
    """Return {place: :func:`binary` predictions} of the network ``name`` of ``results`` (``evaluate.Results``).

    RunError if there is nothing to decide.
    """
    if not results.positive:
        raise RunError("Validation and Test have no class in common beside others, so there is nothing to decide.")
    return {place: binary(rows, results.positive) for place, rows in results.places[name].items()}


def operating_point(view, threshold):
    """Return what flagging ``probability >= threshold`` gives, as a dictionary.

    threshold; found, missed, false_alarms, cleared (images: flagged and positive, positive and not flagged, flagged and
    negative, neither); sensitivity and specificity, None where no image is of that side, each with <name>_interval
    (Wilson, 95%, by lesion).
    """
    truth, flagged = view["truth"].to_numpy(bool), view["probability"].to_numpy(float) >= threshold
    (cleared, alarms), (missed, found) = confusion_matrix(truth, flagged, labels=[False, True]).tolist()
    point = {"threshold": float(threshold), "found": found, "missed": missed, "false_alarms": alarms}
    point["cleared"] = cleared
    for name, hits, rows in (("sensitivity", flagged, truth), ("specificity", ~flagged, ~truth)):
        value, *ends = share(hits[rows], units(view)[rows])
        point |= {name: number(value), f"{name}_interval": ends}
    return point


def as_wanted(point, wanted):
    """Say what share an :func:`operating_point` of Test finds, and whether its interval includes the ``wanted`` one."""
    low, high = point["sensitivity_interval"]
    includes = "includes" if low <= wanted <= high else "excludes"
    return (
        f"Chosen to find {wanted:.0%} of the positives of validation, the threshold finds {point['sensitivity']:.0%} "
        f"of those of Test.\nThe 95% interval, {low:.0%} to {high:.0%}, {includes} {wanted:.0%}."
    )


def at_threshold(places, threshold):
    """Return :func:`operating_point` and :func:`area` of {place: :func:`binary` predictions} as a table for reading."""
    points = {place: operating_point(view, threshold) | area(view) for place, view in places.items()}
    names = ("sensitivity", "specificity", "auc")
    texts = {name: [report.estimate(point, name) for point in points.values()] for name in names}
    counts = pd.DataFrame(points).T[["found", "missed", "false_alarms", "cleared"]]
    return counts.assign(**texts).rename(columns={"false_alarms": "false alarms", "auc": "AUC"})


def area(view):
    """Return the area under the ROC curve of a :func:`binary` table, auc, with its auc_interval, as a dictionary.

    auc is None where all images are positive, or none is.
    """
    lesions = [units(view[view["truth"] == side]).nunique() for side in (True, False)]
    if not all(lesions):
        return {"auc": None}
    auc = roc_auc_score(view["truth"], view["probability"])
    return {"auc": auc, "auc_interval": intervals.area(auc, *lesions)}


def per_thousand(point, prevalence):
    """Return what 1,000 patients would see at an :func:`operating_point`: rows found, missed, false alarms, cleared.

    ``prevalence`` is the share of patients who have the disease, 0 to 1: the clinic's, not that of the images. Returned
    are whole patients: value (they add up to 1,000), low and high (from the interval of sensitivity or specificity).
    """
    sick, rows = round(1000 * prevalence), []
    for name, of in (("sensitivity", sick), ("specificity", 1000 - sick)):
        value, low, high = (round(of * part) for part in (point[name], *point[f"{name}_interval"]))
        rows += [[value, low, high], [of - value, of - high, of - low]]
    table = pd.DataFrame(rows, ["found", "missed", "cleared", "false alarms"], ["value", "low", "high"])
    return table.loc[["found", "missed", "false alarms", "cleared"]]


def thousand(patients, guess, synthetic):
    """Show :func:`per_thousand` as a thousand marks; a dashed line stands where ``guess`` false alarms would end.

    Hollow marks are false alarms that there may be as well: up to the upper end of their interval.
    """
    found, missed, alarms, _ = patients["value"]
    least, most = patients.loc["false alarms", ["low", "high"]]
    parts = {  # how many, as what, in which colour, with which marker: nobody needs to distinguish the colours
        f"{found} found": (found, "#D55E00", "#D55E00", "o"),
        f"{missed} missed": (missed, "#000000", "#000000", "X"),
        f"{alarms} false alarms": (alarms, "#0072B2", "#0072B2", "s"),
        f"up to {most - alarms} more (95%)": (most - alarms, "none", "#0072B2", "s"),
        "cleared": (1000 - found - missed - most, "#CCCCCC", "none", "o"),
    }
    figure, axes = figures.new(9, 5.8)
    start, (across, down) = 0, np.divmod(np.arange(1000), 25)
    for text, (count, face, edge, marker) in parts.items():
        own = slice(start, start + count)
        axes.scatter(across[own], -down[own], s=42, c=face, edgecolors=edge, marker=marker, linewidth=1, label=text)
        start += count
    end = (found + missed + guess) / 25 - 0.5
    axes.axvline(end, label=f"your guess: {guess}", **figures.GUESS)
    axes.axis("off")
    figure.legend(loc="outside lower center", ncols=6, frameon=False, columnspacing=1, handletextpad=0.3)
    title = f"Finding {found} of {found + missed} positives costs {alarms} false alarms (interval {least} to {most})"
    return figures.titled(figure, title, synthetic, "A thousand marks: " + ", ".join(parts))


def in_words(patients, guess):
    """Return :func:`per_thousand` as sentences, beside a ``guess`` of the false alarms."""
    (found, *_), (missed, *_), (alarms, low, high) = patients.to_numpy().tolist()[:3]
    return (
        f"You guessed {guess} false alarms among 1,000; there are {alarms} (95% interval {low} to {high}).\n"
        f"Of the {found + missed} assumed to be positive, {missed} are missed; of the {found + alarms} who are "
        f"referred, {alarms} are not positive."
    )


def rescale(labelled, temperature):
    """Return predictions with their logits divided by ``temperature`` (above 0): above 1 all become less sure."""
    logits = np.log(np.clip(scores.probabilities(labelled), 1e-12, 1))
    scaled = labelled.copy()
    scaled[[f"p_{name}" for name in scores.classes(labelled)]] = softmax(logits / temperature, axis=1)
    return scaled


def calibration(parts, seed=0):
    """Return the calibration error of each of {name: labelled predictions}, and what chance alone would give.

    The error is the mean distance between probability and share of correct predictions in ten bins of equal width,
    weighed by their images (Guo and others, 2017). "by chance, up to" is its 95th percentile in as many images whose
    predictions are right with exactly their probability.
    """
    random, rows = np.random.default_rng(seed), {}
    for name, part in parts.items():
        found = scores.outcomes(part)
        confidence = found["confidence"].to_numpy()
        chance = [_calibration_error(confidence, draw < confidence) for draw in random.random((1000, len(found)))]
        error = _calibration_error(confidence, found["correct"].to_numpy())
        rows[name] = {"calibration error": error, "by chance, up to": np.percentile(chance, 95)}
    return pd.DataFrame(rows).T


def calibration_in_words(found):
    """Say what became of the error on Test, the last two rows of :func:`calibration`, and what chance alone gives."""
    (first, _), (then, chance) = found.to_numpy()[-2:].tolist()
    return f"Calibration error on Test: {first:.3f}, after scaling {then:.3f} (by chance, up to {chance:.3f})"


def _calibration_error(confidence, correct):
    bins = np.minimum((confidence * 10).astype(int), 9)
    return np.abs(np.bincount(bins, correct - confidence)).sum() / len(confidence)


def of_truth(labelled):
    """Return the probability that each image's true class was given, an array (n); 0 for one that is not learned."""
    own = labelled["label"].to_numpy()[:, None] == np.array(scores.classes(labelled), object)
    return (scores.probabilities(labelled) * own).sum(axis=1)


def subgroups(rows):
    """Return {group: rows} of all images, and by age, sex, site and skin tone (Fitzpatrick) where they are known.

    ``rows`` are those of a place, see ``evaluate.Results``.
    """
    ages = pd.cut(pd.to_numeric(rows["age_approx"], errors="coerce"), [-1, 39, 59, 150])
    ages = ages.cat.rename_categories(["0 to 39", "40 to 59", "60 and over"]).astype(object)
    known = {"age": ages, "sex": rows["sex"], "site": rows["anatom_site_general"]}
    known["skin tone"] = rows["fitzpatrick_skin_type"]
    parts = {f"all ({len(rows)})": rows}
    for name, values in known.items():
        for value, part in rows[values != ""].groupby(values):  # what is unknown has no group
            parts[f"{name}: {value} ({len(part)})"] = part
    return parts


def multiplicity(groups):
    """Return in a sentence how many of ``groups`` stand out, how many would by chance, and if no skin tone is known.

    ``groups`` are the shares of :func:`subgroups` (``intervals.shares``); the first is all images.
    """
    every, rest = groups["value"].iloc[0], groups.iloc[1:]
    if rest.empty:
        return "Nothing is known of these images that would divide them into groups"
    apart = ((rest["low"] > every) | (rest["high"] < every)).sum()
    said = f"The overall {every:.0%} lies outside the interval of {apart} of {len(rest)} groups"
    unknown = "" if rest.index.str.startswith("skin tone").any() else "; skin tones are unknown"
    return f"{said} ({0.05 * len(rest):.1f} expected by chance){unknown}"
