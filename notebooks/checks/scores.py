"""The checks of the exercises of notebooks 05, 06 and 07."""

import numpy as np

from notebooks.checks import compare, number


def sure_and_wrong(given, labelled, away):
    """Check the mean confidence of wrong predictions on another clinic's images (05, exercise 1)."""
    chances = labelled.filter(regex="^p_")
    wrong = chances.idxmax(axis=1).str[2:] != labelled["label"]
    theirs = labelled["image_id"].isin(set(away))
    assert given is not None, "sure_and_wrong is still None: put your answer into it."
    if not (theirs & wrong).any():
        return print("No prediction is wrong on such images here: there is nothing to average.")
    number(given, "sure_and_wrong", 1)
    mean = chances.max(axis=1)
    slips = {
        "That is all wrong predictions, those of the usual clinics too.": mean[wrong].mean(),
        "That is all images of the other clinic, the right ones too.": mean[theirs].mean(),
        "That is the share that is wrong; how sure is it of these predictions?": wrong[theirs].mean(),
        "That is all Test images.": mean.mean(),
    }
    truth = mean[theirs & wrong].mean()
    compare(given, truth, slips, f"{given} is not the mean confidence of the wrong predictions among them.", 5e-3)
    print(f"Right: wrong on {(theirs & wrong).sum()} of {theirs.sum()}, with a mean confidence of {truth:.2f}.")


def ratio_of_widths(given, labelled):
    """Check how much narrower a Wilson interval gets with four times as many images (05, exercise 2)."""
    n, share = len(labelled), (labelled.filter(regex="^p_").idxmax(axis=1).str[2:] == labelled["label"]).mean()

    def width(n):  # Wilson, 1927
        z = 1.959964
        return 2 * z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))

    number(given, "ratio")
    slips = {
        "That is old to new; the question is new to old.": width(n) / width(4 * n),
        "Four times the images do not make a quarter of the width: compute both intervals.": 0.25,
        "That is the rule of thumb; Wilson's interval differs a little on so few images. Compute both.": 0.5,
        "That is the new width; divide it by the old one.": width(4 * n),
    }
    compare(given, width(4 * n) / width(n), slips, f"{given} is not the ratio of the two widths.", 5e-4)
    print(f"Right: {given:.3f}. Half the width takes about four times the images.")


def kept_with_other_colours(given, scored):
    """Check what is left of two networks' accuracies with another collection's colours (05, exercise 3)."""
    for name in ("colours_kept", "colours_exchanged"):
        assert name in given, f"remaining has no entry {name!r}: one ratio a network."
        number(given[name], f"kept[{name!r}]")
        found = scored[name].get("colours") or dict.fromkeys(("own", "same_collection", "other_collection"), 1)
        own, same, other = (found[key] for key in ("own", "same_collection", "other_collection"))
        slips = {
            f"{name}: that is of its accuracy with its own colours; the control is colours of the same collection.": other
            / own,
            f"{name}: that is the accuracy itself, not what is left of it.": other,
            f"{name}: that is what the swap within one collection leaves.": same / own,
            f"{name}: that is the share that is lost; how much is left?": 1 - other / same,
        }
        compare(given[name], other / same, slips, f"{name}: {given[name]} is not what is left of its accuracy.", 5e-3)
    print("Right: " + ", ".join(f"{name} keeps {value:.0%}" for name, value in given.items()) + " of its accuracy.")


def weights_of_a_head(given, head):
    """Check how many weights a Dense layer on frozen features has (06, exercise 1)."""
    number(given, "by_hand")
    width, classes = head.input_shape[-1], head.output_shape[-1]
    slips = {
        "Each class has a bias as well.": width * classes,
        "One bias a class, not one in all.": width * classes + 1,
        "That is one weight a feature; each class has its own.": width,
    }
    compare(given, head.count_params(), slips, f"Keras does not count {given:,}: what has each unit a weight for?")
    print(f"Right: {given:,}, {width:,} and a bias for each of {classes} classes.")


def neighbours(given, features, targets, val_features, val_targets):
    """Check the accuracy of five nearest neighbours by cosine (06, exercise 2)."""
    number(given, "by_neighbours", 1)

    def accuracy(similarity, count, truth=val_targets):
        nearest = np.argsort(-similarity, axis=1)[:, :count]
        return float((targets[nearest].sum(axis=1).argmax(axis=1) == truth.argmax(axis=1)).mean())

    cosine = _cosine(val_features, features)
    truth = accuracy(cosine, 5)
    slips = {
        "That is one neighbour; let five of them vote.": accuracy(cosine, 1),
        "That is the accuracy on the training features themselves.": accuracy(_cosine(features, features), 5, targets),
        'Those are neighbours by Euclidean distance; give metric="cosine".': accuracy(
            -((val_features[:, None] - features[None]) ** 2).sum(axis=2), 5
        ),
    }
    hint = "Is the accuracy that of the validation features?"
    compare(given, truth, slips, f"{given:.2f} is not what five neighbours by cosine reach. {hint}", 0.015)
    print(f"Right: {truth:.2f}, without any training.")


def prototypes(given, features, targets, val_features, val_targets):
    """Check the accuracy of the mean of five views of each class (06, exercise 3)."""
    number(given, "from_five", 1)

    def accuracy(views):
        means = [features[np.flatnonzero(column)[:views]].mean(axis=0) for column in targets.T]
        return float((_cosine(val_features, np.array(means)).argmax(axis=1) == val_targets.argmax(axis=1)).mean())

    truth, every = accuracy(5), accuracy(len(features))
    slips = {
        "These prototypes average all views, not five of each class.": every,
        "That is one view a class, not the mean of five.": accuracy(1),
    }
    hint = "Are they the first five of each class? Cosine?"
    compare(given, truth, slips, f"{given:.2f} is not what five views of each class reach. {hint}", 0.015)
    print(f"Right: {truth:.2f} from five views of each class, {every:.2f} from all {len(features)}.")


def _cosine(a, b):
    """Return the cosine similarity of each row of ``a`` to each row of ``b``."""
    a, b = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (a, b))
    return a @ b.T


def more_false_alarms(given, places, sensitivity):
    """Check how many more negatives are flagged on Test where no positive of validation is missed (07, exercise 1)."""
    assert given is not None, "more is still None: put your answer into it."
    test, val = places["Test"], places["validation"]
    negative = np.sort(test["probability"][~test["truth"]])
    positive = np.sort(val["probability"][val["truth"]])

    def alarms(least):
        return len(negative) - np.searchsorted(negative, least)

    before = alarms(positive[len(positive) - int(np.ceil(sensitivity * len(positive) - 1e-9))])
    strict = alarms(positive[0])
    slips = {
        "That is all false alarms; how many more than before?": strict,
        "That threshold was chosen on Test; choose it on validation.": alarms(test["probability"][test["truth"]].min())
        - before,
        "That is fewer than before; subtract the other way round.": before - strict,
        "Those are the false alarms of before.": before,
    }
    hint = "The threshold is the lowest probability of a positive image of validation."
    compare(given, strict - before, slips, f"Not {given}. {hint}")
    print(f"Right: {given} more false alarms on Test, of {len(negative)} negative images.")


def half_are_right(given, point):
    """Check the prevalence at which half of those who are flagged are positive (07, exercise 2)."""
    number(given, "half", 1)
    sensitivity, low = point["found"] / (point["found"] + point["missed"]), point["specificity_interval"][0]

    def share_positive(prevalence, specificity=low):
        found, alarms = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
        return found / max(found + alarms, 1e-12)

    truth = share_positive(given) if given else 0
    assert abs(truth - 0.5) < 2e-3 or abs(share_positive(given, point["specificity"]) - 0.5) > 2e-3, (
        "Take the lower end of the specificity's interval."
    )
    assert abs(truth - 0.5) < 2e-3, f"At a prevalence of {given:.3f}, {truth:.0%} of those referred have one, not half."
    print(f"Right: at a prevalence of {given:.2f}.")


def covered_lesions(given, covered, pixels, rows, network):
    """Check the accuracy on images whose middle half is painted grey (07, exercise 3)."""
    number(given, "without_lesion", 1)
    size = pixels.shape[1]
    away = np.abs(np.arange(size) - (size - 1) / 2) < size / 4
    own = np.where((away[:, None] & away)[..., None], 128, pixels).astype("uint8")
    assert (np.asarray(covered) != pixels).any(), "covered is still the images as they are."
    part = (np.asarray(covered) == own).mean()
    assert part > 0.98, "The grey square is not the middle half of width and height, or not 128."
    names = np.unique(rows.filter(like="p_").columns.str[2:])
    predicted = names[network.predict(own, verbose=0).argmax(axis=1)]
    truth, whole = (float((name == rows["label"]).mean()) for name in (predicted, rows["predicted"]))
    slips = {"That is the accuracy on the uncovered images.": whole, "Those are the errors; what is right?": 1 - truth}
    compare(given, truth, slips, f"{given:.2f} is not the accuracy on the covered images.", 0.03)
    largest = rows["label"].value_counts(normalize=True).max()
    print(f"Right: {truth:.2f} covered, {whole:.2f} whole, {largest:.2f} for the largest class of Test.")
