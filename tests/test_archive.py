"""Images of the ISIC Archive: the real command isic, where it is installed, fetches drawings from a stand-in."""

import os
import shutil
import sys
from collections import namedtuple

import pandas as pd
import pytest
from archive_server import Archive

from helpers import runs
from helpers.data import archive, datasets

CLINICS = pd.read_csv(archive.CLINICS, dtype=str)
SKIN = {"diagnosis_1": "Benign", "diagnosis_3": "Nevus", "fitzpatrick_skin_type": "V"}


def command(folder, text):
    """Write a shell script as the command ``isic`` of a folder."""
    (folder / "isic").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "isic").chmod(0o755)


@pytest.fixture
def online(tmp_path, monkeypatch):
    """A stand-in that has the listed images and three others, the real isic that speaks with it, and an empty cache."""
    if not (isic := shutil.which("isic", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))):
        pytest.skip("isic-cli is not installed (it needs Python 3.12)")
    records = {isic_id: {"diagnosis_1": "Benign", "age_approx": 45, "sex": "male"} for isic_id in CLINICS["isic_id"]}
    with Archive(records | {f"ISIC_900000{number}": SKIN for number in range(3)}) as server:
        # isic has one address for development; a proxy leads from there to wherever the stand-in listens.
        command(tmp_path, f'http_proxy={server.address} no_proxy= NO_PROXY= ISIC_DEV=1 exec "{isic}" "$@"')
        monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(archive, "SEARCH", f"{server.address}/api/v2/images/search/")
        yield server


def stop_after(number):
    """Return a stand-in for messages.progress that interrupts, as Ctrl-C does, when so many images are there."""

    def progress(items, what, total):
        for count, item in enumerate(items, 1):
            if count == number:
                raise KeyboardInterrupt
            yield item

    return progress


def test_the_listed_images_are_fetched_once_and_a_stopped_download_goes_on(online, monkeypatch, capsys):
    online.gate._value = 130
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("helpers.messages.progress", stop_after(130))
        datasets.find("isic:clinics")
    first = len(online.served)
    online.gate.release(10**6)
    found = datasets.find("isic:clinics")
    assert first >= 130 and len(online.served) - first <= len(CLINICS) - 120  # what was there is not fetched again
    datasets.find("isic:clinics")
    assert set(online.served) == set(CLINICS["isic_id"])
    table = datasets.list_images(found).table
    assert table["collection"].value_counts().to_dict() == {"BCN20000": 317, "HAM10000": 160}
    assert table.set_index("image_id")["group"].to_dict() == CLINICS.set_index("isic_id")["lesion_id"].to_dict()
    assert table["label"].value_counts()[["melanoma", "squamous cell carcinoma"]].tolist() == [120, 40]
    said = capsys.readouterr().out
    assert "Fetching 477 images" in said
    assert "477 images of the ISIC Archive" in said and ", by Clinic A, Clinic B;" in said
    assert (found.root / "licenses" / "CC-BY-NC.txt").read_text() == "The text of CC-BY-NC"
    assert "Clinic B" in (found.root / "attribution.txt").read_text()
    assert not [*found.root.glob(".part*")]


def test_a_search_brings_the_archives_table_whose_diagnoses_are_the_labels(online):
    found = datasets.find("isic:fitzpatrick_skin_type:V")
    assert datasets.list_images(found).table["label"].tolist() == ["nevus"] * 3
    assert pd.read_csv(found.root / "metadata.csv")["fitzpatrick_skin_type"].tolist() == ["V"] * 3


def test_withdrawn_images_are_counted_and_the_others_used(online, capsys):
    del online.records["ISIC_0024410"]
    online.gone.add("ISIC_0024429")
    root = datasets.find("isic:clinics").root
    said = capsys.readouterr().out
    assert "1 of 476 images did not arrive, though the Archive lists them, such as ISIC_0024429" in said
    assert "no longer has 2 of the 477 that are listed, such as ISIC_0024410" in said
    assert len(pd.read_csv(root / "metadata.csv")) == len([*root.glob("*.jpg")]) == 475


@pytest.mark.parametrize("query, why", [("nonsense", "not understand the search"), ("sex:unheard", "has no image for")])
def test_a_search_without_images_is_refused(online, query, why):
    with pytest.raises(FileNotFoundError, match=why):
        datasets.find(f"isic:{query}")


def test_a_full_disk_is_named_before_anything_is_fetched(online):
    online.size = 10**18
    with pytest.raises(FileNotFoundError, match="nsufficient disk space.* XDG_CACHE_HOME"):
        datasets.find("isic:clinics")
    assert not online.served


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No command ``isic``, an empty cache, and an address where nobody answers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr(archive, "SEARCH", "http://127.0.0.1:9/")
    return tmp_path


@pytest.mark.parametrize("python, way", [((3, 11), "pip install uv"), ((3, 13), "pip install isic-cli")])
def test_without_the_command_the_way_to_it_is_said(offline, monkeypatch, python, way):
    monkeypatch.setattr(sys, "version_info", python)
    with pytest.raises(FileNotFoundError, match=f"{way}, and run this again"):
        datasets.find("isic:clinics")


def test_no_connection_is_said_at_once(offline):
    command(offline, "exit 1")
    with pytest.raises(FileNotFoundError, match="cannot be searched .* is the network up"):
        datasets.find("isic:clinics")


@pytest.mark.parametrize(
    "says, why",
    [
        ("OSError: [Errno 28] No space left on device", "No space left .* XDG_CACHE_HOME"),
        ("requests.HTTPError: 500", "HTTPError: 500"),
    ],
)
def test_what_isic_said_is_passed_on(offline, monkeypatch, says, why):
    command(offline, f"echo '{says}'; exit 1")
    monkeypatch.setattr(archive, "_count", lambda query: 1)
    with pytest.raises(FileNotFoundError, match=why):
        datasets.find("isic:sex:male")


def test_a_disk_that_fills_up_is_no_withdrawn_image(offline, monkeypatch):
    table = "isic_id,attribution,copyright_license\\nISIC_0000001,A,CC-0\\n"
    command(offline, f"for last; do :; done; printf '{table}' > \"$last/metadata.csv\"")
    monkeypatch.setattr(archive, "_count", lambda query: 1)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**6))
    with pytest.raises(FileNotFoundError, match="the disk is full.* 1 MB are free"):
        datasets.find("isic:sex:male")


def test_a_lost_connection_is_not_waited_for(offline, monkeypatch):
    command(offline, "exec /bin/sleep 60")
    monkeypatch.setattr(archive, "_count", lambda query: 1)
    monkeypatch.setattr(archive, "PATIENCE", 0)
    with pytest.raises(FileNotFoundError, match="no data arrived for 0 s"):
        datasets.find("isic:sex:male")


@pytest.mark.parametrize("answer, place, expected", [("", "C", "isic:clinics"), ("no network", "C", ""), ("", "K", "")])
def test_colab_takes_other_clinics_by_default_where_they_can_be_had(monkeypatch, capsys, answer, place, expected):
    def fetch(query):
        if answer:
            raise FileNotFoundError(answer)
        return f"isic:{query}", None

    monkeypatch.setattr(archive, "fetch", fetch)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive" if place == "K" else "")
    assert archive.clinics_in_colab() == expected
    assert bool(answer) == ("Continuing without images from other clinics." in capsys.readouterr().out)


def test_other_clinics_are_the_default_for_the_set_of_the_case_study_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "clinics_in_colab", lambda: "isic:clinics")
    for name, expected in ((datasets.KAGGLE_SET, "isic:clinics"), ("roses", "")):
        images = datasets.Images(tmp_path / "set", "a set", False, ((name, tmp_path / "set"),))
        monkeypatch.setattr(datasets, "find", lambda given="", images=images: images)
        names = {"OUT_DIR": str(tmp_path / name), "DATA_DIR": "set", "EXTERNAL_DIR": ""}
        assert runs.start("05_evaluation", names).parameters["EXTERNAL_DIR"] == names["EXTERNAL_DIR"] == expected
