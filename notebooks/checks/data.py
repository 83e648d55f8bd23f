"""The checks of the exercises of notebooks 01 and 02."""

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from helpers.evaluation import corners
from notebooks.checks import compare, number


def collection_rule(given, train, val):
    """Check the accuracy of predicting the largest class of an image's collection (01, exercise 1)."""
    given = number(given, "rule", 1)

    def accuracy(learned, rows):
        best = pd.crosstab(learned["collection"], learned["label"]).idxmax(axis=1)
        counts = pd.crosstab(rows["collection"], rows["label"])
        return sum(counts.at[place, best[place]] for place in counts.index.intersection(best.index)) / len(rows)

    truth, always = accuracy(train, val), (val["label"] == train["label"].mode()[0]).mean()
    each = [accuracy(train, rows) for _, rows in val.groupby("collection")]
    slips = {
        "That is its accuracy on training; predict the validation images.": accuracy(train, train),
        "That is one class for all collections; take the largest class of each.": always,
        "That rule was learned from validation; take the frequent classes of training.": accuracy(val, val),
        "That is the mean over the collections; every image counts the same.": np.mean(each),
    }
    compare(given, truth, slips, f"{given} is not the share of validation images that this rule gets right.", 5e-3)
    print(f"Right: {truth:.2f}, without opening one image; always the largest class: {always:.2f}.")


def groups_on_both_sides(given, rows, fraction, seed):
    """Check how many groups a random split divides (01, exercise 2)."""
    given = number(given, "divided")
    held = train_test_split(np.arange(len(rows)), test_size=fraction, random_state=seed)[1]
    side = np.isin(np.arange(len(rows)), held)
    groups = rows.assign(side=side).groupby("group")["side"]
    both = groups.transform("nunique") > 1
    truth, several = rows.loc[both, "group"].nunique(), (groups.size() > 1).sum()
    slips = {
        "None are divided by the split above, which keeps groups together; split again, at random.": 0,
        "You counted images; count groups.": both.sum(),
        "You counted the images of these groups on the smaller side; count groups.": (both & side).sum(),
        "These are all groups of several images; are all of them divided?": several,
        "These are all groups; which have images in both parts?": groups.ngroups,
    }
    compare(given, truth, slips, f"A random split does not divide {given} groups: which are in both of its parts?")
    print(f"Right: a random split divides {truth} groups of {groups.ngroups}; the split above divides none.")


def corners_in_grey(given, train, val, seed):
    """Check the classes that a forest predicts from the corners without their colours (01, exercise 3)."""
    assert given is not None, "grey is still None: put the predicted classes into it."
    given, labels = np.asarray(given), val["label"].to_numpy()
    assert given.shape == labels.shape, (
        f"grey has the shape {given.shape}; put one class for each of {len(labels)} validation images into it."
    )
    strange = set(given) - set(train["label"])
    assert not strange, f"{strange.pop()!r} is not a class. What did the forest learn to predict?"
    learned, held = (corners.cut(rows["path"]) for rows in (train, val))  # again: the notebook's may be grey by now
    dull = [np.stack([blocks.sum(axis=3) / 3] * 3, axis=3) for blocks in (learned, held)]

    def predicted(first, *seconds):
        forest = RandomForestClassifier(300, min_samples_leaf=2, n_jobs=-1, random_state=seed)
        forest.fit(corners.describe(first), train["label"])
        return [forest.predict(corners.describe(second)) for second in seconds]

    (truth,), (colour, half) = predicted(*dull), predicted(learned, held, dull[1])
    right = (given == truth).mean()
    slips = {
        "These are the predictions from corners in colour.": colour,
        "The forest has to learn from grey corners, too.": half,
    }
    for sentence, slip in slips.items():
        assert (given == slip).mean() <= max(right, 0.8), sentence
    # rounded to whole numbers, grey corners may be read a little differently
    assert right > 0.8, "This is not what a forest predicts that learns from grey corners."
    shares = [(each == labels).mean() for each in (given, colour)]
    print(
        "Right: accuracy {:.2f} in grey, {:.2f} in colour. The difference is what the colours reveal.".format(*shares)
    )


def unchanged(given, pipeline):
    """Check the share of draws in which a pipeline changes nothing (02, exercise 1)."""
    given = number(given, "unchanged", 1)
    applied = np.ones(1)  # how likely are 0, 1, 2 ... operations
    for operation in pipeline.operations:
        applied = np.convolve(applied, [1 - operation.probability, operation.probability])
    average = (applied * np.arange(len(applied))).sum()
    slips = {
        "That is how often all operations are applied; how often is none?": applied[-1],
        "That is the share that is changed.": 1 - applied[0],
        "That is how often it is not true that all are applied; how often is none?": 1 - applied[-1],
        "That is a mean; the operations are independent, so multiply.": 1 - average / len(pipeline.operations),
        "That is a percentage; put a share from 0 to 1.": 100 * applied[0],
        "Those are Augmentor's probabilities, 0.05 higher; `apply` takes those that are written.": np.prod(
            [0.95 - operation.probability for operation in pipeline.operations]
        ),
        "Each operation has a probability of its own, not one half.": 0.5 ** len(pipeline.operations),
    }
    wrong = f"{given} is not the probability that none is applied."
    compare(given, applied[0], slips, wrong, within=0.1 * applied[0])  # so near, a simulation will do
    print(f"Right: {given:.2%}; on average {average:.1f} of {len(pipeline.operations)} operations are applied.")


def twice_the_largest(new_images, copies, labels):
    """Check what a target of twice the largest class would write (02, exercise 2)."""
    new_images, copies = number(new_images, "new_images"), number(copies, "copies")
    sizes = {name: int((labels == name).sum()) for name in set(labels)}
    largest, smallest = max(sizes.values()), min(sizes.values())
    lacking = sum(2 * largest - size for size in sizes.values())
    slips = {
        "That counts the originals as well; how many images are new?": 2 * largest * len(sizes),
        "That fills up to the largest class; the target is twice as much.": lacking - largest * len(sizes),
        "That is twice what the default writes; the target doubles, not what is lacking.": 2
        * (lacking - largest * len(sizes)),
    }
    compare(new_images, lacking, slips, f"{new_images} is not what the classes lack altogether.")
    slips = {
        "An original is not its own copy: count new images only.": 2 * largest / smallest,
        "That is for a target of once the largest class.": largest / smallest - 1,
        "That is for the largest class; the smallest needs most.": 1,
        "That is how many copies the whole class gets; how many is that for each original?": 2 * largest - smallest,
        "That is the mean over all classes; take the smallest alone.": lacking / len(labels),
    }
    expected = (2 * largest - smallest) / smallest
    compare(copies, expected, slips, f"{copies} is not the new images of the smallest class by its originals.", 0.05)
    print(f"Right: {lacking} new images, {expected:.1f} copies of each original of the smallest class.")


def without_a_leak(learned, checked, everything):
    """Check that a split of the table ``everything`` does not leak (02, exercise 3)."""
    known = set(everything["image_id"])
    assert set(learned["image_id"]) | set(checked["image_id"]) <= known, "Take all rows from `everything`."
    assert len(checked) and len(learned), "One side of the split is empty."
    assert not set(learned["image_id"]) & set(checked["image_id"]), "A copy of a validation image is in training."
    assert not set(learned["group"]) & set(checked["group"]), "A group lies on both sides of the split."
    assert set(checked["code"]) & set(learned["code"]), "No class is on both sides of the split."
    assert (checked["copy"] == 0).all(), "Validation holds copies; it should hold originals only."
    assert (learned["copy"] > 0).any(), "Training has lost its copies; they are allowed there."
    every = everything["copy"].max() + 1
    assert len(learned) + len(checked) * every == len(everything), "Some images are on neither side."
    held = checked["image_id"].nunique() / everything["image_id"].nunique()
    assert 0.05 < held < 0.5, f"{held:.0%} of the images are held out; the faulty split held out a fifth."
    print("Right: copies in training alone, originals in validation, each group on one side.")
