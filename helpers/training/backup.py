"""What a stopped training needs to go on: all of an epoch in one folder, which gets its name last."""

import shutil

import keras
import numpy as np
import pandas as pd

from helpers.training import pipeline

BEST, HISTORY, STOPPED = "best.weights.h5", "history.csv", "stopped"
COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"]  # of a history


class Backup(keras.callbacks.Callback):
    """The last callback: set the random state of each epoch, and keep what a stopped training needs.

    Keras's ``BackupAndRestore`` keeps weights and epoch in two files, so that a kill between them repeats an epoch, and
    neither the random states, nor the best epoch, nor how long ``EarlyStopping`` has waited. ``CSVLogger`` leaves its
    file open where a training is interrupted; Windows then lets nobody remove the file.
    """

    def __init__(self, training, checkpoint, stopping=None):
        super().__init__()
        self.training, self.checkpoint, self.stopping = training, checkpoint, stopping

    def on_train_begin(self, logs=None):
        self.states, self.rows = pipeline.random_states(self.model), []
        if self.training.initial_epoch:
            past = pd.read_csv(latest(self.training.state) / HISTORY, float_precision="round_trip")
            self.rows, self.checkpoint.best = past.to_dict("records"), past["val_loss"].min()
            for row in self.rows if self.stopping else ():
                self.stopping.on_epoch_end(row["epoch"] - 1, row)
        elif not latest(self.training.state):
            self._keep()  # in a notebook the network lives on when its first epoch is interrupted

    def on_epoch_begin(self, epoch, logs=None):
        random = np.random.default_rng([self.training.record["parameters"]["SEED"], epoch])
        np.random.seed(random.integers(2**32))
        for state in self.states:
            state.assign(random.integers(2**31, size=2))

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append({"epoch": epoch + 1, **logs})
        self._keep()

    def _keep(self):
        """Write a folder, which gets its name last; the first and the last stay."""
        state, part = self.training.state, self.training.state / "part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        self.model.save_weights(part / "last.weights.h5")
        pd.DataFrame(self.rows, columns=COLUMNS).to_csv(part / HISTORY, index=False)
        if (state / BEST).exists():
            shutil.copy(state / BEST, part)
        if self.model.stop_training:
            (part / STOPPED).touch()
        part.rename(state / f"epoch-{len(self.rows):05d}")
        for older in _backups(state)[1:-1]:
            shutil.rmtree(older)


def latest(state):
    """Return the folder that :class:`Backup` left last in the folder ``state``, None if there is none."""
    return next(iter(_backups(state)), None)


def _backups(*states):
    found = [backup for state in states for backup in state.glob("epoch-*")]
    return sorted(found, key=lambda backup: backup.name, reverse=True)


def restore(network, training, epochs):
    """Bring back the latest epoch that this training, or one of other length, has left; return how many are done.

    A backup that cannot be read is put aside with a printed sentence, and an earlier one taken.
    """
    for backup in _backups(*training.state.parent.glob(f"{training.record['training']}-*")):
        done = int(backup.name.removeprefix("epoch-"))
        if done > epochs:
            continue
        try:
            network.load_weights(backup / "last.weights.h5")
        except (OSError, ValueError, KeyError) as error:
            aside = backup.rename(backup.with_name(f"unreadable-{backup.name}"))
            print(f"The backup of epoch {done} cannot be read ({error!s:.100}); it is left in {aside}.", flush=True)
            continue
        if not (own := training.state / backup.name).exists():
            shutil.rmtree(part := training.state / "part", ignore_errors=True)
            shutil.copytree(backup, part).rename(own)
        if (backup / BEST).exists():
            shutil.copy(backup / BEST, training.state)
        return done
    return 0
