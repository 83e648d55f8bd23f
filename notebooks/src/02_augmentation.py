# %% [markdown]
# # 2 · More images out of the ones you have
#
# **In ten minutes you will build an Augmentor pipeline, balance the classes with it, and know why it must come after the
# split.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **build** an Augmentor pipeline that rotates, flips and zooms;
# - **see** each operation at work on one lesion, and judge which are safe for dermoscopy;
# - **fill** the small classes up to one size, from training originals only;
# - **compare** the class balance before and after, and augmentation on disk with augmentation on the fly;
# - **check** a pitfall: what Augmentor does with the probability you write;
# - **measure** the leak: what validation says when you augment before you split.

# %%
# {{setup}}

# %% tags=["parameters"]
DATA_DIR = ""  # @param {type:"string"} folder of the images; empty: look for one, else the synthetic sample
OUT_DIR = "runs/course"  # @param {type:"string"} run folder; a path under /content/drive/MyDrive outlives Colab
LABELS = "audited"  # @param ["audited", "published"] which labels to learn from
METADATA = ""  # @param {type:"string"} CSV of official labels and lesions; empty: the one that comes with the course
MIN_CLASS_SIZE = 20  # @param {type:"integer"} a class with fewer training images is left out
TARGET = 0  # @param {type:"integer"} images a class is filled up to; 0: the size of the largest class
LEAK_EPOCHS = 6  # @param {type:"integer"} epochs of each training that measures the leak; 0: leave the leak out
LEAK_RUNS = 1  # @param {type:"integer"} trainings of each kind, each with a seed of its own
SEED = 0  # @param {type:"integer"} the same number gives the same split, images and networks

# %%
# %matplotlib inline
import random
import time
from pathlib import Path

import Augmentor
import keras
import numpy as np
import pandas as pd
from keras import layers
from PIL import Image
from sklearn.model_selection import train_test_split

from helpers import augment, course, manifest, pipeline, plots, training

# %% [markdown]
# ## Start from the split
#
# The manifest of notebook 01 says which images are for training. Augmenting *before* the split is the fault most copied
# in public notebooks of this case study: turned copies of one lesion land on both sides, and validation asks for what
# was learned by heart. Here only training originals are augmented.

# %%
out_dir = course.open_folder(OUT_DIR)
images, table = course.open_run(globals())
train = manifest.active(table, "train")
print(f"{len(train)} training images{' (SYNTHETIC: drawings, not patients)' if images.synthetic else ''}")

# %% [markdown]
# ## The pipeline
#
# Augmentor applies the operations in the order you add them, each with its own probability. Quarter turns and flips lose
# nothing. A small rotation crops a little, a zoom crops a little more.

# %%
augmentor = Augmentor.Pipeline()
augmentor.rotate_random_90(probability=0.75)
augmentor.rotate(probability=0.7, max_left_rotation=15, max_right_rotation=15)
augmentor.flip_left_right(probability=0.5)
augmentor.flip_top_bottom(probability=0.5)
augmentor.zoom(probability=0.5, min_factor=1.05, max_factor=1.25)
augmentor.random_brightness(probability=0.3, min_factor=0.9, max_factor=1.1)
augmentor.random_contrast(probability=0.3, min_factor=0.9, max_factor=1.1)
augmentor.random_color(probability=0.3, min_factor=0.9, max_factor=1.1)

# %% [markdown]
# ## Each operation on one lesion
#
# The first picture is the original. Ask of each result: *is it still the same lesion, and still the same diagnosis?*

# %%
with Image.open(train.sample(1, random_state=SEED)["path"].item()) as file:
    lesion = file.convert("RGB")
shown = [lesion]
for operation in augmentor.operations:
    alone = Augmentor.Pipeline()
    alone.operations = [operation]
    shown.append(next(image for seed in range(100) if (image := augment.apply(alone, lesion, seed)) != lesion))
names = ["original", "quarter turn", "rotate", "flip\nleft-right", "flip\ntop-bottom", "zoom", "brightness", "contrast",
         "colour"]
plots.image_grid(shown, names, 9, title="One lesion, one operation at a time", synthetic=images.synthetic)

# %% [markdown]
# A lesion has no up, so turns and flips are safe. A zoom changes its size in the picture, which already differs from
# camera to camera. Brightness, contrast and the strength of colours change a little, as with another lamp or camera. Not
# in the pipeline: shear and distortion, because asymmetry is diagnostic; another hue, because colour is.

# %% [markdown]
# ## Whole draws
#
# Now the whole pipeline, six draws from the same lesion. The same seed gives the same picture, today and tomorrow.

# %%
draws = [augment.apply(augmentor, lesion, seed) for seed in range(6)]
plots.image_grid([lesion, *draws], ["original", *[f"draw {number}" for number in range(1, 7)]], 7,
                 title="The whole pipeline", synthetic=images.synthetic)

# %% [markdown]
# ## Fill the classes
#
# Each class is filled **up to** the same size, so that the smallest grows most. The files go into the run folder, never
# beside the originals, and each row of the new manifest names its `parent`. A second run finds them and writes nothing.

# %%
largest = train["label"].value_counts().max()
augmented = augment.fill_classes(table, augmentor, TARGET or largest, out_dir / "augmented", seed=SEED)
manifest.write(augmented, out_dir / "augmented.csv", images.root)
new = augmented[augmented["parent"] != ""]
megabytes = sum(Path(path).stat().st_size for path in new["path"]) / 1e6
print(f"{len(new)} images, {megabytes:.1f} MB on disk, under {out_dir / 'augmented'}")

# %% [markdown]
# ## Balance before and after

# %% tags=["nbval-check-output"]
after = manifest.active(augmented, "train")
balance = pd.DataFrame({"originals": train["label"].value_counts(), "with augmented": after["label"].value_counts()})
balance["copies per original"] = (balance["with augmented"] / balance["originals"] - 1).round(1)
balance.sort_index()

# %%
plots.before_after(balance["originals"], balance["with augmented"], ["originals", "with augmented"],
                   title="Training images by class", synthetic=images.synthetic)

# %% [markdown]
# Balance is not information: ten turned copies of one lesion are still one lesion. What they teach is that the turn does
# not matter.

# %%
few = new.groupby("label").head(2)
plots.examples(few, per_class=2, columns=8, seed=SEED, synthetic=images.synthetic,
               title="Augmented images by class") if len(few) else None

# %% [markdown]
# ## Check: nothing leaked
#
# Every new image is in training, and so is its parent. Validation and test hold originals only.

# %% tags=["nbval-check-output"]
parents = table.set_index("image_id")["split"].reindex(new["parent"])
print("splits of the new images:", sorted(new["split"].unique()))
print("splits of their parents: ", sorted(parents.unique()))
assert set(new["split"]) | set(parents) <= {"train"}

# %% [markdown]
# ## On disk, or on the fly?
#
# Augmentor writes its images **once**, and every epoch sees the same ones. The other way changes each batch **as it is
# made**, so that every epoch sees new ones and nothing is stored; notebook 04 does that. Here is what the second way
# costs: seconds to make an epoch's batches without and with it.

# %%
pixels = pipeline.load(train, 96, out_dir / "cache")
targets = pipeline.one_hot(train, sorted(train["label"].unique()))
for name, change in (("as they are", None), ("on the fly", pipeline.augmenter())):
    data = pipeline.batches(pixels, targets, 32, SEED, augment=change)
    sum(1 for _ in data)  # the first pass also builds the graph
    begun = time.perf_counter()
    count = sum(len(batch) for batch, _ in data)
    print(f"{name:12} {count} images in {time.perf_counter() - begun:.2f} s")

# %% [markdown]
# Where a GPU trains, the processor makes the next images meanwhile; without one the two share the processor, and an
# epoch takes that much longer. More images on disk make it longer too: twice the images, twice the steps. Write to disk
# what another program shall read, what takes long to make, or what you want to look at; else augment on the fly. What
# each gives on real images is in the README.

# %% [markdown]
# ## A pitfall, measured
#
# You write `probability=0.5`; how often is the operation applied? Augmentor 0.2.12's `sample()` rounds its random draw to
# one decimal before it compares, which adds 0.05. Count it over 10,000 draws, beside the course's `augment.apply`, which
# uses the same operations and keeps to the number you wrote.

# %%
class Count(Augmentor.Operations.Operation):
    """Leaves the images as they are, and counts how often it was asked to change them."""

    applied = 0

    def perform_operation(self, images):
        self.applied += 1
        return images


# %%
def frequencies(probability, draws=10_000):
    """Return the share of draws in which an operation was applied, by Augmentor and by the course."""
    own, ours = Augmentor.DataPipeline([[np.zeros((1, 1, 3), "uint8")]]), Augmentor.Pipeline()
    for counting in (own, ours):
        counting.add_operation(Count(probability))
    own.sample(draws)
    for seed in range(draws):
        augment.apply(ours, Image.new("RGB", (1, 1)), seed)
    return {"written": probability, "Augmentor": own.operations[0].applied / draws,
            "the course": ours.operations[0].applied / draws}


# %%
random.seed(SEED)
measured = pd.DataFrame([frequencies(probability) for probability in (0.1, 0.3, 0.5, 0.7)])
plots.frequencies(measured.set_index(measured["written"].map("p = {}".format)), title="Written and real probability")

# %% [markdown]
# ## The leak, measured
#
# Now do on purpose what nearly every public notebook of this case study does. The same small network is trained three
# ways on the same images: with a plain **random** split; with a random split **after augmenting** everything, so that
# copies of one lesion lie on both sides; and with the course's **grouped split first**, augmenting training only. Expect
# the first two to promise more on validation, beside what Test keeps, than the third.

# %%
pool = manifest.active(table)
pool = pool[pool["split"] != "test"]
share = 1 - len(train) / len(pool)
copies = 2 * largest
honest = manifest.active(augment.fill_classes(table, augmentor, copies, out_dir / "augmented", seed=SEED), "train")
everything = augment.fill_classes(pool.assign(split="train"), augmentor, round(copies / (1 - share)), out_dir / "leak",
                                  seed=SEED)
test, classes = manifest.active(table, "test"), sorted(train["label"].unique())

# %% [markdown]
# Two functions: the first splits in the three ways, the second trains. Both augmented ways train on the same number of
# images.

# %%
def three_ways(seed):
    """Return {way: (training rows, validation rows)}."""
    return {"random split": train_test_split(pool, test_size=share, random_state=seed),
            "augmented, then split": train_test_split(manifest.active(everything), test_size=share, random_state=seed),
            "grouped split first": (honest, manifest.active(table, "val"))}


# %%
def accuracies(learned, checked, seed, size=48):
    """Train a small network on ``learned``; return its accuracy on ``checked`` and on Test."""
    training.set_up_device(seed)
    network = keras.Sequential([keras.Input((size, size, 3)), layers.Rescaling(1 / 255)])
    for filters in (16, 32, 64):
        network.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        network.add(layers.MaxPooling2D())
    network.add(layers.Flatten())
    network.add(layers.Dense(128, activation="relu"))
    network.add(layers.Dense(len(classes), activation="softmax", dtype="float32"))
    network.compile(optimizer=keras.optimizers.Adam(), loss="categorical_crossentropy", metrics=["accuracy"])
    data = [pipeline.batches(pipeline.load(rows, size, out_dir / "cache"), pipeline.one_hot(rows, classes), 32, shuffle)
            for rows, shuffle in ((learned, seed), (checked, None), (test, None))]
    network.fit(data[0], epochs=LEAK_EPOCHS, verbose=0)
    return {"validation": network.evaluate(data[1], verbose=0)[1], "test": network.evaluate(data[2], verbose=0)[1]}


# %% [markdown]
# Each row is the mean over `LEAK_RUNS` trainings, with the spread (standard deviation) where there are several.

# %%
leak = pd.DataFrame([{"way": way, **accuracies(*rows, SEED + run)} for run in range(LEAK_RUNS if LEAK_EPOCHS else 0)
                     for way, rows in three_ways(SEED + run).items()], columns=["way", "validation", "test"])
leak["gap"] = leak["validation"] - leak["test"]
leak.groupby("way", sort=False).agg(["mean", "std"]).round(3)

# %% [markdown]
# The **gap** is what validation promises and Test does not keep. The second row is how public notebooks arrive at their
# numbers. Part of a gap may be honest, where Test comes from other cameras; compare the rows: only the split differs.
# A few epochs on the sample remember little, so the rows lie close; the README has this table from real images.

# %%
manifest.write_text(leak.to_csv(index=False), out_dir / "leak" / "leak.csv")
course.done("02_augmentation", globals())

# %% [markdown]
# ## What you saw
#
# - **Build**: an Augmentor pipeline of quarter turns, rotations, flips, zooms and a little light.
# - **See**: turns and flips keep the lesion; distortion and strong colour would change the diagnosis.
# - **Fill**: small classes grew up to the largest, from training originals only, in the run folder.
# - **Compare**: the classes are balanced now, but hold no new lesion; on the fly nothing is stored and every epoch is new.
# - **Check**: Augmentor alone applies an operation 0.05 more often than you wrote.
# - **Measure**: after augmenting before the split, validation measures memory; the split must come first.
#
# ## Exercises
#
# 1. Add `augmentor.shear(probability=0.5, max_shear_left=20, max_shear_right=20)`. Would you still trust the diagnosis?
# 2. Set `TARGET` to twice the largest class. What does it cost on disk, and what does notebook 04 gain?
# 3. Count, for the split after augmenting, how many validation images have a copy of their lesion in training.
