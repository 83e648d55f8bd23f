"""The predictions table: made, read back, read from another tool, refused with its line, and given its true labels."""

import numpy as np
import pandas as pd
import pytest

from helpers import manifest
from helpers.evaluation import scores
from helpers.runs import RunError

pytestmark = pytest.mark.filterwarnings("error")
NAMES = ["melanoma", "nevus"]
NO_PROBABILITIES = ["0.5", "0.5,NaN", "0.5,x", "0.5,inf", "1.5,-0.5", "40,60", "0.5,0.49"]


@pytest.fixture
def rows():
    """A manifest of four test images; the last takes no part, and the third is a group with the second."""
    table = pd.DataFrame(
        {
            "image_id": ["a", "b", "c", "d"],
            "split": "test",
            "flag": ["", "", "", "contradiction"],
            "published_label": ["melanoma", "nevus", "wart", "nevus"],
            "label": ["melanoma", "nevus", "nevus", ""],
            "group": ["", "g", "g", ""],
        }
    )
    table["path"] = "/images/" + table["image_id"] + ".jpg"
    return manifest.check(table.reindex(columns=manifest.COLUMNS, fill_value=""))


def written(folder, *lines):
    file = folder / "predictions.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_own_table_reads_back(tmp_path, rows):
    made = scores.predictions_table(rows, [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [1, 0]], NAMES)
    made.to_csv(tmp_path / "predictions.csv", index=False)
    pd.testing.assert_frame_equal(scores.read_predictions(tmp_path / "predictions.csv"), made)
    read = scores.read_predictions(tmp_path / "predictions.csv", rows)
    pd.testing.assert_frame_equal(read.drop(columns="group"), made)
    assert read["group"].tolist() == ["", "g", "g", ""]
    with pytest.raises(ValueError, match="4, 1"):
        scores.predictions_table(rows, np.ones((4, 1)), NAMES)


def test_another_tools_file_reads(tmp_path, rows):
    file = written(tmp_path, "\ufeffp_nevus, p_melanoma,model,image_id", "0.25,0.75,v2,b", "", "1,0.0005,v2,a", ",,,")
    read = scores.read_predictions(file, rows.head(2))
    assert list(read.columns) == ["image_id", "split", "label", "group", "p_melanoma", "p_nevus"]
    assert read.to_numpy().tolist() == [
        ["b", "test", "nevus", "g", 0.75, 0.25],
        ["a", "test", "melanoma", "", 0.0005, 1],
    ]
    assert scores.read_predictions(file)[["split", "label"]].to_numpy().tolist() == [["", ""]] * 2


@pytest.mark.parametrize("left", [0, 3])
def test_a_file_without_all_images_of_validation_and_test_is_refused(tmp_path, rows, left):
    """The fourth image's label was contradicted; with published labels it is scored all the same."""
    made = scores.predictions_table(rows, np.full((4, 2), 0.5), NAMES).drop(index=left)
    made.to_csv(tmp_path / "predictions.csv", index=False)
    with pytest.raises(RunError, match=f"1 of the 4 images .* are missing, such as '{'abcd'[left]}'"):
        scores.read_predictions(tmp_path / "predictions.csv", rows)
    unreadable = rows.assign(flag=rows["flag"].where(rows.index != left, "unreadable"))
    assert len(scores.read_predictions(tmp_path / "predictions.csv", unreadable)) == 3


def test_the_manifest_says_split_and_label(tmp_path, rows):
    file = written(tmp_path, "image_id,split,label,p_melanoma,p_nevus", "a,train,nevus,1,0")
    assert scores.read_predictions(file)[["split", "label"]].to_numpy().tolist() == [["train", "nevus"]]
    assert scores.read_predictions(file, rows.head(1))[["split", "label"]].to_numpy().tolist() == [["test", "melanoma"]]


@pytest.mark.parametrize(
    "bad, words",
    [
        *[(f"b,{values}", "line 4, image 'b': its values are not probabilities") for values in NO_PROBABILITIES],
        ("a,0.5,0.5", "line 4, image 'a': the image is already in a row above"),
        ("z,0.5,0.5", "line 4, image 'z': the manifest has no such image"),
    ],
)
def test_broken_row_is_refused_with_its_line(tmp_path, rows, bad, words):
    file = written(tmp_path, "image_id,p_melanoma,p_nevus", "a,0.5,0.5", "", bad, "c,0.5,0.5")
    with pytest.raises(RunError, match=words):
        scores.read_predictions(file, rows)


@pytest.mark.parametrize(
    "header, column",
    [
        ("image_id,p_melanoma,p_wart", "p_nevus"),
        ("image,p_melanoma,p_nevus", "image_id"),
        ("image_id;p_melanoma;p_nevus", "image_id"),
    ],
)
def test_missing_column_is_refused_with_its_name(tmp_path, rows, header, column):
    with pytest.raises(RunError, match=f"line 1: column '{column}' is missing"):
        scores.read_predictions(written(tmp_path, header, "a,0.5,0.5"), rows)
    with pytest.raises(RunError, match="line 1: column 'p_<class>' is missing"):
        scores.read_predictions(written(tmp_path, "image_id,p_melanoma", "a,1"))


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\n",
        b"\x89PNG\r\n\x1a\n\x00\xff\xfe",
        b"image_id,p_melanoma,p_nevus\n",
        b"image_id,p_melanoma,p_nevus\na,1,0,v2\nb,1,0\n",
        b"a,0.1,0.9\nb,0.1,0.9,5,6\n",
    ],
    ids=["missing", "empty", "blank", "binary", "header alone", "longer row", "ragged"],
)
def test_a_file_that_is_no_table_is_refused_with_its_name_and_the_way_out(tmp_path, rows, content):
    file = tmp_path / "predictions.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RunError, match=r"predictions\.csv.*(write|line)"):
        scores.read_predictions(file, rows)


def test_published_and_audited_labels(rows):
    made = scores.predictions_table(rows, [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [1, 0]], NAMES)
    facts = rows.set_index("image_id")
    published = scores.labelled(made, facts["published_label"])
    assert published["label"].tolist() == ["melanoma", "nevus", "wart", "nevus"]
    assert scores.score(published)["accuracy"] == 0.5  # a wart cannot be called
    audited = scores.labelled(made, facts["label"])
    assert audited["image_id"].tolist() == ["a", "b", "c"] and scores.score(audited)["accuracy"] == 1
    pd.testing.assert_frame_equal(scores.labelled(made), audited)
    assert scores.labelled(made, facts["label"].drop("a"))["image_id"].tolist() == ["b", "c"]
