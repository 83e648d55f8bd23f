import warnings

import numpy as np
import pandas as pd
import pytest

from helpers import manifest
from helpers.data import splits


def rows(seed=0, groups=200, published=(), classes=("a", "b", "c"), shares=(0.6, 0.3, 0.1)):
    """A manifest of ``groups`` lesions of one class each and one to four images; a tenth of the rows is flagged."""
    rng = np.random.default_rng(seed)
    given = []
    for group in range(groups):
        label, place = rng.choice(classes, p=shares), rng.choice([*published, "train"]) if published else ""
        for image in range(rng.integers(1, 5)):
            flag = "contradiction" if rng.random() < 0.1 else ""
            given.append(dict(image_id=f"i{group:04d}-{image}", published_label=label, label="" if flag else label,
                              split=place, group=f"g{group}", flag=flag))
    table = pd.DataFrame(given).reindex(columns=manifest.COLUMNS, fill_value="")
    return table.assign(path="/" + table["image_id"], picture=table["image_id"])


def one_each(*given):
    """A manifest from (label, group) tuples, one image each."""
    table = pd.DataFrame(given, columns=["label", "group"]).reindex(columns=manifest.COLUMNS, fill_value="")
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
    folded = splits.folds(done, 4, seed)
    for one, other in zip(folded, splits.folds(done.iloc[::-1], 4, seed)):
        assert other.sort_index().equals(one)
    assert not splits.folds(done, 4, seed + 1)[0].equals(folded[0])


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
    given = [*(("many", f"m{number}") for number in range(60)), ("two", "t1"), ("two", "t2"), *[("one", "o")] * 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = splits.split(one_each(*given).assign(split="train").pipe(_with_test), seed=seed)
    where = manifest.active(done).groupby("label")["split"].agg(set)
    assert where["two"] == {"train", "val"} and where["one"] == {"train"} and where["many"] == {"train", "val", "test"}


def _with_test(table):
    return table.assign(split=table["split"].mask(table.index < 5, "test"))


def test_few_images_are_divided_as_well_as_they_can_be():
    done = splits.split(one_each(("a", "1"), ("a", "2"), ("a", "3")))
    assert sorted(done["split"]) == ["test", "train", "val"]
    apart = splits.split(one_each(*((name, name) for name in "abc")))
    assert set(apart["split"]) == {"train"}
    with pytest.raises(ValueError, match="1 groups of images cannot be divided into 2 parts"):
        splits.split(one_each(("a", "1"), ("b", "1")))
    with pytest.raises(ValueError, match="0 groups"):
        splits.split(one_each(("a", "1")).assign(flag="unreadable", label=""))


@pytest.mark.parametrize("fraction", [0, -0.1, 0.6, 1])
def test_impossible_fractions_are_refused(fraction):
    with pytest.raises(ValueError, match="val_fraction is"):
        splits.split(rows(), val_fraction=fraction)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.3, 0.4, 0.5])
def test_other_fractions_come_out(fraction):
    used = manifest.active(splits.split(rows(5, groups=400), val_fraction=fraction, test_fraction=0.1))
    part = used["split"].eq("val").sum() / used["split"].isin(["val", "train"]).sum()
    assert abs(part - fraction) < 0.03


@pytest.mark.parametrize("seed", range(4))
def test_each_image_is_validated_in_one_fold_beside_its_group(seed):
    done = splits.split(rows(seed, published=("train", "test")), seed=seed)
    folded = splits.folds(done, 5, seed)
    validated = pd.concat([fold["split"].eq("val") for fold in folded], axis=1).sum(axis=1)
    pooled = done["flag"].eq("") & done["split"].isin(["train", "val"])
    assert (validated == pooled).all() and len(folded) == 5
    for fold in folded:
        used = manifest.active(fold)
        assert (used.groupby("group")["split"].nunique() == 1).all()
        assert (fold["split"] == "test").equals(done["split"] == "test")
        counts = pd.crosstab(used["label"], used["split"])
        assert (abs(counts["val"] / (counts["val"] + counts["train"]) - 0.2) < 0.12).all()


def test_folds_of_published_labels_keep_a_picture_on_one_side():
    table = rows(6, published=("train",)).assign(flag="", label="a", split="train")
    table["split"] = table["split"].mask(table.index % 5 == 0, "val")
    table["group"] = table["group"].mask(table["split"] == "val", "val/" + table["group"])
    for fold in splits.folds(table, 3):
        sides = fold["split"].groupby(fold["group"].str.removeprefix("val/")).nunique()
        assert (sides == 1).all()


def test_a_class_with_fewer_groups_than_folds_is_taken_without_warnings():
    table = one_each(*(("many", f"m{number}") for number in range(20)), ("few", "f1"), ("few", "f2"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folded = splits.folds(table.assign(split="train"), 5)
    assert sum((fold["split"].eq("val") & fold["label"].eq("few")).sum() for fold in folded) == 2
    assert len(splits.folds(one_each(*((name, name) for name in "abcde")).assign(split="train"), 5)) == 5
    with pytest.raises(ValueError, match="4 groups of images cannot be divided into 5 parts"):
        splits.folds(one_each(*((name, name) for name in "abcd")).assign(split="train"), 5)
