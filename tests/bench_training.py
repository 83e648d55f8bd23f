"""Speed and memory of training, beside what TensorFlow's tutorials do: one table, both sides measured in one run.

    python tests/bench_training.py DATA_DIR|sample [--only a,b,c,d] [--rounds N] [--out FILE.csv]

a  training steps a second of notebook 04's network: its whole pipeline / one constant batch held in memory
b  images a second of the pipeline alone / image_dataset_from_directory(...).cache().prefetch(AUTOTUNE)
c  seconds until notebook 04 reaches the tutorial CNN's best validation accuracy / the tutorial CNN's whole run, with
   `EPOCHS` small, so that the step size falls early, and with its default; each round has its own seed and split
d  peak memory of decoding a set and of one epoch of augmented batches, in a process of its own

The network and its training are the notebook's own cells. Other load on the machine makes the figures worthless.
"""

import argparse
import contextlib
import hashlib
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jupytext
import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from helpers import course, manifest, pipeline  # noqa: E402

NOTEBOOK = ROOT / "notebooks" / "src" / "04_dropout_augmented_cnn.py"
SIZES = (96, 180)
BATCH_SIZE = 32
WARM_UP, STEPS = 8, 40  # training steps before the clock starts, and under it
TURNS = 5  # pairs of such runs a round: other load comes in bursts, so many short pairs tell more than few long ones
EPOCHS = 5  # epochs of the pipeline alone, after its first
IMAGES = (2_000, 25_000)  # sets whose peak memory is measured; the larger one does not fit the pipeline's budget
TUTORIAL_SIZE, TUTORIAL_EPOCHS = 180, 20
FEW_EPOCHS = 8  # notebook 04's in row c; the default is planned for the best accuracy in the end, not for an early one
NOTES = """ours, reference: medians over the rounds. a: tf.data's autotuning is off on both sides, as in the pipeline.
b, c: the reference is left as published, autotuning on. b: it keeps float32 batches and hands the same ones out in one
order; ours keeps uint8 images and shuffles them anew each epoch. c: seconds of decoding, training and validation."""


def measure(letters, data_dir, rounds, scratch):
    """Yield one dict (row, wanted, figure, ours, reference) for each row of the table and each round."""
    for size in SIZES if "a" in letters else ():
        for ours, reference in in_child(training_speed, open_run(data_dir, scratch, IMAGE_SIZE=size), TURNS * rounds):
            yield ratio(f"a training steps/s, {size} px", ">= 0.95", ours, reference)
    for size in SIZES if "b" in letters else ():
        for ours, reference in in_child(pipeline_speed, open_run(data_dir, scratch), size, rounds):
            yield ratio(f"b pipeline images/s, first epoch, {size} px", "", ours[0], reference[0])
            yield ratio(f"b pipeline images/s, later epochs, {size} px", "", ours[1], reference[1])
    for seed in range(rounds) if "c" in letters else ():
        run = open_run(data_dir, scratch, SEED=seed)
        whole, best = in_child(train_tutorial, run)
        for epochs, wanted in ((FEW_EPOCHS, "<= 0.5"), (0, "")):
            seconds = in_child(train_notebook, run | {"EPOCHS": epochs}, best)
            yield ratio(f"c seconds to the tutorial CNN's accuracy, EPOCHS {epochs}", wanted, seconds, whole)
    for number in IMAGES * rounds if "d" in letters else ():
        gib, place = in_child(peak_memory, open_run(data_dir, scratch), number)
        yield {"row": f"d peak GiB, {number:,} images {place}, {SIZES[1]} px", "wanted": "<= 4", "figure": gib}


def ratio(row, wanted, ours, reference):
    return {"row": row, "wanted": wanted, "figure": ours / reference, "ours": ours, "reference": reference}


def open_run(data_dir, scratch, **parameters):
    """Return parameters of notebook 04 whose run folder, in ``scratch``, holds notebook 01's manifest."""
    folder = scratch / "-".join(["run", *map(str, parameters.values())])
    parameters |= {"DATA_DIR": data_dir, "OUT_DIR": str(folder)}
    course.open_run(parameters)
    return parameters


def in_child(function, *arguments):
    """Call a function in a fresh process, whose printed text goes to stderr; return its result."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=os.dup2, initargs=(2, 1)) as pool:
        return pool.submit(function, *arguments).result()


def in_turns(rounds, ours, reference):
    """Call both once a round, each first in turn; return (ours, reference) of each round but a first, untimed one."""
    pairs = [(ours(), reference()) if number % 2 else (reference(), ours())[::-1] for number in range(rounds + 1)]
    return pairs[1:]


def notebook_04(parameters):
    """Run notebook 04's cells up to the one that fits; return that cell and the names the others have defined."""
    cells = [cell for cell in jupytext.read(NOTEBOOK).cells if cell["cell_type"] == "code"]
    names = {}
    for cell in cells:
        code = "\n".join(line for line in cell["source"].splitlines() if not line.startswith("%"))
        if ".fit(" in code:
            return code, names
        exec(code, names)
        if "parameters" in cell["metadata"].get("tags", []):
            names |= parameters
    raise SystemExit(f"No cell of {NOTEBOOK} calls .fit(.")


def training_speed(parameters, rounds):
    """Return (pipeline, constant batch), steps a second, of each round; both train the same compiled network."""
    _, names = notebook_04(parameters)
    full = names["train_data"].filter(lambda images, _: tf.shape(images)[0] == names["BATCH_SIZE"])
    constant = full.take(1).cache()
    return in_turns(rounds, lambda: steps_a_second(names["network"], full.repeat()),
                    lambda: steps_a_second(names["network"], constant.repeat()))


def steps_a_second(network, data):
    times = {}

    def note(step, logs):
        if step + 1 in (WARM_UP, WARM_UP + STEPS):
            float(logs["loss"])  # waits for a GPU
            times[step + 1] = time.perf_counter()

    network.fit(data, steps_per_epoch=WARM_UP + STEPS, verbose=0,
                callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=note)])
    return STEPS / (times[WARM_UP + STEPS] - times[WARM_UP])


def pipeline_speed(parameters, size, rounds):
    """Return ((first, later) of the pipeline, (first, later) of the tutorials'), images a second, of each round."""
    rows = manifest.active(course.open_run(parameters)[1], "train")
    with tempfile.TemporaryDirectory() as folder:
        for row in rows.itertuples():
            link = Path(folder) / row.label / f"{row.image_id}{Path(row.path).suffix}"
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(row.path)

        def ours():
            pixels = pipeline.load(rows, size, Path(parameters["OUT_DIR"]) / "cache")
            targets = pipeline.one_hot(rows, sorted(rows["label"].unique()))
            return pipeline.batches(pixels, targets, BATCH_SIZE, seed=0)

        def tutorial():
            data = keras.utils.image_dataset_from_directory(
                folder, label_mode="categorical", image_size=(size, size), batch_size=BATCH_SIZE, verbose=False)
            return data.cache().prefetch(tf.data.AUTOTUNE)

        return in_turns(rounds, lambda: images_a_second(ours), lambda: images_a_second(tutorial))


def images_a_second(make):
    """Return the rates of the first epoch, decoding included, and of the epochs after it."""
    start = time.perf_counter()
    data = make()
    number = sum(len(targets) for _, targets in data)
    first = time.perf_counter()
    again = sum(len(targets) for _ in range(EPOCHS) for _, targets in data)
    return number / (first - start), again / (time.perf_counter() - first)


def train_tutorial(parameters):
    """Train the tutorial CNN; return its seconds, decoding included, and its best validation accuracy.

    Network and input as in https://www.tensorflow.org/tutorials/images/classification, on the manifest's rows.
    """
    keras.utils.set_random_seed(parameters["SEED"])
    _, table = course.open_run(parameters)
    classes = sorted(manifest.active(table, "train")["label"].unique())
    start = time.perf_counter()

    def decode(path, label):
        image = tf.io.decode_image(tf.io.read_file(path), 3, expand_animations=False)
        return tf.image.resize(image, (TUTORIAL_SIZE, TUTORIAL_SIZE)), label

    def decoded(split):
        rows = manifest.active(table, split)
        data = tf.data.Dataset.from_tensor_slices((rows["path"].tolist(), rows["label"].map(classes.index).tolist()))
        return data.map(decode, num_parallel_calls=tf.data.AUTOTUNE).cache()

    convolutions = [layer for filters in (16, 32, 64) for layer in (
        layers.Conv2D(filters, 3, padding="same", activation="relu"), layers.MaxPooling2D())]
    network = keras.Sequential([
        keras.Input((TUTORIAL_SIZE, TUTORIAL_SIZE, 3)), layers.Rescaling(1 / 255), *convolutions, layers.Flatten(),
        layers.Dense(128, activation="relu"), layers.Dense(len(classes))])
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    history = network.fit(decoded("train").shuffle(1000).batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE), verbose=0,
                          validation_data=decoded("val").batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE),
                          epochs=TUTORIAL_EPOCHS).history
    return time.perf_counter() - start, max(history["val_accuracy"])


def train_notebook(parameters, accuracy):
    """Train as notebook 04 does; return the seconds, decoding included, until validation reaches ``accuracy``.

    The training stops there. If it never does, the seconds are infinite.
    """
    fit, names = notebook_04(parameters)
    start, reached = time.perf_counter(), []
    for split in ("train", "val"):
        names["batches_of"](names[split])

    def note(_, logs):
        if logs["val_accuracy"] >= accuracy:
            reached.append(time.perf_counter() - start)
            names["network"].stop_training = True

    callbacks = names["training"].callbacks
    names["training"].callbacks = lambda *given: [*callbacks(*given), keras.callbacks.LambdaCallback(on_epoch_end=note)]
    exec(fit, names)
    return min(reached, default=np.inf)


def peak_memory(parameters, number):
    """Return the peak memory of this process in GiB, and where the pixels of its ``number`` images lay."""
    rows = manifest.active(course.open_run(parameters)[1], "train")
    classes = sorted(rows["label"].unique())
    fresh = [f"{place:06d}" for place in range(number)]
    rows = rows.iloc[np.arange(number) % len(rows)].assign(
        image_id=fresh, sha256=[hashlib.sha256(name.encode()).hexdigest() for name in fresh])
    with tempfile.TemporaryDirectory() as cache:
        pixels = pipeline.load(rows, SIZES[1], cache)
        data = pipeline.batches(pixels, pipeline.one_hot(rows, classes), BATCH_SIZE, 0, pipeline.augmenter())
        if sum(len(targets) for _, targets in data) != number:
            raise SystemExit(f"An epoch did not hold {number} images.")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    return peak, "in a file" if isinstance(pixels, np.memmap) else "in memory"


def main(arguments=None):
    """Print the table, and write it to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", help='folder of images, or "sample"')
    parser.add_argument("--only", default="a,b,c,d", help="rows, such as a,b,d; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--out", help="CSV file")
    options = parser.parse_args(arguments)
    data_dir = options.data_dir if options.data_dir == "sample" else str(Path(options.data_dir).absolute())
    os.environ |= {"MPLBACKEND": "Agg", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        records = pd.DataFrame(measure(options.only.split(","), data_dir, options.rounds, Path(scratch)),
                               columns=["row", "wanted", "figure", "ours", "reference"])
    table = records.groupby(["row", "wanted"], sort=False).agg(
        median=("figure", "median"), min=("figure", "min"), max=("figure", "max"), rounds=("figure", "size"),
        ours=("ours", "median"), reference=("reference", "median")).reset_index()
    print(f"TensorFlow {tf.__version__}, {os.cpu_count()} cores, {len(tf.config.list_physical_devices('GPU'))} GPUs")
    print(table.to_string(index=False, float_format="%.2f", na_rep=""))
    print(NOTES)
    if options.out:
        manifest.write_text(table.to_csv(index=False), options.out)


if __name__ == "__main__":
    main()
