"""Whatever layout the images come in, they are read rightly, or what is wrong is said."""

import os
import re
import sys
import types

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import manifest
from helpers.data import classes, datasets, duplicates, images, matching


@pytest.fixture
def make(tmp_path, write_image):
    """Return a function that writes a set of {place: text of a table, or None for an image} into a folder."""

    def write(places, name="set"):
        for number, (place, text) in enumerate(places.items()):
            file = tmp_path / name / place.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text) if isinstance(text, bytes) else file.write_text(text) if text else write_image(
                file, number
            )
        return tmp_path / name

    return write


def listed(root, **parameters):
    found = datasets.list_images(datasets.find(root), **parameters)
    assert found.table["image_id"].is_unique and found.facts.index.equals(pd.Index(found.table["image_id"]))
    assert found.understood.count("\n") >= 2 + found.table["label"].nunique()
    assert found.understood.splitlines()[-1].startswith("Not used: ") and list(found.table.columns) == manifest.COLUMNS
    return found


def labels(found):
    return dict(zip(found.table["image_id"], found.table["published_label"]))


def splits(found):
    return dict(zip(found.table["image_id"], found.table["split"]))


def images_of(*names, folder=""):
    return {f"{folder}{name}.png": None for name in names}


HAM = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset\n"
HAM += "HAM_1,ISIC_0024306,nv,histo,45,male,trunk,vidir_modern\n"
HAM += "HAM_1,ISIC_0024307,nv,consensus,45.0,male,trunk,vidir_modern\n"
HAM += "HAM_2,ISIC_0024308,mel,histo,60,female,back,rosendahl\n"


def test_ham10000(make):
    part = "HAM10000_images_part_"
    root = make(
        {
            **images_of("ISIC_0024306", folder=f"{part}1/"),
            "HAM10000_metadata.csv": HAM,
            "hmnist_8_8.csv": "pixel0,label\n1,2\n",
            **images_of("ISIC_0024307", "ISIC_0024308", folder=f"{part}2/"),
        }
    )
    found = listed(root)
    assert labels(found) == {"ISIC_0024306": "nevus", "ISIC_0024307": "nevus", "ISIC_0024308": "melanoma"}
    assert found.table["group"].tolist() == ["HAM_1", "HAM_1", "HAM_2"] and set(found.table["collection"]) == {
        "HAM10000"
    }
    assert found.facts.loc["ISIC_0024307"].tolist() == ["", "HAM_1", "", "45", "male", "trunk", ""]
    assert (
        "HAM10000_metadata.csv" in found.understood
        and "Label: dx; groups: lesion_id; classes:\n       2 nevus\n       1 melanoma\n" in found.understood
    )
    assert "hmnist_8_8.csv" in found.understood and "histo" not in found.facts.to_csv()


def test_the_parts_of_ham10000_without_their_table_are_not_taken_for_classes(make):
    root = make(
        {**images_of("a", folder="HAM10000_images_part_1/"), **images_of("b", folder="HAM10000_images_part_2/")}
    )
    with pytest.raises(ValueError, match=r"part_1, HAM10000_images_part_2 look like parts .* LABELS_CSV"):
        listed(root)
    assert len(set(labels(listed(root, labels_csv="folders")).values())) == 2


def test_isic_2019(make):
    names = ["ISIC_0000001", "ISIC_0000002_downsampled", "ISIC_0053460", "ISIC_0053461"]
    truth = "image,MEL,NV,BCC,UNK\n" + "".join(
        f"{name},{int(at < 1)}.0,{int(at > 0)}.0,0.0,0.0\n" for at, name in enumerate(names)
    )
    facts = "image,age_approx,anatom_site_general,lesion_id,sex\n" + "".join(
        f"{name},55.0,head/neck,BCN_7,female\n" for name in names[2:]
    )
    root = make(
        {
            **images_of(*names, folder="ISIC_2019_Training_Input/"),
            "ISIC_2019_Training_GroundTruth.csv": truth,
            "ISIC_2019_Training_Metadata.csv": facts,
        }
    )
    found = listed(root)
    assert list(labels(found).values()) == ["melanoma", "nevus", "nevus", "nevus"]
    assert found.table["group"].tolist() == ["", "", "BCN_7", "BCN_7"] and set(found.table["split"]) == {"train"}
    assert found.table["collection"].tolist()[1:3] == ["ISIC Archive, UDA", "BCN20000"]
    assert found.facts.loc["ISIC_0053460"].tolist() == ["", "BCN_7", "", "55", "female", "head/neck", ""]


def test_isic_2018_training_and_test_have_tables_of_their_own(make):
    root = make(
        {
            "ISIC2018_Task3_Training_Input/ISIC_0024306.jpg": None,
            "ISIC2018_Task3_Test_Input/ISIC_0034524.jpg": None,
            "train/ISIC2018_Task3_Training_GroundTruth.csv": "image,MEL,NV,AKIEC\nISIC_0024306,0.0,1.0,0.0\n",
            "test/ISIC2018_Task3_Test_GroundTruth.csv": "image,MEL,NV,AKIEC\nISIC_0034524,0.0,0.0,1.0\n",
            "train/ISIC2018_Task3_Training_LesionGroupings.csv": "image,lesion_id,confirm\nISIC_0024306,HAM_5,histo\n",
        }
    )
    found = listed(root)
    assert labels(found) == {"ISIC_0024306": "nevus", "ISIC_0034524": "actinic keratosis"}
    assert splits(found) == {"ISIC_0024306": "train", "ISIC_0034524": "test"} and "HAM_5" in set(found.table["group"])


def test_isic_2020(make):
    head = "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target\n"
    root = make(
        {
            **images_of("ISIC_2637011", "ISIC_0015719", folder="jpeg/train/"),
            **images_of("ISIC_0052060", folder="jpeg/test/"),
            "train.csv": head
            + "ISIC_2637011,IP_7279968,male,45.0,head/neck,unknown,benign,0\nISIC_0015719,IP_3075186,female,45.0,"
            "upper extremity,melanoma,malignant,1\n",
        }
    )
    found = listed(root)
    assert labels(found) == {"ISIC_2637011": "benign", "ISIC_0015719": "malignant"}
    assert (
        set(found.table["group"]) == {"IP_7279968", "IP_3075186"}
        and "Label: benign_malignant; groups: patient_id" in found.understood
    )
    assert "1 images without a label in train.csv" in found.understood


def test_pad_ufes_20(make):
    table = "patient_id,lesion_id,smoke,age,gender,region,diagnostic,itch,img_id,biopsed\n"
    table += "PAT_8,15,,8,,ARM,NEV,False,PAT_8_15_820.png,False\n"
    table += "PAT_8,16,False,55,FEMALE,NECK,BCC,True,PAT_8_16_140.png,True\n"
    root = make(
        {
            **images_of("PAT_8_15_820", folder="imgs_part_1/"),
            **images_of("PAT_8_16_140", folder="imgs_part_2/"),
            "metadata.csv": table,
        }
    )
    found = listed(root)
    assert labels(found) == {"PAT_8_15_820": "nevus", "PAT_8_16_140": "basal cell carcinoma"}
    assert set(found.table["group"]) == {"PAT_8"} and found.facts["lesion_id"].tolist() == ["15", "16"]
    assert found.facts["sex"].tolist() == ["", "female"] and "groups: patient_id, lesion_id" in found.understood


@pytest.mark.parametrize(
    "folders, expected",
    [
        (["Training", "Testing"], ["train", "test"]),
        (["train", "valid", "test"], ["train", "val", "test"]),
        (["TRAIN", "Validation"], ["train", "val"]),
        (["train_images", "test-images"], ["train", "test"]),
        ([""], [""]),
    ],
)
@pytest.mark.parametrize("around", ["", "archive/Skin cancer test set/"])
def test_class_folders_with_any_usual_names_of_splits(make, folders, expected, around):
    root = make(
        {
            f"{around}{folder}/{name}/{folder}{name}.PNG".replace("//", "/"): None
            for folder in folders
            for name in ("nevus", "good")
        }
        | {"__MACOSX/Train/nevus/._a.png": b"", ".hidden/x/b.png": b""}
    )
    found = listed(root)
    assert sorted(set(splits(found).values())) == sorted(expected) and set(labels(found).values()) == {"nevus", "good"}


def test_class_folders_with_folders_in_them_and_images_without_a_class(make):
    root = make(
        {
            "Train/nevus/a.png": None,
            "Train/nevus/clinic 1/b.png": None,
            "Train/melanoma/2019/may/c.png": None,
            "test/d.png": None,
            "test/e.png": None,
            "stray.png": None,
            "Train/notes.docx": "x",
            "Train/nevus/x.dcm": "x",
        }
    )
    (root / "Train" / "df").mkdir()
    found = listed(root)
    assert labels(found) == {"a": "nevus", "b": "nevus", "c": "melanoma"}
    for said in (
        "2 images in no class folder in test/",
        "1 images in no class folder in the set's folder",
        "1 .docx files",
        "1 .dcm files",
        "empty folder Train/df",
    ):
        assert said in found.understood


def test_hospitals_above_the_classes_are_no_classes(make):
    root = make({f"{clinic}/{name}/{clinic}{name}.png": None for clinic in "AB" for name in ("nevus", "MEL")})
    assert set(labels(listed(root)).values()) == {"nevus", "melanoma"}


def test_spellings_of_a_class_are_one_class(make):
    root = make(
        {
            f"{split}/{name}/{split}{name}.png": None
            for split, name in [
                ("Train", "melanoma"),
                ("Test", "Melanoma"),
                ("Train", "basal_cell carcinoma"),
                ("Test", "BCC"),
                ("Train", "Good_one"),
                ("Test", "good one"),
                ("Train", "+"),
                ("Test", "-"),
                ("Train", "total "),
                ("Train", "$\\bad{$"),
            ]
        }
    )
    found = listed(root)
    assert set(labels(found).values()) == {
        "melanoma",
        "basal cell carcinoma",
        "Good_one",
        "+",
        "-",
        "total",
        "$\\bad{$",
    }


@pytest.mark.parametrize(
    "names, given, expected",
    [
        (["benign", "malignant"], "", ["malignant"]),
        (["nv", "MEL", "bcc", "akiec"], "", ["MEL", "bcc"]),
        (["0", "1"], "1", ["1"]),
        (["good", "bad one"], " Bad_One ", ["bad one"]),
    ],
)
def test_the_malignant_classes_are_known_or_named(names, given, expected):
    assert classes.malignant(names, given) == expected


def test_what_is_malignant_is_never_guessed():
    assert classes.malignant(["0", "1"]) == classes.malignant(["melanoma", "1"]) == []
    with pytest.raises(ValueError, match="lists '2', but .* are 0, 1"):
        classes.malignant(["0", "1"], "2")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_odd_names_of_files_and_classes_reach_the_manifest_and_come_back(make, tmp_path):
    names = ["12345678901234567890123", "caf\udce9", "a\rb", "{x}", "плоскоклеточнаякарцинома_" * 4, "$\\bad{$"]
    root = make({f"{folder}/{name}.png": None for folder in ("total ", "$\\bad{$") for name in names})
    table = duplicates.inspect(listed(root).table)
    table = table.assign(group=table["image_id"])
    manifest.write(table, tmp_path / "out" / "manifest.csv", root)
    assert manifest.read(tmp_path / "out" / "manifest.csv", root).equals(table)
    assert set(table["label"]) == {"total", "$\\bad{$"} and set(table["flag"]) == {""}


def test_a_table_beside_class_folders_gives_facts_and_official_labels_but_no_labels(make):
    root = make(
        {
            "Train/nevus/ISIC_9000001.png": None,
            "Test/melanoma/ISIC_9000002.png": None,
            "metadata.csv": "isic_id,diagnosis,lesion_id,age_approx,collection\nISIC_9000001,MEL,IL_3,85+,clinic A\n",
        }
    )
    found = listed(root)
    assert labels(found)["ISIC_9000001"] == "nevus" and found.facts.loc["ISIC_9000001"].tolist() == [
        "MEL",
        "IL_3",
        "",
        "85",
        "",
        "",
        "",
    ]
    assert found.table.set_index("image_id").loc["ISIC_9000001", ["group", "collection"]].tolist() == [
        "IL_3",
        "clinic A",
    ]


def test_a_column_of_splits_is_obeyed_and_paths_tell_equal_names_apart(make):
    root = make(
        {
            "x/1.png": None,
            "y/1.png": None,
            "y/2.png": None,
            "labels.csv": "path;class;split\nx/1.png;good;Train\ny\\1.png;bad;validation\n"
            "y/2.png;bad;test\nz/3.png;bad;test\n",
        }
    )
    found = listed(root, labels_csv="labels.csv")
    rows = found.table.set_index(found.table["path"].str[-7:])
    assert rows["published_label"].to_dict() == {"x/1.png": "good", "y/1.png": "bad", "y/2.png": "bad"}
    assert (
        rows["split"].tolist() == ["train", "val", "test"]
        and "1 rows of labels.csv without an image" in found.understood
    )
    (root / "labels.csv").write_text("path,class,split\ny/2.png,bad,train\nx/1.png,good,seven\n")
    with pytest.raises(ValueError, match=r"labels.csv, line 3: the split 'seven' is not train, val or test"):
        listed(root, labels_csv="labels.csv")


@pytest.mark.parametrize(
    "places, parameters, said",
    [
        ({"a.png": None}, {}, "no class folders, and no table .* LABELS_CSV"),
        ({"imgs/a.png": None, "l.csv": "picture no,verdict\na,good\n"}, {}, "l.csv|IMAGE_COLUMN"),
        (
            {"a.png": None, "b.png": None, "l.csv": "image,dx,diagnosis\na,good,fine\nb,good,bad\n"},
            {},
            "several columns of labels: .*LABEL_COLUMN",
        ),
        (
            {"a.png": None, "b.png": None, "l.csv": "image,dx,target\na,x,1\nb,y,1\n"},
            {},
            "several columns of labels: dx, target",
        ),
        ({"a.png": None, "l.csv": "image,dx\na,good\na,bad\n"}, {}, "two labels in l.csv, first a.png: good and bad"),
        (
            {"a.png": None, "l.csv": "image,dx\na,good\n", "m.csv": "image,dx\na,bad\n"},
            {},
            "two labels in l.csv and m.csv",
        ),
        (
            {"p/a.png": None, "q/b.png": None, "l.csv": "image,dx\na,good\nb,bad\n"},
            {},
            r"both the folders \(p, q.*and l.csv.*LABELS_CSV",
        ),
        ({"a.png": None}, {"labels_csv": "none.csv"}, "LABELS_CSV is 'none.csv', but no such file"),
        (
            {"a.png": None, "l.csv": "image,dx\nzz,good\n"},
            {"labels_csv": "l.csv"},
            "none of its columns .* names images such as 'a.png'.*IMAGE_COLUMN",
        ),
        ({"a.png": None, "l.csv": "image,dx\na,good\n"}, {"label_column": "kind"}, "no column 'kind': image, dx"),
        (
            {"a.png": None, "l.csv": "image,dx\na,\n"},
            {"labels_csv": "l.csv"},
            "None of the 1 images|none of its columns",
        ),
        (
            {"a.png": None, "l.csv": "image,melanoma,keratosis\na,0,0\n"},
            {"labels_csv": "l.csv"},
            "none of its columns image, melanoma",
        ),
    ],
)
def test_what_cannot_be_understood_is_refused_with_what_settles_it(make, places, parameters, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        listed(make(places), **parameters)


def test_the_parameters_settle_it(make):
    root = make({"p/a.png": None, "q/b.png": None, "my.csv": "picture no,verdict,dx\na,good,x\nb,bad,y\n"})
    parameters = {"labels_csv": "my.csv", "image_column": "picture no"}
    assert labels(listed(root, **parameters, label_column="verdict")) == {"a": "good", "b": "bad"}
    assert labels(listed(root, labels_csv="folders")) == {"a": "p", "b": "q"}
    assert labels(listed(root, labels_csv=str(root / "my.csv"), image_column="picture no", label_column="dx")) == {
        "a": "x",
        "b": "y",
    }


def test_two_columns_that_say_the_same_are_no_question(make):
    root = make({"a.png": None, "b.png": None, "l.csv": "image,label,class\na,0,benign\nb,1,malignant\n"})
    assert labels(listed(root)) == {"a": "benign", "b": "malignant"}


TEXT = "image,dx,Age ,sex,site\na.png,mel,about 45,F,Gesäß\nb.png,nv,85+,male,\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.encode("latin-1"),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").replace("\n", "\r\n").encode(),
        TEXT.replace("image,dx", " Image , DX").encode(),
        TEXT.upper().encode(),
    ],
)
def test_tables_of_every_encoding_and_delimiter_are_read(make, data):
    found = listed(
        make(
            {
                "a.png": None,
                "b.png": None,
                "l.csv": data.replace(b".PNG", b".png") if b"A.PNG" not in data else TEXT.encode(),
            }
        )
    )
    assert labels(found) == {"a": "melanoma", "b": "nevus"}
    assert (
        found.facts.loc["a"].tolist() == ["", "", "", "45", "female", "Gesäß", ""]
        and found.facts.loc["b", "age_approx"] == "85"
    )


@pytest.mark.parametrize(
    "text, said",
    [
        ("image,dx\na,nv,histo\n", "line 2: 3 cells"),
        ("image,dx,age\n\na,nv,5\nb,nv\n", "line 4: 2 cells"),
        ("image,dx,dx\na,nv,x\nb,nv,y\n", "several columns of labels: dx, dx.1"),
        ("image,dx\na,nv\x00\n", "l.csv cannot be read|l.csv"),
        ('image,dx\na,"nv\nb,mel\nc,nv"\n', "a quote that is opened before line 4 is not closed in its line"),
    ],
)
def test_a_broken_table_is_refused_by_file_and_line(make, text, said):
    with pytest.raises(ValueError, match=said):
        listed(make({"a.png": None, "b.png": None, "l.csv": text}))


def test_a_table_beside_the_images_that_says_nothing_of_them_is_told(make):
    root = make({"nevus/a.png": None, "l.csv": "image,age\n", "m.csv": "image,age\nb,5\nc,6\n"})
    assert listed(root).understood.endswith("Not used: l.csv (no rows); 2 rows of m.csv without an image")
    with pytest.raises(ValueError, match=r"LABELS_CSV is 'l.csv', but none of its columns .* names images"):
        listed(root, labels_csv="l.csv")


@pytest.mark.parametrize("data", [b"", b"\x00\x01\x02", b"\xff\xfe", b"\n\n"])
def test_an_empty_or_binary_table_is_left_aside_and_refused_if_named(make, data):
    root = make({"nevus/a.png": None, "l.csv": data})
    assert "l.csv" in listed(root).understood
    with pytest.raises(ValueError, match=r"l\.csv"):
        listed(root, labels_csv="l.csv")


def test_sets_are_merged_class_by_class_and_keep_their_collections(make):
    one = make({"nevus/a.png": None, "MEL/b.png": None, "m.csv": "image,patient_id\na,7\nb,7\n"}, "clinic one")
    two = make(
        {"p/a.png": None, "p/c.png": None, "l.csv": "image,dx,patient_id,device\na,nv,7,camera X\nc,mel,HAM_9,\n"},
        "clinic two",
    )
    found = datasets.list_images(datasets.find(f"{one};{two}"))
    assert found.table["published_label"].tolist() == ["melanoma", "nevus", "nevus", "melanoma"]
    assert found.table["collection"].tolist() == ["clinic one", "clinic one", "camera X", "clinic two"]
    assert found.table["group"].tolist() == ["clinic one:7", "clinic one:7", "clinic two:7", "HAM_9"]
    assert found.table["image_id"].is_unique and found.understood.count("Layout") == 2
    before = datasets.state(datasets.find(f"{one};{two}"))
    (two / "l.csv").write_text("image,dx\na,mel\nc,mel\n")
    assert datasets.state(datasets.find(f"{one};{two}")) != before


def test_sets_of_one_name_stay_apart(make):
    places = {"nevus/a.png": None, "m.csv": "image,patient_id\na,7\n"}
    found = datasets.list_images(datasets.find(f"{make(places, 'x/one')};{make(places, 'y/one')}")).table
    assert found["collection"].tolist() == ["x/one", "y/one"] and found["group"].tolist() == ["x/one:7", "y/one:7"]


def test_diagnoses_that_mean_no_class_are_counted(make):
    places = {"nevus/a.png": None, "mel/b.png": None, "m.csv": "image,dx\na,verruca\nb,mel\n"}
    found = listed(make(places))
    assert found.facts["diagnosis"].tolist() == ["MEL", ""]
    assert "1 diagnoses of m.csv without an ISIC 2019 class, such as 'verruca'" in found.understood


def test_a_named_table_belongs_to_the_set_it_lies_in(make):
    one = make({"x/a.png": None, "y/b.png": None, "mine.csv": "image,dx\na,mel\nb,nv\n"}, "one")
    both = datasets.find(f"{one};{make({'nevus/c.png': None}, 'two')}")
    for given in ("mine.csv", str(one / "mine.csv")):
        assert datasets.list_images(both, given).table["label"].tolist() == ["melanoma", "nevus", "nevus"]
    found = datasets.list_images(both, "mine.csv", label_column="dx").table  # the other set has folders
    assert found["label"].tolist() == ["melanoma", "nevus", "nevus"]
    with pytest.raises(FileNotFoundError, match=r"LABELS_CSV is 'other.csv', but no such file is in"):
        datasets.list_images(both, "other.csv")


def test_shipped_labels_need_an_isic_id_at_the_start_of_the_name():
    names = [
        "ISIC_0028132",
        "ISIC_0028132(1)",
        "ISIC_0028132_downsampled",
        "ISIC_00281321",
        "my_ISIC_0028132",
        "ISIC_28132",
    ]
    assert [matching.isic_id(name) == "ISIC_0028132" for name in names] == [True] * 3 + [False] * 3


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A course without any placed images, outside Colab, with a quick stand-in for the sample."""
    course = tmp_path / "course"
    (course / "data").mkdir(parents=True)
    monkeypatch.setattr(datasets, "ROOT", course)
    monkeypatch.setattr(datasets, "SAMPLE", course / "data" / "sample")
    monkeypatch.setattr(datasets, "OURS", [course / "data" / "sample", course / "data" / "isic2019_labels.csv"])
    monkeypatch.delenv("ISIC9_DIR", raising=False)
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)

    def make_sample(folder):
        (folder / "Train" / "nevus").mkdir(parents=True, exist_ok=True)
        (folder / "Train" / "nevus" / "SYN_0000001.jpg").touch()
        (folder / "SYNTHETIC.txt").touch()
        return folder

    monkeypatch.setattr(datasets.sample, "make_sample", make_sample)
    return course


def test_the_order_of_looking(bare, image_set, tmp_path, monkeypatch, write_image):
    assert datasets.find().source == "embedded sample" and datasets.find().synthetic
    kaggle = types.SimpleNamespace(
        dataset_download=lambda name: str(image_set) if name == datasets.KAGGLE_SET else None
    )
    monkeypatch.setitem(sys.modules, "kagglehub", kaggle)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    assert datasets.find().source.startswith("Kaggle") and datasets.find().root == image_set
    write_image(bare / "data" / "mine" / "Train" / "nevus" / "a.png", 1)
    assert datasets.find().root == bare / "data" / "mine"
    write_image(bare / "data" / "other" / "Train" / "nevus" / "a.png", 1)
    with pytest.raises(ValueError, match=r"several folders of images \(mine, other\); name one in DATA_DIR"):
        datasets.find()
    write_image(tmp_path / "other" / "nevus" / "a.png", 1)
    monkeypatch.setenv("ISIC9_DIR", str(tmp_path / "other"))
    assert datasets.find().source == "ISIC9_DIR" and datasets.find().root == tmp_path / "other"
    found = datasets.find(str(image_set))
    assert (found.source, found.root, found.synthetic) == ("DATA_DIR", image_set, False)
    assert datasets.find("sample").synthetic and datasets.find(f"sample;{image_set}").synthetic


def test_a_set_unpacked_straight_into_data_is_named_and_read_without_the_sample(bare, write_image):
    datasets.find("sample")
    (bare / "data" / "isic2019_labels.csv").write_text("isic_id,diagnosis\na,MEL\n")
    for place in ("Train/nevus/a.png", "Test/melanoma/b.png", "c.png"):
        write_image(bare / "data" / place, 1)
    with pytest.raises(ValueError, match=r"several folders of images \(., Test, Train\); .* if all are one set"):
        datasets.find()
    found = listed(bare / "data")
    assert splits(found) == {"a": "train", "b": "test"} and "1 images in no class folder" in found.understood


def test_kaggle_sets_are_fetched_by_name_and_a_refusal_says_what_to_do(bare, make, monkeypatch, capsys):
    root, asked = make({"nevus/a.png": None}), []

    def download(handle):
        asked.append(handle)
        if "private" in handle:
            raise ConnectionError("403 Client Error.\nForbidden")
        return str(root)

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=download))
    found = datasets.find("kaggle:owner/skin-set")
    assert (
        asked == ["owner/skin-set"]
        and found.sets == (("owner/skin-set", root),)
        and len(listed("kaggle:owner/skin-set").table) == 1
    )
    with pytest.raises(
        FileNotFoundError, match=r"owner/private could not be fetched \(403 Client Error. Forbidden\).*KAGGLE_API_TOKEN"
    ):
        datasets.find("kaggle:owner/private")
    with pytest.raises(FileNotFoundError, match="kaggle:owner/dataset"):
        datasets.find("kaggle:no handle")
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(FileNotFoundError, match="pip install kagglehub"):
        datasets.find("kaggle:owner/skin-set")
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    assert datasets.find().synthetic and "Using the embedded synthetic sample" in capsys.readouterr().out


@pytest.mark.parametrize("variable", ["DATA_DIR", "ISIC9_DIR"])
def test_a_folder_without_images_is_refused_by_name(bare, tmp_path, monkeypatch, variable):
    if variable == "ISIC9_DIR":
        monkeypatch.setenv("ISIC9_DIR", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=f"{variable} is .*is no folder"):
        datasets.find(str(tmp_path / "none") if variable == "DATA_DIR" else "")
    with pytest.raises(FileNotFoundError, match="holds no images"):
        datasets.find(bare)


def test_image_ids_are_unique_and_say_where_a_doubled_name_lies(make):
    root = make(
        dict.fromkeys(
            ["Train/nevus/a.png", "Train/AK/a.png", "Test/nevus/a.jpg", "Train/nevus/b.png", "Train/nevus/a.jpg"]
        )
    )
    assert {"a@train-actinic-keratosis", "a@test-nevus", "b"} < set(listed(root).table["image_id"])


def test_a_replaced_image_changes_the_state(make, write_image):
    root = make({"nevus/a.png": None, "melanoma/b.png": None})
    before = datasets.state(datasets.find(root))
    assert datasets.state(datasets.find(root)) == before
    write_image(root / "nevus" / "a.png", 77)
    assert datasets.state(datasets.find(root)) != before


def test_a_loop_of_links_ends(make):
    root = make({"nevus/a.png": None, "melanoma/b.png": None})
    (root / "nevus" / "again").symlink_to(root)
    assert len(listed(root).table) == 2
    for name in "ab":
        (root / "empty" / name).mkdir(parents=True)
        (root / "empty" / name / "again").symlink_to(root / "empty")
        (root / "empty" / name / "up").symlink_to(root / "empty" / name)
    with pytest.raises(FileNotFoundError, match="holds no images"):
        datasets.find(root / "empty")


GREY = np.linspace(0, 1, 48 * 48).reshape(48, 48)


@pytest.mark.parametrize(
    "name, pixels",
    [
        ("sixteen.png", (GREY * 65535).astype(np.uint16)),
        ("float.tif", GREY.astype(np.float32)),
        ("wide.tif", (GREY * 4000).astype(np.float32)),
        ("bytes.tif", (GREY * 255).astype(np.float32)),
        ("sixteen.tif", (GREY * 65535).astype(np.uint16)),
        ("int.tif", (GREY * 65535).astype(np.int32)),
    ],
)
def test_sixteen_bits_and_floats_are_scaled(tmp_path, name, pixels):
    Image.fromarray(pixels).save(tmp_path / name)
    read = np.asarray(images.open_rgb(tmp_path / name)).astype(float)
    top = 4000 / 65535 if name == "wide.tif" else 1
    assert abs(read - GREY[..., None] * 255 * top).max() <= 1 and read.shape == (48, 48, 3)


def test_orientation_transparency_and_lab_are_taken_into_account(tmp_path):
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.save(tmp_path / "turned.jfif", "JPEG", exif=exif, quality=100)
    upright = images.open_rgb(tmp_path / "turned.jfif")
    assert upright.size == (20, 40) and upright.getpixel((10, 5))[2] > 200 and upright.getpixel((10, 35))[0] > 200
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("LA", (8, 8), (0, 128)).save(tmp_path / "half.png")
    Image.new("P", (8, 8)).save(tmp_path / "palette.png", transparency=0)
    assert images.open_rgb(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
    assert images.open_rgb(tmp_path / "half.png").getpixel((0, 0))[0] in (127, 128)
    assert images.open_rgb(tmp_path / "palette.png").getpixel((0, 0)) == (255, 255, 255)
    Image.new("LAB", (8, 8), (137, 127, 127)).save(tmp_path / "lab.tif")
    assert np.ptp(images.open_rgb(tmp_path / "lab.tif").getpixel((0, 0))) < 12


@pytest.mark.parametrize("suffix", ["JPG", "jpeg", "jfif", "png", "bmp", "gif", "tif", "tiff", "webp"])
def test_every_format_is_seen_and_read(make, tmp_path, suffix):
    root = make({"nevus/a.png": None})
    Image.open(root / "nevus" / "a.png").save(tmp_path / f"x.{suffix}", "JPEG" if suffix == "jfif" else None)
    (tmp_path / f"x.{suffix}").rename(root / "nevus" / f"b.{suffix}")
    found = listed(root).table
    assert len(found) == 2 and all(images.open_rgb(path).size == (20, 16) for path in found["path"])


def test_a_large_jpeg_is_decoded_smaller_if_that_is_enough(tmp_path):
    Image.new("RGB", (640, 480)).save(tmp_path / "a.jpg")
    assert images.open_rgb(tmp_path / "a.jpg", (80, 60)).size == (80, 60)
    assert min(images.open_rgb(tmp_path / "a.jpg", (100, 100)).size) >= 100


def test_the_number_of_large_pictures_decoded_at_a_time_is_bounded(tmp_path, write_image, monkeypatch):
    monkeypatch.setattr(images, "LARGE", 1000)
    paths = [
        write_image(tmp_path / f"{number}.png", number, (20, 16) if number % 2 else (40, 40)) for number in range(12)
    ]
    inside, most = [], []

    def read(path):
        size = images.open_rgb(path).size
        if size == (40, 40):
            inside.append(path)
            most.append(len(inside))
            np.sort(np.random.default_rng(0).random(300_000))
            inside.remove(path)
        return size

    assert images.read_files(read, paths) == [(40, 40), (20, 16)] * 6 and set(most) == {1}


def test_whatever_is_no_picture_is_refused_with_its_name_and_a_reason(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.jpg").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "other.jpg", "TGA")
    for name in ("pipe.jpg", "empty.png", "folder.jpg", "other.jpg", "gone.jpg"):
        with pytest.raises(images.UnreadableImage, match=re.escape(name)):
            images.open_rgb(tmp_path / name)


def test_mutated_files_of_every_format_end_in_one_kind_of_error(tmp_path, write_image):
    rng, refused = np.random.default_rng(0), 0
    for suffix in ("jpg", "png", "bmp", "gif", "tif", "webp", "jp2", "avif", "ico", "tga", "pcx", "sgi", "dds"):
        try:
            data = np.frombuffer(write_image(tmp_path / f"a.{suffix}", 1).read_bytes(), np.uint8)
        except (OSError, KeyError, ValueError):
            continue  # this Pillow was built without it
        for case in range(60):
            broken = data.copy()
            broken[rng.integers(0, len(data), rng.integers(1, 12))] = rng.integers(0, 256)
            (tmp_path / "broken.jpg").write_bytes(broken[: rng.integers(1, len(data)) if case % 3 else None].tobytes())
            try:
                assert images.open_rgb(tmp_path / "broken.jpg").mode == "RGB"
            except images.UnreadableImage:
                refused += 1
    assert refused > 200


def test_ham_mini_is_read_as_published():
    if not os.environ.get("HAM_DIR"):
        pytest.skip("HAM_DIR is not set")
    found = listed(os.environ["HAM_DIR"])
    assert found.table["published_label"].value_counts().to_dict() == {
        "nevus": 71,
        "melanoma": 40,
        "pigmented benign keratosis": 10,
        "basal cell carcinoma": 2,
        "actinic keratosis": 1,
    }
    both = datasets.list_images(datasets.find(f"{os.environ['HAM_DIR']};sample"))
    assert len(both.table) > 124 and both.understood.count("Layout") == 2 and both.table["image_id"].is_unique
    assert found.table["group"].nunique() == 124 and found.understood.endswith("Not used: nothing")
