"""Whatever is killed, full or broken: the same command then completes, and nothing of the user's has changed."""

import codecs
import itertools
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import Augmentor
import numpy as np
import pytest
import tiny
from conftest import draw_set

from helpers import augmentation, manifest, processes, runs
from helpers.batch import results
from helpers.data import audit, datasets, duplicates, labels, splits
from helpers.evaluation import report, scores

OVER = {"MIN_CLASS_SIZE": 1}


def begin(notebook, root, out):
    """Start a notebook of the course on the images of ``root`` in the folder ``out``, its other parameters as given."""
    given = {name: parameter.default for name, parameter in runs.declared(notebook).items()}
    return runs.start(notebook, given | OVER | {"DATA_DIR": str(root), "OUT_DIR": str(out)})


def look(root, out):
    """Audit from the command line."""
    audit.command(str(root), str(out / "audit.json"), str(out / "audit.html"))


def eda(root, out):
    """What notebook 01 leaves."""
    run = begin("01_eda", root, out)
    listed, facts, _ = datasets.list_images(run.images)
    table, metadata = duplicates.inspect(listed), labels.official_labels(listed, facts)
    table = labels.apply_labels(duplicates.group(table, metadata), "audited", metadata, 1)
    manifest.write(splits.split(table), run.folder / "manifest.csv", run.images.root)
    manifest.write_text(metadata.to_csv(), run.folder / "metadata.csv")
    run.done()


def augment(root, out):
    """What notebook 02 leaves."""
    run, pipeline = begin("02_augmentation", root, out), Augmentor.Pipeline()
    pipeline.flip_left_right(0.5)
    table = augmentation.fill_classes(run.manifest(), pipeline, 6, run.folder / "augmented")
    manifest.write(table, run.folder / "augmented.csv", run.images.root)
    run.done()


def train(root, out):
    """What notebook 03 leaves, but for a network."""
    run = begin("03_baseline_cnn", root, out)
    rows = manifest.active(run.manifest()).query("split != 'train'")
    table = scores.predictions_table(rows, np.full((len(rows), 2), 0.5), ["melanoma", "nevus"])
    manifest.write_text(table.to_csv(index=False), run.folder / "baseline" / "predictions.csv")
    manifest.write_text(
        json.dumps({"parameters": {}, "manifest": run.made_from, "epochs_run": 1}), run.folder / "baseline" / "run.json"
    )
    manifest.write_text("a network", run.folder / "baseline" / "model.keras")
    run.done()


def evaluate(root, out):
    """What notebook 05 leaves."""
    run = begin("05_evaluation", root, out)
    table = run.manifest()
    run.need("03_baseline_cnn")
    read = scores.read_predictions(run.folder / "baseline" / "predictions.csv", table)
    found = scores.score(scores.labelled(read[read["split"] == "test"]))
    report.write_metrics(run, table, {"baseline": {"val": found, "test": {"audited": found, "published": found}}})
    report.write(run, "report", "Evaluation", {"Scores": [scores.per_class(scores.labelled(read))]})
    run.done()


WORK = {"01_eda": eda, "02_augmentation": augment, "03_baseline_cnn": train}


def contents(folder):
    """Return {name: bytes} of all files below a folder, which is called the same in each, but for its locks."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.parent.name != ".locks"]
    return {str(file.relative_to(folder)): file.read_bytes().replace(bytes(folder), b"OUT") for file in files}


@pytest.fixture(scope="module")
def image_set(tmp_path_factory):
    """The images of all tests of this file: none may change them."""
    return draw_set(tmp_path_factory.mktemp("images") / "set")


@pytest.fixture(scope="module")
def works(tmp_path_factory, image_set):
    """Every work done once: the folder that all are done in, {work: (folder before it, contents after it)}, source."""
    now, folders = tmp_path_factory.mktemp("works") / "now", {}
    now.mkdir()
    source = contents(image_set)
    for work in (look, eda, augment, train, evaluate):
        before = shutil.copytree(now, now.with_name(f"before {work.__name__}"))
        work(image_set, now)
        folders[work] = before, contents(now)
    shutil.rmtree(now)
    return now, folders, source


@pytest.fixture
def before(works):
    """Return a function that puts the folder as it was before a work into its place, and returns it."""
    now, folders, _ = works

    def place(work):
        shutil.rmtree(now, ignore_errors=True)
        return shutil.copytree(folders[work][0], now)

    return place


def hit(work, root, out, name, after, number):
    """Do some work, and send this process a signal before or after the file ``name`` is put into place."""
    real = Path.replace

    def replace(self, target):
        struck = re.fullmatch(name, Path(target).name)
        if struck and not after:
            os.kill(os.getpid(), number)
        real(self, target)
        if struck:
            os.kill(os.getpid(), number)

    Path.replace = replace
    work(root, out)


def full(work, root, out, bytes_left):
    """Do some work where no file can be longer than ``bytes_left``, as on a full disk; say what it says."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, bytes_left))
    try:
        work(root, out)
    except OSError as error:
        os._exit(7 if error.filename and Path(error.filename).is_relative_to(out) else 8)


def apart(*arguments):
    """Call a function in a process of its own; return how that ended."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["test_faults"])
    process = server.Process(target=arguments[0], args=arguments[1:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(datasets.ROOT), os.path.dirname(__file__)]))
        process.start()
    process.join(300)
    return process.exitcode


@pytest.fixture
def again(works, image_set):
    """Return a function that does a work again in a folder and sees that it ends as if nothing had happened."""

    def finish(work, out):
        for left in out.rglob(".*.part"):
            os.utime(left, (time.time() - 90,) * 2)
        work(image_set, out)
        assert contents(out) == works[1][work][1] and contents(image_set) == works[2]

    return finish


MOMENTS = {
    look: ["audit.json", "audit.html"],
    eda: ["manifest.csv", "metadata.csv", "01_eda.json"],
    augment: ["recipe.json", r".*__aug1.jpg", "augmented.csv", "02_augmentation.json"],
    evaluate: ["metrics.json", "report.html"],
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_work_killed_at_any_moment_is_done_by_the_same_command(before, again, image_set):
    kinds = itertools.cycle([(False, signal.SIGKILL), (True, signal.SIGTERM), (True, signal.SIGKILL)])
    for work, names in MOMENTS.items():
        for name, (after, number) in zip(names, kinds):
            out = before(work)
            assert apart(hit, work, image_set, out, name, after, number) == -number, name
            again(work, out)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limits")
@pytest.mark.parametrize("bytes_left", [0, 200])
def test_a_full_disk_is_named_and_nothing_half_is_left(before, again, image_set, bytes_left):
    for work in MOMENTS:
        out = before(work)
        names = set(contents(out))
        assert apart(full, work, image_set, out, bytes_left) == 7, work
        assert not [name for name in set(contents(out)) - names if "part" in name]
        again(work, out)


SPOILT = {
    "gone": None,
    "empty": lambda whole: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "binary": lambda whole: b"\x89PNG\0\xff\xfe" + whole[::-1],
    "re-saved": lambda whole: codecs.BOM_UTF8 + whole.replace(b'"', b"").replace(b",", b";").replace(b"\n", b"\r\n"),
    "other": lambda whole: b'{"images": 1}',
}
READ = ["01_eda.json", "manifest.csv", "03_baseline_cnn.json", "baseline/predictions.csv", "baseline/run.json"]
UNREAD = ["metadata.csv", "baseline/model.keras"]  # by notebook 05, which only needs them to be there
BROKEN = [*itertools.product(READ, SPOILT), *itertools.product(UNREAD, ("gone", "binary"))]


@pytest.mark.parametrize("name, spoilt", BROKEN)
def test_a_broken_file_is_made_again_or_named_with_the_way_out(
    works, before, image_set, monkeypatch, capsys, name, spoilt
):
    monkeypatch.setattr(
        processes, "apart", lambda names, values: WORK[names[0]](values["DATA_DIR"], values["OUT_DIR"] and out)
    )
    out = before(evaluate)
    change, file = SPOILT[spoilt], out / name
    file.write_bytes(change(file.read_bytes())) if change else file.unlink()
    capsys.readouterr()
    try:
        evaluate(image_set, out)
    except runs.RunError as error:
        assert str(file) in str(error) and "run" in str(error) and "\n" not in str(error)
        file.unlink()
        capsys.readouterr()
        evaluate(image_set, out)
    said = capsys.readouterr().out
    unseen = spoilt != "gone" and name in UNREAD
    seen = "baseline/run.json re-saved", "baseline/run.json other"  # still a JSON object
    assert unseen or f"{name} {spoilt}" in seen or ("runs first, because" in said and said.count("\n") < 4)
    if not unseen and f"{name} {spoilt}" not in seen:
        assert contents(out) == works[1][evaluate][1]
    assert contents(image_set) == works[2]


def test_lost_record_of_the_images_is_not_replaced_by_a_guess(before):
    out = before(evaluate)
    (out / "01_eda.json").write_text('{"parameters": {"DATA_')
    with pytest.raises(runs.RunError, match=r"01_eda\.json cannot be read any more.*DATA_DIR"):
        begin("05_evaluation", "", out)


def test_older_manifests_and_other_images_are_made_again_and_edits_are_said(
    works, before, image_set, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        processes, "apart", lambda names, values: WORK[names[0]](values["DATA_DIR"], Path(values["OUT_DIR"]))
    )
    out, other = before(evaluate), shutil.copytree(image_set, tmp_path / "other")
    file, run = out / "manifest.csv", begin("05_evaluation", image_set, out)
    whole = run.manifest()
    manifest.write(whole.iloc[1:], file, image_set)
    capsys.readouterr()
    assert len(run.manifest()) == len(whole) - 1 and "was changed since 01_eda wrote it" in capsys.readouterr().out
    file.write_text(file.read_text().replace(',"collection"', ""))
    assert len(run.manifest()) == len(whole) and "01_eda runs first, because" in capsys.readouterr().out
    next(other.rglob("*.png")).unlink()
    assert len(begin("05_evaluation", other, out).manifest()) == len(whole) - 1
    assert "the images are not those it used" in capsys.readouterr().out and contents(image_set) == works[2]


BODY = """from helpers import manifest, runs
run = runs.start("03_baseline_cnn", globals())
manifest.write_text("x" * 9000, run.folder / "big.txt")
"""


def test_a_command_on_a_full_disk_says_so_and_completes_when_there_is_room(tmp_path, image_set, here):
    disk, folder = tmp_path / "disk", tiny.course(tmp_path / "course", n03_baseline_cnn=BODY)
    disk.mkdir()
    if shutil.which("mount") is None or subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], stderr=subprocess.DEVNULL
    ):
        pytest.skip("no file system can be mounted here")
    try:
        command = ["run", "03_baseline_cnn", "--data-dir", image_set, "--out-dir", disk / "out"]
        for left, said in ((4, "notebooks/03_baseline_cnn.ipynb cannot be written (No space left"), (20, "big.txt")):
            (disk / "other").write_bytes(b"0" * 1024 * (64 - left))
            status, _, error = tiny.call(folder, *command)
            assert status == 1 and said in error and "Traceback" not in error and error.count("\n") < 5, error
            assert not list(disk.rglob("*.part"))
            (disk / "other").unlink()
        assert here(folder, *command) == 0 and (disk / "out" / "big.txt").stat().st_size == 9000
    finally:
        subprocess.call(["umount", disk])


SWEEP = """notebooks: [03_baseline_cnn]
parameters: {{DATA_DIR: {images}}}
grid: {{BATCH_SIZE: [8, 16]}}
"""
ONCE = """import pathlib
if BATCH_SIZE == 16 and not pathlib.Path(OUT_DIR, "kernel.txt").exists():
    exec(WAIT)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_killed_sweep_goes_on_and_a_broken_run_is_done_again(tmp_path, image_set, here, capsys):
    folder = tiny.course(tmp_path / "course", n03_baseline_cnn=f"WAIT = {tiny.WAIT!r}\n{ONCE}{tiny.TRAIN}")
    file, out, source = tmp_path / "a.yml", tmp_path / "out", contents(image_set)
    file.write_text(SWEEP.format(images=image_set))
    command = ["sweep", file, "--out-dir", out, "--jobs", 1]
    process = tiny.start(folder, *command)
    tiny.wait_for(lambda: (out / "BATCH_SIZE=16" / "kernel.txt").exists() or process.poll() is not None)
    process.kill()
    process.communicate()

    def finished(size):
        values = {"DATA_DIR": str(image_set), "BATCH_SIZE": size}
        return results.finished(
            {"folder": out / f"BATCH_SIZE={size}", "notebooks": ["03_baseline_cnn"], "values": values}
        )

    assert finished(8) and not finished(16)
    (out / "BATCH_SIZE=8" / "sweep.json").write_text('{"noteb')
    assert here(folder, *command) == 0
    said = capsys.readouterr().out
    assert said.count("is run again") == 1 and "2 runs, 0 finished, 2 to do" in said
    assert "2 runs finished, 0 failed" in said and finished(8) and finished(16)
    (out / "BATCH_SIZE=16" / "baseline" / "predictions.csv").unlink()
    assert finished(8) and not finished(16)
    assert contents(image_set) == source
