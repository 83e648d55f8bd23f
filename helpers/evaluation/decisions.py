"""From probabilities to decisions: yes-or-no views, thresholds, and what they mean for patients."""

import pandas as pd
from sklearn.metrics import confusion_matrix

from helpers.evaluation import scores
from helpers.evaluation.intervals import share, units


def binary(labelled, positive):
    """Return a yes-or-no view of a labelled table: image_id, group (if there), truth (bool), probability (of yes).

    ``positive`` names the classes that mean yes; their probabilities are added. ValueError if no class of the model
    means yes, or all do, and if no image is one, or all are: there is nothing to decide.
    """
    yes, truth = [name for name in scores.classes(labelled) if name in positive], labelled["label"].isin(positive)
    for n, of, what in ((len(yes), len(scores.classes(labelled)), "classes"), (truth.sum(), len(truth), "images")):
        if not 0 < n < of:
            raise ValueError(f"{n} of {of} {what} mean yes; it takes some that do and some that do not.")
    probability = labelled[[f"p_{name}" for name in yes]].sum(axis=1).clip(0, 1)
    return labelled.filter(["image_id", "group"]).assign(truth=truth, probability=probability)


def operating_point(view, threshold):
    """Return what flagging ``probability >= threshold`` gives, as a dictionary.

    threshold; found, missed, needless, left (images: flagged and positive, positive and not flagged, flagged and
    negative, neither); sensitivity and specificity, each with <name>_interval (Wilson, 95 %, by lesion).
    """
    truth, flagged = view["truth"].to_numpy(bool), view["probability"].to_numpy(float) >= threshold
    (left, needless), (missed, found) = confusion_matrix(truth, flagged, labels=[False, True]).tolist()
    point = {"threshold": float(threshold), "found": found, "missed": missed, "needless": needless, "left": left}
    for name, hits, rows in (("sensitivity", flagged, truth), ("specificity", ~flagged, ~truth)):
        value, *ends = share(hits[rows], units(view)[rows])
        point |= {name: value, f"{name}_interval": ends}
    return point


def per_thousand(point, prevalence):
    """Return what 1,000 patients would see at an :func:`operating_point`: rows found, missed, needless, left alone.

    ``prevalence`` is the share of patients who have the disease, 0 to 1: the clinic's, not that of the images. Returned
    are whole patients: value (they add up to 1,000), low and high (from the interval of sensitivity or specificity).
    """
    sick, rows = round(1000 * prevalence), []
    for name, of in (("sensitivity", sick), ("specificity", 1000 - sick)):
        value, low, high = (round(of * part) for part in (point[name], *point[f"{name}_interval"]))
        rows += [[value, low, high], [of - value, of - high, of - low]]
    table = pd.DataFrame(rows, ["found", "missed", "left alone", "needless"], ["value", "low", "high"])
    return table.loc[["found", "missed", "needless", "left alone"]]
