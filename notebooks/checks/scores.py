"""The checks of the exercises of notebooks 05, 06 and 07."""

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from helpers.evaluation import explain
from notebooks.checks import compare, entry, number


def mistype(rows, seed):
    """Return image_id, label and ``p_`` columns of predictions, a tenth of the labels replaced (05, exercise 1)."""
    random, chances = np.random.default_rng(seed), rows.filter(regex="^p_").columns
    places = chances.get_indexer("p_" + rows["label"])
    chosen = random.choice(len(rows), len(rows) // 10, replace=False)
    places[chosen] = (places[chosen] + random.integers(1, len(chances), len(chosen))) % len(chances)
    return rows[["image_id", "label", *chances]].assign(label=chances.str[2:][places])


def doubtful_labels(given, typed, rows):
    """Check which labels, some of them :func:`mistype` d, the predictions find least probable (05, exercise 1)."""
    assert given is not None, "doubtful is still None: put image_ids into it."
    several = np.iterable(given) and not isinstance(given, (str, pd.DataFrame))
    assert several, f"doubtful is {given!r:.60}, not a list of image_ids."
    given, ids, count = set(given), typed["image_id"], len(typed) // 10
    strange = next(iter(given - set(ids)), None)
    assert strange is None, f"{strange!r:.60} is not the image_id of a validation image."
    assert len(given) == count, f"These are {len(given)} images; a tenth of {len(typed)} are {count}."
    chances = typed.filter(regex="^p_").set_axis(ids)
    names = chances.columns.str[2:].to_numpy()

    def of(labels):
        return (chances * (names == labels.to_numpy()[:, None])).sum(axis=1)

    own, most, mistyped = of(typed["label"]), chances.max(axis=1), set(ids[typed["label"] != rows["label"]])
    if own[list(given)].max() > own.nsmallest(count).max() + 1e-6:
        slips = {
            "These are the mistyped ones. To know them, you need the true labels: go by the probabilities.": mistyped,
            "Those are the labels before they were mistyped; take those of `typed`.": of(rows["label"]).nsmallest(
                count
            ),
            "Those labels are the most probable ones; which are the least?": own.nlargest(count),
            "There it is unsure of any class; how probable is the label?": most.nsmallest(count),
            "There it is surest of another class; how probable is the label?": most[own < most].nlargest(count),
        }
        reason = next((each for each, slip in slips.items() if given == set(getattr(slip, "index", slip))), None)
        raise AssertionError(
            reason or "Some other labels are less probable: for each row, take the p_ column of its label."
        )
    found = len(given & mistyped)
    print(f"Right: {found} of these {count} were mistyped; of {count} drawn at random, one in ten would be.")


def ratio_of_widths(given, labelled):
    """Check how much narrower a Wilson interval gets with four times as many images (05, exercise 2)."""
    n, share = len(labelled), (labelled.filter(regex="^p_").idxmax(axis=1).str[2:] == labelled["label"]).mean()

    def width(n):  # Wilson, 1927
        z = 1.959964
        return 2 * z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))

    given = number(given, "ratio")
    slips = {
        "That is old to new; the question is new to old.": width(n) / width(4 * n),
        "Four times the images do not make a quarter of the width: compute both intervals.": 0.25,
        "That is the rule of thumb; Wilson's interval differs a little on so few images. Compute both.": 0.5,
        "That is the new width; divide it by the old one.": width(4 * n),
        "That is the difference of the widths; divide them.": width(n) - width(4 * n),
        "That is for twice as many images.": width(2 * n) / width(n),
        "That is how much narrower it gets; the new width by the old one is asked for.": 1 - width(4 * n) / width(n),
    }
    compare(given, width(4 * n) / width(n), slips, f"{given} is not the ratio of the two widths.", 5e-3)
    print(f"Right: {given:.3f}. Half the width takes about four times the images.")


def kept_with_other_colours(given, scored):
    """Check what is left of two networks' accuracies with another collection's colours (05, exercise 3)."""
    for name in ("colours_kept", "colours_exchanged"):
        kept = entry(given, "remaining", name)
        found = scored[name].get("colours") or dict.fromkeys(("own", "same_collection", "other_collection"), 1)
        own, same, other = (found[key] for key in ("own", "same_collection", "other_collection"))
        slips = {
            f"{name}: that compares with its own colours; the control is those of the same collection.": other / own,
            f"{name}: that is the accuracy itself, not what is left of it.": other,
            f"{name}: that is what the swap within one collection leaves.": same / own,
            f"{name}: that is the share that is lost; how much is left?": 1 - other / same,
            f"{name}: that is how many points are lost; how much is left, as a share?": same - other,
            f"{name}: that is upside down.": same / max(other, 1e-9),
            f"{name}: that is a percentage; put a share from 0 to 1.": 100 * other / same,
        }
        compare(kept, other / same, slips, f"{name}: {kept:.3f} is not what is left of its accuracy.", 0.02)
        print(f"Right: {name} keeps {other / same:.0%} of its accuracy.")
    print("Whoever sends the one that keeps more chooses without a look at Test.")


def weights_of_a_head(given, head):
    """Check how many weights a Dense layer on frozen features has (06, exercise 1)."""
    given = number(given, "by_hand")
    width, classes = head.input_shape[-1], head.output_shape[-1]
    slips = {
        "Each class has a bias as well.": width * classes,
        "One bias per class, not one in all.": width * classes + 1,
        "That is one weight a feature; each class has its own.": width,
        "A bias belongs to a class, not to a feature.": width * classes + width,
    }
    compare(given, head.count_params(), slips, f"Keras does not count {given:,}: what has each unit a weight for?")
    print(f"Right: {given:,}, {width:,} and a bias for each of {classes} classes.")


def neighbours(given, features, targets, val_features, val_targets):
    """Check the accuracy of five nearest neighbours by cosine (06, exercise 2)."""
    given = number(given, "by_neighbours", 1)

    def accuracy(similarity, count, truth=val_targets, learned=targets):
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
        return float((learned[nearest].sum(axis=1).argmax(axis=1) == truth.argmax(axis=1)).mean())

    cosine = _cosine(val_features, features)
    truth = accuracy(cosine, 5)
    votes = targets[np.argsort(-cosine, axis=1, kind="stable")[:, :5]].sum(axis=1) > 2.5
    slips = {
        "That is one neighbour; let five of them vote.": accuracy(cosine, 1),
        "That is the accuracy on the training features themselves.": accuracy(_cosine(features, features), 5, targets),
        'Those are neighbours by Euclidean distance; give metric="cosine".': accuracy(
            2 * val_features @ features.T - (features**2).sum(axis=1), 5
        ),
        "These neighbours were learned from validation.": accuracy(
            _cosine(val_features, val_features), 5, val_targets, val_targets
        ),
        "Zeros and ones are separate questions to it; give class numbers.": (votes == val_targets).all(axis=1).mean(),
    }
    hint = "Is the accuracy that of the validation features?"
    wrong = f"{given:.2f} is not what five neighbours by cosine reach. {hint}"
    compare(given, truth, slips, wrong, 0.015, same=1.01 / len(val_targets))
    print(f"Right: {truth:.2f}, without any training.")


def prototypes(given, features, targets, val_features, val_targets):
    """Check the accuracy of the mean of five views of each class (06, exercise 3)."""
    given = number(given, "from_five", 1)

    def means(first, last):
        return np.array([features[np.flatnonzero(column)[first:last]].mean(axis=0) for column in targets.T])

    def accuracy(similarity, truth=val_targets):
        return float((similarity.argmax(axis=1) == truth.argmax(axis=1)).mean())

    five = means(0, 5)
    truth, every = (accuracy(_cosine(val_features, each)) for each in (five, means(0, None)))
    slips = {
        "These prototypes average all views, not five of each class.": every,
        "That is one view per class, not the mean of five.": accuracy(_cosine(val_features, means(0, 1))),
        "Those are the last five views of each class.": accuracy(_cosine(val_features, means(-5, None))),
        "Those are four views of each class.": accuracy(_cosine(val_features, means(1, 5))),
        "That is by Euclidean distance.": accuracy(2 * val_features @ five.T - (five**2).sum(axis=1)),
        "That is a product without the lengths: cosine divides by them.": accuracy(val_features @ five.T),
        "That is the accuracy on the training features.": accuracy(_cosine(features, five), targets),
        "That is the least similar prototype.": accuracy(-_cosine(val_features, five)),
    }
    hint = "Are they the first five of each class? Cosine?"
    wrong = f"{given:.2f} is not what five views of each class reach. {hint}"
    compare(given, truth, slips, wrong, 0.015, same=1.01 / len(val_targets))
    print(f"Right: {truth:.2f} from five views of each class, {every:.2f} from all {len(features)}.")


def _cosine(a, b):
    """Return the cosine similarity of each row of ``a`` to each row of ``b``."""
    a, b = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (a, b))
    return a @ b.T


def more_false_alarms(given, places, sensitivity):
    """Check how many more negatives are flagged on Test where no positive of validation is missed (07, exercise 1)."""
    given = number(given, "more", least=-np.inf)
    test, val = places["Test"], places["validation"]
    positive = np.sort(val["probability"][val["truth"]])

    def alarms(least, view=test):
        return int((view["probability"][~view["truth"]] >= least).sum())

    target, negative = positive[-int(np.ceil(sensitivity * len(positive) - 1e-9))], (~test["truth"]).sum()
    before, strict, on_val = alarms(target), alarms(positive[0]), alarms(positive[0], val)
    slips = {
        "That is all false alarms; how many more than before?": strict,
        "That threshold was chosen on Test; choose it on validation.": alarms(test["probability"][test["truth"]].min())
        - before,
        "That is fewer than before; subtract the other way round.": before - strict,
        "Those are the false alarms of before.": before,
        "That is a difference of shares; count the false alarms.": (strict - before) / negative,
        "That is counted on validation; count on Test.": on_val - alarms(target, val),
        "That threshold refers everybody.": negative - before,
    }
    hint = "The threshold is the lowest probability of a positive image of validation."
    compare(given, strict - before, slips, f"Not {given}. {hint}")
    print(f"Right: {given:.0f} more false alarms on Test, of {negative} negative images.")


def half_are_right(given, point):
    """Check the prevalence at which half of those who are flagged are positive (07, exercise 2)."""
    given = number(given, "half", 1)
    sensitivity = point["found"] / (point["found"] + point["missed"])

    def half(specificity, sensitivity=sensitivity):  # as many found as false alarms
        return brentq(lambda prevalence: prevalence * sensitivity - (1 - prevalence) * (1 - specificity), 0, 1)

    low, high = point["specificity_interval"]
    truth = half(low)
    slips = {
        "Take the lower end of the specificity's interval.": half(point["specificity"]),
        "That is the upper end of the specificity's interval; take the lower one.": half(high),
        "Take the sensitivity itself, not the lower end of its interval.": half(low, point["sensitivity_interval"][0]),
        "A false alarm is a healthy patient who is referred: 1 - specificity.": low / (low + sensitivity),
        "That is the share of the healthy; what is that of the patients with cancer?": 1 - truth,
        "Those are odds, sick to healthy; what share of all patients are the sick?": (1 - low) / sensitivity,
        "The sensitivity matters, too: not all of the sick are referred.": half(low, 1),
        "Half of those who are referred, not of all patients.": 0.5,
    }
    alarms = (1 - given) * (1 - low)
    referred = given * sensitivity + alarms
    share = given * sensitivity / referred if referred else 0
    wrong = f"At a prevalence of {given:.3f}, {share:.0%} of those referred have one, not half."
    compare(given, truth, slips, wrong, 5e-3)
    print(f"Right: at a prevalence of {truth:.3f}.")


def covered_middle(given, covered, pixels, rows, network):
    """Check the accuracy on images whose middle half is painted grey (07, exercise 3)."""
    given, size = number(given, "without_middle", 1), pixels.shape[1]
    assert np.shape(covered) == pixels.shape, f"covered has the shape {np.shape(covered)}; pixels has {pixels.shape}."
    away = np.abs(np.arange(size) - (size - 1) / 2) < size / 4
    own = np.where((away[:, None] & away)[..., None], 128, pixels).astype("uint8")
    assert (np.asarray(covered) != pixels).any(), "covered is still the images as they are."
    part = (np.asarray(covered) == own).mean()
    assert part > 0.98, "The grey square is not the middle half of width and height, or not 128."
    names = np.unique(rows.filter(like="p_").columns.str[2:])
    both = explain.predict(network, np.concatenate([own, pixels]))
    predicted, uncovered = np.split(names[both.argmax(axis=1)], 2)
    truth, whole = (float((name == rows["label"]).mean()) for name in (predicted, uncovered))
    slips = {
        "That is the accuracy on the uncovered images.": whole,
        "Those are the errors; what is right?": 1 - truth,
        "That is what the cover costs; what accuracy is left?": whole - truth,
        "That compares with the network's own predictions; compare with the true classes.": float(
            (predicted == rows["predicted"]).mean()
        ),
    }
    wrong = f"{given:.2f} is not the accuracy on the covered images."
    compare(given, truth, slips, wrong, 0.02, same=1.01 / len(rows))
    largest = rows["label"].value_counts(normalize=True).max()
    print(f"Right: {truth:.2f} covered, {whole:.2f} whole, {largest:.2f} for the largest class of Test.")
