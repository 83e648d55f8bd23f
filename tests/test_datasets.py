"""The images are found in the promised order and listed whatever shape their folders have."""

import sys
import types

import pytest

from helpers.data import datasets


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A course without any placed images, outside Colab, with a quick stand-in for the sample."""
    course = tmp_path / "course"
    (course / "data").mkdir(parents=True)
    monkeypatch.setattr(datasets, "ROOT", course)
    monkeypatch.setattr(datasets, "SAMPLE", course / "data" / "sample")
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
    kaggle = types.SimpleNamespace(dataset_download=lambda name: str(image_set) if name == datasets.KAGGLE_SET else None)
    monkeypatch.setitem(sys.modules, "kagglehub", kaggle)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    assert datasets.find().source.startswith("Kaggle") and datasets.find().root == image_set
    write_image(bare / "data" / "mine" / "Train" / "nevus" / "a.png", 1)
    assert datasets.find().root == bare / "data" / "mine"
    write_image(tmp_path / "other" / "nevus" / "a.png", 1)
    monkeypatch.setenv("ISIC9_DIR", str(tmp_path / "other"))
    assert datasets.find().source == "ISIC9_DIR" and datasets.find().root == tmp_path / "other"
    found = datasets.find(str(image_set))
    assert (found.source, found.root, found.synthetic) == ("DATA_DIR", image_set, False)
    assert datasets.find("sample").synthetic


def test_a_set_unpacked_straight_into_data_is_found(bare, write_image):
    datasets.find("sample")
    write_image(bare / "data" / "Train" / "nevus" / "a.png", 1)
    assert datasets.find().root == bare / "data"


def test_without_a_network_colab_goes_on_with_the_sample(bare, monkeypatch, capsys):
    def refuse(name):
        raise ConnectionError("no network")

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=refuse))
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    assert datasets.find().synthetic
    assert "no network" in capsys.readouterr().out


@pytest.mark.parametrize("variable", ["DATA_DIR", "ISIC9_DIR"])
def test_a_folder_without_images_is_refused_by_name(bare, tmp_path, monkeypatch, variable):
    if variable == "ISIC9_DIR":
        monkeypatch.setenv("ISIC9_DIR", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=f"{variable} is .*class folders"):
        datasets.find(str(tmp_path / "none") if variable == "DATA_DIR" else "")


@pytest.mark.parametrize("folders, splits", [
    (["Train", "Test"], {"train", "test"}), (["train", "valid", "test"], {"train", "val", "test"}),
    (["TRAIN", "TEST"], {"train", "test"}), ([""], {""}),
])
def test_every_promised_shape_is_listed(tmp_path, write_image, folders, splits):
    for number, folder in enumerate(folders):
        write_image(tmp_path / "wrapped" / folder / "nevus" / f"{number}.PNG", number)
        write_image(tmp_path / "wrapped" / folder / ".hidden" / "x.png", number)
    (tmp_path / "wrapped" / folders[0] / "nevus" / "notes.txt").write_text("no image")
    table = datasets.list_images(datasets.find(str(tmp_path / "wrapped")).root)
    assert set(table["split"]) == splits and len(table) == len(folders) and set(table["label"]) == {"nevus"}


def test_an_archive_folder_around_the_set_is_looked_into(tmp_path, write_image):
    write_image(tmp_path / "kaggle" / "Skin cancer ISIC" / "Train" / "nevus" / "a.png", 1)
    assert datasets.find(str(tmp_path / "kaggle")).root.name == "Skin cancer ISIC"


def test_image_ids_are_unique_and_say_where_a_doubled_name_lies(tmp_path, write_image):
    for place in ("Train/nevus/a.png", "Train/actinic keratosis/a.png", "Test/nevus/a.jpg", "Train/nevus/b.png",
                  "Train/nevus/a.jpg"):
        write_image(tmp_path / place, 1)
    ids = datasets.list_images(tmp_path)["image_id"]
    assert ids.is_unique
    assert {"a@train-actinic-keratosis", "a@test-nevus", "b"} < set(ids)


def test_counts_add_up(image_set):
    table = datasets.counts(datasets.list_images(image_set))
    assert table.loc["nevus"].tolist() == [2, 6, 8] and table.loc["total", "total"] == 13
