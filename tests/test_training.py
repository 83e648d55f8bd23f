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
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from helpers import manifest, training

PARAMETERS = {"EPOCHS": 6, "PATIENCE": 10, "SEED": 0}


def tiny():
    """Return a small network."""
    return keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dropout(0.5),
                             keras.layers.Dense(2, activation="softmax")])


def residual(shortcut=True):
    """Return a small network with an addition (of both layers before it, or of the second to itself), normalised."""
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Dense(4, activation="tanh")(keras.layers.Flatten()(inputs))
    y = keras.layers.Dense(4, activation="tanh")(x)
    x = keras.layers.Add()([y, x if shortcut else y])
    x = keras.layers.BatchNormalization(momentum=0.9, synchronized=True)(x)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


def train(folder, table, epochs=6, patience=10, stop_after=None, seed=0, build=tiny, tensorboard=False):
    """Train a small network on 24 invented images; with ``stop_after`` break off in the epoch after that one."""
    training.set_up_device(seed)
    network = build()
    network.compile("adam", keras.losses.CategoricalCrossentropy(label_smoothing=0.1), metrics=["accuracy"])
    draw = np.random.default_rng(0)
    x, y = draw.uniform(size=(24, 4, 4, 3)).astype("float32"), np.eye(2, dtype="float32")[draw.integers(0, 2, 24)]
    run = training.begin(network, folder, "tiny", table, PARAMETERS | {"EPOCHS": epochs})
    calls = training.callbacks(run, epochs, patience, tensorboard)
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
        return training._key(network)

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


def test_another_network_or_parameter_never_goes_on_with_an_old_state(tmp_path, small_manifest):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, small_manifest, stop_after=3)
    _, history, _ = train(tmp_path, small_manifest, epochs=5)
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]


def test_one_seed_gives_one_result(tmp_path, small_manifest):
    results = [train(tmp_path / name, small_manifest, seed=seed)[1]["val_loss"] for name, seed in
               (("a", 1), ("b", 1), ("c", 2))]
    assert np.allclose(results[0], results[1], atol=1e-6) and not np.allclose(results[0], results[2], atol=1e-6)


def test_a_run_killed_at_any_moment_ends_complete(tmp_path, small_manifest, image_set, capsys):
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
    assert "Going on after epoch" in capsys.readouterr().out
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    whole = train(tmp_path / "whole", small_manifest)[1]
    assert history["val_accuracy"].between(0, 1).all() and len(whole) == len(history)


def test_several_devices_share_each_batch_and_end_like_one(tmp_path, small_manifest, image_set):
    """Two logical CPU devices pose as GPUs in a process of their own; its training is stopped and gone on with."""
    manifest.write(small_manifest, tmp_path / "manifest.csv", image_set)
    script = textwrap.dedent(f"""
        import os, sys
        sys.path[:0] = [{os.getcwd()!r}, {os.path.dirname(__file__)!r}]
        import keras, numpy as np, tensorflow as tf
        cpus = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
        tf.config.list_physical_devices = lambda kind=None: cpus * 2
        tf.config.list_logical_devices = lambda kind=None, two=tf.config.list_logical_devices(): two
        seen, real = set(), keras.Model.train_step
        def train_step(self, data):
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            tf.py_function(lambda *pair: seen.add(tuple(map(int, pair))), [replica, tf.shape(data[0])[0]], [])
            return real(self, data)
        keras.Model.train_step = train_step
        import test_training
        from helpers import manifest, pipeline
        table = manifest.read({str(tmp_path / "manifest.csv")!r}, {str(image_set)!r})
        try:
            test_training.train({str(tmp_path / "two")!r}, table, stop_after=4, build=test_training.residual)
        except KeyboardInterrupt:
            network, history, x = test_training.train({str(tmp_path / "two")!r}, table, build=test_training.residual)
        print(test_training.training.set_up_device(0))
        np.save({str(tmp_path / "answers.npy")!r}, network.predict(x, verbose=0))
        print(tf.distribute.get_strategy().num_replicas_in_sync, sorted(seen))
        images, targets = np.arange(17 * 192).reshape(17, 8, 8, 3) % 256, np.eye(2, dtype="float32")[np.arange(17) % 2]
        odd = pipeline.batches(images.astype("uint8"), targets, 8, seed=0)
        net = keras.Sequential([keras.layers.Conv2D(2, 8), keras.layers.BatchNormalization(), keras.layers.Flatten()])
        net.compile("adam", "mse")
        print(np.isfinite(net.fit(odd, validation_data=odd, verbose=0).history["val_loss"]).all())
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *progress, sentence, shares, odd = done.stdout.splitlines()
    assert sum("Going on after epoch 4" in line for line in progress) == 1
    assert (shares, odd) == ("2 [(0, 12), (1, 12)]", "True")
    assert sentence.startswith("Training on 2 x ") and "each takes 1/2 of every batch" in sentence
    _, history, x = train(tmp_path / "one", small_manifest, build=residual)
    assert np.allclose(pd.read_csv(tmp_path / "two/tiny/history.csv").iloc[:, :-1], history.iloc[:, :-1], atol=1e-5)
    networks = [keras.models.load_model(tmp_path / name / "tiny" / "model.keras") for name in ("one", "two")]
    weights = [np.concatenate([part.ravel() for part in network.get_weights()]) for network in networks]
    assert np.allclose(*weights, atol=1e-5)
    assert np.allclose(np.load(tmp_path / "answers.npy"), networks[1].predict(x, verbose=0), atol=1e-6)


@pytest.mark.parametrize("capability, precision", [((7, 5), "mixed_float16"), ((6, 1), "float32")])
def test_mixed_precision_is_used_where_every_gpu_is_fast_at_it(monkeypatch, capability, precision):
    capabilities, used = iter([(7, 5), capability]), []
    monkeypatch.setattr(training.tf.config, "list_physical_devices", lambda kind: ["a", "b"])
    monkeypatch.setattr(training.tf.config, "list_logical_devices", lambda kind: [SimpleNamespace(name=kind)] * 2)
    monkeypatch.setattr(training.tf.config.experimental, "get_device_details",
                        lambda gpu: {"device_name": "Tesla T4", "compute_capability": next(capabilities)})
    monkeypatch.setattr(training.keras.mixed_precision, "set_global_policy", used.append)
    monkeypatch.setattr(training, "_train_on", used.extend)
    sentence = training.set_up_device(0)
    assert used == [precision, "GPU", "GPU"]
    assert sentence.startswith("Training on 2 x Tesla T4") and ("mixed" in sentence) == ("mixed" in precision)


def test_tensorboard_curves_go_on_in_the_same_folder(tmp_path, small_manifest):
    train(tmp_path / "without", small_manifest)
    assert not list(tmp_path.rglob("events.out.*"))
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "with", small_manifest, stop_after=4, tensorboard=True)
    history = train(tmp_path / "with", small_manifest, tensorboard=True)[1]
    for part, column in (("train", "loss"), ("validation", "val_loss")):
        folder = tmp_path / "with" / "tiny" / "tensorboard" / part
        points = EventAccumulator(str(folder)).Reload().Tensors("epoch_loss")
        assert [point.step for point in points] == [0, 1, 2, 3, 4, 5]
        assert np.allclose([tf.make_ndarray(point.tensor_proto) for point in points], history[column])


def test_no_gpu_is_said_with_the_menu_path(monkeypatch):
    monkeypatch.setattr(training.tf.config, "list_physical_devices", lambda kind: [])
    assert "Runtime > Change runtime type" in training.set_up_device(0)
