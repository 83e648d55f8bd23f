"""Training loses nothing: what it writes is whole, a killed run goes on where it was, one seed gives one result."""

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import rows

from helpers import manifest, runs
from helpers.training import callbacks as training
from helpers.training import pipeline


def tiny():
    """Return a small network."""
    return keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2, activation="softmax"),
        ],
        name="tiny",
    )


def residual(shortcut=True):
    """Return a small network with an addition (of both layers before it, or of the second to itself), normalised."""
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Dense(4, activation="tanh")(keras.layers.Flatten()(x))
    y = keras.layers.Dense(4, activation="tanh")(x)
    x = keras.layers.Add()([y, x if shortcut else y])
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x), name="tiny")


def train(
    folder,
    table,
    epochs=4,
    patience=10,
    stop_after=None,
    seed=0,
    build=tiny,
    rate=0.001,
    named="LEARNING_RATE",
    **parameters,
):
    """Train a small network on 24 invented images, as notebook 03 does; break off in the epoch after ``stop_after``."""
    training.set_up_device(seed)
    network = build()
    network.compile(
        keras.optimizers.Adam(rate), keras.losses.CategoricalCrossentropy(label_smoothing=0.1), metrics=["accuracy"]
    )
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 256, (24, 4, 4, 3), dtype=np.uint8), np.eye(2, dtype="float32")[draw.integers(0, 2, 24)]
    flip = keras.layers.RandomFlip()
    values = {"PATIENCE": patience, "SEED": seed, named: 0.001, "OUT_DIR": str(folder)} | parameters
    begun = training.begin(SimpleNamespace(folder=folder, parameters=values), network, table, epochs)
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=patience)
    checkpoint = keras.callbacks.ModelCheckpoint(
        begun.best, monitor="val_loss", save_best_only=True, save_weights_only=True
    )
    network.fit(
        pipeline.batches(x, y, 5, seed=seed, augment=lambda images, number: pipeline.seeded(flip, images, number)),
        validation_data=pipeline.batches(x, y, 5),
        epochs=epochs,
        initial_epoch=begun.initial_epoch,
        verbose=0,
        callbacks=[
            stopping,
            checkpoint,
            *training.upkeep(begun, checkpoint, stopping),
            keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: _break(epoch, stop_after)),
        ],
    )
    return network, training.finish(network, begun), x.astype("float32")


def _break(epoch, stop_after):
    if epoch == stop_after:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The small network, trained without a stop, as :func:`train` returns it: what a stopped one must end like."""
    return train(tmp_path_factory.mktemp("whole"), rows(image_id=["a"], split=["train"], label=["nevus"]))


@pytest.fixture
def losses(monkeypatch):
    """Return a function that sets the validation losses of the epochs to come."""
    real = keras.Model.evaluate

    def of(*values):
        left = iter(values)
        monkeypatch.setattr(keras.Model, "evaluate", lambda *args, **how: real(*args, **how) | {"loss": next(left)})

    return of


def test_a_run_leaves_model_history_and_record(tmp_path, small_manifest):
    network, history, x = train(tmp_path, small_manifest)
    folder = tmp_path / "tiny"
    assert sorted(file.name for file in folder.iterdir()) == ["history.csv", "model.keras", "run.json", "state"]
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert pd.read_csv(folder / "history.csv").equals(history)
    record = json.loads((folder / "run.json").read_text())
    assert record["epochs_run"] == 4 and record["parameters"]["SEED"] == 0
    assert record["manifest"] == manifest.fingerprint(small_manifest) and "tensorflow" in record["versions"]
    again = keras.models.load_model(folder / "model.keras", safe_mode=True)
    assert np.array_equal(again.predict(x, verbose=0), network.predict(x, verbose=0))


def test_a_long_training_is_heard_of_each_half_minute(monkeypatch, capsys):
    clock = itertools.count(step=2)  # seconds between two looks at it
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(clock))
    progress = training.Progress()
    progress.set_params({"steps": 9, "epochs": 100})
    progress.on_train_begin()
    for epoch in range(2):
        progress.on_epoch_begin(epoch)
        for batch in range(9):
            progress.on_train_batch_end(batch)
        progress.on_epoch_end(epoch, dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), 0.5))
    said = [line.split("  loss")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["epoch 1, batch: 8 of 9, 30 s", "epoch   1/100", "epoch 2, batch: 8 of 9, 30 s"]


def test_the_best_epoch_is_kept(tmp_path, small_manifest, losses):
    losses(3.0, 1.0, 2.0, 2.5)
    network, history, _ = train(tmp_path, small_manifest, epochs=4)
    assert history["val_loss"].tolist() == [3.0, 1.0, 2.0, 2.5]
    assert json.loads((tmp_path / "tiny" / "run.json").read_text())["best_epoch"] == 2
    assert int(network.optimizer.iterations.numpy()) == 2 * 5


def same(first, second):
    """Say whether two trainings, as :func:`train` returns them, gave the same numbers to the last bit."""
    curves = [history.drop(columns="seconds") for _, history, _ in (first, second)]
    return curves[0].equals(curves[1]) and np.array_equal(*(net.predict(x, verbose=0) for net, _, x in (first, second)))


@pytest.mark.parametrize("build, rate", [(tiny, 0.001), (residual, keras.optimizers.schedules.CosineDecay(0.01, 20))])
def test_a_stopped_training_ends_like_one_that_was_never_stopped(tmp_path, small_manifest, whole, capsys, build, rate):
    if build is residual:
        whole = train(tmp_path / "whole", small_manifest, build=build, rate=rate)
    for epoch in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "stopped", small_manifest, stop_after=epoch, build=build, rate=rate)
    capsys.readouterr()
    stopped = train(tmp_path / "stopped", small_manifest, build=build, rate=rate)
    printed = capsys.readouterr().out
    assert "after epoch 2" in printed and printed.count("/4  loss") == 2
    assert same(stopped, whole)


def test_what_follows_a_training_does_not_depend_on_whether_it_was_done_here(tmp_path, small_manifest):
    train(tmp_path, small_manifest)
    after = keras.random.uniform((3,)).numpy(), np.random.uniform()
    train(tmp_path, small_manifest)
    assert np.array_equal(after[0], keras.random.uniform((3,)).numpy()) and after[1] == np.random.uniform()


def test_what_is_finished_is_kept(tmp_path, small_manifest, capsys):
    first = train(tmp_path, small_manifest)
    left = {file: file.read_bytes() for file in (tmp_path / "tiny").rglob("*.*")}
    capsys.readouterr()
    again = train(tmp_path, small_manifest)
    assert capsys.readouterr().out == (
        "tiny is kept: it was trained before on the same images in the same way (4 epochs).\n"
    )
    assert same(first, again) and {file: file.read_bytes() for file in (tmp_path / "tiny").rglob("*.*")} == left


def test_more_epochs_of_a_constant_learning_rate_go_on_and_others_say_why_not(tmp_path, small_manifest, whole, capsys):
    train(tmp_path, small_manifest, epochs=2)
    capsys.readouterr()
    assert same(train(tmp_path, small_manifest, epochs=4), whole)
    assert "Resuming after epoch 2" in capsys.readouterr().out
    train(tmp_path, small_manifest, epochs=1)
    assert "trained for 4 epochs; for 1 it starts again: only the same training, at a" in capsys.readouterr().out
    for epochs in (2, 3):
        rate = keras.optimizers.schedules.CosineDecay(0.01, 5 * epochs)
        train(tmp_path / "cosine", small_manifest, epochs=epochs, rate=rate)
    printed = capsys.readouterr().out
    assert "for 3 it starts again" in printed and "Resuming" not in printed
    assert not list((tmp_path / "cosine" / "tiny" / "state").iterdir())


def test_a_training_that_was_interrupted_is_not_taken_for_a_finished_one(tmp_path, small_manifest, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, small_manifest, stop_after=2)
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: None)
    with pytest.raises(runs.RunError, match="stopped after epoch 2; run the cell again"):
        train(tmp_path, small_manifest)


def test_a_first_epoch_that_was_interrupted_starts_again_from_the_same_weights(tmp_path, small_manifest):
    training.set_up_device(0)
    network, run = tiny(), SimpleNamespace(folder=tmp_path, parameters={"SEED": 0, "LEARNING_RATE": 1, "OUT_DIR": "."})
    network.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    before = [weight.copy() for weight in network.get_weights()]
    checkpoint, x, y = keras.callbacks.ModelCheckpoint("unused.keras"), np.ones((8, 4, 4, 3)), np.eye(2)[[0, 1] * 4]
    begun = training.begin(run, network, small_manifest, 3)
    stop = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: _break(batch, 1))
    with pytest.raises(KeyboardInterrupt):
        network.fit(x, y, batch_size=2, verbose=0, callbacks=[*training.upkeep(begun, checkpoint), stop])
    assert not np.array_equal(network.get_weights()[0], before[0])
    assert training.begin(run, network, small_manifest, 3).initial_epoch == 0
    assert all(map(np.array_equal, network.get_weights(), before)) and network.optimizer.iterations.numpy() == 0


def test_an_interrupted_training_leaves_no_file_open(tmp_path, small_manifest):
    with pytest.raises(KeyboardInterrupt) as caught:  # which holds the frames, as a notebook does
        train(tmp_path, small_manifest, stop_after=1)
    assert caught and not [file for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))]


def test_another_training_takes_the_place_of_the_old_one_with_all_its_results(tmp_path, small_manifest):
    train(tmp_path, small_manifest, epochs=1)
    (tmp_path / "tiny" / "predictions.csv").write_text("of seed 0")
    train(tmp_path, small_manifest, epochs=1, seed=1)
    assert not (tmp_path / "tiny" / "predictions.csv").exists()


@pytest.mark.parametrize("broken", [b"", b"\x89HDF\r\n\x1a\n" + b"\x00" * 500])
def test_a_backup_that_cannot_be_read_is_left_aside(tmp_path, small_manifest, whole, capsys, broken):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, small_manifest, stop_after=1)
    (backup,) = (tmp_path / "tiny" / "state").glob("*/epoch-00001/last.weights.h5")
    backup.write_bytes(broken)
    capsys.readouterr()
    again = train(tmp_path, small_manifest)
    assert "The backup of epoch 1 cannot be read" in capsys.readouterr().out and same(again, whole)
    assert len(list((tmp_path / "tiny" / "state").glob("*/unreadable-epoch-00001"))) == 1


def test_networks_with_the_same_layers_wired_differently_are_told_apart():
    def key(shortcut, rate=0.001, smoothing=0.1):
        network = residual(shortcut)
        network.compile(keras.optimizers.Adam(rate), keras.losses.CategoricalCrossentropy(label_smoothing=smoothing))
        return training._description(network)

    assert key(True) == key(True)
    assert len({key(True), key(False), key(True, rate=0.01), key(True, smoothing=0.0)}) == 4


def test_early_stopping_counts_the_epochs_before_the_stop(tmp_path, small_manifest, losses):
    losses(1.0, 2.0, 2.0)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, small_manifest, patience=3, epochs=6, stop_after=3)
    losses(2.0, 2.0, 2.0)
    assert len(train(tmp_path, small_manifest, patience=3, epochs=6)[1]) == 4


def test_worse_epochs_after_a_stop_do_not_replace_the_best(tmp_path, small_manifest, losses):
    losses(3.0, 1.0)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, small_manifest, stop_after=2)
    losses(2.0, 2.0, 2.0, 2.0)
    network, *_ = train(tmp_path, small_manifest)
    assert json.loads((tmp_path / "tiny" / "run.json").read_text())["best_epoch"] == 2
    assert int(network.optimizer.iterations.numpy()) == 2 * 5


def test_a_training_killed_after_early_stopping_is_over(tmp_path, small_manifest, losses, monkeypatch):
    monkeypatch.setattr(training, "finish", lambda *_: None)
    losses(1.0, 2.0, 2.0)
    train(tmp_path, small_manifest, patience=2)
    monkeypatch.undo()
    history = train(tmp_path, small_manifest, patience=2)[1]
    assert history["epoch"].tolist() == [1, 2, 3]


def test_a_training_killed_after_its_last_epoch_is_over(tmp_path, small_manifest, monkeypatch, capsys):
    monkeypatch.setattr(training, "finish", lambda *_: None)
    train(tmp_path, small_manifest, epochs=2)
    monkeypatch.undo()
    history = train(tmp_path, small_manifest, epochs=2)[1]
    assert "Resuming after epoch 2," in capsys.readouterr().out and history["epoch"].tolist() == [1, 2]


def test_a_stopped_training_is_found_again_under_another_spelling_of_its_folder(
    tmp_path, small_manifest, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", small_manifest, stop_after=3, OUT_DIR="run", TENSORBOARD=False)
    train(tmp_path / "run", small_manifest, OUT_DIR=str(tmp_path / "run"), TENSORBOARD=True)
    assert "Resuming after epoch 3" in capsys.readouterr().out


def test_another_training_neither_goes_on_with_an_old_state_nor_deletes_it(tmp_path, small_manifest, capsys):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, small_manifest, stop_after=3)
    left = sorted((tmp_path / "tiny" / "state").rglob("*.*"))
    for other in ({"epochs": 2}, {"rate": 0.01}, {"build": residual}, {"SEED": 1}):
        _, history, _ = train(tmp_path, small_manifest, **({"epochs": 1} | other))
        assert history["epoch"].tolist() == list(range(1, other.get("epochs", 1) + 1))
        assert left and all(file.exists() for file in left) and "Resuming" not in capsys.readouterr().out
    train(tmp_path, small_manifest)
    assert "Resuming after epoch 3" in capsys.readouterr().out


@pytest.mark.parametrize("rate, words", [("LEARNING_RATE", r"LEARNING_RATE \(now 0.001\)"), ("", "the learning rate")])
def test_a_training_that_diverges_says_what_to_lower(tmp_path, small_manifest, rate, words):
    with pytest.raises(runs.RunError, match=rf"diverged in its first epoch.*lower {words}"):
        train(tmp_path, small_manifest, rate=1e38, named=rate)
    assert not list((tmp_path / "tiny" / "state").iterdir())


def test_a_training_that_diverges_later_keeps_its_best_epoch(tmp_path, small_manifest, losses, capsys):
    losses(2.0, 1.0, float("nan"))
    train(tmp_path, small_manifest, epochs=3)
    assert "diverged in epoch 3" in capsys.readouterr().out
    assert json.loads((tmp_path / "tiny" / "run.json").read_text())["best_epoch"] == 2


def test_one_seed_gives_one_result(tmp_path, small_manifest):
    a, b, c = (
        train(tmp_path / name, small_manifest, epochs=2, seed=seed) for name, seed in [*zip("ab", (1, 1)), ("c", 2)]
    )
    assert same(a, b) and not same(a, c)


def test_a_training_killed_at_any_moment_ends_like_one_that_was_not(tmp_path, small_manifest, whole, image_set, capsys):
    """Kill the process before or after one of the steps at the end of its second epoch, then finish the training."""
    manifest.write(small_manifest, tmp_path / "manifest.csv", image_set)
    moments = ("Model save_weights before 5", "shutil copy after 2", "Path rename before 3", "Path rename after 3")
    script = textwrap.dedent(f"""
        import os, pathlib, shutil, signal, sys
        sys.path[:0] = [{os.getcwd()!r}, {os.path.dirname(__file__)!r}]
        import keras, test_training
        from helpers import manifest
        table = manifest.read({str(tmp_path / "manifest.csv")!r}, {str(image_set)!r})

        def be_killed(folder, place, name, when, count):
            place = {{"Model": keras.Model, "shutil": shutil, "Path": pathlib.Path}}[place]
            real, calls = getattr(place, name), []
            def step(*args, **how):
                calls.append(args)
                if len(calls) == int(count) and when == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                result = real(*args, **how)
                if len(calls) == int(count):
                    os.kill(os.getpid(), signal.SIGKILL)
                return result
            setattr(place, name, step)
            test_training.train(folder, table)
            os._exit(0)

        for moment in sys.argv[1:]:  # TensorFlow has been imported, which takes seconds, but has not begun to work
            if (child := os.fork()) == 0:
                be_killed(pathlib.Path({str(tmp_path)!r}, moment), *moment.split())
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    """)
    said = subprocess.run([sys.executable, "-c", script, *moments], stdout=subprocess.PIPE, text=True).stdout
    assert [line for line in said.splitlines() if "epoch" not in line] == [str(-signal.SIGKILL)] * len(moments)
    for moment in moments:
        capsys.readouterr()
        assert same(train(tmp_path / moment, small_manifest), whole), moment
        done = 2 if "rename after" in moment else 1
        assert f"Resuming after epoch {done}" in capsys.readouterr().out, moment


@pytest.mark.parametrize("capability, precision", [((7, 0), "mixed_float16"), ((6, 1), "float32")])
def test_mixed_precision_is_used_where_the_gpu_is_fast_at_it(monkeypatch, capability, precision):
    used = []
    monkeypatch.setattr(training.tf.config, "list_physical_devices", lambda kind: ["a"])
    monkeypatch.setattr(
        training.tf.config.experimental,
        "get_device_details",
        lambda gpu: {"device_name": "Tesla T4", "compute_capability": capability},
    )
    monkeypatch.setattr(training.keras.mixed_precision, "set_global_policy", used.append)
    sentence = training.set_up_device(0)
    assert used == [precision]
    assert sentence.startswith("Training on Tesla T4") and ("mixed" in sentence) == ("mixed" in precision)


def test_no_gpu_is_said_with_the_menu_path(monkeypatch):
    monkeypatch.setattr(training.tf.config, "list_physical_devices", lambda kind: [])
    assert "Runtime > Change runtime type" in training.set_up_device(0)
