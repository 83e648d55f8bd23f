import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import manifest
from helpers.data import splits


def rows(seed=0, groups=200, published=(), classes=("a", "b", "c"), shares=(0.6, 0.3, 0.1)):
    """A manifest of ``groups`` lesions of one class each and one to four images; a tenth of the rows is flagged."""
    rng = np.random.default_rng(seed)
    listed = []
    for group in range(groups):
        label, place = rng.choice(classes, p=shares), rng.choice([*published, "train"]) if published else ""
        for image in range(rng.integers(1, 5)):
            flag = "contradiction" if rng.random() < 0.1 else ""
            listed.append(
                {
                    "image_id": f"i{group:04d}-{image}",
                    "published_label": label,
                    "label": "" if flag else label,
                    "split": place,
                    "group": f"g{group}",
                    "flag": flag,
                }
            )
    table = pd.DataFrame(listed).reindex(columns=manifest.COLUMNS, fill_value="")
    return table.assign(path="/" + table["image_id"], picture=table["image_id"])


def one_each(*pairs):
    """A manifest from (label, group) tuples, one image each."""
    table = pd.DataFrame(pairs, columns=["label", "group"]).reindex(columns=manifest.COLUMNS, fill_value="")
    table["image_id"] = [f"i{number:03d}" for number in range(len(table))]
    return table.assign(path="/" + table["image_id"], published_label=table["label"])


@pytest.mark.parametrize("seed", range(8))
def test_no_group_crosses_and_every_class_gives_its_share(seed):
    table = rows(seed)
    done = splits.split(table, val_fraction=0.2, test_fraction=0.15, seed=seed)
    used = manifest.active(done)
    assert (used.groupby("group")["split"].nunique() == 1).all()
    counts = pd.crosstab(used["label"], used["split"])
    assert (abs(counts["test"] / counts.sum(axis=1) - 0.15) < 0.05).all()
    assert (abs(counts["val"] / (counts["val"] + counts["train"]) - 0.2) < 0.05).all()
    assert done.drop(columns="split").equals(table.drop(columns="split"))
    assert (done.loc[done["flag"] != "", "split"] == "").all()


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_the_rows_does_not_matter_and_the_seed_does(seed):
    table = rows(1)
    done = splits.split(table, seed=seed)
    shuffled = splits.split(table.sample(frac=1, random_state=seed), seed=seed)
    assert shuffled.sort_index().equals(done)
    assert not splits.split(table, seed=seed + 1).equals(done)


def test_the_first_images_of_each_class_can_be_validated_on():
    table = rows(3)
    done = manifest.active(splits.split(table, val_cut="first"))
    assert (done.groupby("group")["split"].nunique() == 1).all()
    for _, images in done[done["split"] != "test"].groupby("label"):
        val, train = (images.loc[images["split"] == name, "image_id"] for name in ("val", "train"))
        assert val.max() < train.min() and abs(len(val) / len(images) - 0.2) < 0.05
    alone = splits.split(one_each(("a", "g0"), ("b", "g1"), ("b", "g2"), ("b", "g3")), val_cut="first")
    assert alone.loc[alone["group"] == "g0", "split"].item() != "val"
    with pytest.raises(ValueError, match="'last'; choose 'at random' or 'first'"):
        splits.split(table, val_cut="last")


def test_a_published_test_and_validation_are_kept():
    table = rows(2, published=("train", "test"))
    done = splits.split(table)
    assert (done["split"] == "test").equals(table["split"] == "test")
    assert set(manifest.active(done)["split"]) == {"train", "val", "test"}
    table = rows(2, published=("train", "val", "test"))
    assert splits.split(table).equals(table)


def test_a_missing_test_is_held_out_beside_a_published_validation():
    table = rows(3, published=("train", "val"))
    done = splits.split(table)
    assert (done["split"] == "val").equals(table["split"] == "val") and (done["split"] == "test").any()


@pytest.mark.parametrize("seed", range(5))
def test_small_classes_are_on_both_sides_and_a_class_of_one_group_is_learned(seed):
    pairs = [*(("many", f"m{number}") for number in range(60)), ("two", "t1"), ("two", "t2"), *[("one", "o")] * 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = splits.split(one_each(*pairs).assign(split="train").pipe(_with_test), seed=seed)
    where = manifest.active(done).groupby("label")["split"].agg(set)
    assert where["two"] == {"train", "val"} and where["one"] == {"train"} and where["many"] == {"train", "val", "test"}


def _with_test(table):
    return table.assign(split=table["split"].mask(table.index < 5, "test"))


def test_few_images_are_divided_as_well_as_they_can_be():
    done = splits.split(one_each(("a", "1"), ("a", "2"), ("a", "3"), ("b", "4")))
    assert done["split"].value_counts().to_dict() == {"train": 2, "val": 1, "test": 1}
    with pytest.raises(ValueError, match=r"3 images in 3 groups .* too few to keep some for val and test"):
        splits.split(one_each(*((name, name) for name in "abc")))


TWO = [("a", "1"), ("a", "2"), ("b", "3"), ("b", "4")]


@pytest.mark.parametrize(
    "change, said",
    [
        (
            lambda t: t.assign(flag="class too small", label=""),
            "No image is left .* 4 as 'class too small'.*MIN_CLASS_SIZE.*the largest has 2",
        ),
        (lambda t: t.assign(flag="unreadable", label=""), "No image is left to train on.*4 as 'unreadable'"),
        (lambda t: t.assign(split="test"), "All 4 images are in test, none in Train"),
        (lambda t: t.assign(label="a"), "Only the class 'a' is left to train on, but a classifier needs two"),
        (lambda t: t.assign(group="1"), "in 1 groups .* cannot be divided"),
    ],
)
def test_what_is_missing_is_said(change, said):
    with pytest.raises(ValueError, match=said):
        splits.split(change(one_each(*TWO)))


@pytest.mark.parametrize("fraction", [0, -0.1, 0.04, 0.6, 1, float("nan")])
def test_impossible_fractions_are_refused(fraction):
    with pytest.raises(ValueError, match="val_fraction is"):
        splits.split(rows(), val_fraction=fraction)


@pytest.mark.parametrize("fraction", [0.05, 0.06, 0.1, 0.13, 0.25, 0.3, 0.37, 0.4, 0.5])
@pytest.mark.parametrize("cut", ["at random", "first"])
def test_other_fractions_come_out(fraction, cut):
    used = manifest.active(splits.split(rows(5, groups=400), val_fraction=fraction, test_fraction=0.1, val_cut=cut))
    part = used["split"].eq("val").sum() / used["split"].isin(["val", "train"]).sum()
    assert abs(part - fraction) < 0.02


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 25)), min_size=2, max_size=60),
    st.floats(0.05, 0.5),
    st.integers(0, 9),
    st.booleans(),
)
@settings(max_examples=80)
def test_whatever_is_divided_leaks_nothing_or_is_refused(images, fraction, seed, mixed):
    table = one_each(*((label, f"g{group}{'' if mixed else label}") for label, group in images))
    groups = table.groupby("label")["group"].nunique()
    try:
        done = splits.split(table, val_fraction=fraction, seed=seed)
    except ValueError:
        assert len(groups) < 2 or groups.max() < 4 or mixed
        return
    assert (done.groupby("group")["split"].nunique() == 1).all()
    assert set(done["split"]) == {"train", "val", "test"}


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda t: t.assign(split="test"), "in test, none in Train"),
        (lambda t: t.assign(flag="unreadable"), "No image is left.*as 'unreadable'"),
        (lambda t: t.assign(label="nevus"), "Only the class 'nevus' is left"),
    ],
)
def test_what_nothing_can_be_learned_from_is_refused_before_anything_is_drawn(change, said):
    table = one_each(*TWO)
    splits.require(table)
    with pytest.raises(ValueError, match=said):
        splits.require(change(table))
