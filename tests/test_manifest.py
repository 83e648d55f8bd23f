"""The manifest keeps its rules, survives the way to disk and back, and its fingerprint says what changed."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import manifest


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda t: t.rename(columns={"flag": "flags"}), "columns"),
        (lambda t: t.assign(extra=1), "extra"),
        (lambda t: t.drop(columns="collection"), "'collection'.*run notebook 01 again"),
        (lambda t: t.assign(path=t["path"].iloc[0]), "path"),
        (lambda t: t.assign(image_id="same"), "image_id"),
        (lambda t: t.assign(split="trian"), "trian"),
        (lambda t: t.assign(flag="ugly"), "ugly"),
        (lambda t: t.assign(label=""), "no label"),
        (lambda t: t.assign(group="one lesion"), "cross"),
        (lambda t: t.assign(parent=t["image_id"].iloc[0]), "augmented images"),
    ],
)
def test_check_refuses_a_broken_manifest(small_manifest, change, word):
    manifest.check(small_manifest)
    with pytest.raises(manifest.ManifestError, match=word):
        manifest.check(change(small_manifest.copy()))


def test_a_flagged_row_may_share_a_group_with_another_split(small_manifest):
    table = small_manifest.copy()
    train, test = table.index[table["split"] == "train"][0], table.index[table["split"] == "test"][0]
    table.loc[train, "group"] = table.loc[test, "group"]
    with pytest.raises(manifest.ManifestError, match="cross"):
        manifest.check(table)
    table.loc[train, "flag"] = "test twin"
    manifest.check(table)


def test_write_and_read_give_the_same_table(small_manifest, image_set, tmp_path):
    file = tmp_path / "run" / "manifest.csv"
    manifest.write(small_manifest, file, image_set)
    pd.testing.assert_frame_equal(manifest.read(file, image_set), small_manifest)
    assert "set" not in file.read_text() and sorted(file.parent.iterdir()) == [file]


def test_a_run_reads_where_the_images_lie_elsewhere(small_manifest, image_set, tmp_path):
    file = tmp_path / "run" / "manifest.csv"
    manifest.write(small_manifest, file, image_set)
    elsewhere = image_set.rename(tmp_path / "moved")
    table = manifest.read(file, elsewhere)
    assert table["path"].str.startswith(str(elsewhere)).all()
    assert manifest.fingerprint(table) == manifest.fingerprint(small_manifest)


def test_a_refused_table_leaves_the_old_file(small_manifest, image_set, tmp_path):
    file = tmp_path / "manifest.csv"
    manifest.write(small_manifest, file, image_set)
    before = file.read_bytes()
    with pytest.raises(manifest.ManifestError):
        manifest.write(small_manifest.assign(group="one"), file, image_set)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "column", ["published_label", "label", "split", "group", "collection", "sha256", "flag", "parent", "path"]
)
def test_fingerprint_changes_with_every_column_that_matters(small_manifest, column):
    changed = small_manifest.copy()
    changed.loc[changed.index[0], column] = "other"
    assert manifest.fingerprint(changed) != manifest.fingerprint(small_manifest)


def test_fingerprint_does_not_depend_on_the_order_of_rows_or_on_folders(small_manifest):
    shuffled = small_manifest.sample(frac=1, random_state=1).assign(path=lambda t: "/elsewhere" + t["path"])
    assert manifest.fingerprint(shuffled) == manifest.fingerprint(small_manifest)


def test_active_leaves_out_flagged_rows(small_manifest):
    table = small_manifest.copy()
    table.loc[table.index[0], "flag"] = "duplicate"
    assert len(manifest.active(table)) == len(table) - 1
    assert set(manifest.active(table, "val")["split"]) == {"val"}


@pytest.mark.parametrize("content", [b"", b"\x00\xff\x00", b"image_id,path\n", b"image_id;path;label\n1;2;3\n"])
def test_what_is_no_manifest_is_refused_with_the_remedy(tmp_path, content):
    (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(manifest.ManifestError, match="run notebook 01 again"):
        manifest.read(tmp_path / "manifest.csv", tmp_path)


def test_a_cut_manifest_is_refused(small_manifest, image_set, tmp_path):
    manifest.write(small_manifest, tmp_path / "manifest.csv", image_set)
    whole = (tmp_path / "manifest.csv").read_bytes()
    for end in range(len(whole) - 400, len(whole) - 1, 7):
        (tmp_path / "manifest.csv").write_bytes(whole[:end])
        try:
            assert len(manifest.read(tmp_path / "manifest.csv", image_set)) < len(small_manifest) + 1
        except manifest.ManifestError as error:
            assert "\n" not in str(error)


NAME = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=30).filter(
    lambda name: name not in (".", "..")  # no file can have them
)
ODD = st.sampled_from(
    ["1234567890123456789012345", "nevus ", "total", "a\rb", "a\nb", "caf\udce9", '"', "NA", "1e5", "007", "=cmd|1"]
)


@given(st.lists(NAME | ODD, min_size=1, max_size=6, unique=True), NAME | ODD)
@settings(max_examples=150)
def test_any_name_survives_the_way_to_disk_and_back(tmp_path_factory, names, label):
    folder = tmp_path_factory.mktemp("m")
    table = pd.DataFrame({"image_id": names, "published_label": label, "label": label, "group": names})
    table = table.assign(path=[f"{folder}/{name}" for name in names], width=3, height=2)
    table = table.reindex(columns=manifest.COLUMNS, fill_value="")
    manifest.write(table, folder / "manifest.csv", folder)
    pd.testing.assert_frame_equal(manifest.read(folder / "manifest.csv", folder), table)
