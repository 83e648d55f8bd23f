"""Sets as people have them are read rightly, or the question that settles it is asked, and the answer works."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import rows
from PIL import Image

from helpers import __main__ as command
from helpers import manifest
from helpers.data import audit, classes, datasets, families, labels, matching, splits

A_B = ("ant", "bee")


@pytest.fixture
def make(tmp_path, write_image):
    """Return a function that writes {place: text of a table, or None for an image} into a folder, and returns it."""

    def write(places):
        for number, (place, text) in enumerate(places.items()):
            file = tmp_path / "set" / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8") if text is not None else write_image(file, number)
        return tmp_path / "set"

    return write


def read(root, **named):
    """Return {path below the root: label} of a set, and how it was understood."""
    table, _, understood = datasets.list_images(datasets.find(root), **named)
    return dict(zip(table["path"].str.removeprefix(f"{root}/"), table["published_label"])), understood


def files(*names):
    return dict.fromkeys(names)


def table(head, *lines):
    return "\n".join([head, *lines]) + "\n"


FOUR = files("x/1.png", "x/2.png", "x/3.png", "x/4.png")
TRUE = {"x/1.png": "ant", "x/2.png": "bee", "x/3.png": "ant", "x/4.png": "bee"}
LINES = ("1.png,ant", "2.png,bee", "3.png,ant", "4.png,bee")


@pytest.mark.parametrize(
    "csv",
    [
        table(",image,label", *(f"{at},{line}" for at, line in enumerate(LINES))),
        table("Unnamed: 0,image,label", *(f"{at},{line}" for at, line in enumerate(LINES))),
        table("image,label,,,", *(f"{line},,," for line in LINES)),
        table("sep=,", "image,label", *LINES),  # as Excel writes
        table("# Insects of 2024", "", "# by me,", "image,label", *LINES),
        table("image,label", *(f"%{0x30 + at:x}.png,{line[-3:]}" for at, line in enumerate(LINES, 1))),
        table("id,label", *(line.replace(".png", "") for line in LINES)),
        table("image,label", *(f"00{line}" for line in LINES)),
        table("image,label", *(line.upper().replace("ANT", "ant").replace("BEE", "bee") for line in LINES)),
        table("image,label", *(f"/x/{line}" for line in LINES)),
        table("image,label", *(f"/content/drive/MyDrive/x/{line}" for line in LINES)),
        table("image,label", *(f"C:\\me\\x\\{line}" for line in LINES)),
        table("image,label", *(f"../data/x/{line}" for line in LINES)),
        table("picture,kind", *LINES),
        table("picture,kind", *(f"'{line.replace(',', chr(39) + ',')}" for line in LINES)),
        "\n".join(LINES),
        table("image,label,age", *(f"{line},early 40s" for line in LINES)),
        table("image,label,split", *(f"{line},fold{at}" for at, line in enumerate(LINES))),
        "\ufeffimage,label,note\n" + "".join(f"{line},{'é' * 20_000}{'a' * at}\n" for at, line in enumerate(LINES)),
    ],
)
def test_a_table_means_the_files_that_it_names_and_slips_cost_a_cell(make, csv):
    assert read(make(FOUR | {"labels.csv": csv}))[0] == TRUE


def test_a_table_speaks_of_its_own_split_and_folder(make):
    places = files("train/1.png", "train/2.png", "test/1.png")
    found, understood = read(make(places | {"train.csv": table("id,label", "1,ant", "2,bee")}))
    assert found == {"train/1.png": "ant", "train/2.png": "bee"} and "1 images without a label" in understood


@pytest.mark.parametrize("name", ["train.csv", "meta/Training_GroundTruth.csv"])
def test_a_table_of_train_may_lie_anywhere_if_no_folder_is_called_so(make, name):
    assert read(make(FOUR | {name: table("image,label", *LINES)}))[0] == TRUE


def test_each_folder_may_have_a_table_of_the_same_names(make):
    tables = {f"{place}/m.csv": table("image,label", *lines) for place, lines in (("p", LINES[:2]), ("q", LINES[1:3]))}
    found, _ = read(make(files("p/1.png", "p/2.png", "q/2.png", "q/3.png") | tables))
    assert found == {"p/1.png": "ant", "p/2.png": "bee", "q/2.png": "bee", "q/3.png": "ant"}


@pytest.mark.parametrize(
    "name, label", [("sample_submission.csv", "bee"), ("test.csv", "0"), ("test.csv", "bee"), ("predicted.csv", "ant")]
)
def test_made_up_labels_are_none(make, name, label):
    places = {"train.csv": table("image,label", *LINES[:2]), name: table("image,label", f"9.png,{label}")}
    found, understood = read(make(files("train/1.png", "train/2.png", "test/9.png") | places))
    assert set(found) == {"train/1.png", "train/2.png"} and name in understood


@pytest.mark.parametrize(
    "image, mask, labelled",
    [
        ("d/{}.png", "d/{}_superpixels.png", True),
        ("images/{}.png", "masks/{}.png", True),
        ("{label}/{}.png", "{label}/{}_mask_1.png", False),
        ("part_1/{}.png", "segmentations/{}_segmentation.png", True),
        ("{label}/image_{}.png", "{label}/mask_{}.png", False),
        ("{label}/{}.png", "{label}/annot_{}.png", False),
    ],
)
def test_masks_and_superpixels_are_left_aside_in_words(make, image, mask, labelled):
    names = [f"{'ISIC_' if labelled else ''}000000{n}" for n in range(4)]
    root = make(
        {image.format(name, label=A_B[at % 2]): None for at, name in enumerate(names)}
        | ({"t": table("image,label", *(f"{name},{A_B[at % 2]}" for at, name in enumerate(names)))} if labelled else {})
    )
    for at, name in enumerate(names):
        file = root / mask.format(name, label=A_B[at % 2])
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.uint8(255 * np.eye(20))).save(file)
    found, understood = read(root)
    assert len(found) == 4 and set(found.values()) == set(A_B) and "4 masks or other drawings" in understood


def test_sketches_of_the_same_names_are_a_class(make):
    root = make(files(*(f"photo/{n}.png" for n in range(4)), *(f"sketch/{n}.png" for n in range(4))))
    for file in root.glob("sketch/*"):
        Image.fromarray(np.uint8(255 * np.eye(20))).save(file)
    assert set(read(root)[0].values()) == {"photo", "sketch"}


def test_two_flags_of_isic_2017_leave_the_nevi(make):
    flags = table("image_id,melanoma,seborrheic_keratosis", "1,1.0,0.0", "2,0.0,1.0", "3,0.0,0.0", "4,0.0,0.0")
    assert [*read(make(FOUR | {"t.csv": flags}))[0].values()] == ["melanoma", "seborrheic keratosis", "nevus", "nevus"]


def test_hospitals_beside_an_unknown_class_are_no_classes(make):
    found, _ = read(make(files(*(f"train/{h}/{c}/{h}{c}.png" for h in "AB" for c in ("melanoma", "nevus", "wart")))))
    assert set(found.values()) == {"melanoma", "nevus", "wart"}


@pytest.mark.parametrize(
    "names",
    [
        ("-1", "1"),
        ("HER2+", "HER2-"),
        ("<1 mm", ">1 mm"),
        ("C++", "C"),
        ("काला", "काली", "कील"),
        ("a-1", "a -1"),
        ("ß", "ss"),
    ],
)
def test_names_that_differ_in_other_characters_are_other_classes(names):
    assert len(set(map(classes.plain, names))) == len(names)


@pytest.mark.parametrize("names", [("-1", "1"), ("A", "A-"), ("_x", "x")])
def test_folders_that_differ_in_other_characters_are_other_classes(make, names):
    assert set(read(make(files(*(f"{name}/{n}.png" for name in names for n in range(2)))))[0].values()) == set(names)


def test_spellings_are_merged_and_that_is_said(make):
    found, understood = read(make(files("Good_one/1.png", "good one/2.png", "NV/3.png", "nevus/4.png")))
    assert len(set(found.values())) == 2
    assert "read as one: Good_one = Good_one, good one; nevus = NV, nevus" in understood


@pytest.mark.parametrize("names", [("forest", "train_station"), ("bus", "train"), ("photos", "drawings")])
def test_words_of_splits_and_parts_may_be_classes(make, names):
    found, understood = read(make(files(*(f"{name}/{name}{n}.png" for name in names for n in "12"))))
    assert set(found.values()) == set(names) and "given splits: none" in understood


@pytest.mark.parametrize(
    "name, text",
    [
        ("results.csv", table("name,score", "run1,0.9", "run2,0.8,extra")),
        ("results.csv", table("id,acc,acc", "1,0.9,0.8")),
        ("history.csv", table("id,loss,split", "1,0.5,fold1")),
        ("annotators.csv", table("id,age", "1,early 40s")),
    ],
)
def test_a_table_that_is_about_no_image_spoils_nothing(make, name, text):
    found, understood = read(make(files("ant/1.png", "ant/2.png", "bee/3.png", "bee/4.png") | {name: text}))
    assert set(found.values()) == set(A_B) and name in understood


def test_train_in_folders_and_test_in_a_table_are_one_set(make):
    places = files("Training/ant/1.png", "Training/bee/2.png", "Test/3.png", "Test/4.png")
    found, _ = read(make(places | {"Test_GroundTruth.csv": table("image,label", *LINES[2:])}))
    assert found["Test/3.png"] == "ant" and found["Test/4.png"] == "bee" and len(found) == 4


def test_the_archives_third_level_is_the_class_in_its_standard_name(make):
    head = "isic_id,diagnosis_1,diagnosis_2,diagnosis_3"
    lines = ["1,Malignant,Melanoma,Melanoma in situ", '2,Malignant,Melanoma,"Melanoma, NOS"', "3,Benign,Nevi,Nevus"]
    found, understood = read(make(FOUR | {"metadata.csv": table(head, *lines)}))
    assert [*found.values()] == ["melanoma", "melanoma", "nevus"] and "Label: diagnosis_3" in understood


GRADES = [f"{'small' if n % 3 else 'large'}" for n in range(24)]
MEANT = {  # places, the classes, and what is said
    "the set once more": (files("ant/1.png", "bee/2.png", "set/ant/1.png", "set/bee/2.png"), A_B, "splits: none"),
    "a folder in one of its name": (
        files(
            "s_train/s_train/ant/1.png", "s_train/s_train/bee/2.png", "s_test/s_test/ant/3.png", "s_pred/s_pred/4.png"
        ),
        A_B,
        "splits: train, test",
    ),
    "splits that say so twice": (
        files("Train_Set/Training/1.png", "Test_Set/Testing/2.png", "Eval_Set/Validation/3.png")
        | {"l.csv": table("image,label", "1.png,ant", "2.png,bee", "3.png,bee")},
        A_B,
        "splits: train, val, test",
    ),
    "copies of all classes": (
        files(*(f"{of} Set/{name}/{name}{n}.png" for of in ("First", "Augmented") for name in A_B for n in "12")),
        A_B,
        "splits: none",
    ),
    "slides below the class": (
        files(*(f"{name}/SOB/{name}_{n // 2}/40X/{n}.png" for name in A_B for n in range(24))),
        A_B,
        "groups: patient_id",
    ),
    "cells of a slide": (
        files(*(f"{A_B[n % 2]}/C{n // 4}P_cell_{n}.png" for n in range(24))),
        A_B,
        "groups: patient_id",
    ),
    "a test beside parts": (
        files("images_part_1/1.png", "images_part_2/2.png", "Test_Images/3.png", "Test_Images/4.png")
        | {"meta": table("image,dx", *LINES)},
        A_B,
        "splits: test",
    ),
    "a column of any name with the folders' classes": (
        files("Train/ant/1.png", "Train/bee/2.png", "Test/3.png", "Test/4.png", "Meta/5.png")
        | {"T.csv": table("file,kind", *LINES[2:]), "M.csv": table("file,kind", "Meta/5.png,ant", "Meta/6.png,bee")},
        A_B,
        "1 images without a label in T.csv in Meta/",
    ),
    "labels of few": (
        files(*(f"{A_B[n % 2]}/{n}.png" for n in range(24)))
        | {"few.csv": table("image,label", "ant/0.png,x", "bee/1.png,y")},
        A_B,
        r"few.csv \(labels of few images\)",
    ),
    "paths and splits beside": (
        files("ant/1.png", "ant/2.png", "bee/3.png", "bee/4.png")
        | {"s.csv": table("path,split", "ant/1.png,train", "ant/2.png,test", "bee/3.png,train", "bee/4.png,test")},
        A_B,
        "splits: train, test",
    ),
    "words about the pictures beside": (
        files(*(f"set/{A_B[n % 2]}/{n}.png" for n in range(24)))
        | {"set/q.csv": table("image,quality", *(f"{n}.png,{size}" for n, size in enumerate(GRADES)))},
        A_B,
        "class folders",
    ),
    "a test beside the classes": (
        files(*(f"{place}{A_B[n % 2]}/{n}{place[:1]}.png" for n in range(4) for place in ("", "test/"))),
        A_B,
        "splits: test\n",
    ),
    "Excel's first line": (
        FOUR | {"l.csv": "sep=;\r\nimage;label\r\n" + "\r\n".join(LINES).replace(",", ";")},
        A_B,
        "l.csv",
    ),
}


@pytest.mark.parametrize("case", MEANT)
def test_a_set_is_read_as_its_owner_means_it(make, case):
    places, meant, said = MEANT[case]
    found, understood = read(make(places))
    assert set(found.values()) == set(meant) and re.search(said, understood)


UNCLEAR = {
    "lesions": (
        files(*(f"IL_{n // 2:03d}/{n}.png" for n in range(24)))
        | {"m.csv": table("image,lesion_id,a,b", *(f"{n}.png,IL_{n // 2:03d},x,y" for n in range(24)))},
        "none of its columns",
    ),
    "few pictures each": (files(*(f"x{n // 2}y/{n}.png" for n in range(24))), "a folder for each picture"),
    "numbered folders and a spreadsheet": (files("Base11/1.png", "Base12/2.png") | {"a.xls": ""}, "Base11.*parts"),
    "a table of paths": (
        files(*(f"N{n // 8}x/{n}.png" for n in range(24)))
        | {"m.csv": table("path,size", *(f"N{n // 8}x/{n}.png,{size}" for n, size in enumerate(GRADES)))},
        "both the folders .* and m.csv",
    ),
    "names that repeat": (
        files(*(f"{place}/{n}.png" for place in "ab" for n in range(9)))
        | {"l.csv": table("folder,file,label", *(f"{p},{n}.png,{A_B[n % 2]}" for p in "ab" for n in range(9)))},
        "l.csv",
    ),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_folders_that_may_be_something_else_than_classes_are_asked_about(make, case):
    with pytest.raises(ValueError, match=UNCLEAR[case][1]):
        read(make(UNCLEAR[case][0]))


@pytest.mark.parametrize(
    "name",
    [
        "PatientID",
        "Patient Study ID",
        "slide_id",
        "StudyInstanceUID",
        "patientid",
        "Patient ID",
        "subject_id",
        "Patient-Nr.",
        "MRN",
    ],
)
def test_patients_are_known_by_any_spelling(make, name):
    csv = table(f"image,label,{name}", *(f"{line},P{at // 2}" for at, line in enumerate(LINES)))
    assert "groups: patient_id" in read(make(FOUR | {"labels.csv": csv}))[1]


def test_what_differs_from_image_to_image_is_no_collection_and_the_tables_word_comes_first(make):
    names = [f"ISIC_002430{n}" for n in range(4)]
    csv = table("image,label,attribution,clinic", *(f"{n},{A_B[at % 2]},Vienna,{at}.jpg" for at, n in enumerate(names)))
    listing = datasets.list_images(datasets.find(make(files(*(f"x/{n}.png" for n in names)) | {"labels.csv": csv})))
    assert set(listing.table["collection"]) == {"Vienna"}


ASKED = {
    "folders or table": (
        files("w 1/1.png", "w 1/2.png", "w 2/3.png", "w 2/4.png") | {"t/l.csv": table("image,label", *LINES)},
        {"labels_csv": "t/l.csv"},
        "LABELS_CSV to 'folders' or 't/l.csv'",
    ),
    "columns": (
        FOUR | {"l.csv": table("image,label,Label", *(f"{line},{A_B[at // 2]}" for at, line in enumerate(LINES)))},
        {"label_column": "label"},
        "several columns of labels: label, Label.*LABEL_COLUMN",
    ),
    "image columns": (
        FOUR | {"l.csv": table("one,two,dx", "1.png,2.png,ant", "3.png,4.png,bee")},
        {"image_column": "one"},
        "one, two name different images; choose one in IMAGE_COLUMN",
    ),
    "same names": (
        files("p/1.png", "p/2.png", "q/1.png", "q/2.png") | {"l.csv": table("image,label", *LINES[:2])},
        {"labels_csv": "folders"},
        "l.csv",
    ),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_is_asked_is_short_and_its_answer_works_in_the_audit_too(make, case, tmp_path, monkeypatch, capsys):
    places, answer, said = ASKED[case]
    root = make(places)
    monkeypatch.chdir(tmp_path)
    assert command.main(["audit", str(root)]) == 1
    message = capsys.readouterr().err.split("\n", 1)[1]
    assert re.search(said, message) and message.count("\n") <= 8
    assert read(root, **answer)[0]
    given = [text for name, value in answer.items() for text in ("-p", name.upper(), value)]
    assert command.main(["audit", str(root), *given]) == 0


def test_the_draft_is_a_table_that_can_be_corrected_and_given(make, tmp_path):
    root, draft = make(files("train/1.png", "train/2.png", "test/3.png")), tmp_path / "run" / "draft.csv"
    with pytest.raises(ValueError, match=f"{draft}: correct it, and give it as LABELS_CSV"):
        read(root, draft=draft)
    written = pd.read_csv(draft, keep_default_na=False)
    assert list(written) == ["path", "label", "split", "lesion_id", "patient_id", "collection"]
    assert written["split"].tolist() == ["test", "train", "train"]
    written.assign(label=["ant", "bee", "ant"]).to_csv(draft, index=False)
    found, understood = read(root, labels_csv=str(draft))
    assert list(found.values()) == ["ant", "bee", "ant"] and "given splits: train, test" in understood


@pytest.mark.parametrize("name", ["metadata.jsonl", "labels.xlsx", "cohort/labels.parquet"])
def test_labels_in_another_form_are_named(make, name):
    with pytest.raises(ValueError, match=re.escape(name)):
        read(make(files("cohort/1.png", "cohort/2.png") | {name: "{}"}))


@pytest.mark.parametrize("name", ["moles.npz", "hmnist_8_8_L.csv"])
def test_a_folder_without_image_files_is_refused_with_what_it_holds(make, name):
    with pytest.raises(FileNotFoundError, match=f"{name}.*docs/data.md"):
        datasets.find(make({name: "pixel0,label\n1,2\n"}))


@pytest.mark.parametrize(
    "lines",
    [
        ("filename,Acne,Scar", "1.png,1,1", "2.png,0,1", "3.png,1,0"),
        ("image,Finding,label", "1.png,x,Acne|Scar", "2.png,y,Scar", "3.png,z,Acne"),
        ("image,labels", "1.png,acne scar", "2.png,scar", "3.png,acne"),
        ("image,labels", """1.png,"['acne', 'basal scar']\"""", "2.png,['basal scar']", "3.png,['acne']"),
    ],
)
def test_several_classes_of_one_image_are_refused(make, lines):
    with pytest.raises(ValueError, match="l.csv says several classes of 1 images"):
        read(make(FOUR | {"l.csv": table(*lines)}))


def test_a_folder_for_each_picture_is_no_class(make):
    with pytest.raises(ValueError, match="a folder for each picture.*LABELS_CSV"):
        read(make(files("a/1.png", "b/2.png", "c/3.png")))


def test_a_folder_that_cannot_be_opened_is_named(make, monkeypatch):
    root, scandir = make(files("ant/1.png", "bee/2.png", "cat/3.png")), datasets.os.scandir

    def refuse(place):
        if str(place).endswith("bee"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(datasets.os, "scandir", refuse)
    assert "folder bee, which cannot be opened (Permission denied)" in read(root)[1]


UUID = "0b1c2d3e-1234-4abc-9def-0123456789ab"


@pytest.mark.parametrize(
    "copy, original",
    [
        (f"nevus_original_ISIC_1.jpg_{UUID}", "ISIC_1"),
        ("aug_0_ISIC_1", "ISIC_1"),
        ("ISIC_1_rot90_2", "ISIC_1"),
        ("ISIC_1 - Copy (2)", "ISIC_1"),
        ("Copy of ISIC_1", "ISIC_1"),
        ("ISIC_1 (1)", "ISIC_1"),
        ("ISIC_1_flip__aug1", "ISIC_1"),
        ("ISIC_1_perspective_v_2", "ISIC_1"),
        ("rotated90_ISIC_1", "ISIC_1"),
        ("Copie de ISIC_1", "ISIC_1"),
        ("aug_0_8431", families.UNKNOWN),
        ("_0_8431", families.UNKNOWN),
        ("ISIC_1_2", ""),
        ("ISIC_12", ""),
        ("ISIC_1_left", ""),
        ("flip_ISIC_3", ""),
    ],
)
def test_copies_are_known_by_their_names(copy, original):
    names = ["ISIC_1", "ISIC_2", copy]
    listed = rows(image_id=names, path=[f"/d/{name}.jpg" for name in names], published_label="x")
    assert families.originals(listed).tolist() == ["", "", original]


@pytest.mark.parametrize("around", ["{}_tilted", "{}_hf", "new_{}", "{}_1", "{} (1)", "{}_RandomBrightnessContrast_0"])
def test_what_stands_around_half_of_all_names_makes_a_copy(around):
    names = [f"IMG_{n}" for n in range(4)]
    copies = [around.format(name) for name in names]
    listed = rows(image_id=names + copies, path=[f"/d/{n}.jpg" for n in names + copies], published_label="x")
    assert families.originals(listed).tolist() == [""] * 4 + names


@pytest.mark.parametrize("names", [["leaf", *(f"leaf ({n})" for n in range(9))], ["1", "2", "3", "w_1", "w_2", "w_3"]])
def test_numbered_pictures_are_no_copies(names):
    listed = rows(image_id=names, path=[f"/d/{name}.jpg" for name in names], published_label="x")
    assert not families.originals(listed).any()


@pytest.mark.parametrize(
    "original, copy",
    [
        ("leaf/{label}/a{n}.png", "leaf_augmented/{label}/a{n}_1.png"),
        ("leaf/{label}/a{n}.png", "aug_leaf/{label}/a{n}_1.png"),
        ("leaf/{label}/a{n}.png", "leaf/{label}/rotated/a{n}.png"),
        ("orig/{label}/a{n}.png", "augmented/{label}/{n}9.png"),
        ("leaf/{label}/a{n}.png", "leaf/{label}_aug/{n}9.png"),
    ],
)
def test_folders_of_copies_hold_the_classes_of_their_originals(make, original, copy):
    named = [place.format(label=label, n=n) for place in (original, copy) for label in A_B for n in range(3)]
    table, _, _ = datasets.list_images(datasets.find(make(files(*named))))
    assert set(table["published_label"]) == set(A_B)
    made = families.originals(table) != ""
    assert made.sum() == 6 and not table["path"][made].str.contains("/a\\d.png").sum() % 6


@pytest.mark.parametrize("place", ["{label}/patient_{who}{label}/{n}.png", "Patient {who}/{label}/{n}.png"])
def test_folders_of_patients_are_groups_and_no_classes(make, place):
    named = [place.format(label=A_B[n % 2], who=n // 4, n=n) for n in range(12)]
    table, _, understood = datasets.list_images(datasets.find(make(files(*named))))
    assert set(table["published_label"]) == set(A_B) and "groups: patient_id" in understood
    assert table["group"].nunique() == (3 if place[0] == "P" else 6)


def test_a_part_without_classes_is_no_class_where_others_hold_classes(make):
    named = files(*(f"train/{label}/images/{n}.png" for label in A_B for n in range(3)), "val/images/9.png")
    found, understood = read(make(named))
    assert set(found.values()) == set(A_B) and "1 images in no class folder in val/" in understood


def test_folders_of_patients_beside_a_table_are_groups(make):
    lines = table("image,label", *(f"{n}.png,{A_B[n % 2]}" for n in range(6)))
    root = make(files(*(f"case {n // 2}/{n}.png" for n in range(6))) | {"t.csv": lines})
    assert datasets.list_images(datasets.find(root), labels_csv="t.csv").table["group"].nunique() == 3


def test_folders_of_persons_may_be_the_classes(make):
    named = files(*(f"person_{n % 2}/{n}.png" for n in range(6)))
    listed, _, understood = datasets.list_images(datasets.find(make(named)))
    assert set(listed["published_label"]) == {"person_0", "person_1"} and "groups: none" in understood


def test_one_of_roboflows_versions_stands_for_the_original_and_numbers_do_in_a_folder_of_copies():
    names = ["a_jpg.rf.0123456789ab", "a_jpg.rf.1123456789ab", "b", "b_01"]
    places = ["/d/Train", "/d/Test", "/d/Train", "/d/augmented"]
    listed = rows(image_id=names, path=[f"{p}/{n}.jpg" for p, n in zip(places, names)], published_label="x")
    listed["split"] = ["train", "test", "train", "train"]
    assert families.originals(listed).tolist() == [names[1], "", "", "b"]


@pytest.mark.parametrize("names", ["a1_aug_0 a1_aug_1", "rot0_a1 rot90_a1", "aug_a1_0_12 aug_a1_0_99"])
def test_one_of_the_copies_stands_for_an_original_that_is_not_there(names):
    listed = rows(image_id=names.split(), path=[f"/d/{name}.jpg" for name in names.split()], published_label="x")
    assert families.originals(listed).tolist() == ["", names.split()[0]]


def test_a_copy_of_the_same_name_is_known_by_its_folder():
    listed = rows(image_id=["a", "b"], path=["/d/augmented/x/1.jpg", "/d/x/1.jpg"], published_label="x")
    assert families.originals(listed).tolist() == ["b", ""]


def test_copies_of_what_is_not_known_are_left_out(make):
    named = [f"Train/{label}/{label}{n}.png" for label in A_B for n in range(9)]
    root = make(files(*named, *(f"Train/{label}/aug_{n}_8{n}.png" for label in A_B for n in range(3))))
    table, known = inspected(root)
    done = labels.apply_labels(audit.duplicates.group(table, known), "audited", known, 1)
    assert (done["flag"] == "augmented copy").sum() == 6
    assert not manifest.active(done)["image_id"].str.startswith("aug_").any()
    assert "6 files are augmented copies of pictures that" in audit.summary(audit.findings(table, known))[1][-1]


def test_copies_stay_with_their_original_in_train_and_are_left_out_elsewhere(make):
    names = [f"{label}/{label}{n}{end}.png" for label in A_B for n in range(20) for end in ("", "_flip")]
    root = make(files(*(f"Train/{name}" for name in names), "Test/ant/t.png", "Test/ant/t_flip.png", "Test/bee/u.png"))
    found = audit.findings(*inspected(root))
    assert found["augmented_copies"] == 41 and found["families"]["originals"] == 41
    assert found["families"]["leaked"] == pytest.approx(0.8 * 82 / 83, abs=0.001)
    assert "41 files are augmented copies of 41 pictures" in audit.summary(found)[1][-1]
    grouped = audit.duplicates.group(*inspected(root))
    done = splits.split(labels.apply_labels(grouped, "audited", inspected(root)[1], 1))
    used = done[done["flag"] == ""]
    assert (used.groupby("group")["split"].nunique() == 1).all()
    assert not used.loc[used["split"] != "train", "image_id"].str.contains("flip").any()
    assert used["image_id"].str.contains("flip").sum() == (used["split"] == "train").sum() / 2
    assert done.set_index("image_id")["flag"]["t_flip"] == "augmented copy"


def test_a_copy_has_the_label_of_its_original():
    names, known = ["ISIC_1", "aug_1_ISIC_1", "ISIC_2", "ISIC_2_flip", "b"], pd.DataFrame(columns=labels.FACTS)
    listed = rows(image_id=names, path=[f"/{name}" for name in names], picture=["p", "q", "r", "s", "r"])
    listed = listed.assign(published_label=["nevus"] * 4 + ["melanoma"], split="train", group=names)
    known = known.reindex(names).fillna("")
    known.loc["ISIC_1", "diagnosis"] = "MEL"
    done = labels.apply_labels(listed, "audited", known, 0)
    assert done["label"].tolist() == ["melanoma", "melanoma", "", "", ""]
    assert done["flag"].tolist() == ["", "", *["contradiction"] * 3]


def inspected(root):
    table, facts, _ = datasets.list_images(datasets.find(root))
    return audit.duplicates.inspect(table), labels.official_labels(table, facts)


@pytest.mark.parametrize(
    "names, subject",
    [
        (["melanoma", "NV", "wart"], "skin-lesion"),
        (["benign", "malignant"], "image"),
        (["rose", "tulip"], "image"),
        (["squamous cell carcinoma", "adenocarcinoma", "normal"], "image"),
        ([], "image"),
    ],
)
def test_titles_speak_of_skin_only_where_the_classes_are_skins(names, subject):
    assert classes.subject(names) == subject


RECIPES = re.findall(r"(?s)```python\n(.*?)```", (datasets.ROOT / "docs" / "data.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "number, places",
    [
        (0, files("ant.1.jpg", "bee.2.jpg")),
        (1, files("1.png", "2.png") | {"metadata.jsonl": '{"file_name": "1.png", "label": "ant"}\n'
                                       '{"file_name": "2.png", "label": "bee"}\n'}),
        (2, files("1.png", "2.png") | {"list.txt": "1.png ant\n2.png bee\n"}),
        (4, files("1.png", "2.png") | {"labels.csv": "image,diagnosis\n1.png,ant\n2.png,bee\n",
                                       "patients.csv": "image,patient_id\n1.png,P1\n2.png,P2\n"}),
    ],
)  # fmt: skip
def test_the_recipes_of_the_docs_make_a_table_that_is_read(make, tmp_path, monkeypatch, number, places):
    root = make(places)
    monkeypatch.chdir(tmp_path)
    exec(RECIPES[number], {})
    assert [*read(root, labels_csv=str(tmp_path / "labels.csv"))[0].values()] == ["ant", "bee"]


def test_the_recipe_for_arrays_makes_class_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("set.npz", train_images=np.zeros((4, 9, 9, 3), np.uint8), train_labels=[0, 1, 0, 1])
    exec(RECIPES[3], {})
    assert [*read(tmp_path / "set")[0].values()] == ["0", "0", "1", "1"]


def test_all_unreadable_is_said_with_a_reason(make):
    root = make(files("ant/1.png", "bee/2.png"))
    for file in root.rglob("*.png"):
        file.write_bytes(b"no picture")
    with pytest.raises(OSError, match="All 2 images are unreadable; the first: .*cannot identify"):
        inspected(root)


def test_the_audits_parameters_are_those_that_say_where_the_labels_are():
    done = subprocess.run([sys.executable, "-m", "helpers", "audit", ".", "-p", "SEED", "1"], cwd=datasets.ROOT,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 1 and "has no parameter 'SEED'; it has LABELS_CSV, IMAGE_COLUMN" in done.stderr


def test_an_isic_id_means_one_picture_wherever_it_stands():
    found = matching.Files(
        ["/a/ISIC_0000001.jpg", "/b/ISIC_0000001.jpg", "/b/ISIC_0000001(1).jpg", "/a/7.jpg", "/b/7.jpg"]
    )
    pairs, twice = found.match(pd.Series({2: "ISIC_0000001", 3: "7"}), "/t.csv")
    assert sorted(pairs["file"]) == [0, 1, 2] and twice == ["7"]


@pytest.mark.parametrize(
    "csv",
    [
        table("id,photo,label", *(f"{at},{line}" for at, line in enumerate(LINES))),
        table("image,label", *(f"https://example.org/x/{line.replace(',', '?size=9,')}" for line in LINES)),
    ],
    ids=["row number", "address"],
)
def test_a_full_name_says_more_than_a_number_and_an_address_ends_at_its_query(make, csv):
    assert read(make({**FOUR, "t.csv": csv}))[0] == TRUE


def test_paths_of_two_machines_are_told_apart_by_their_ends(make):
    places = files(*(f"{folder}/{name}.png" for folder in "xy" for name in "12"))
    lines = ["/home/me/x/1.png,ant", "/home/me/x/2.png,bee", r"D:\data\y\1.png,bee", r"D:\data\y\2.png,ant"]
    labels, _ = read(make({**places, "t.csv": table("path,label", *lines)}))
    assert labels == {"x/1.png": "ant", "x/2.png": "bee", "y/1.png": "bee", "y/2.png": "ant"}


@pytest.mark.parametrize(
    "tables",
    [
        {"train.csv": table("image,label", *LINES[:2]), "lists/x_testing.csv": table("image,label", *LINES[2:])},
        {"t.csv": table("image,label,is_training", *(f"{line},{at < 2:d}" for at, line in enumerate(LINES)))},
        {"t.csv": table("image,label,is_test", *(f"{line},{at > 1}" for at, line in enumerate(LINES)))},
        {"t.csv": table("image,label,fold", *(f"{line},{('Train', 'Test')[at > 1]}" for at, line in enumerate(LINES)))},
        {
            "t.csv": table(
                "image,label,Usage", *(f"{line},{('Training', 'PublicTest')[at > 1]}" for at, line in enumerate(LINES))
            )
        },
        {"t.csv": table("image,label", *LINES), "trainlist.txt": "1.png\n2.png\n", "testlist.txt": "3.png\n4.png\n"},
    ],
    ids=["two tables", "flag", "other flag", "words", "words with others", "lists"],
)
def test_splits_are_known_by_names_of_tables_flags_and_words(make, tables):
    given, _, _ = datasets.list_images(datasets.find(make({**FOUR, **tables})))
    assert dict(zip(given["image_id"], given["split"])) == {"1": "train", "2": "train", "3": "test", "4": "test"}


def test_partitions_0_1_2_are_train_validation_and_test(make):
    lines = table("image,label,partition", *(f"{line},{number}" for line, number in zip(LINES, "0120")))
    given, _, _ = datasets.list_images(datasets.find(make({**FOUR, "t.csv": lines})))
    assert given["split"].tolist() == ["train", "val", "test", "train"]


def test_composed_and_decomposed_letters_are_one_name(make):
    root = make(
        {**files("e\u0301/o\u0308.png", "e\u0301/u.png"), "t.csv": table("path,label", "é/ö.png,ant", "é/u.png,bee")}
    )
    assert [*read(root)[0].values()] == ["ant", "bee"]


def test_numbers_of_things_that_another_table_tells_are_no_labels(make):
    lines = table("image,plant", *(f"{at}.png,P{at % 2}" for at in range(1, 5)))
    with pytest.raises(ValueError, match="none of its columns image, plant is known"):
        read(make({**FOUR, "images.csv": lines, "plants.csv": table("plant,label", "P0,ant", "P1,bee")}))


@pytest.mark.parametrize("copied", ["ant - Copy", "ant - Kopie (2)", "ant (1)", "ant_augmented"])
def test_a_copy_of_a_class_folder_is_no_class(make, copied):
    root = make(files(*(f"{name}/{at}.png" for name in ("ant", copied, "type (1)", "type (2)") for at in range(3))))
    assert {path: label for path, label in read(root)[0].items() if path[:-6] != label} == {
        f"{copied}/{at}.png": "ant" for at in range(3)
    }


@pytest.mark.parametrize("name", ["unlabelled", "Unsorted", "to_sort", "not labeled", "TODO", "New folder (2)"])
def test_a_folder_of_what_nobody_sorted_is_no_class(make, name):
    root = make(files(*(f"{folder}/{at}.png" for folder in ("ant", "bee", "unknown", name) for at in range(2))))
    found, said = read(root)
    assert [*found.values()] == ["ant"] * 2 + ["bee"] * 2 + ["unknown"] * 2
    assert said.endswith(f"Not used: 2 images in no class folder in {name}/")


@pytest.mark.parametrize("name", ["misc", "Other", "unknown", "others", "not_sure"])
def test_a_class_of_what_is_left_over_is_asked_about(make, name):
    said = read(make(files(*(f"{folder}/{at}.png" for folder in ("ant", "bee", name) for at in range(2)))))[1]
    asked = [line for line in said.splitlines() if "one class?" in line]
    assert asked == [f"       2 {name} (one class? If not, take it out of the set)"]


@pytest.mark.parametrize(
    "name", ["{at}_{side}", "person{at}_bacteria_{number}", "patient-{at} view {number}", "s{at}_patch_{number}_4"]
)
def test_a_patient_or_source_in_the_files_names_is_a_group(make, name):
    names = [name.format(at=at, side=side, number=at * 3 + len(side)) for at in range(6) for side in ("left", "right")]
    root = make(files(*(f"{'ab'[at % 2]}/{name}.png" for at, name in enumerate(names))))
    groups = datasets.list_images(datasets.find(root)).table.set_index("image_id")["group"]
    assert groups.nunique() == 6 and all(len(set(groups[names[at : at + 2]])) == 1 for at in range(0, 12, 2))


def test_a_bare_number_is_a_patient_where_running_numbers_follow_it_throughout(make):
    names = [f"{'CNV' if who % 2 else 'NORMAL'}-{1016000 + who}-{at}" for who in range(6) for at in range(1, 4)]
    root = make(files(*(f"{name.split('-')[0]}/{name}.jpeg" for name in names)))
    table, _, understood = datasets.list_images(datasets.find(root))
    assert table.groupby("group")["image_id"].nunique().tolist() == [3] * 6
    assert "groups: patient_id, by names of folders or files; classes" in understood


@pytest.mark.parametrize("name", ["IMG-{day}-{at}", "img_{many}_{at}", "img_{series}_{many}"])
def test_a_bare_number_of_a_day_of_a_picture_or_of_a_series_is_no_patient(make, name):
    named = [name.format(day=20240101 + n // 3, many=1000 + n, series=100 + n % 2, at=n % 3) for n in range(18)]
    root = make(files(*(f"{'ab'[n % 2]}/{name}.png" for n, name in enumerate(named))))
    assert set(datasets.list_images(datasets.find(root)).table["group"]) == {""}


def test_a_column_that_rules_images_out_is_named(make):
    lines = table("image,label,Exclude", *(f"{line},{'x' * (line[0] == '2')}" for line in LINES))
    found, understood = read(make(FOUR | {"t.csv": lines}))
    assert found == TRUE
    assert "column 'Exclude' of t.csv (3 '', 1 'x'; take what is not wanted out of the set)" in understood


def test_a_name_that_stands_for_many_files_is_no_patient(make):
    root = make(files(*(f"{'ab'[at % 2]}/video1_frame_{at}.png" for at in range(12))))
    assert set(datasets.list_images(datasets.find(root)).table["group"]) == {""}


def test_a_second_opinion_is_asked_about(make):
    root = make(
        {
            **FOUR,
            "t.csv": table("image,label,by_her,sure", *(f"{line},ant,no" for line in LINES[1:]), "1.png,ant,bee,no"),
        }
    )
    with pytest.raises(ValueError, match="several columns of labels: label, by_her. .* in LABEL_COLUMN"):
        read(root)
    assert read(root, label_column="label")[0] == TRUE


def test_flags_about_something_else_are_no_second_opinion(make):
    lines = ("1.png,yes,no", "2.png,no,no", "3.png,yes,yes", "4.png,no,yes")
    found = read(make({**FOUR, "t.csv": table("image,label,smoker", *lines)}))[0]
    assert found == {f"x/{line[0]}.png": line[6:].split(",")[0] for line in lines}


def test_diagnoses_that_are_none_of_skin_are_no_loss(make):
    root = make({**files("ant/1.png", "bee/2.png"), "t.csv": table("path,label", "ant/1.png,Ant", "bee/2.png,Bee")})
    assert read(root)[1].endswith("Not used: nothing")
