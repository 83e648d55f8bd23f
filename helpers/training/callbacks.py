"""Train so that nothing is lost: devices, callbacks, resuming, and what a run leaves in its folder."""

import hashlib
import json
import os
import platform
import re
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from helpers import manifest

NO_GPU = ("No GPU found: training runs on the CPU, which works but is slower. "
          "In Colab: Runtime > Change runtime type > T4 GPU.")


class Run(NamedTuple):
    """One training: its ``folder``, the ``first_epoch`` still to do, its past ``history`` and its ``record``."""

    folder: Path
    first_epoch: int
    history: pd.DataFrame
    record: dict


def set_up_device(seed):
    """Seed Python, NumPy and TensorFlow, and use the GPUs there are, in mixed precision where it helps.

    Parameters
    ----------
    seed : int, 0 to 2**32 - 1.

    Returns
    -------
    str, a sentence naming the device; without a GPU it names Colab's menu path.

    Notes
    -----
    Mixed precision halves memory and uses the tensor cores of GPUs from compute capability 7.0 on
    (https://www.tensorflow.org/guide/mixed_precision); a network's softmax stays in float32. XLA is left to Keras:
    its ``jit_compile="auto"`` compiles for one GPU, not for several and not for a CPU.
    """
    keras.utils.set_random_seed(seed)
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return NO_GPU
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    modern = all(one.get("compute_capability", (0, 0)) >= (7, 0) for one in details)
    keras.mixed_precision.set_global_policy("mixed_float16" if modern else "float32")
    name, precision = details[0].get("device_name", "GPU"), " in mixed precision" if modern else ""
    if len(gpus) == 1:
        return f"Training on {name}{precision}."
    _train_on([gpu.name for gpu in tf.config.list_logical_devices("GPU")])
    return (f"Training on {len(gpus)} x {name}{precision}; each takes 1/{len(gpus)} of every batch, "
            "so batch size and learning rate stay as they are.")


def begin(model, out_dir, name, table, parameters):
    """Open the folder ``out_dir/name`` of a training, and go on where a stopped one of the same kind was.

    A stopped training is gone on with if its network, optimiser, parameters and manifest are the same; its last whole
    epoch's weights and optimiser state are loaded into ``model``. Otherwise the training starts from its first epoch.

    Parameters
    ----------
    model : compiled Keras model.
    out_dir, name : the run folder and the model's name in it.
    table : manifest trained on; its fingerprint goes into the record.
    parameters : dict of the notebook's parameters, ``EPOCHS`` among them.

    Returns
    -------
    Run
    """
    folder = Path(out_dir) / name
    record = {"name": name, "parameters": parameters, "manifest": manifest.fingerprint(table),
              "weights": model.count_params(), "network": _key(model), "versions": _versions()}
    key = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:12]
    state = folder / "state" / key
    state.mkdir(parents=True, exist_ok=True)
    for other in folder.glob("state/*/*"):
        if other.parent != state:
            other.unlink()
    saved = sorted(state.glob("epoch-*.weights.h5"))
    if not saved:
        return Run(folder, 0, pd.DataFrame(), record | {"state": str(state)})
    model.optimizer.build(model.trainable_variables)  # an optimiser without variables would not take its saved state
    model.load_weights(saved[-1])
    done = int(saved[-1].name[6:10])
    print(f"Going on after epoch {done} of a training that was stopped here.")
    history = pd.read_csv(state / "history.csv").head(done)
    first = parameters["EPOCHS"] if (state / "stopped").exists() else done
    return Run(folder, first, history, record | {"state": str(state)})


def callbacks(run, epochs, patience, tensorboard=False):
    """Return the callbacks of a training: early stopping, a checkpoint after each epoch, and a line of progress.

    Parameters
    ----------
    run : Run, from :func:`begin`.
    epochs : epochs planned.
    patience : epochs without a lower validation loss after which training stops.
    tensorboard : also write the folder ``tensorboard`` beside the model, for ``tensorboard --logdir``.
    """
    calls = [_EarlyStopping(run.history, monitor="val_loss", patience=patience), _Checkpoint(run), _Progress(epochs)]
    return [*calls, keras.callbacks.TensorBoard(run.folder / "tensorboard")] if tensorboard else calls


def finish(model, run):
    """Load the epoch with the lowest validation loss into ``model`` and write the run's files.

    ``model.keras``, ``history.csv`` (one row an epoch) and ``run.json`` (parameters, seed, versions, manifest
    fingerprint, seconds) go into ``run.folder``; the state kept for resuming is removed.

    Returns
    -------
    DataFrame of the history: ``epoch`` (from 1), ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``, ``seconds``.
    """
    state = Path(run.record["state"])
    history = pd.read_csv(state / "history.csv")
    best = history.loc[history["val_loss"].idxmin()]
    model.load_weights(state / "best.weights.h5")
    part = run.folder / "part.model.keras"
    model.save(part)
    os.replace(part, run.folder / "model.keras")
    manifest.write_text(history.to_csv(index=False), run.folder / "history.csv")
    record = {key: value for key, value in run.record.items() if key != "state"}
    record |= {"epochs_run": len(history), "best_epoch": int(best["epoch"]),
               "train_seconds": round(history["seconds"].sum(), 1)}
    manifest.write_text(json.dumps(record, indent=2), run.folder / "run.json")
    for file in state.iterdir():
        file.unlink()
    return history


class _EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras's early stopping, which also counts the epochs before a training was stopped and gone on with."""

    def __init__(self, past, **settings):
        super().__init__(**settings)
        self.past = past

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        for epoch, row in enumerate(self.past.to_dict("records")):
            self.on_epoch_end(epoch, row)


class _Checkpoint(keras.callbacks.Callback):
    """After each epoch: its history row, then the best weights, then the whole state, each by an atomic rename.

    The state comes last: a training killed between two of the writes goes on from the epoch before, which is whole.
    """

    def __init__(self, run):
        super().__init__()
        self.state, self.rows, self.begun = Path(run.record["state"]), run.history.to_dict("records"), 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, **logs, "seconds": round(time.perf_counter() - self.begun, 2)}
        best = np.fmin.reduce([np.inf, *(past["val_loss"] for past in self.rows)])
        self.rows.append(row)
        manifest.write_text(pd.DataFrame(self.rows).to_csv(index=False), self.state / "history.csv")
        if len(self.rows) == 1 or row["val_loss"] < best:
            self._save("best.weights.h5")
        if self.model.stop_training:
            (self.state / "stopped").touch()
        self._save(f"epoch-{epoch + 1:04d}.weights.h5")
        (self.state / f"epoch-{epoch:04d}.weights.h5").unlink(missing_ok=True)

    def _save(self, name):
        part = self.state / f"part.{name}"
        self.model.save_weights(part)
        os.replace(part, self.state / name)


class _Progress(keras.callbacks.Callback):
    """One printed line an epoch: it reads the same in Jupyter, Colab, an executed notebook and a log file."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs, self.begun = epochs, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        numbers = "  ".join(f"{name} {logs[name]:.3f}" for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
        print(f"epoch {epoch + 1:3d}/{self.epochs}  {numbers}  {time.perf_counter() - self.begun:.0f} s", flush=True)


def _train_on(devices):
    """Let every network built from now on train on all ``devices``, TensorFlow's names, without a ``with`` block.

    Each device holds a copy of the network and takes its share of a batch; the gradients are summed
    (https://www.tensorflow.org/guide/distributed_training). Called again, it changes nothing.
    """
    if not tf.distribute.has_strategy():
        tf.distribute.experimental_set_strategy(tf.distribute.MirroredStrategy(devices))


def _key(model):
    """Hash network, wiring, optimiser and loss; a layer counts by its place, as Keras counts its name up."""
    network = model.get_config()
    places = {part["config"]["name"]: place for place, part in enumerate(network["layers"], 1)} | {model.name: 0}
    parts = [network, *map(keras.saving.serialize_keras_object, (model.optimizer, model.loss))]
    text = re.sub(r'("name": |\[)"(\w+)"', lambda part: f"{part[1]}{places.get(part[2], part[2])}", json.dumps(parts))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _versions():
    return {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__,
            "numpy": np.__version__}
