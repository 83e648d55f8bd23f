"""The checks of the exercises of notebooks 01 and 02: each finds the truth in another way than the solution."""

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from helpers.evaluation import corners


def collection_rule(given, train, val):
    """Check the accuracy of predicting the largest class of an image's collection (01, exercise 1)."""
    assert given is not None, "rule is still None: put an accuracy, from 0 to 1, into it."
    right = {}
    for name, rows in {"val": val, "train": train}.items():
        counts = pd.crosstab(rows["collection"], rows["label"])
        best = pd.crosstab(train["collection"], train["label"]).idxmax(axis=1)
        right[name] = sum(counts.at[place, best[place]] for place in counts.index.intersection(best.index)) / len(rows)
    assert abs(given - right["train"]) > 1e-6 or right["train"] == right["val"], "That is its accuracy on training."
    always = (val["label"] == train["label"].mode()[0]).mean()
    assert abs(given - always) > 1e-6 or always == right["val"], "That is one class for all collections."
    assert abs(given - right["val"]) < 5e-3, f"{given} is not the share of validation images that this rule gets right."
    print(f"Right: {right['val']:.2f}, without opening one image; always the largest class: {always:.2f}.")


def groups_on_both_sides(given, rows, fraction, seed):
    """Check how many groups a random split divides (01, exercise 2)."""
    assert given is not None, "divided is still None: put a number of groups into it."
    held = train_test_split(np.arange(len(rows)), test_size=fraction, random_state=seed)[1]
    side = np.isin(np.arange(len(rows)), held)
    groups = rows.assign(side=side).groupby("group")["side"]
    both = groups.transform("nunique") > 1
    truth = rows.loc[both, "group"].nunique()
    assert given != both.sum() or truth == both.sum(), "You counted images; count groups."
    several = (groups.size() > 1).sum()
    assert given != several or truth == several, "These are all groups of several images; are all of them divided?"
    assert given == truth, f"A random split does not divide {given} groups: which are in both of its parts?"
    print(f"Right: a random split divides {truth} groups of {groups.ngroups}; the split above divides none.")


def corners_in_grey(given, learned, checked, train, val, seed):
    """Check the accuracy of a forest that sees the corners without their colours (01, exercise 3)."""
    assert given is not None, "grey is still None: put an accuracy, from 0 to 1, into it."

    def accuracy(*blocks):
        forest = RandomForestClassifier(300, min_samples_leaf=2, n_jobs=-1, random_state=seed)
        forest.fit(corners.describe(blocks[0]), train["label"])
        return (forest.predict(corners.describe(blocks[1])) == val["label"]).mean()

    dull = [np.stack([blocks.sum(axis=3) / 3] * 3, axis=3) for blocks in (learned, checked)]
    truth, colour, half = accuracy(*dull), accuracy(learned, checked), accuracy(learned, dull[1])
    near = 1.5 / len(val)
    assert abs(given - colour) > near or abs(truth - colour) <= near, "That is the accuracy in colour."
    assert abs(given - half) > near or abs(truth - half) <= near, "The forest has to learn from grey corners, too."
    assert abs(given - truth) <= max(0.03, near), f"{given} is not what a forest gets that learns from grey corners."
    print(f"Right: {truth:.2f} in grey, {colour:.2f} in colour. The difference is what the colours reveal.")


def unchanged(given, pipeline):
    """Check the share of draws in which a pipeline changes nothing (02, exercise 1)."""
    assert given is not None, "unchanged is still None: put a share, from 0 to 1, into it."
    applied = np.ones(1)  # how likely are 0, 1, 2 ... operations
    for operation in pipeline.operations:
        applied = np.convolve(applied, [1 - operation.probability, operation.probability])
    assert not np.isclose(given, applied[-1]), "That is how often all operations are applied; how often is none?"
    assert not np.isclose(given, 1 - applied[0]), "That is the share that is changed."
    assert np.isclose(given, applied[0], rtol=0.01, atol=0), f"{given} is not the probability that none is applied."
    average = (applied * np.arange(len(applied))).sum()
    print(f"Right: {given:.2%}; on average {average:.1f} of {len(pipeline.operations)} operations are applied.")


def twice_the_largest(new_images, copies, labels):
    """Check what a target of twice the largest class would write (02, exercise 2)."""
    assert new_images is not None and copies is not None, "new_images or copies is still None."
    sizes = {name: int((labels == name).sum()) for name in set(labels)}
    target, smallest = 2 * max(sizes.values()), min(sizes.values())
    lacking = sum(target - size for size in sizes.values())
    assert new_images != target * len(sizes), "That counts the originals as well; how many images are new?"
    assert new_images != sum(max(sizes.values()) - size for size in sizes.values()), "Up to twice the largest class."
    assert new_images == lacking, f"{new_images} is not what the classes lack altogether."
    assert not np.isclose(copies, target / smallest), "An original is not its own copy: count new images only."
    expected = (target - smallest) / smallest
    assert abs(copies - expected) < 0.05, f"{copies} is not the new images of the smallest class by its originals."
    print(f"Right: {lacking} new images, {expected:.1f} copies of each original of the smallest class.")


def without_a_leak(learned, checked, everything):
    """Check that a split of the table ``everything`` does not leak (02, exercise 3)."""
    known = set(everything.index)
    assert set(learned.index) | set(checked.index) <= known, "Take the rows from everything."
    assert len(checked) and len(learned), "One side of the split is empty."
    assert not set(learned["image_id"]) & set(checked["image_id"]), "A copy of a validation image is in training."
    assert not set(learned["group"]) & set(checked["group"]), "A lesion lies on both sides of the split."
    assert (checked["copy"] == 0).all(), "Validation holds copies; it should hold originals only."
    assert (learned["copy"] > 0).any(), "Training has lost its copies; they are allowed there."
    every = everything["copy"].max() + 1
    assert len(learned) + len(checked) * every == len(everything), "Some images are on neither side."
    held = checked["image_id"].nunique() / everything["image_id"].nunique()
    assert 0.05 < held < 0.5, f"{held:.0%} of the images are held out; the faulty split held out a fifth."
    print("Right: copies in training alone, originals in validation, each lesion on one side.")
