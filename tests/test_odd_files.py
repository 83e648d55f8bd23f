"""What lies among images beside pictures and tables: pipes, sockets, links to nothing, broken EXIF, a broken disk."""

import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from helpers.data import datasets, duplicates, images


def test_pipes_sockets_and_links_to_nothing_are_named_and_passed_over(image_set, monkeypatch):
    monkeypatch.chdir(image_set)  # a socket's path may not be long
    os.mkfifo("x.csv")
    os.symlink("nowhere", "gone")
    os.symlink("nowhere", Path("Train", "t.csv"))
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("s.tsv")
        listing = datasets.list_images(datasets.find(image_set))
    assert len(listing.table) == 13
    for name in ("x.csv", "gone", "Train/t.csv", "s.tsv"):
        assert f"{name}, which is no file or leads to none" in listing.understood


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x04ab"])
def test_a_picture_with_broken_exif_and_whole_pixels_is_read(tmp_path, suffix, exif):
    Image.new("RGB", (8, 6), "red").save(tmp_path / f"a.{suffix}", exif=exif)
    assert images.open_rgb(tmp_path / f"a.{suffix}").size == (8, 6)


def test_a_file_on_a_broken_disk_is_flagged_and_the_others_are_read(image_set, monkeypatch):
    table, real = datasets.list_images(datasets.find(image_set)).table, Path.read_bytes
    broken = Path(table["path"].iloc[0])

    def read_bytes(self):
        if self == broken:
            raise OSError(5, "Input/output error")
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert (duplicates.inspect(table)["flag"] == "unreadable").tolist() == [True, *[False] * 12]


@pytest.mark.parametrize("given, words", [(" ; ", "names no folder"), ("x" * 300, "is no folder")])
def test_a_data_dir_that_names_nothing_is_refused(given, words):
    with pytest.raises(FileNotFoundError, match=f"DATA_DIR is .*{words}"):
        datasets.find(given)
