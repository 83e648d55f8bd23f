"""Training loses nothing: what it writes is whole, a killed run goes on where it was, one seed gives one result."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pandas as pd
import pytest

from helpers import manifest, training

PARAMETERS = {"EPOCHS": 6, "PATIENCE": 10, "SEED": 0}


def train(folder, table, epochs=6, patience=10, stop_after=None, seed=0):
    """Train a tiny network on invented images; with ``stop_after`` break off in the epoch after that one."""
    training.set_up_device(seed)
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dropout(0.5),
                                keras.layers.Dense(2, activation="softmax")])
    network.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    draw = np.random.default_rng(0)
    x, y = draw.uniform(size=(24, 4, 4, 3)).astype("float32"), np.eye(2, dtype="float32")[draw.integers(0, 2, 24)]
    run = training.begin(network, folder, "tiny", table, PARAMETERS | {"EPOCHS": epochs})
    calls = training.callbacks(run, epochs, patience)
    if stop_after is not None:
        calls.append(keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: _break(epoch, stop_after)))
    network.fit(x, y, validation_data=(x, y), epochs=epochs, initial_epoch=run.first_epoch, verbose=0, callbacks=calls)
    return network, training.finish(network, run), x


def _break(epoch, stop_after):
    if epoch == stop_after:
        raise KeyboardInterrupt


def test_a_run_leaves_model_history_and_record(tmp_path, small_manifest):
    network, history, x = train(tmp_path, small_manifest)
    folder = tmp_path / "tiny"
    assert sorted(file.name for file in folder.iterdir()) == ["history.csv", "model.keras", "run.json", "state"]
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert pd.read_csv(folder / "history.csv").equals(history)
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
    assert int(network.optimizer.iterations.numpy()) == json.loads(
        (tmp_path / "tiny" / "run.json").read_text())["best_epoch"]
    printed = capsys.readouterr().out
    assert "after epoch 4" in printed and printed.count("epoch   ") == 2
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert not list((tmp_path / "tiny" / "state").glob("*/*"))


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


def test_another_network_or_parameter_never_goes_on_with_an_old_state(tmp_path, small_manifest):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, small_manifest, stop_after=3)
    _, history, _ = train(tmp_path, small_manifest, epochs=5)
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]


def test_one_seed_gives_one_result(tmp_path, small_manifest):
    results = [train(tmp_path / name, small_manifest, seed=seed)[1]["val_loss"] for name, seed in
               (("a", 1), ("b", 1), ("c", 2))]
    assert np.allclose(results[0], results[1], atol=1e-6) and not np.allclose(results[0], results[2], atol=1e-6)


def test_a_run_killed_at_any_moment_ends_complete(tmp_path, small_manifest, image_set):
    """Kill the process right after each of the first file operations of its second epoch, then finish the run."""
    manifest.write(small_manifest, tmp_path / "manifest.csv", image_set)
    script = textwrap.dedent(f"""
        import os, signal, sys
        sys.path[:0] = [{os.getcwd()!r}, {os.path.dirname(__file__)!r}]
        import test_training
        from helpers import manifest
        left, real = int(sys.argv[1]), os.replace
        def replace(source, target):
            global left
            real(source, target)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        os.replace = replace
        table = manifest.read({str(tmp_path / "manifest.csv")!r}, {str(image_set)!r})
        test_training.train({str(tmp_path / "run")!r}, table)
    """)
    for left in (4, 2, 3):
        killed = subprocess.run([sys.executable, "-c", script, str(left)], capture_output=True, text=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    _, history, _ = train(tmp_path / "run", small_manifest)
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    whole = train(tmp_path / "whole", small_manifest)[1]
    assert history["val_accuracy"].between(0, 1).all() and len(whole) == len(history)


def test_no_gpu_is_said_with_the_menu_path(monkeypatch):
    monkeypatch.setattr(training.tf.config, "list_physical_devices", lambda kind: [])
    assert "Runtime > Change runtime type" in training.set_up_device(0)
