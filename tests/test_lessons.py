"""What notebooks 01 and 02 show: four corners, the leak, the audit in words; and the checks of their exercises."""

import Augmentor
import numpy as np
import pandas as pd
import pytest
from conftest import rows
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from helpers import augmentation, figures
from helpers.data import labels, review
from helpers.evaluation import corners, leak


@pytest.fixture
def corner_set(tmp_path):
    """Manifest rows of 40 images of two classes that differ in the colour of their corners alone."""
    random, made = np.random.default_rng(0), []
    for number in range(40):
        pixels = random.integers(0, 256, (96, 96, 3), dtype=np.uint8)
        pixels[:12, :12] = pixels[84:, 84:] = (200, 120, 40) if number % 2 else (40, 120, 200)
        file = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(file)
        made.append([str(number), str(file), ["rose", "tulip"][number % 2], ["north", "south"][number % 2]])
    table = pd.DataFrame(made, columns=["image_id", "path", "label", "collection"])
    return rows(**table, group=table["image_id"], split=["train"] * 30 + ["val"] * 10)


def test_the_corners_are_cut_where_they_are_and_nothing_else_is_left(corner_set):
    blocks = corners.cut(corner_set["path"])
    image = np.asarray(Image.open(corner_set["path"][1]))
    assert blocks.shape == (40, 4, 144, 3) and (blocks[1, 0] == (200, 120, 40)).all()
    covered = corners.covered(blocks)[1]
    assert (covered[:12, 84:] == image[:12, 84:]).all() and (covered[84:, :12] == image[84:, :12]).all()
    assert (covered[12:84] == 128).all() and (covered[:, 12:84] == 128).all()
    assert corners.describe(blocks).shape == (40, 84)
    even = np.arange(101).reshape(1, 1, 101, 1).repeat(4, axis=1).repeat(3, axis=3)
    assert corners.describe(even)[0, 6:21:3].tolist() == [5, 25, 50, 75, 95]


def test_what_the_corners_reveal_is_said_beside_the_guess(corner_set):
    train, val = corner_set[:30], corner_set[30:]
    found = corners.shares(train, val, val["label"], ["north"] * 9 + ["south"])
    assert found["value"].tolist() == [0.5, 1.0, 0.5, 0.6] and found["high"].between(found["value"], 1).all()
    assert found.index[[0, 2]].tolist() == ["always rose", "always north"]
    assert "You guessed 30%" in corners.sentence(found, 0.3) and "reveal something" in corners.sentence(found, 0.3)
    assert 'correctly for 60% (31% to 83%); "always north" is right for 50%.' in corners.sentence(found, 0.3)
    one = corners.shares(train.assign(collection=""), val, ["rose"] * 10, [""] * 10)
    assert len(one) == 2 and "do not clearly reveal" in corners.sentence(one, 0.3)
    assert "collection" not in corners.sentence(one, 0.3)


@pytest.fixture
def turns():
    pipeline = Augmentor.Pipeline()
    pipeline.rotate_random_90(probability=1)
    return pipeline


@pytest.fixture
def everything(corner_set, turns):
    table = corner_set.assign(code=np.arange(40) // 2 % 3, group=[str(number // 2) for number in range(40)])
    return leak.pictures(table, turns, 4, 0)


def test_copies_are_drawn_again_alike_and_have_their_originals_colours(everything, turns):
    assert len(everything) == 200 and everything["copy"].max() == 4
    assert np.allclose(everything[leak.COLOURS].sum(axis=1), 3)
    again = [leak.histogram(image) for image in leak.draw(everything.iloc[5:9], turns, 0)]
    assert np.allclose(again, everything[leak.COLOURS].iloc[5:9])


def test_augmented_before_the_split_validation_is_a_memory_test(everything):
    test = everything[everything["copy"] == 0].assign(code=9)
    compared = leak.compare(everything, test, seed=2**32 - 1)
    assert compared["way"].unique().tolist() == leak.WAYS and set(compared["seed"]) == {2**32 - 1, 0, 1}
    leaked, honest = compared.groupby("way", sort=False)["validation"].mean()
    assert leaked > 0.95 and honest < 0.7
    found = leak.shares(compared)
    assert found["value"].iloc[[0, 2]].tolist() == pytest.approx([leaked, honest])
    assert found.index[found["guessed"]].tolist() == ["augmented, then split: Test"]
    said = leak.sentence(found.assign(value=[0.966, 0.264, 0.403, 0.262]), 0.8)
    assert "You guessed 80% of Test. With the leak, validation says 97%, and Test 26%." in said
    assert "57 percentage points, and what the classifier gets right on Test by 0." in said


def test_each_picture_stands_above_its_nearest(everything):
    learned, checked = everything[everything["copy"] > 0], everything[everything["copy"] == 0]
    nearest = KNeighborsClassifier(n_neighbors=1).fit(learned[leak.COLOURS], learned["code"])
    pairs = leak.pairs(nearest, learned, checked, 3)
    assert pairs["picture"].tolist() == ["validation"] * 3 + ["nearest"] * 3 and pairs["same"].sum() == 3


def test_some_images_are_copied_and_earlier_tries_deleted(corner_set, tmp_path):
    (tmp_path / "new" / "old").mkdir(parents=True)
    folder = augmentation.copy_some(corner_set.assign(label=["a/b", "c"] * 20), tmp_path / "new")
    assert len(list(folder.iterdir())) == 3 and folder.parent == tmp_path / "new"
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_the_balance_counts_originals_and_copies(small_manifest):
    train = small_manifest[small_manifest["split"] == "train"]
    copies = train[train["label"] == "melanoma"].assign(parent=train["image_id"], image_id=train["image_id"] + "+")
    counts = augmentation.balance(pd.concat([small_manifest, copies]))
    assert counts.loc["melanoma"].tolist() == [3, 3, 1] and counts.loc["nevus"].tolist() == [5, 0, 0]
    assert counts.index[0] == "melanoma"


def test_every_column_of_the_ledger_is_explained():
    table = rows(
        image_id=list("abcd"),
        published_label=["nevus", "nevus", "melanoma", "melanoma"],
        label=["nevus", "", "nevus", "melanoma"],
        split=["train", "train", "train", "test"],
        flag=["", "duplicate", "", ""],
    )
    ledger = labels.ledger(table)
    assert set(ledger.columns) - {"published", "audited"} <= set(review.MEANINGS) >= set(review.NAMES)
    reasons = review.reasons(ledger)
    assert reasons["train"].to_dict() == {"duplicate": 1, "moved out": 1, "moved in": 1}
    assert review.changes(ledger).loc["melanoma"].tolist() == [2, 0, -1, 0, 1]
    unchanged = labels.ledger(table[:1])
    assert review.reasons(unchanged).index.tolist() == ["none"] and len(review.changes(unchanged)) == 1


def test_what_the_ledger_shows_of_images_that_are_also_in_test():
    table = rows(image_id=["a"], published_label=["x"], split=["train"], flag=["test twin"])
    ledger = labels.ledger(table)
    assert review.reasons(ledger).index.tolist() == ["also in Test"]
    assert review.changes(ledger).loc["x"].to_dict() == {
        "published": 1,
        "left out": -1,
        "moved out": 0,
        "moved in": 0,
        "audited": 0,
    }


def test_examples_are_drawn_of_usable_rows_and_one_class_is_refused():
    table = rows(image_id=list("abcde"), label=list("xxxyy"), split=[""] * 5, flag=["unreadable", "", "", "", ""])
    shown = review.examples(table, seed=0)
    assert shown["label"].tolist() == list("xxyy") and "a" not in set(shown["image_id"])
    with pytest.raises(ValueError, match="Only the class 'x' is left"):
        review.examples(table[:3], seed=0)


def test_a_contradiction_shows_one_picture_beside_itself():
    table = rows(picture=list("aabbbc"), published_label=list("xyxyxx"), label=list("xyxyxx"), flag=[""] * 6)
    assert review.contradictions(table, 1)["published_label"].tolist() == ["x", "y"]
    assert review.contradictions(table)["picture"].tolist() == list("aabb")
    assert len(review.contradictions(table[5:])) == 0
    found = {"lists": {"contradictory_images": [["a", "a"], ["b", "b", "b"]]}}
    said = review.contradictions_in_words(review.contradictions(table, 1), found)
    assert said == "Pictures filed under two classes: 2 (in 5 files); shown here: 1"
    none = {"lists": {"contradictory_images": []}}
    assert review.contradictions_in_words(table[:0], none) == "No picture is filed under two classes"


def test_mean_images_and_the_colour_of_their_edges():
    pixels = np.zeros((3, 32, 32, 3), "float32")
    pixels[:2, ..., 2] = [[[200]], [[100]]]
    pixels[2, ..., 0] = 50
    mean = review.mean_images(pixels, ["sky", "sky", "rose"])
    assert list(mean) == ["rose", "sky"] and mean["sky"][0, 0].tolist() == [0, 0, 150]
    assert [review.blue_of_edge(image) for image in mean.values()] == [0, 100]
    assert review.ends(pd.Series({"a": 1.6, "b": 7}), "%") == "2% (a) to 7% (b)"
    assert review.ends(pd.Series({"a": 1.6})) == "2 (a)"


def test_a_figure_grows_with_the_lines_of_its_title():
    one, three = (
        figures.image_grid([np.zeros((8, 8, 3))], ["x"], 1, title) for title in ("Short", "a long title " * 12)
    )
    assert len(three.get_suptitle().splitlines()) == 3 and three.get_figheight() > one.get_figheight()


def test_bars_say_their_numbers_to_those_who_cannot_see():
    counts = pd.DataFrame({"originals": [3, 5], "copies": [2, 0]}, ["rose", "tulip"])
    figure = figures.bars(counts, ["grey", "blue"], "Roses have copies", synthetic=True)
    assert "rose 3 + 2; tulip 5 + 0" in figure.alt and "synthetic" in figure.alt
    assert figures.bars(counts, ["grey", "blue"], "How many?").alt.startswith("How many? Images")
    assert [text.get_text().strip() for text in figure.axes[0].texts] == ["5", "5"]
