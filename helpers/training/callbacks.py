"""What Keras's callbacks lack: a stopped training goes on as if nothing had stopped it, and a finished one is kept.

All that an epoch draws (the order of the images, augmentation, dropout) depends on ``SEED`` and its number alone. So on
a CPU a training that was killed at any moment ends with the same bytes as one that was not; the kernels of a GPU may
round differently each time.
"""

import hashlib
import json
import platform
import re
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from helpers import manifest, runs
from helpers.training.backup import BEST, HISTORY, STOPPED, Backup, latest, restore

RESULTS = ("run.json", "predictions.csv", "numbers.json")


class Training(NamedTuple):
    """One training: its ``folder``, the folder ``state`` of what it needs to go on, and its ``record`` (dict).

    ``initial_epoch``: how many epochs are done; ``kept``: whether it was finished before, and this is its result.
    """

    folder: Path
    state: Path
    record: dict
    initial_epoch: int = 0
    kept: bool = False

    @property
    def best(self):
        """Path of the best epoch's weights, for ModelCheckpoint, which takes it as a format string."""
        return str(self.state / BEST).replace("{", "{{").replace("}", "}}")


def set_up_device(seed):
    """Seed Python, NumPy and TensorFlow (``seed``: 0 to 2**32 - 1), and return a sentence that names the device.

    On a GPU of compute capability 7.0 or more, mixed precision is used: it halves memory and uses the tensor cores
    (https://www.tensorflow.org/guide/mixed_precision).
    """
    keras.utils.set_random_seed(seed)
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "No GPU found: the CPU works, but slower. In Colab: Runtime > Change runtime type > T4 GPU."
    details = tf.config.experimental.get_device_details(gpus[0])
    modern = details.get("compute_capability", (0, 0)) >= (7, 0)
    keras.mixed_precision.set_global_policy("mixed_float16" if modern else "float32")
    return f"Training on {details.get('device_name', 'a GPU')}{' in mixed precision' if modern else ''}."


def begin(run, network, table, epochs):
    """Return the Training of a compiled Keras ``network`` on a manifest (``table``), over so many ``epochs``.

    Its folder is the network's name in the folder of ``run``. If just this training (network, optimiser, loss,
    parameters, manifest) was finished there, its result is loaded and kept; if it was stopped, or finished after fewer
    epochs at a constant learning rate, it goes on, which is said.
    """
    parameters, folder = {**run.parameters, "EPOCHS": epochs}, run.folder / network.name
    key = json.dumps([_description(network), runs.shaping(parameters), manifest.fingerprint(table)], sort_keys=True)
    key = hashlib.sha256(key.encode()).hexdigest()[:12]
    versions = {module.__name__: module.__version__ for module in (tf, keras, np)}
    record = {
        "name": network.name,
        "parameters": parameters,
        "training": key,
        "manifest": manifest.fingerprint(table[table["parent"] == ""]),
        "weights": network.count_params(),
        "versions": {"python": platform.python_version(), **versions},
    }
    training = Training(folder, folder / "state" / f"{key}-{epochs}", record)
    network.optimizer.build(network.trainable_variables)  # or its state would not be loaded
    nothing = np.zeros((1, network.output_shape[-1]))
    network.compute_metrics(None, nothing, nothing)  # makes their variables: else fit makes its graph twice
    network.reset_metrics()
    past = runs.recorded(folder, "run")
    trained, alike = past.get("epochs_run", 0), past.get("training") == key
    complete = alike and (trained == epochs or (past["stopped"] and trained < epochs))
    if complete and (folder / "model.keras").exists():
        network.load_weights(folder / "model.keras")
        print(f"{network.name} is kept: it was trained before on the same images in the same way ({trained} epochs).")
        return training._replace(initial_epoch=epochs, kept=True)
    training.state.mkdir(parents=True, exist_ok=True)
    if done := restore(network, training, epochs):
        print(f"Resuming after epoch {done}, where it was stopped (on a GPU, last digits may differ).", flush=True)
    elif trained != epochs and runs.shaping(past.get("parameters", {})) == runs.shaping(parameters):
        rule = "only the same training, at a constant learning rate and for more epochs, goes on where it ended"
        print(f"{network.name} was trained for {trained} epochs; for {epochs} it starts again: {rule}.", flush=True)
    stopped = done and (latest(training.state) / STOPPED).exists()
    return training._replace(initial_epoch=epochs if stopped else done)


def upkeep(training, checkpoint, stopping=None, tensorboard=False):
    """Return the callbacks that print progress, write the log and keep what the training needs to go on.

    ``checkpoint`` (ModelCheckpoint) and ``stopping`` (EarlyStopping) stand before them in the list that ``fit`` gets.
    """
    if training.kept:
        return []
    board = [keras.callbacks.TensorBoard(training.folder / "tensorboard")] if tensorboard else []
    return [Progress(), *board, keras.callbacks.TerminateOnNaN(), Backup(training, checkpoint, stopping)]


def finish(network, training):
    """Load the epoch with the lowest validation loss into ``network``, write the training's files, return its history.

    ``model.keras``, ``history.csv`` (a row per epoch, with ``backup.COLUMNS``) and ``run.json`` (parameters, versions,
    manifest fingerprint, seconds) go into ``training.folder``, in place of another training's. Random numbers start
    anew from ``SEED``, whether this training was done here, went on or was kept. RunError if it diverged before its
    first epoch ended, or was stopped.
    """
    parameters, folder = training.record["parameters"], training.folder
    keras.utils.set_random_seed(parameters["SEED"])
    if training.kept:
        return pd.read_csv(folder / HISTORY)
    backup = latest(training.state)
    history, stopped = pd.read_csv(backup / HISTORY), (backup / STOPPED).exists()
    if len(history) < parameters["EPOCHS"] and not stopped:
        raise runs.RunError(f"The training was stopped after epoch {len(history)}; run the cell again to resume.")
    diverged = history[~np.isfinite(history[["loss", "val_loss"]]).all(axis=1)]
    rates = [f"{name} (now {value:g})" for name, value in parameters.items() if name.endswith("_RATE")]
    advice = f"lower {(rates or ['the learning rate'])[0]}"
    if len(diverged) == len(history):
        shutil.rmtree(training.state)
        raise runs.RunError(f"The training diverged in its first epoch: its loss is no longer a number; {advice}.")
    if len(diverged):
        epoch = diverged["epoch"].iloc[0]
        print(f"The training diverged in epoch {epoch}; the best one before it is kept. To train longer, {advice}.")
    network.load_weights(training.state / BEST)
    for result in RESULTS:  # of another training; a result is written last
        (folder / result).unlink(missing_ok=True)
    network.save(training.state / "model.keras")
    (training.state / "model.keras").replace(folder / "model.keras")
    manifest.write_text((backup / HISTORY).read_text(), folder / HISTORY)
    best, seconds = int(history.loc[history["val_loss"].idxmin(), "epoch"]), round(history["seconds"].sum(), 1)
    facts = {"epochs_run": len(history), "stopped": stopped, "best_epoch": best, "train_seconds": seconds}
    manifest.write_text(json.dumps(training.record | facts, indent=2), folder / "run.json")
    optimizer = getattr(network.optimizer, "inner_optimizer", network.optimizer)  # in mixed precision
    if isinstance(optimizer.get_config()["learning_rate"], dict):  # a schedule: more epochs are another training
        shutil.rmtree(training.state)
    return history


class Progress(keras.callbacks.Callback):
    """Print ten lines a training or one a half minute, whichever is more, and note each epoch's ``seconds``."""

    def on_train_begin(self, logs=None):
        self.said = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.begun = epoch + 1, time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        seconds = time.perf_counter() - self.begun
        self._say(f"epoch {self.epoch}, batch: {batch + 1} of {self.params['steps']}, {seconds:.0f} s")

    def on_epoch_end(self, epoch, logs=None):
        epochs, logs["seconds"] = self.params["epochs"], round(time.perf_counter() - self.begun, 2)
        numbers = "  ".join(f"{name} {logs[name]:.3f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
        tenth = self.epoch in (1, epochs) or self.epoch % -(-epochs // 10) == 0
        self._say(f"epoch {self.epoch:3d}/{epochs}  {numbers}  {logs['seconds']:.1f} s", tenth)

    def _say(self, line, at_once=False):
        if at_once or time.perf_counter() - self.said > 30:
            self.said = time.perf_counter()
            print(line, flush=True)


def _description(network):
    """Return network, wiring, optimiser and loss as text; a layer counts by its place, as Keras counts its name up."""
    config = network.get_config()
    places = {part["config"]["name"]: place for place, part in enumerate(config["layers"], 1)} | {network.name: 0}
    how = json.dumps([*map(keras.saving.serialize_keras_object, (network.optimizer, network.loss))])
    parts = [config, *json.loads(re.sub(r'("name": "\w+?)_\d+"', r'\1"', how))]  # Keras 3.15 counts optimizers, too
    return re.sub(r'("name": |\[)"(\w+)"', lambda part: f"{part[1]}{places.get(part[2], part[2])}", json.dumps(parts))
