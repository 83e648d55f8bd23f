# %% [markdown]
# # 2 · More images out of the ones you have, and the leak
#
# **In fifteen minutes of reading (about 45 minutes if you also do it) you will turn, flip and zoom images with
# Augmentor, see what becomes of a score when that happens before the split, and balance the classes without a leak.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **run** Augmentor as its documentation shows it;
# - **guess**, then see, what a score is worth when images are augmented before the split;
# - **judge** which operations are safe for dermoscopy, and how strong they may be;
# - **fill** the small classes up to one size, from training originals only.
#
# You need not change anything in the next three cells. Come back when a section mentions a name in capitals, such as
# `SEED`: the cell of parameters says what it means.

# %%
# {{setup}}

# %% tags=["parameters"]
# folder of the images; empty: look for one, else the synthetic sample
DATA_DIR = ""  # @param {type:"string"}
# run folder; a path under /content/drive/MyDrive is kept when Colab ends
OUT_DIR = "runs/course"  # @param {type:"string"}
# which labels to train on
LABELS = "audited"  # @param ["audited", "published"]
# CSV of official labels and lesions; empty: the course's own
METADATA = ""  # @param {type:"string"}
# a class with fewer training images is left out
MIN_CLASS_SIZE = 20  # @param {type:"integer", min:1, max:100000}
# number of images to fill each class up to; 0: the size of the largest class
TARGET = 0  # @param {type:"integer", min:0, max:100000}
# the same number gives the same split and images; networks may differ a little from run to run
SEED = 0  # @param {type:"integer", min:0, max:4294967295}

# %%
# %matplotlib inline
from helpers import augmentation, figures, manifest, runs
from helpers.data.images import open_rgb
from helpers.evaluation import leak, shortcut
from notebooks.checks import data as checks

import shutil
from itertools import product
from pathlib import Path

import Augmentor
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

# %% [markdown]
# ## Start from the split
#
# **Augmentation** makes new training images out of old ones by changes that leave the diagnosis as it is. Only
# training images are augmented, so the split of notebook 01 comes first. (`run` knows the images and the folder for
# results.)

# %% tags=["nbval-check-output"]
run = runs.start("02_augmentation", globals())  # it checks the parameters first
SYNTHETIC = run.images.synthetic  # then figures say so
table = run.manifest()
train = manifest.active(table, "train")
print(f"{len(train)} training images", "(SYNTHETIC: drawings, not patients)" * SYNTHETIC)

# %% [markdown]
# ## Augmentor, as its documentation shows it
#
# Augmentor reads a folder and writes to a folder. So that nothing happens to your images, first copy a few, at most
# three of each of two classes, into a scratch folder.

# %%
scratch = Path(OUT_DIR).expanduser() / "scratch-02"
shutil.rmtree(scratch, ignore_errors=True)  # of an earlier try
one_class = augmentation.copy_some(train, scratch / "images")

# %% [markdown]
# A pipeline is a list of operations, each with the probability with which it is applied. `sample(8)` draws an image
# at random, sends it through the pipeline and writes the result, eight times. It takes no seed: run it again, and you
# get others. (`%%capture --no-stdout` hides its progress bar.)

# %%
# %%capture --no-stdout
pipeline = Augmentor.Pipeline(str(one_class), output_directory="../../augmented")
pipeline.rotate(probability=0.7, max_left_rotation=10, max_right_rotation=10)
pipeline.flip_left_right(probability=0.5)
pipeline.zoom(probability=0.5, min_factor=1.1, max_factor=1.3)
pipeline.sample(8)

# %% tags=["slide"]
written = sorted((scratch / "augmented").iterdir())
figures.image_grid(
    written, [""] * len(written), columns=4, inches=2,
    title=f"{len(written)} draws from a few images: turned, mirrored, enlarged, or as they were",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## The leak: guess, then see
#
# Now do on purpose what many public notebooks of this case study do: augment everything, *then* split. Take the
# images outside Test (2,000 at most), and four copies of each by the pipeline above. One row per image; `copy` 0 is
# the original, and `group` says which images belong together. A **histogram** describes the colours of an image by 48
# numbers: for red, green and blue, the share of its pixels at each of 16 levels. Three of them are shown: how
# different are the copies of one image?

# %%
used = manifest.active(table).copy()
used["code"] = used["label"].factorize()[0]  # a number for each class
outside, inside = used[used["split"] != "test"], used[used["split"] == "test"]
everything = leak.pictures(outside, pipeline, copies=4, seed=SEED)
test = leak.pictures(inside, pipeline, copies=0, seed=SEED)
everything[["image_id", "group", "copy", "red 12", "green 9", "blue 9"]].head(6).round(2)

# %% [markdown]
# Split these images at random, a fifth for validation, and take the simplest classifier there is. A
# **nearest-neighbour classifier** learns nothing: it keeps all training images and gives a new one the class of the
# most similar. Here similar means: of similar colours.

# %% tags=["nbval-check-output"]
learned, checked = train_test_split(everything, test_size=0.2, random_state=SEED)
nearest = KNeighborsClassifier(n_neighbors=1).fit(learned[leak.COLOURS], learned["code"])
share = nearest.score(checked[leak.COLOURS], checked["code"])
print(f"Of the validation images, {share:.0%} are classified correctly.")

# %% [markdown]
# Test holds originals that no copy was made of. What share of Test does the same classifier get right? Write it down
# before you read on.

# %%
GUESS = 0.8  # change me: the share, from 0 to 1

# %% [markdown]
# See how the score comes about. Above, six validation images; below each, the training image with the most similar
# colours.

# %% tags=["slide"]
pairs = leak.pairs(nearest, learned, checked)
figures.image_grid(
    leak.draw(pairs, pipeline, SEED), pairs["picture"], columns=6, inches=1.9,
    title=f"{pairs['same'].sum()} of 6 nearest images were made from the same original",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# This is **data leakage**: training has seen something of what it is later tested on. Now the right order: split
# first, then augment the training part only. Notebook 01 has split already, lesion by lesion. So learn from the
# training images and *their* copies, and validate on originals:

# %% tags=["nbval-check-output"]
in_training = everything["image_id"].isin(train["image_id"])
originals = everything["copy"] == 0
learned, checked = everything[in_training], everything[~in_training & originals]
nearest = KNeighborsClassifier(n_neighbors=1).fit(learned[leak.COLOURS], learned["code"])
share = nearest.score(checked[leak.COLOURS], checked["code"])
print(f"Of the validation images, {share:.0%} are classified correctly.")

# %% [markdown]
# One split may be luck, so `leak.compare` does both three times, each time with another random fifth for validation: of
# all rows, or of the groups. (Test is scored here to show the leak; nothing is chosen by it.)

# %% tags=["slide"]
compared = leak.compare(everything, test, SEED)
manifest.write_text(compared.to_csv(index=False), run.folder / "leak.csv")
shares = leak.shares(compared)
validation, kept = shares["value"].iloc[:2]
figures.shares(
    shares, GUESS,
    title=f"Leaked validation: {validation:.0%}; the same classifier on Test: {kept:.0%} (you guessed {GUESS:.0%})",
    xlabel="accuracy: mean of three splits",
    synthetic=SYNTHETIC,
)

# %% tags=["slide", "nbval-check-output"]
print(leak.sentence(shares, GUESS))
largest = train["label"].mode()[0]
always = (inside["label"] == largest).mean()
print(f"Always predicting training's largest class: {always:.0%} of Test.")
print(f"{len(shortcut.elsewhere(table))} of {len(inside)} Test images are of an unseen pair of class and collection.")

# %% [markdown]
# Where validation still says more than Test although the split came first, it is not because of copies: Test may hold
# other images than training, such as those of an unseen pair (notebook 01), which the last line counts.
#
# Two photographs of one lesion may be almost copies, so they stay on one side, too (`group`). Do not expect to see
# that in the score where few lesions have several; it is done because nobody knows beforehand how much it matters.
#
# So: split first, by lesion; then augment training only.
#
# ## One operation at a time
#
# Each panel shows one operation on the same image. Ask of each: *is it still the same lesion, and still the same
# diagnosis?* `augmentation.apply` performs Augmentor's operations with a seed: the same seed gives the same image.

# %%
lesion = open_rgb(train.sample(1, random_state=SEED)["path"].item())


def alone(name, **settings):
    """Return what one operation makes of the lesion when it is applied for certain."""
    single = Augmentor.Pipeline()
    getattr(single, name)(probability=1, **settings)  # such as single.rotate90(probability=1)
    return augmentation.apply(single, lesion, SEED)


# %% tags=["slide"]
shown = {
    "original": lesion,
    "rotate90": alone("rotate90"),
    "flip_left_right": alone("flip_left_right"),
    "flip_top_bottom": alone("flip_top_bottom"),
    "zoom": alone("zoom", min_factor=1.25, max_factor=1.25),
    "rotate": alone("rotate", max_left_rotation=15, max_right_rotation=15),
}
figures.image_grid(
    shown.values(), shown, columns=6, inches=1.9,
    title="Turning, flipping and slight zooming: the same lesion to your eye?",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# On skin there is no up: turns and flips are safe, and quarter turns and flips lose no pixel. Rotation and zoom cut
# off a margin, and with it perhaps the border of the lesion: keep them small.
#
# Brightness, contrast and `random_color` (how strong the colours are) are another matter. Here each is shown from half
# to double, much stronger than the course uses it.

# %% tags=["slide"]
kinds, factors = ["brightness", "contrast", "color"], [0.5, 0.9, 1, 1.1, 2]
light = {f"{kind} × {factor}": alone(f"random_{kind}", min_factor=factor, max_factor=factor)
         for kind, factor in product(kinds, factors)}
figures.image_grid(
    light.values(), light, columns=len(factors), inches=1.9,
    title="Factors of 0.9 and 1.1 may pass for another lamp; 0.5 and 2 may look like another class",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# Doctors read asymmetry, border, colour and structure (the ABCD rule of dermoscopy). A copy here has to keep its
# diagnosis, so the pipeline changes light and colour by a tenth at most, as another lamp or camera would. Not in it:
# shear and distortion, which change asymmetry and border, and another hue (red for brown, say), which changes the
# colour that doctors read.
#
# Notebook 04 does change hues, for another purpose. There colours may reveal the collection, as corners may do in
# notebook 01, and are removed on purpose, although the diagnosis loses a sign with them.

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

# %% tags=["slide"]
draws = {f"seed {seed}": augmentation.apply(augmentor, lesion, seed) for seed in range(6)}
figures.image_grid(
    draws.values(), draws, columns=6, inches=1.9,
    title="Six draws of the whole pipeline: in which is a border cut off?",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# Where the lesion touches the frame in a draw, but not in the original, a part of its border may have been cut off, and
# doctors read borders. A smaller `max_factor` keeps more of it. What would you change in the pipeline?

# %% [markdown]
# ## Fill the classes
#
# Augmentor's own `process()` sends every image of a folder through the pipeline once. Where does it write unless told
# otherwise? Try it on the scratch folder, which has a folder for each of two classes:

# %%
# %%capture --no-stdout
default = Augmentor.Pipeline(str(scratch / "images"))
default.flip_left_right(probability=0.5)
default.process()

# %% tags=["nbval-check-output"]
folders = sorted(folder.name for folder in (scratch / "images").iterdir())
shutil.rmtree(scratch)
print(*folders, sep="\n")

# %% [markdown]
# A program that takes folders for classes now finds one more, `output`, full of copies. Their names end in a random
# number (a UUID), so each further run adds as many. And version 0.2.12 rounds its random draws to one decimal, by which
# a probability of 0.5 becomes 0.55.
#
# So the course uses `fill_classes`. It performs the same operations, unrounded and with a seed, and fills each class
# *up to* the same size, so that the smallest grows most. It uses training originals only and writes into the run
# folder, never beside the originals. Each row of the new manifest has its original's `image_id` as `parent`. Run it
# again: it finds its files and writes nothing.

# %%
target = TARGET or train["label"].value_counts().max()
augmented = augmentation.fill_classes(table, augmentor, target, run.folder / "augmented", seed=SEED)
manifest.write(augmented, run.folder / "augmented.csv", run.images.root)
new = augmented[augmented["parent"] != ""]
print(f"{len(new)} new images")

# %% [markdown]
# The table counts training images. The last column says how many copies an original has on average.

# %% tags=["nbval-check-output"]
balance = augmentation.balance(augmented)
balance

# %% tags=["slide"]
smallest = balance.iloc[0]
few = int(smallest["originals"])
figures.bars(
    balance[["originals", "copies"]], [figures.GREY, "#0072B2"],
    title=f"Classes filled up to {target} images; {smallest.name} still has only {few} originals",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# Balance is not information: ten turned copies of one lesion are still one lesion. What they can teach is that the
# turn does not matter. Check that nothing leaked this time: all new images, and the images they were made from, are in
# training.

# %% tags=["nbval-check-output"]
parents = table.set_index("image_id").loc[new["parent"]]
print("splits of the new images:", *new["split"].unique())
print("splits of their parents: ", *parents["split"].unique())
run.done(GUESS=GUESS)

# %% [markdown]
# **On disk, or on the fly?** Augmentor writes its images once: every epoch of a training sees the same ones, and more
# files make an epoch longer. The other way changes each batch as it is made, *on the fly*: nothing is stored, and
# every epoch sees new images. Notebook 04 does that. Write to disk only what another program will read, what is
# slow to make, or what you want to inspect.

# %% [markdown]
# ## What you saw
#
# - **Run**: a pipeline of a few lines turns a few images into as many as you like.
# - **Guess**: augmented before the split, validation may measure memory; split first, no copy can help it.
# - **Judge**: turns, flips and small zooms keep the lesion; strong light and colour may change the diagnosis.
# - **Fill**: small classes grew up to one size, from training originals only, without one new lesion.

# %% [markdown]
# {{quiz}}

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# `augmentation.apply` applies each operation of `augmentor.operations` with its `.probability`, independently of the
# others. In what share of the draws is *none* of the eight applied, so that the copy equals its original? Put it in
# `unchanged`, from 0 to 1.

# %% tags=["solution"]
# @title Solution 1
unchanged = None
### BEGIN SOLUTION
unchanged = np.prod([1 - operation.probability for operation in augmentor.operations])
### END SOLUTION
checks.unchanged(unchanged, augmentor)

# %% [markdown]
# ### Exercise 2
#
# Someone sets `TARGET` to twice the size of the largest class. Without making them: how many `new_images` would
# `fill_classes` write, and how many `copies` would an original of the smallest class have on average? *Hint: every
# class ends at the same size.*

# %% tags=["solution"]
# @title Solution 2
new_images, copies = None, None
### BEGIN SOLUTION
sizes = train["label"].value_counts()
new_images = (2 * sizes.max() - sizes).sum()
copies = 2 * sizes.max() / sizes.min() - 1
### END SOLUTION
checks.twice_the_largest(new_images, copies, train["label"])

# %% [markdown]
# ### Exercise 3
#
# **Find the leak.** The first three lines of the cell below are a whole experiment, and three things are wrong with it.
# Find them, and write below the three lines a `learned` and a `checked` that have none of them: from the rows of
# `everything`, with a random fifth of your own drawing for validation instead of notebook 01's. Leave out no more rows
# than you must. What becomes of the score?

# %% tags=["solution"]
# @title Solution 3
shuffled = everything.sample(frac=1, random_state=SEED)
cut = len(shuffled) // 5
learned, checked = shuffled[cut:], shuffled[:cut]
print(f"with the leak: {leak.score(learned, checked):.2f}")
### BEGIN SOLUTION
# Copies are made before the split; one lesion may lie on both sides; validation holds copies.
lesions = pd.Series(everything["group"].unique()).sample(frac=0.2, random_state=SEED)
held = everything["group"].isin(lesions)
learned, checked = everything[~held], everything[held & (everything["copy"] == 0)]
### END SOLUTION
checks.without_a_leak(learned, checked, everything)
print(f"without: {leak.score(learned, checked):.2f}")

# %% [markdown]
# ## Go on
#
# Solutions: [the notebook in full](https://github.com/{{repository}}/blob/{{branch}}/notebooks/{{notebook}}.ipynb).
#
# Next: [03_baseline_cnn](03_baseline_cnn.ipynb), in Colab
# [here](https://colab.research.google.com/github/{{repository}}/blob/{{branch}}/notebooks/exercises/03_baseline_cnn.ipynb).
