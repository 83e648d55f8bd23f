"""What a stopped training needs to go on: all of an epoch in one folder, which gets its name last."""

import shutil

import keras
import numpy as np
import pandas as pd

from helpers.training import pipeline

BEST, HISTORY, STOPPED = "best.weights.h5", "history.csv", "stopped"
COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"]  # of a history


def read_history(file):
    """Return what :class:`Backup` has logged, one row an epoch with the ``COLUMNS``, epochs counted from 1."""
    history = pd.read_csv(file).drop_duplicates("epoch", keep="last").sort_values("epoch")
    return history.assign(epoch=history["epoch"] + 1).reset_index(drop=True)


class Backup(keras.callbacks.Callback):
    """The last callback: set the random state of each epoch, write the log, and keep what a stopped training needs.

    ``CSVLogger`` leaves its file open where a training is interrupted; Windows then lets nobody remove the file.
    Keras's ``BackupAndRestore`` keeps weights and epoch in two files, so that a kill between them repeats an epoch, and
    neither the random states, nor the best epoch, nor how long ``EarlyStopping`` has waited.
    """

    def __init__(self, training, checkpoint, stopping=None):
        super().__init__()
        self.training, self.checkpoint, self.stopping = training, checkpoint, stopping

    def on_train_begin(self, logs=None):
        self.states = pipeline.random_states(self.model)
        if not self.training.initial_epoch:
            if not (self.training.state / "epoch-00000").exists():
                self._keep(0)  # in a notebook the network lives on when its first epoch is interrupted
            return
        file = (self.training.folder if self.training.kept else self.training.state) / HISTORY
        past = pd.read_csv(file) if self.training.kept else read_history(file)
        self.checkpoint.best = past["val_loss"].min()
        for row in past.to_dict("records") if self.stopping else ():
            self.stopping.on_epoch_end(row["epoch"] - 1, row)

    def on_epoch_begin(self, epoch, logs=None):
        random = np.random.default_rng([self.training.record["parameters"]["SEED"], epoch])
        np.random.seed(random.integers(2**32))
        for state in self.states:
            state.assign(random.integers(2**31, size=2))

    def on_epoch_end(self, epoch, logs=None):
        state = self.training.state
        row = pd.DataFrame([{"epoch": epoch, **logs}], columns=COLUMNS)
        row.to_csv(state / HISTORY, mode="a", header=not (state / HISTORY).exists(), index=False)
        self._keep(epoch + 1)

    def _keep(self, done):
        """Keep all that a training needs to go on after so many epochs; the folder gets its name last."""
        state, part = self.training.state, self.training.state / "part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        self.model.save_weights(part / "last.weights.h5")
        for file in (BEST, HISTORY):
            if (state / file).exists():
                shutil.copy(state / file, part)
        if self.model.stop_training:
            (part / STOPPED).touch()
        part.rename(state / f"epoch-{done:05d}")
        for older in _backups(state)[1:]:
            shutil.rmtree(older)


def _backups(*states):
    """Return the folders that :class:`Backup` left in these folders, the one of the latest epoch first."""
    found = [backup for state in states for backup in state.glob("epoch-*")]
    return sorted(found, key=lambda backup: backup.name, reverse=True)


def restore(network, training, epochs):
    """Bring back the latest epoch that this training, or one of other length, has left; return how many are done."""
    variables = [*network.weights, *network.optimizer.variables]
    begun = [variable.numpy() for variable in variables]
    for backup in _backups(*training.state.parent.glob(f"{training.record['training']}-*")):
        done = int(backup.name.removeprefix("epoch-"))
        if done > epochs:
            continue
        try:
            network.load_weights(backup / "last.weights.h5")
        except (OSError, ValueError, KeyError) as error:
            for variable, value in zip(variables, begun):
                variable.assign(value)
            aside = backup.rename(backup.with_name(f"unreadable-{backup.name}"))
            print(f"The backup of epoch {done} cannot be read ({error!s:.100}); it is left in {aside}.", flush=True)
            continue
        for file in (BEST, HISTORY):
            (training.state / file).unlink(missing_ok=True)  # of an epoch that was not kept
            if (backup / file).exists():
                shutil.copy(backup / file, training.state)
        return done
    for file in (BEST, HISTORY):  # of an epoch that was not kept
        (training.state / file).unlink(missing_ok=True)
    return 0
