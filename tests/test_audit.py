import contextlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import bench_data
import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import manifest
from helpers.data import audit, classes, datasets, duplicates, labels, matching

ROOT = Path(__file__).resolve().parent.parent
NONE = pd.DataFrame(columns=["image_id", "other_id", "similarity"])  # pairs of near-duplicates


def picture(seed, size=(96, 72)):
    """A soft-edged random picture, as different from other seeds as two photographs."""
    blots = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(blots).resize(size, Image.Resampling.BICUBIC)


def save(root, place, image, **options):
    file = root / place
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)
    return file


def facts(table, **rows):
    """Metadata of the images of ``table`` from ``isic_id="diagnosis"`` or ``isic_id=("diagnosis", "lesion")``."""
    rows = {key: (value, "") if isinstance(value, str) else value for key, value in rows.items()}
    known = pd.DataFrame([[*row, *[""] * 5] for row in rows.values()], index=list(rows), columns=labels.FACTS)
    ids = table["image_id"].str.replace(r"[@(].*", "", regex=True)
    return known.reindex(ids).fillna("").set_axis(table["image_id"])


def rows(*given):
    """A manifest without files, from (image_id, split, published_label, picture[, group]) tuples."""
    names = ["image_id", "split", "published_label", "picture", "group"]
    table = pd.DataFrame([dict(zip(names, row)) for row in given]).reindex(columns=manifest.COLUMNS).fillna("")
    table["group"] = table["group"].where(table["group"] != "", table["picture"])
    return table.assign(path="/" + table["image_id"], label=table["published_label"], sha256=table["picture"])


def listed(root):
    return datasets.list_images(datasets.find(root)).table


def audited(table, metadata=None, min_class_size=0):
    done = labels.apply_labels(table, "audited", facts(table) if metadata is None else metadata, min_class_size)
    manifest.check(done)
    return {row.image_id: row.flag or row.label for row in done.itertuples()}


@pytest.fixture
def planted(tmp_path):
    """Train and Test with one of each defect; the pictures 1 to 9 are different."""
    save(tmp_path, "Train/nevus/ISIC_0000001.png", picture(1))
    save(tmp_path, "Train/melanoma/ISIC_0000001.png", picture(1))
    save(tmp_path, "Train/nevus/ISIC_0000002.png", picture(2))
    save(tmp_path, "Test/nevus/ISIC_0000002.bmp", picture(2))
    save(tmp_path, "Train/nevus/ISIC_0000003.png", picture(3))
    for number in (1, 2, 3):
        save(tmp_path, f"Train/melanoma/ISIC_0000004({number}).png", picture(4))
    save(tmp_path, "Train/melanoma/ISIC_0000005.png", picture(5))
    save(tmp_path, "Train/melanoma/ISIC_0000006.jpg", picture(5).transpose(Image.Transpose.ROTATE_90), quality=70)
    save(tmp_path, "Test/melanoma/ISIC_0000007.png", picture(7))
    (tmp_path / "Train/nevus/ISIC_0000008.jpg").write_text("no picture")
    save(tmp_path, "Train/nevus/ISIC_0000009.jpg", picture(9))
    return tmp_path


def test_inspect_tells_bytes_pixels_and_unreadable_files_apart(tmp_path):
    whole = save(tmp_path, "a/whole.jpg", picture(1))
    save(tmp_path, "a/png.png", picture(2))
    save(tmp_path, "a/bmp.bmp", picture(2))
    (tmp_path / "a/cut.jpg").write_bytes(whole.read_bytes()[:600])
    (tmp_path / "a/empty.png").write_bytes(b"")
    (tmp_path / "a/gone.jpg").symlink_to("nowhere")
    before = {file: file.lstat().st_mtime_ns for file in (tmp_path / "a").iterdir()}
    given = listed(tmp_path)
    table = duplicates.inspect(given)
    assert table.equals(duplicates.inspect(given))
    assert before == {file: file.lstat().st_mtime_ns for file in (tmp_path / "a").iterdir()}
    table = table.set_index("image_id")
    assert table.index[table["flag"] == "unreadable"].tolist() == ["cut", "empty", "gone"]
    assert (table.loc[["cut", "empty", "gone"], ["picture", "phash", "label"]] == "").all(axis=None)
    assert table.loc["png", "picture"] == table.loc["bmp", "picture"] != table.loc["whole", "picture"]
    assert table.loc["png", "sha256"] != table.loc["bmp", "sha256"]
    assert tuple(table.loc["whole", ["width", "height"]]) == (96, 72)
    assert table.loc["png", "phash"] == str(imagehash.phash(picture(2))) and len(table.loc["png", "phash"]) == 16


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_of_picture_is_read_without_warnings(tmp_path, mode):
    image = picture(1).convert("I;16" if mode == "I;16" else mode) if mode != "I;16" else Image.new(mode, (20, 20))
    if mode == "P":
        image.info["transparency"] = bytes(range(256))
    save(tmp_path, "a/x.tif" if mode == "CMYK" else "a/x.png", image)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = duplicates.inspect(listed(tmp_path))
        assert table["flag"].tolist() == [""] and duplicates.near_duplicates(table).empty


def test_findings_count_each_picture_once_and_list_the_files(planted):
    table = duplicates.inspect(listed(planted))
    known = facts(table, ISIC_0000001="NV", ISIC_0000003="MEL", ISIC_0000004="NV", ISIC_0000005="MEL")
    found = audit.findings(table, known)
    assert json.loads(json.dumps(found)) == found
    assert {name: value for name, value in found.items() if isinstance(value, int)} == {
        "images": 13,
        "unreadable": 1,
        "contradictory_images": 1,
        "train_test_twins": 1,
        "validation_twins": 0,
        "same_class_duplicates": 1,
        "near_duplicate_pairs": 1,
        "augmented_copies": 0,
        "lesions_with_several_pictures": 0,
    }
    assert found["contradictory_folders"] == [{"folders": "train melanoma / train nevus", "images": 1}]
    assert found["official_label_disagreements"] == [
        {"published": "melanoma", "official": "nevus", "images": 2},
        {"published": "nevus", "official": "melanoma", "images": 1},
    ]
    lists = found["lists"]
    assert [row["file"] for row in lists["unreadable"]] == ["Train/nevus/ISIC_0000008.jpg"]
    assert [[row["file"] for row in files] for files in lists["same_class_duplicates"]] == [
        [f"Train/melanoma/ISIC_0000004({number}).png" for number in (1, 2, 3)]
    ]
    assert [row["split"] for row in lists["train_test_twins"][0]] == ["test", "train"]
    assert [(pair["image_id"], pair["other_id"], pair["how"]) for pair in lists["near_duplicate_pairs"]] == [
        ("ISIC_0000005", "ISIC_0000006", "turned 90")
    ]
    assert found == audit.findings(table.sample(frac=1, random_state=0), known)


def test_validation_twins_are_pictures_of_a_validation_folder_that_lie_elsewhere():
    table = rows(("a", "val", "x", "p"), ("b", "train", "x", "p"), ("c", "val", "x", "q"), ("d", "test", "x", "r"))
    found = audit.findings(table, facts(table), NONE)
    assert (found["validation_twins"], found["train_test_twins"], found["same_class_duplicates"]) == (1, 0, 0)


def test_group_ties_lesions_bytes_pixels_and_near_duplicates_whatever_the_order(planted):
    table = duplicates.inspect(listed(planted))
    known = facts(
        table,
        ISIC_0000003=("NV", "L1 L7"),
        ISIC_0000009=("NV", "L7"),
        ISIC_0000006=("MEL", "L2"),
        ISIC_0000007=("MEL", "L2"),
    )
    grouped = duplicates.group(table, known)
    members = {
        frozenset(matching.isic_id(name)[-1] for name in ids)
        for ids in grouped.groupby("group")["image_id"]
        for ids in [ids[1]]
    }
    assert members == {frozenset(ids) for ids in ("1", "2", "39", "4", "567", "8")}
    shuffled = duplicates.group(table.sample(frac=1, random_state=1), known).sort_index()
    assert shuffled.equals(grouped)
    assert set(grouped["group"]) <= set(grouped["image_id"])


def test_near_duplicates_of_every_kind_are_found_and_named_and_nothing_else(tmp_path):
    """Planted re-encodings, resizes, flips and turns, and as many different pictures."""
    rng = np.random.default_rng(0)
    names = [
        "same view",
        "turned 90",
        "turned 180",
        "turned 270",
        "mirrored",
        "mirrored, turned 90",
        "mirrored, turned 180",
        "mirrored, turned 270",
    ]
    expected = []
    for number in range(48):
        image, name = picture(1000 + number), names[number % 8]
        save(tmp_path, f"a/{number:03d}.png", image)
        copy = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if "mirrored" in name else image
        copy = copy.rotate(int(name.split()[-1]) if "turned" in name else 0, expand=True)
        copy = copy.resize([round(side * rng.uniform(0.5, 2)) for side in copy.size])
        save(tmp_path, f"a/{number:03d}_copy.jpg", copy, quality=int(rng.integers(40, 96)))
        save(tmp_path, f"b/{number:03d}_other.jpg", picture(5000 + number), quality=90)
        expected.append((f"{number:03d}", f"{number:03d}_copy", name))
    pairs = duplicates.near_duplicates(duplicates.inspect(listed(tmp_path)))
    assert list(pairs[["image_id", "other_id", "how"]].itertuples(index=False, name=None)) == expected
    assert pairs["distance"].between(0, 8).all() and pairs["similarity"].between(0.88, 1.001).all()


def test_a_picture_in_other_colours_and_contrast_is_a_near_duplicate(tmp_path):
    image = np.asarray(picture(1), float)
    save(tmp_path, "a/a.png", picture(1))
    save(tmp_path, "a/b.png", Image.fromarray((image * [0.8, 0.7, 0.6] + 20).astype(np.uint8)))
    assert len(duplicates.near_duplicates(duplicates.inspect(listed(tmp_path)))) == 1


def test_of_very_many_pictures_that_are_alike_as_many_pairs_are_listed_as_tie_them_together(tmp_path, monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 8)
    monkeypatch.setattr(duplicates, "MANY", 2)
    for number in range(30):
        save(tmp_path, f"a/{number:02d}.png", picture(number // 15, (96 + number, 72)))
    table = duplicates.inspect(listed(tmp_path))
    pairs = duplicates.near_duplicates(table)
    groups = duplicates.group(table, facts(table), pairs)["group"]
    assert len(pairs) < 100 and groups.value_counts().to_dict() == {"00": 15, "15": 15}


def test_flat_pictures_are_not_near_duplicates(tmp_path):
    for number, colour in enumerate(["red", "blue", "white", "black"]):
        save(tmp_path, f"a/{number}.png", Image.new("RGB", (20 + number, 20), colour))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert duplicates.near_duplicates(duplicates.inspect(listed(tmp_path))).empty


def test_hash_search_finds_what_comparing_all_with_all_finds(monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 7)
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**63, 40, dtype=np.uint64)
    hashes = np.concatenate([base, base ^ np.uint64(0b1011), base ^ np.uint64(1 << 40)])
    expected = {(i, j): bin(int(hashes[i] ^ hashes[j])).count("1") for i in range(120) for j in range(i + 1, 120)}
    expected = {pair: distance for pair, distance in expected.items() if distance <= 3}
    blocks = [zip(i.tolist(), j.tolist(), distance.tolist()) for i, j, distance in duplicates._close(hashes, hashes, 3)]
    assert {(i, j): distance for block in blocks for i, j, distance in block} == expected and len(expected) >= 80


def named(*names):
    """A manifest of files that need not be there."""
    return rows(*((name, "", "x", name) for name in names))


def test_official_labels_read_the_shipped_facts():
    shipped = pd.read_csv(labels.SHIPPED, dtype=str, keep_default_na=False)
    known = labels.official_labels(named(*shipped["isic_id"], "ISIC_0028132(1)", "my_ISIC_0028132"))
    assert list(known.columns) == labels.FACTS and len(known) == 1917 and known.index.is_unique
    assert set(known["diagnosis"]) == {*CODES, ""}
    assert known.loc["ISIC_0028132"].tolist() == ["SCC", "HAM_0005413", "", "80", "female", "head/neck", ""]
    assert known.loc["ISIC_0028132(1)"].equals(known.loc["ISIC_0028132"].rename("ISIC_0028132(1)"))
    assert known.loc["ISIC_0000002", "lesion_id"] == "" and (known.loc["my_ISIC_0028132"] == "").all()


@pytest.mark.parametrize(
    "columns, values, code",
    [
        ("diagnosis", "seborrheic keratosis", "BKL"),
        ("diagnosis", "vascular lesion", "VASC"),
        ("diagnosis", "", ""),
        ("diagnosis", "solar lentigo", "BKL"),
        ("diagnosis", "lichenoid keratosis", "BKL"),
        ("diagnosis", "NV", "NV"),
        ("diagnosis", "atypical melanocytic proliferation", ""),
        ("diagnosis", "verruca", ""),
        ("diagnosis_1,diagnosis_2,diagnosis_3", "Benign,Benign melanocytic proliferations,Nevus", "NV"),
        (
            "diagnosis_1,diagnosis_2,diagnosis_3",
            "Benign,Flat melanotic pigmentations - not melanocytic nevus,Ephelis",
            "",
        ),
        (
            "diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_4",
            "Malignant,Malignant melanocytic proliferations (Melanoma),Melanoma Invasive,Superficial spreading",
            "MEL",
        ),
        (
            "diagnosis_1,diagnosis_2,diagnosis_3",
            'Malignant,Malignant melanocytic proliferations (Melanoma),"Melanoma, NOS"',
            "MEL",
        ),
        (
            "diagnosis_1,diagnosis_2,diagnosis_3",
            "Malignant,Malignant adnexal epithelial proliferations - Follicular,Basal cell carcinoma",
            "BCC",
        ),
        (
            "diagnosis_1,diagnosis_2,diagnosis_3",
            "Indeterminate,Indeterminate epidermal proliferations,Solar or actinic keratosis",
            "AK",
        ),
        (
            "diagnosis_1,diagnosis_2,diagnosis_3",
            "Malignant,Malignant epidermal proliferations,Squamous cell carcinoma in situ",
            "SCC",
        ),
        (
            "diagnosis_1,diagnosis_2,diagnosis_3",
            "Benign,Benign soft tissue proliferations - Vascular,Hemangioma",
            "VASC",
        ),
        (
            "diagnosis_1,diagnosis_2,diagnosis_3",
            "Benign,Benign soft tissue proliferations - Fibro-histiocytic,Dermatofibroma",
            "DF",
        ),
        (
            "diagnosis_1,diagnosis_2,diagnosis_3",
            "Benign,Benign adnexal epithelial proliferations - Follicular,Nevus comedonicus",
            "",
        ),
    ],
)
def test_the_archives_own_table_is_understood(tmp_path, columns, values, code):
    text = f"isic_id,attribution,copyright_license,{columns},diagnosis_confirm_type,sex,fitspatrick\n"
    (tmp_path / "m.csv").write_text(f"{text}ISIC_9999999,someone,CC-BY,{values},histopathology,male,5.0\n")
    unknown = pytest.warns(UserWarning, match="1 diagnoses of .*m.csv have no ISIC 2019 class, such as")
    with unknown if values and not code else contextlib.nullcontext():
        known = labels.official_labels(named("ISIC_9999999", "other"), file=tmp_path / "m.csv")
    assert (
        known.loc["ISIC_9999999"].tolist() == [code, "", "", "", "male", "", "5"] and (known.loc["other"] == "").all()
    )


def test_sources_are_combined_fact_by_fact_and_the_result_reads_back(tmp_path):
    table = named("ISIC_0028132", "SYN_1")
    (tmp_path / "mine.csv").write_text("isic_id,diagnosis,lesion_id,sex\nISIC_0028132,melanoma,IL_1,\nSYN_1,,,male\n")
    own = facts(table, ISIC_0028132="NV", SYN_1="BKL").assign(age_approx=["40", "35"])
    known = labels.official_labels(table, own, tmp_path / "mine.csv")
    assert known.loc["ISIC_0028132"].tolist() == ["MEL", "HAM_0005413 IL_1", "", "40", "female", "head/neck", ""]
    assert known.loc["SYN_1"].tolist() == ["BKL", "", "", "35", "male", "", ""]
    assert labels.official_labels(table, own).loc["ISIC_0028132", "diagnosis"] == "NV"
    known.to_csv(tmp_path / "metadata.csv")
    again = labels.official_labels(table, file=tmp_path / "metadata.csv")
    assert again.drop(columns="lesion_id").equals(known.drop(columns="lesion_id"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_official_labels_are_read_from_a_table_as_people_save_it(tmp_path, encoding, delimiter):
    text = "Image , DX,Age,site\nx,mel,about 45,Gesäß\ny,nv,85+,\n".replace(",", delimiter)
    (tmp_path / "m.csv").write_bytes(text.encode(encoding))
    known = labels.official_labels(named("x", "y"), file=tmp_path / "m.csv")
    assert known["diagnosis"].tolist() == ["MEL", "NV"] and known["age_approx"].tolist() == ["45", "85"]
    (tmp_path / "m.csv").write_text("image,age\nx,old\n")
    assert labels.official_labels(named("x"), file=tmp_path / "m.csv")["age_approx"].tolist() == [""]


@pytest.mark.parametrize("text", ["number,dx\n1,nv\n", "image,dx\n", "image,dx\ny,nv\nz,nv\n"])
def test_a_table_that_names_none_of_the_images_is_refused(tmp_path, text):
    (tmp_path / "m.csv").write_text(text)
    said = f"m.csv lists none of the images: it has {text.count(chr(10)) - 1} rows and the columns (number|image), dx;"
    with pytest.raises(ValueError, match=said):
        labels.official_labels(named("x"), file=tmp_path / "m.csv")
    with pytest.raises(FileNotFoundError):
        labels.official_labels(named("x"), file=tmp_path / "none.csv")


CODES = ["MEL", "SCC", "BCC", "AK", "BKL", "DF", "VASC", "NV"]
NINE = [row["name"] for row in classes.known()]


@pytest.mark.parametrize(
    "diagnosis, published, classes, expected",
    [
        ("MEL", "nevus", NINE, "melanoma"),
        ("BKL", "seborrheic keratosis", NINE, "seborrheic keratosis"),
        ("BKL", "pigmented benign keratosis", NINE, "pigmented benign keratosis"),
        ("BKL", "melanoma", NINE, "pigmented benign keratosis"),
        ("BKL", "nevus", ["nevus", "seborrheic keratosis"], ""),
        ("AK", "nevus", ["nevus", "melanoma"], ""),
        ("AK", "other", ["nevus", "other"], "other"),
        ("AK", "other", ["actinic keratosis", "other"], "actinic keratosis"),
        ("MEL", "good", ["good", "bad"], "good"),
    ],
)
def test_official_class(diagnosis, published, classes, expected):
    assert labels.official_class(diagnosis, published, classes) == expected


def test_an_official_label_settles_and_what_none_settles_is_left_out():
    table = rows(
        ("ISIC_1@a", "train", "nevus", "p"),
        ("ISIC_1@b", "train", "melanoma", "p"),
        ("ISIC_2@a", "train", "nevus", "q"),
        ("ISIC_2@b", "train", "melanoma", "q"),
        ("ISIC_3", "train", "nevus", "r"),
        ("ISIC_4", "train", "nevus", "s"),
    )
    assert audited(table, facts(table, ISIC_1="MEL", ISIC_3="MEL")) == {
        "ISIC_1@a": "duplicate",
        "ISIC_1@b": "melanoma",
        "ISIC_2@a": "contradiction",
        "ISIC_2@b": "contradiction",
        "ISIC_3": "melanoma",
        "ISIC_4": "nevus",
    }


def test_one_file_with_an_official_label_speaks_for_the_picture_and_two_must_agree():
    table = rows(
        ("ISIC_1", "train", "nevus", "p"),
        ("ISIC_2", "train", "melanoma", "p"),
        ("ISIC_3", "train", "nevus", "q"),
        ("ISIC_4", "train", "nevus", "q"),
        ("x", "train", "melanoma", "r"),
    )
    assert audited(table, facts(table, ISIC_1="MEL", ISIC_3="MEL", ISIC_4="NV")) == {
        "ISIC_1": "duplicate",
        "ISIC_2": "melanoma",
        "ISIC_3": "contradiction",
        "ISIC_4": "contradiction",
        "x": "melanoma",
    }


def test_bkl_does_not_choose_between_its_two_classes():
    two = ["pigmented benign keratosis", "seborrheic keratosis"]
    table = rows(
        *((f"ISIC_1@{name}", "train", name, "p") for name in two),
        ("ISIC_2@m", "train", "melanoma", "q"),
        ("ISIC_2@s", "train", two[1], "q"),
        ("ISIC_3", "train", "melanoma", "r"),
    )
    assert audited(table, facts(table, ISIC_1="BKL", ISIC_2="BKL", ISIC_3="BKL")) == {
        **{f"ISIC_1@{name}": "contradiction" for name in two},
        "ISIC_2@m": "duplicate",
        "ISIC_2@s": two[1],
        "ISIC_3": two[0],
    }


def test_class_names_that_mean_no_diagnosis_are_left_alone():
    table = rows(("ISIC_1", "train", "benign", "p"), ("ISIC_2", "train", "malignant", "q"))
    assert audited(table, facts(table, ISIC_1="MEL", ISIC_2="NV")) == {"ISIC_1": "benign", "ISIC_2": "malignant"}


def test_what_shares_a_group_with_test_leaves_the_others_and_validation_goes_before_train():
    table = rows(
        ("a", "test", "x", "p", "g"),
        ("b", "val", "x", "q", "g"),
        ("c", "train", "x", "r", "g"),
        ("d", "val", "x", "s", "h"),
        ("e", "train", "x", "t", "h"),
        ("f", "train", "x", "u", "i"),
    )
    assert audited(table) == {"a": "x", "b": "test twin", "c": "test twin", "d": "x", "e": "test twin", "f": "x"}


def test_a_test_image_that_is_left_out_holds_nothing_back():
    table = rows(("a", "test", "x", "p", "g"), ("b", "train", "y", "p", "g"), ("c", "train", "x", "q", "g"))
    assert audited(table) == {"a": "contradiction", "b": "contradiction", "c": "x"}


def test_one_copy_of_a_picture_stays_and_near_duplicates_stay_in_one_group():
    table = rows(("b", "train", "x", "p", "g"), ("a", "train", "x", "p", "g"), ("c", "train", "x", "q", "g"))
    assert audited(table) == audited(table.iloc[::-1]) == {"b": "duplicate", "a": "x", "c": "x"}


def test_a_class_too_small_to_learn_leaves_every_split():
    table = rows(
        *((f"a{i}", "train", "x", f"p{i}") for i in range(3)),
        ("b0", "train", "y", "q0"),
        ("b1", "train", "y", "q1"),
        ("c", "test", "y", "r"),
        ("d", "test", "z", "s"),
    )
    done = audited(table, min_class_size=3)
    assert {name for name, state in done.items() if state == "class too small"} == {"b0", "b1", "c", "d"}
    assert set(audited(table, min_class_size=2).values()) == {"x", "y", "class too small"}
    unsplit = table[table["split"] == "train"].assign(split="")
    assert "class too small" not in audited(unsplit, min_class_size=2).values()


def test_published_removes_nothing_but_unreadable_files_and_keeps_the_manifest_sound():
    table = rows(
        ("a", "test", "x", "p", "g"),
        ("b", "train", "y", "p", "g"),
        ("c", "val", "x", "q", "g"),
        ("d", "train", "y", "r", "g"),
        ("e", "train", "x", "", "e"),
    )
    table.loc[4, "flag"] = "unreadable"
    done = manifest.check(labels.apply_labels(table, "published", facts(table, b="MEL")))
    assert done["flag"].tolist() == ["", "", "", "", "unreadable"]
    assert done["label"].tolist() == ["x", "y", "x", "y", ""]
    assert done["group"].tolist() == ["test/g", "g", "val/g", "g", "e"]
    assert labels.apply_labels(done, "published", facts(table)).equals(done)
    again = labels.apply_labels(labels.apply_labels(done, "audited", facts(table), 1), "published", facts(table))
    assert again.equals(done)
    assert labels.apply_labels(done, "audited", facts(table), 0).equals(
        labels.apply_labels(table, "audited", facts(table), 0)
    )


def test_the_policies_say_what_is_wrong():
    table = rows(("a", "train", "x", "p"))
    with pytest.raises(ValueError, match="LABELS is 'clean'; choose 'published' or 'audited'"):
        labels.apply_labels(table, "clean", facts(table))
    with pytest.raises(ValueError, match=r"call duplicates.group first"):
        labels.apply_labels(table.assign(group=""), "audited", facts(table))


def test_the_ledger_accounts_for_every_image_by_split_and_class():
    table = rows(
        ("ISIC_1@a", "train", "nevus", "p"),
        ("ISIC_1@b", "train", "melanoma", "p"),
        ("x", "train", "nevus", "q"),
        ("y", "train", "melanoma", "q"),
        ("ISIC_3", "test", "nevus", "r"),
        ("z", "train", "df", "s"),
        ("u", "train", "nevus", "t"),
    )
    done = labels.apply_labels(table, "audited", facts(table, ISIC_1="MEL", ISIC_3="MEL"), 1)
    book = labels.ledger(done)
    assert (book["audited"] == book.drop(columns="audited").sum(axis=1)).all()
    assert book["published"].sum() == len(table)
    assert book["audited"].to_dict() == {
        ("test", "melanoma"): 1,
        ("test", "nevus"): 0,
        ("train", "df"): 1,
        ("train", "melanoma"): 1,
        ("train", "nevus"): 1,
    }
    assert book.loc[("train", "nevus")].to_dict() == {
        "published": 3,
        "unreadable": 0,
        "contradiction": -1,
        "augmented copy": 0,
        "duplicate": -1,
        "test twin": 0,
        "class too small": 0,
        "moved out": 0,
        "moved in": 0,
        "audited": 1,
    }
    assert book.loc["test", "moved in"].tolist() == [1, 0]
    assert book.loc["test", "moved out"].tolist() == [0, -1]


def test_class_folders_without_splits_leave_no_class_out():
    table = rows(("a", "", "x", "p"), ("b", "", "x", "q"), ("c", "", "y", "r"))
    book = labels.ledger(labels.apply_labels(table, "audited", facts(table), 1))
    assert book["audited"].to_dict() == {("", "x"): 2, ("", "y"): 1}


def test_labels_do_not_depend_on_the_order_of_the_rows():
    rng = np.random.default_rng(0)
    splits, names = ["train", "train", "train", "val", "test"], [*NINE, *["nevus"] * 20]
    table = rows(*((f"ISIC_{i}", rng.choice(splits), rng.choice(names), f"p{rng.integers(250)}") for i in range(300)))
    table["group"] = "g" + table["picture"].str[1:].astype(int).floordiv(2).astype(str)
    label = table["published_label"][299]
    table.loc[0, ["path", "published_label", "split", "picture"]] = ["/ISIC_299_flip", label, "test", "p999"]
    known = facts(table, **{f"ISIC_{i}": str(rng.choice(CODES)) for i in range(80)})
    done = manifest.check(labels.apply_labels(table, "audited", known, 5))
    assert set(done["flag"]) == {"", *manifest.FLAGS[1:]}
    assert (labels.ledger(done).drop(columns="audited").sum(axis=1) == labels.ledger(done)["audited"]).all()
    for seed in range(5):
        shuffled = table.sample(frac=1, random_state=seed)
        assert labels.apply_labels(shuffled, "audited", known, 5).sort_index().equals(done)


def test_the_command_writes_findings_and_a_page_that_needs_nothing_else(planted, tmp_path_factory):
    place = tmp_path_factory.mktemp("out")
    said = audit.command(planted, place / "a.json", place / "a.html")
    assert f"Images: DATA_DIR, {planted}\nLayout: class folders; given splits: train, test\n" in said
    assert "     1 pictures filed under two classes" in said
    found = json.loads((place / "a.json").read_text())
    assert (found["images"], found["contradictory_images"], found["near_duplicate_pairs"]) == (13, 1, 1)
    page = (place / "a.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 2 + 2 + 3 + 2 and "http" not in page
    assert "width=device-width" in page and "turned 90" in page and "cannot identify image file" in page


def test_class_names_are_escaped_on_the_page(tmp_path):
    for name in ("<b>", "a&b"):
        save(tmp_path, f"{name}/x.png", picture(1))
    audit.command(tmp_path, html_file=tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert "&lt;b&gt;" in page and "a&amp;b" in page and "<b>" not in page


def test_nothing_given_says_what_is_audited(sample_root, monkeypatch):
    monkeypatch.setenv("ISIC9_DIR", str(sample_root))
    assert audit.command("").startswith(f"Images: embedded sample, {sample_root} (SYNTHETIC: drawings, not patients)\n")


def test_files_that_cannot_be_written_are_refused_before_the_work(planted, tmp_path, monkeypatch):
    monkeypatch.setattr(duplicates, "inspect", lambda table: pytest.fail("work began"))
    for file in (tmp_path, tmp_path / "none" / "a.json"):
        for given in ({"json_file": file}, {"html_file": file}):
            with pytest.raises(OSError, match="cannot be written"):
                audit.command(planted, **given)
    with pytest.raises(FileNotFoundError, match="holds no images"):
        (tmp_path / "empty").mkdir()
        audit.command(tmp_path / "empty")


def test_the_audit_does_not_import_tensorflow():
    code = "import helpers.data.audit, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"tensorflow", "keras", "sklearn", "matplotlib"} & set(done.stdout.split())


def test_the_class_that_lies_in_one_collection_is_named():
    table = rows(*((f"{name}{i}", "train", name, f"{name}{i}") for name in "xyz" for i in range(10)))
    table["collection"] = ["A"] * 10 + ["B"] * 10 + ["A", "B"] * 5
    counts, found = audit.collections(table)
    assert counts.loc["z"].to_dict() == {"A": 5, "B": 5} and found["one_collection_only"] == {"x": "A", "y": "B"}
    assert found["cramers_v"] == pytest.approx((20 / 30) ** 0.5, abs=0.001)
    half = pd.concat([table, table.assign(collection="")], ignore_index=True)
    assert audit.collections(half)[1]["cramers_v"] == found["cramers_v"]
    assert audit.collections(table.assign(collection=""))[1]["cramers_v"] is None
    said = audit.summary(audit.findings(table, facts(table), NONE))[1]
    assert "Cramer's V of class and collection: 0.82" in said[0] and "Only in A: x." in said


def test_lesions_with_several_pictures_are_counted_with_what_a_random_split_tears():
    table = rows(*((f"i{i}", "", "x", f"p{i}") for i in range(6)))
    known = facts(table, i0=("", "L1"), i1=("", "L1"), i2=("", "L2"), i3=("", "L3"), i4=("", "L3 L4"), i5=("", "L3"))
    found = audit.findings(table, known, NONE)
    assert found["lesions_with_several_pictures"] == 2
    assert found["lesions"] == {"known": 4, "pictures_of_several": 5, "torn": round((0.32 + 0.48) / 2, 3)}


def test_patients_and_lesions_of_tables_are_groups_and_other_ids_do_not_meet_them():
    table = rows(*((f"i{i}", "", "x", f"p{i}") for i in range(5))).assign(group=["7", "7", "", "", ""])
    known = facts(table, i2=("", "7"), i3=("", "L1"), i4=("", "L1"))
    assert duplicates.group(table, known, NONE)["group"].tolist() == ["i0", "i0", "i2", "i3", "i3"]


def test_a_clean_set_and_a_single_image_accuse_nothing(tmp_path):
    for number in range(3):
        save(tmp_path, f"only class/{number}.png", picture(number))
        (tmp_path / "only class/notes.txt").write_text("no image")
        (tmp_path / "only class/.hidden.png").write_bytes(b"")
        table = duplicates.inspect(datasets.list_images(datasets.find(tmp_path), "folders").table)
        found = audit.findings(table, facts(table))
        assert found.pop("images") == number + 1
        assert found.pop("collections")["cramers_v"] is None and not any(found.pop("lesions").values())
        assert not any(found.pop("families").values())
        assert not any(value for name, value in found.items() if name != "lists") and not any(found["lists"].values())


def read(root):
    table, known, _ = datasets.list_images(datasets.find(root))
    return duplicates.inspect(table), labels.official_labels(table, known)


@pytest.fixture(scope="module")
def drawn(sample_root):
    return sample_root, *read(sample_root)


def test_every_planted_defect_of_the_sample_is_found_and_nothing_else(drawn):
    root, table, known = drawn
    found, defects = audit.findings(table, known), pd.read_csv(root / "defects.csv", keep_default_na=False)

    def files(rows):
        return {row["file"] for row in rows}

    def planted(*kinds):
        return [{row.path, row.other_path} - {""} for row in defects[defects["kind"].isin(kinds)].itertuples()]

    def same(found_sets, planted_sets):
        return sorted(map(sorted, found_sets)) == sorted(map(sorted, planted_sets))

    lists, place = found["lists"], dict(zip(table["image_id"], table["path"]))
    assert same(map(files, lists["contradictory_images"]), planted("contradiction", "test twin"))
    assert same(map(files, lists["train_test_twins"]), planted("test twin"))
    assert same(map(files, lists["same_class_duplicates"]), planted("duplicate"))
    assert [files(lists["unreadable"])] == planted("unreadable")
    near = [
        {Path(place[pair[key]]).relative_to(root).as_posix() for key in ("image_id", "other_id")}
        for pair in lists["near_duplicate_pairs"]
    ]
    assert same(near, planted("near-duplicate"))
    wrong = files(lists["official_label_disagreements"])
    assert wrong <= set().union(*planted("wrong label", "contradiction", "test twin"))
    assert wrong >= set().union(*planted("wrong label"))


def test_both_policies_of_the_sample_make_sound_manifests(drawn):
    _, table, known = drawn
    grouped = duplicates.group(table, known)
    for policy in ("published", "audited"):
        done = manifest.check(labels.apply_labels(grouped, policy, known))
        book = labels.ledger(done)
        assert book["published"].sum() == len(table) and book["audited"].sum() == len(manifest.active(done)) > 500


def test_planted_copies_of_real_images_are_found(tmp_path, isic9):
    originals = listed(isic9).sample(150, random_state=0)
    originals = duplicates.inspect(originals).drop_duplicates("picture")
    copies = bench_data.plant(originals, tmp_path)
    pairs = duplicates.near_duplicates(duplicates.inspect(pd.concat([originals, copies], ignore_index=True)))
    assert set(pairs["image_id"] + " copy") == set(copies["image_id"]) == set(pairs["other_id"])


def test_real_images_are_audited_as_known(isic9):
    table, known = read(isic9)
    found = audit.findings(table, known)
    if found["images"] != 2241:
        pytest.skip("ISIC9_DIR is another set than the one with known figures")
    assert (found["contradictory_images"], found["train_test_twins"], found["same_class_duplicates"]) == (137, 19, 4)
    assert {row["folders"]: row["images"] for row in found["contradictory_folders"]} == {
        "train melanoma / train seborrheic keratosis": 72,
        "train actinic keratosis / train nevus": 46,
        "test actinic keratosis / train nevus": 16,
        "test seborrheic keratosis / train melanoma": 3,
    }
    assert found["official_label_disagreements"] == [
        {"published": "nevus", "official": "actinic keratosis", "images": 76},
        {"published": "seborrheic keratosis", "official": "melanoma", "images": 26},
    ]
    lesions = known["lesion_id"]
    pairs = found["lists"]["near_duplicate_pairs"]
    lesions = [{lesions[pair["image_id"]], lesions[pair["other_id"]]} for pair in pairs]
    assert len(pairs) == 5 and all(len(pair) == 1 for pair in lesions)
