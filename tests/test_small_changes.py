"""Small wrong changes that no other test would notice: each of these was once made, and nothing failed."""

import json
import os
import re
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import rows
from PIL import Image

from helpers import figures, manifest, runs
from helpers.batch import build, results, sweep
from helpers.data import archive, datasets, duplicates, families, folders, images, matching, tables
from helpers.evaluation import intervals, pictures
from helpers.training import callbacks, pipeline


@pytest.mark.parametrize(
    "name", ["BALANCE", "MELANOMA_WEIGHT", "AUGMENTATION", "COLOUR_EXCHANGE", "BATCH_SIZE", "SEED"]
)
def test_a_training_does_not_go_on_under_other_parameters_that_matter(tmp_path, small_manifest, name):
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="tiny")
    network.compile(keras.optimizers.Adam(), "mse")

    def state(**given):
        run = SimpleNamespace(folder=tmp_path, parameters={"SEED": 0, name: 0} | given)
        return callbacks.begin(run, network, small_manifest, 2).state

    assert state(**{name: 1}) != state(**{name: 0}) == state(OUT_DIR="elsewhere", TENSORBOARD=True, TTA=False)


@pytest.mark.parametrize("column", ["lesion_id", "patient_id"])
def test_pictures_of_one_lesion_or_patient_are_one_group(column):
    table = rows(image_id=["a", "b", "c"], sha256=["1", "2", "3"])
    facts = {"lesion_id": "", "patient_id": "", column: ["x", "x", "y"]}
    metadata = pd.DataFrame(facts, pd.Index(["a", "b", "c"], name="image_id"))
    pairs = pd.DataFrame({"image_id": [], "other_id": []})
    assert duplicates.group(table, metadata, pairs)["group"].tolist() == ["a", "a", "c"]


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1)])
def test_edges_of_both_directions_are_compared(axes):
    """Two pictures whose columns agree and whose rows do not, or the other way round, are not one picture."""
    random = np.random.default_rng(0)
    across = random.integers(0, 100, (1, 1, 32)).repeat(32, axis=1)
    down = [random.integers(0, 100, (1, 32, 1)) for _ in range(2)]
    grey = np.concatenate([across + each for each in down]).astype(np.uint8).transpose(axes)
    steps = duplicates._steps(grey)
    assert duplicates._similarity(grey[:1], steps, np.array([0]), np.array([0])) == pytest.approx(1, abs=1e-4)
    assert duplicates._similarity(grey[:1], steps, np.array([0]), np.array([1])) < 0.8


def test_metadata_counts_among_what_notebook_01_was_made_with(tmp_path, image_set, small_manifest):
    given = {name: value.default for name, value in runs.declared("01_eda").items()}
    given |= {"DATA_DIR": str(image_set), "OUT_DIR": str(tmp_path / "out")}
    run = runs.start("01_eda", dict(given))
    manifest.write(small_manifest, run.folder / "manifest.csv", image_set)
    (run.folder / "metadata.csv").touch()
    run.done()
    other = runs.Run("03_baseline_cnn", run.folder, given | {"METADATA": "other.csv"}, run.images)
    assert other._misfit("01_eda", runs.recorded(run.folder, "01_eda")) == "METADATA has changed"
    other.parameters["METADATA"] = given["METADATA"]
    assert other._misfit("01_eda", runs.recorded(run.folder, "01_eda")) == ""


def test_a_sweep_records_the_best_epoch_and_the_spread_of_seeds_alone(tmp_path):
    (tmp_path / "0" / "tiny").mkdir(parents=True)
    (tmp_path / "0" / "tiny" / "run.json").write_text(json.dumps({}))
    history = "epoch,val_loss,val_accuracy\n1,3,.1\n2,1,.7\n3,2,.9\n"
    (tmp_path / "0" / "tiny" / "history.csv").write_text(history)
    (tmp_path / "0" / "tiny" / "predictions.csv").write_text("image_id,split,label,p_a,p_b\ni,val,a,.9,.1\n")
    assert results.found(tmp_path / "0")["tiny.val_accuracy"] == 0.7
    jobs = [{"name": f"SEED={seed}", "values": {"SEED": seed}} for seed in range(2)]
    ended = {"status": "finished", "seconds": 1, "images": "a set"}
    outcomes = {
        f"SEED={seed}": ended | {"found": {"tiny.val_accuracy": value}} for seed, value in enumerate([0.5, 0.7])
    }
    results.write(jobs, outcomes, [], tmp_path)
    page = (tmp_path / "results.html").read_text()
    assert "as given" in page and "0.1414" in page


@pytest.mark.parametrize("synthetic", [True, False])
def test_a_figure_says_that_its_images_are_drawings_if_they_are(synthetic):
    figure = figures.titled(figures.new(4, 3)[0], "What it shows", synthetic)
    assert ("synthetic sample" in figure.get_suptitle()) == ("synthetic sample" in figure.alt) == synthetic


def test_curves_mark_the_epoch_that_was_kept():
    history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [3, 2, 1], "val_loss": [3, 1, 2]})
    history = history.assign(accuracy=[0.1, 0.2, 0.3], val_accuracy=[0.1, 0.4, 0.2])
    figure = figures.curves({"tiny": history})
    dots = [line.get_xydata().tolist() for axes in figure.axes for line in axes.lines if line.get_marker() == "o"]
    assert dots == [[[2, 1]], [[2, 0.4]]]


def test_the_interval_of_an_area_is_one_of_95_per_cent():
    """Newcombe's own method solved for the other end: at the limit the area is 1.96 standard errors away."""
    low, high = intervals.area(0.8, 30, 40)
    for end in (low, high):
        spread = end * (1 - end) * (1 + 34 * (1 - end) / (2 - end) + 34 * end / (1 + end))
        assert abs(0.8 - end) / np.sqrt(spread / 1200) == pytest.approx(1.96, abs=0.001)


def test_a_resampled_interval_leaves_out_one_in_forty_at_each_end():
    drawn, values = [], np.random.default_rng(0).random((40, 1))
    (ends,) = intervals.bootstrap(lambda counts: drawn.append(counts @ values) or drawn[-1], range(40))
    assert [(np.concatenate(drawn) < end).mean() for end in ends] == pytest.approx([0.025, 0.975], abs=0.001)


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_a_narrow_jpeg_is_decoded_in_no_less_detail_than_is_asked_for(tmp_path, axes):
    stripes = np.tile(np.arange(64) // 4 % 2 * 255, (512, 1)).astype(np.uint8)
    Image.fromarray(stripes.transpose(axes)).save(tmp_path / "a.jpg", quality=95)
    assert pipeline.load(rows(path=[str(tmp_path / "a.jpg")]), 32, tmp_path).std() > 100


def test_pixels_kept_in_a_file_are_of_the_shape_that_is_asked_for(tmp_path, write_image):
    table = rows(path=[str(write_image(tmp_path / "a.png", 1, (40, 20)))], sha256=["1"])
    kept = [pipeline.load(table, 8, tmp_path, keep_aspect, budget=1) for keep_aspect in (False, True)]
    assert not np.array_equal(*kept) and kept[1][0, 0].max() == 0


def test_of_two_rows_about_an_image_the_first_is_believed(tmp_path, write_image):
    for name in ("ant/a", "bee/b"):
        write_image(tmp_path / f"{name}.png", 1)
    (tmp_path / "facts.csv").write_text("image,age,sex\na,40,\na,50,male\n")
    facts = datasets.list_images(datasets.find(tmp_path)).facts
    assert facts.loc["a", ["age_approx", "sex"]].tolist() == ["40", ""]


def test_the_ends_of_a_range_of_ids_belong_to_its_collection(tmp_path, write_image):
    uda, msk, ham = "ISIC Archive, UDA", "ISIC Archive, MSK and SONIC", "HAM10000"
    ends = {0: uda, 1199: uda, 1200: msk, 16999: msk, 17000: "", 24305: "", 24306: ham, 34320: ham, 34321: ""}
    for number in ends:
        write_image(tmp_path / ("ant", "bee")[number % 2] / f"ISIC_{number:07d}.png", number)
    table = datasets.list_images(datasets.find(tmp_path)).table.sort_values("image_id")
    assert table["collection"].tolist() == list(ends.values())


def test_an_isic_id_in_a_table_means_every_file_that_begins_with_it_and_a_name_of_two_files_neither():
    files = matching.Files(["a/ISIC_0000001.jpg", "b/ISIC_0000001_copy.jpg", "a/7.jpg", "b/7.jpg"], "")
    pairs, twice = files.match(pd.Series(["ISIC_0000001", "7"]), "t.csv")
    assert sorted(pairs["file"]) == [0, 1] and twice == ["7"]


def test_a_folder_around_one_image_is_no_class(tmp_path):
    table = folders.read_folders([tmp_path / "around" / "ant" / "a.png"], tmp_path)
    assert table["folder"].tolist() == ["ant"]


def test_the_listed_images_are_searched_a_hundred_at_a_time(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(archive, "_command", list)
    monkeypatch.setattr(archive, "_count", lambda query: asked.append(query) or 0)
    with pytest.raises(FileNotFoundError, match="has no image for"):
        archive.fetch("clinics")
    assert [len(query.split(" OR ")) for query in asked] == [100, 100, 100, 100, 77]
    assert re.findall(r"\w+_\d+", " ".join(asked)) == pd.read_csv(archive.CLINICS)["isic_id"].tolist()


def test_searches_of_the_same_words_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(archive, "_command", list)
    monkeypatch.setattr(archive, "_count", lambda query: 0)
    for query in ("sex:male", "sex=male", "clinics"):
        with pytest.raises(FileNotFoundError, match="has no image for"):
            archive.fetch(query)
    names = sorted(folder.name for folder in (tmp_path / "isic-archive").iterdir())
    assert len(names) == 3 and names[0] == "clinics"


def test_a_run_of_a_sweep_says_how_long_it_took(tmp_path, image_set, instead, monkeypatch):
    instead("true")
    monkeypatch.setattr(sweep, "time", SimpleNamespace(perf_counter=iter([5, 7.5]).__next__))
    job = {"name": "a", "folder": str(tmp_path / "a"), "notebooks": ["01_eda"], "values": {"DATA_DIR": str(image_set)}}
    assert sweep.perform(job)[1]["seconds"] == 2.5


def test_outputs_are_not_stored_with_fewer_cells_than_the_source_has(monkeypatch):
    executed = build.render("01_eda")
    executed.cells.pop()
    monkeypatch.setattr(manifest, "write_text", lambda *_: None)
    with pytest.raises(ValueError):
        build._store("01_eda", executed)


def test_an_infinite_pixel_is_black(tmp_path):
    Image.fromarray(np.array([[np.inf, 1, 0.5]], np.float32)).save(tmp_path / "a.tif")
    assert np.asarray(images.open_rgb(tmp_path / "a.tif"))[0, :, 0].tolist() == [0, 255, 128]


def test_what_is_no_age_is_counted_and_an_age_is_not(tmp_path):
    (tmp_path / "t.csv").write_text("image,age\na,40\nb,old\nc,ancient\n")
    about = tables.about(tmp_path / "t.csv", matching.Files(["a.jpg", "b.jpg", "c.jpg"], ""))
    assert about.notes == {"values of t.csv that are no ages, such as 'old'": 2}


def test_numbers_in_a_column_that_is_not_called_so_are_no_names(tmp_path):
    (tmp_path / "t.csv").write_text("image,age\n1,3\n2,1\n3,2\n")
    about = tables.about(tmp_path / "t.csv", matching.Files(["1.jpg", "2.jpg", "3.jpg"], ""))
    assert (about.image_column, about.doubt) == ("image", "")


def test_what_another_process_has_just_begun_to_write_stays_and_what_a_killed_one_left_goes(tmp_path):
    fresh, old = (tmp_path / f".a.csv.{name}.part" for name in ("fresh", "old"))
    fresh.touch()
    old.touch()
    os.utime(old, (0, 0))
    manifest.write_text("text", tmp_path / "a.csv")
    assert sorted(file.name for file in tmp_path.iterdir()) == [fresh.name, "a.csv"]


def test_the_likeliest_classes_stand_above_a_picture(monkeypatch):
    shown = pd.DataFrame({"label": "b", "correct": [True], "confidence": 0.6, "path": "x", "p_a": 0.1, "p_b": 0.6})
    asked = []
    monkeypatch.setattr(pictures.figures, "image_grid", lambda paths, titles, *_, **__: asked.extend(titles))
    pictures.examples(shown.assign(p_c=0.3), "tiny", synthetic=True)
    assert asked == ["✓ b\n60% b\n30% c"]


def test_a_mask_that_was_saved_with_losses_is_a_mask_whatever_share_of_it_is_white(tmp_path):
    random = np.random.default_rng(0)
    for name, white in (("half", 64), ("little", 9)):
        grey = random.integers(0, 20, (128, 128))
        grey[:, :white] = 255 - grey[:, :white]
        Image.fromarray(grey.astype(np.uint8)).save(tmp_path / f"{name}.png")
        assert families._few_values(tmp_path / f"{name}.png")
    Image.fromarray(random.integers(0, 256, (128, 128)).astype(np.uint8)).save(tmp_path / "photograph.png")
    assert not families._few_values(tmp_path / "photograph.png")
