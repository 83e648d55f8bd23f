"""Training loses nothing: what it writes is whole, a killed run goes on where it was, one seed gives one result."""

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
import pytest

from helpers import manifest, runs
from helpers.training import callbacks as training


def tiny():
    """Return a small network."""
    return keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )


def residual(shortcut=True):
    """Return a small network with an addition (of both layers before it, or of the second to itself), normalised."""
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Dense(4, activation="tanh")(keras.layers.Flatten()(inputs))
    y = keras.layers.Dense(4, activation="tanh")(x)
    x = keras.layers.Add()([y, x if shortcut else y])
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


def train(folder, table, epochs=6, patience=10, stop_after=None, seed=0, build=tiny, rate=0.001, **parameters):
    """Train a small network on 24 invented images, as notebook 03 does; break off in the epoch after ``stop_after``."""
    training.set_up_device(seed)
    network = build()
    network.compile(
        keras.optimizers.Adam(rate), keras.losses.CategoricalCrossentropy(label_smoothing=0.1), metrics=["accuracy"]
    )
    draw = np.random.default_rng(0)
    x, y = draw.uniform(size=(24, 4, 4, 3)).astype("float32"), np.eye(2, dtype="float32")[draw.integers(0, 2, 24)]
    values = {"PATIENCE": patience, "SEED": 0, "LEARNING_RATE": rate, "OUT_DIR": str(folder)} | parameters
    run = SimpleNamespace(folder=folder, parameters=values)
    begun = training.begin(run, "tiny", network, table, epochs)
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=patience)
    checkpoint = keras.callbacks.ModelCheckpoint(
        begun.state / "best.weights.h5", monitor="val_loss", save_best_only=True, save_weights_only=True
    )
    calls = [
        training.Progress(epochs),
        stopping,
        checkpoint,
        keras.callbacks.CSVLogger(begun.state / "history.csv", append=True),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.BackupAndRestore(begun.state / "backup", double_checkpoint=True, delete_checkpoint=False),
        training.GoOn(begun, checkpoint, stopping),
        keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: _break(epoch, stop_after)),
    ]
    network.fit(x, y, validation_data=(x, y), epochs=epochs, verbose=0, callbacks=calls)
    return network, training.finish(network, begun), x


def _break(epoch, stop_after):
    if epoch == stop_after:
        raise KeyboardInterrupt


def test_a_run_leaves_model_history_and_record(tmp_path, small_manifest):
    network, history, x = train(tmp_path, small_manifest)
    folder = tmp_path / "tiny"
    assert sorted(file.name for file in folder.iterdir()) == ["history.csv", "model.keras", "run.json", "state"]
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert pd.read_csv(folder / "history.csv").equals(history) and not list((folder / "state").iterdir())
    record = json.loads((folder / "run.json").read_text())
    assert record["epochs_run"] == 6 and record["parameters"]["SEED"] == 0
    assert record["manifest"] == manifest.fingerprint(small_manifest) and "tensorflow" in record["versions"]
    again = keras.models.load_model(folder / "model.keras", safe_mode=True)
    assert np.array_equal(again.predict(x, verbose=0), network.predict(x, verbose=0))


def test_the_best_epoch_is_kept(tmp_path, small_manifest, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 2.5])
    real = keras.Model.evaluate

    def evaluate(self, *args, **kwargs):
        return real(self, *args, **kwargs) | {"loss": next(losses)}

    monkeypatch.setattr(keras.Model, "evaluate", evaluate)
    network, history, _ = train(tmp_path, small_manifest, epochs=4)
    assert history["val_loss"].tolist() == [3.0, 1.0, 2.0, 2.5]
    record = json.loads((tmp_path / "tiny" / "run.json").read_text())
    assert record["best_epoch"] == 2
    assert int(network.optimizer.iterations.numpy()) == 2


def test_a_stopped_run_goes_on_where_it_was(tmp_path, small_manifest, capsys):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, small_manifest, stop_after=4)
    capsys.readouterr()
    network, history, _ = train(tmp_path, small_manifest)
    assert (
        int(network.optimizer.iterations.numpy())
        == json.loads((tmp_path / "tiny" / "run.json").read_text())["best_epoch"]
    )
    printed = capsys.readouterr().out
    assert "after epoch 4" in printed and printed.count("/6  loss") == 2
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]


def test_a_stopped_residual_network_ends_like_one_that_was_never_stopped(tmp_path, small_manifest, capsys):
    whole = train(tmp_path / "whole", small_manifest, build=residual)[1]
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", small_manifest, stop_after=4, build=residual)
    history = train(tmp_path / "stopped", small_manifest, build=residual)[1]
    assert "Going on after epoch 4" in capsys.readouterr().out
    assert np.allclose(history["loss"], whole["loss"], atol=1e-6)


def test_networks_with_the_same_layers_wired_differently_are_told_apart():
    def key(shortcut, rate=0.001, smoothing=0.1):
        network = residual(shortcut)
        network.compile(keras.optimizers.Adam(rate), keras.losses.CategoricalCrossentropy(label_smoothing=smoothing))
        return training._description(network)

    assert key(True) == key(True)
    assert len({key(True), key(False), key(True, rate=0.01), key(True, smoothing=0.0)}) == 4


def test_early_stopping_counts_the_epochs_before_the_stop(tmp_path, small_manifest, monkeypatch):
    real = keras.Model.evaluate

    def evaluate(losses):
        values = iter(losses)
        return lambda self, *args, **kwargs: real(self, *args, **kwargs) | {"loss": next(values)}

    monkeypatch.setattr(keras.Model, "evaluate", evaluate([1.0, 2.0, 2.0]))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, small_manifest, patience=3, stop_after=3)
    monkeypatch.setattr(keras.Model, "evaluate", evaluate([2.0, 2.0, 2.0]))
    _, history, _ = train(tmp_path, small_manifest, patience=3)
    assert len(history) == 4


def test_a_stopped_training_is_found_again_under_another_spelling_of_its_folder(
    tmp_path, small_manifest, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", small_manifest, stop_after=3, OUT_DIR="run", TENSORBOARD=False)
    train(tmp_path / "run", small_manifest, OUT_DIR=str(tmp_path / "run"), TENSORBOARD=True)
    assert "Going on after epoch 3" in capsys.readouterr().out


def test_another_training_neither_goes_on_with_an_old_state_nor_deletes_it(tmp_path, small_manifest, capsys):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, small_manifest, stop_after=3)
    left = sorted((tmp_path / "tiny" / "state").rglob("*.*"))
    for other in ({"epochs": 2}, {"rate": 0.01}, {"build": residual}, {"SEED": 1}):
        _, history, _ = train(tmp_path, small_manifest, **({"epochs": 1} | other))
        assert history["epoch"].tolist() == list(range(1, other.get("epochs", 1) + 1))
        assert left and all(file.exists() for file in left) and "Going on" not in capsys.readouterr().out
    train(tmp_path, small_manifest)
    assert "Going on after epoch 3" in capsys.readouterr().out


def test_a_training_that_diverges_says_what_to_lower(tmp_path, small_manifest):
    with pytest.raises(runs.RunError, match=r"diverged in its first epoch.*LEARNING_RATE \(now 1e\+38\)"):
        train(tmp_path, small_manifest, rate=1e38)
    assert not list((tmp_path / "tiny" / "state").iterdir())


def test_a_training_that_diverges_later_keeps_its_best_epoch(tmp_path, small_manifest, monkeypatch, capsys):
    losses, real = iter([2.0, 1.0, float("nan")]), keras.Model.evaluate
    monkeypatch.setattr(keras.Model, "evaluate", lambda self, *a, **k: real(self, *a, **k) | {"loss": next(losses)})
    train(tmp_path, small_manifest, epochs=3)
    assert "diverged in epoch 3" in capsys.readouterr().out
    assert json.loads((tmp_path / "tiny" / "run.json").read_text())["best_epoch"] == 2


def test_one_seed_gives_one_result(tmp_path, small_manifest):
    results = [
        train(tmp_path / name, small_manifest, epochs=2, seed=seed)[1]["val_loss"]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert np.allclose(results[0], results[1], atol=1e-6) and not np.allclose(results[0], results[2], atol=1e-6)


def test_a_run_killed_at_any_moment_ends_complete(tmp_path, small_manifest, image_set, capsys):
    """Kill the process at one of the moments of its second epoch's end, then finish the run."""
    manifest.write(small_manifest, tmp_path / "manifest.csv", image_set)
    script = textwrap.dedent(f"""
        import os, signal, sys
        sys.path[:0] = [{os.getcwd()!r}, {os.path.dirname(__file__)!r}]
        from pathlib import Path
        import keras, test_training
        from helpers import manifest
        moment = getattr(keras.callbacks, sys.argv[1])
        real = moment.on_epoch_end
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1 and sys.argv[2] == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            real(self, epoch, logs)
            if epoch == 1:
                os.kill(os.getpid(), signal.SIGKILL)
        moment.on_epoch_end = on_epoch_end
        table = manifest.read({str(tmp_path / "manifest.csv")!r}, {str(image_set)!r})
        test_training.train(Path({str(tmp_path)!r}, sys.argv[1] + sys.argv[2]), table)
    """)
    moments = ("ModelCheckpoint before", "CSVLogger after", "BackupAndRestore after")
    killed = [subprocess.Popen([sys.executable, "-c", script, *moment.split()]) for moment in moments]
    whole = train(tmp_path / "whole", small_manifest)[1]
    for moment, process in zip(moments, killed):
        assert process.wait() == -signal.SIGKILL
        capsys.readouterr()
        _, history, _ = train(tmp_path / moment.replace(" ", ""), small_manifest)
        assert "Going on after epoch" in capsys.readouterr().out
        assert history["epoch"].tolist() == whole["epoch"].tolist() and np.isfinite(history["val_loss"]).all()


@pytest.mark.parametrize("capability, precision", [((7, 5), "mixed_float16"), ((6, 1), "float32")])
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
