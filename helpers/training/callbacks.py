"""What Keras's callbacks lack: a stopped training goes on with its patience and its best epoch, and ends whole."""

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

NO_MATTER = ("DATA_DIR", "OUT_DIR", "METADATA", "TENSORBOARD", "TTA")  # they shape no weight, or do so by the manifest


class Training(NamedTuple):
    """One training: its ``folder``, the folder ``state`` of what it needs to go on, and its ``record`` (dict)."""

    folder: Path
    state: Path
    record: dict

    @property
    def best(self):
        """Path of the best epoch's weights, for ModelCheckpoint, which takes it as a format string."""
        return str(self.state / "best.weights.h5").replace("{", "{{").replace("}", "}}")


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


def begin(run, name, network, table, epochs):
    """Return the Training of a compiled Keras ``network`` on a manifest (``table``), over so many ``epochs``.

    Its folder is ``name`` in the folder of ``run``. Its ``state`` is the same folder again only for the same network,
    parameters and manifest: no training goes on with what is not its own, and none loses what it has.
    """
    parameters = {**run.parameters, "EPOCHS": epochs}
    shaping = {key: value for key, value in parameters.items() if key not in NO_MATTER}
    fingerprint = manifest.fingerprint(table)
    key = json.dumps([_description(network), shaping, fingerprint], sort_keys=True)
    folder = run.folder / name
    state = folder / "state" / hashlib.sha256(key.encode()).hexdigest()[:12]
    state.mkdir(parents=True, exist_ok=True)
    versions = {"python": platform.python_version()}
    versions |= {module.__name__: module.__version__ for module in (tf, keras, np)}
    record = {"name": name, "parameters": parameters, "manifest": fingerprint, "weights": network.count_params()}
    return Training(folder, state, record | {"versions": versions})


def finish(network, training):
    """Load the epoch with the lowest validation loss into ``network`` and write the training's files.

    ``model.keras``, ``history.csv`` (one row per epoch) and ``run.json`` (parameters, versions, manifest fingerprint,
    seconds) go into ``training.folder``; ``training.state`` is removed. Returned is the history, as
    :func:`read_history` has it. RunError if the training diverged before its first epoch ended.
    """
    history = read_history(training.state / "history.csv")
    diverged = history[~np.isfinite(history[["loss", "val_loss"]]).all(axis=1)]
    rate = next(name for name in training.record["parameters"] if name.endswith("_RATE"))
    advice = f"lower {rate} (now {training.record['parameters'][rate]:g})"
    if len(diverged) == len(history):
        shutil.rmtree(training.state)
        raise runs.RunError(f"The training diverged in its first epoch: its loss is no number any more; {advice}.")
    if len(diverged):
        epoch = diverged["epoch"].iloc[0]
        print(f"The training diverged in epoch {epoch}; the best epoch before is kept. For a longer one, {advice}.")
    network.load_weights(training.state / "best.weights.h5")
    part = training.folder / "part.model.keras"
    try:
        network.save(part)
        part.replace(training.folder / "model.keras")
    finally:
        part.unlink(missing_ok=True)
    manifest.write_text(history.to_csv(index=False), training.folder / "history.csv")
    facts = {"epochs_run": len(history), "best_epoch": int(history.loc[history["val_loss"].idxmin(), "epoch"])}
    facts["train_seconds"] = round(history["seconds"].sum(), 1)
    manifest.write_text(json.dumps(training.record | facts, indent=2), training.folder / "run.json")
    shutil.rmtree(training.state)
    return history


def read_history(file):
    """Return what CSVLogger wrote: epoch (from 1), loss, accuracy, val_loss, val_accuracy, seconds; one row each."""
    history = pd.read_csv(file).drop_duplicates("epoch", keep="last").sort_values("epoch")
    columns = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    return history.assign(epoch=history["epoch"] + 1)[columns].reset_index(drop=True)


class Progress(keras.callbacks.Callback):
    """Print about ten lines a training, and tell the callbacks after this one each epoch's ``seconds``."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs, self.begun = epochs, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = round(time.perf_counter() - self.begun, 2)
        if epoch == 0 or epoch + 1 == self.epochs or (epoch + 1) % -(-self.epochs // 10) == 0:
            numbers = "  ".join(f"{name} {logs[name]:.3f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
            print(f"epoch {epoch + 1:3d}/{self.epochs}  {numbers}  {logs['seconds']:.1f} s", flush=True)


class GoOn(keras.callbacks.Callback):
    """The last callback: once BackupAndRestore has loaded a stopped training, tell the others what they knew then.

    Keras brings back neither the best loss that ModelCheckpoint has seen nor how long EarlyStopping has waited:
    ``checkpoint`` and, where there is one, ``early_stopping``, which stand before this one.
    """

    def __init__(self, training, checkpoint, early_stopping=None):
        super().__init__()
        self.file, self.checkpoint, self.early_stopping = training.state / "history.csv", checkpoint, early_stopping

    def on_train_begin(self, logs=None):
        done = int(self.model.optimizer.iterations.numpy()) // self.params["steps"]
        if not done:
            return
        print(f"Going on after epoch {done} of a training that was stopped here.", flush=True)
        past = read_history(self.file).head(done)
        self.checkpoint.best = past["val_loss"].min()
        for row in past.to_dict("records") if self.early_stopping else ():
            self.early_stopping.on_epoch_end(row["epoch"] - 1, row)


def _description(network):
    """Return network, wiring, optimiser and loss as text; a layer counts by its place, as Keras counts its name up."""
    config = network.get_config()
    places = {part["config"]["name"]: place for place, part in enumerate(config["layers"], 1)} | {network.name: 0}
    parts = [config, *map(keras.saving.serialize_keras_object, (network.optimizer, network.loss))]
    return re.sub(r'("name": |\[)"(\w+)"', lambda part: f"{part[1]}{places.get(part[2], part[2])}", json.dumps(parts))
