# %% [markdown]
# # 2 · More images out of the ones you have
#
# **In fifteen minutes you will turn, flip and zoom images with Augmentor, balance the classes with it, and see why it
# must come after the split and never before.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **run** Augmentor as its documentation shows it, and see what it leaves in your folders;
# - **count** how often it really applies an operation of probability 0.5;
# - **judge** which operations are safe for dermoscopy, and how strong they may be;
# - **fill** the small classes up to one size, from training originals only;
# - **find** the leak: a classifier that only remembers looks nearly perfect when copies lie on both sides of the split.

# %%
# {{setup}}

# %% tags=["parameters"]
DATA_DIR = ""  # @param {type:"string"} folder of the images; empty: look for one, else the synthetic sample
OUT_DIR = "runs/course"  # @param {type:"string"} run folder; a path under /content/drive/MyDrive outlives Colab
LABELS = "audited"  # @param ["audited", "published"] which labels to learn from
METADATA = ""  # @param {type:"string"} CSV of official labels and lesions; empty: the one that comes with the course
MIN_CLASS_SIZE = 20  # @param {type:"integer", min:1, max:100000} a class with fewer training images is left out
TARGET = 0  # @param {type:"integer", min:0, max:100000} images a class is filled up to; 0: the size of the largest class
SEED = 0  # @param {type:"integer", min:0, max:4294967295} the same number gives the same split, images and networks

# %%
# %matplotlib inline
import random
import shutil
from pathlib import Path

import Augmentor
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from PIL import Image
from sklearn.model_selection import GroupShuffleSplit, train_test_split
from sklearn.neighbors import KNeighborsClassifier

from helpers import augmentation, figures, manifest, runs
from helpers.data.images import open_rgb

# %% [markdown]
# One line opens the run folder, checks the parameters and finds the images.

# %%
run = runs.start("02_augmentation", globals())

# %% [markdown]
# ## Start from the split
#
# **Augmentation** makes new training images out of old ones by changes that leave the diagnosis as it is. Only training
# images are augmented, so the split of notebook 01 comes first. Look at how unequal the classes are.

# %% tags=["nbval-check-output"]
table = run.manifest()
train = manifest.active(table, "train")
note = " (SYNTHETIC: drawings, not patients)" if run.images.synthetic else ""
print(f"{len(train)} training images{note}")
train["label"].value_counts().rename("training images").to_frame()

# %% [markdown]
# ## Augmentor, as its documentation shows it
#
# Augmentor reads a folder and writes to a folder. So that nothing happens to your images, save copies of three of each
# of two classes in a scratch folder first.

# %%
scratch = Path(OUT_DIR).expanduser() / "scratch-02"
shutil.rmtree(scratch, ignore_errors=True)  # of an earlier try
classes = sorted(train["label"].unique())
few = train[train["label"].isin(classes[:2])].groupby("label").head(3)
for number, row in enumerate(few.itertuples()):
    folder = scratch / "images" / row.label
    folder.mkdir(parents=True, exist_ok=True)
    open_rgb(row.path).save(folder / f"lesion{number}.jpg")

# %% [markdown]
# A pipeline is a list of operations, each with the probability with which it is applied. `sample(8)` draws an image at
# random, sends it through the pipeline and writes the result, eight times. It takes no seed: run it again, and you get
# others. (`%%capture --no-stdout` hides its progress bar.)

# %%
# %%capture --no-stdout
one_class = scratch / "images" / classes[0]
pipeline = Augmentor.Pipeline(str(one_class), output_directory="../../augmented")
pipeline.rotate(probability=0.7, max_left_rotation=10, max_right_rotation=10)
pipeline.flip_left_right(probability=0.5)
pipeline.zoom(probability=0.5, min_factor=1.1, max_factor=1.3)
pipeline.sample(8)

# %% [markdown]
# Look at what it wrote: the same few images, turned, mirrored and enlarged.

# %%
written = sorted((scratch / "augmented").iterdir())
figures.image_grid(written, [f"new image {number}" for number in range(1, 9)], 8,
                   title="Eight images that Augmentor made out of three",
                   synthetic=run.images.synthetic)

# %% [markdown]
# `process()` sends every image through the pipeline once: expect one file more for each of the three. The names end in
# a random number (a UUID), so nothing is ever replaced: run the cell twice, and you have twice as many.

# %%
# %%capture --no-stdout
pipeline.process()
now = list((scratch / "augmented").iterdir())
print(f"{len(written)} files before process(), {len(now)} after it, for example")
print(written[0].name)

# %% [markdown]
# ## Where the files go if you do not say where
#
# Without an `output_directory`, Augmentor writes into the very folder that it reads. Give it the folder of the classes,
# and count the files by folder: there is a class more, called `output`. Given the folder of *one* class, it writes
# below that class, and a program that looks into sub-folders may take the copies for originals.

# %%
# %%capture --no-stdout
default = Augmentor.Pipeline(str(scratch / "images"))
default.flip_left_right(probability=0.5)
default.sample(10)

# %% [markdown]
# Count by folder, then throw the scratch folder away.

# %% tags=["nbval-check-output"]
images = scratch / "images"
folders = [file.relative_to(images).parts[0] for file in images.rglob("*") if file.is_file()]
shutil.rmtree(scratch)
pd.Series(folders).value_counts().sort_index().rename("files").to_frame()

# %% [markdown]
# ## Is 0.5 really 0.5?
#
# You write `probability=0.5`; how often is the operation applied? Count it, with an operation that does nothing but
# count.

# %%
class Count(Augmentor.Operations.Operation):
    """Leaves the images as they are, and counts how often it was asked to change them."""

    applied = 0

    def perform_operation(self, images):
        self.applied += 1
        return images


# %% [markdown]
# Each probability gets 5,000 draws: by Augmentor's own `sample`, and by `augmentation.apply`, the course's function,
# which sends one image through the operations of a pipeline and takes a seed: the same seed gives the same image.

# %% tags=["nbval-check-output"]
def applied(probability, draws=5_000):
    """Return the share of draws in which an operation was applied: Augmentor's, the course's."""
    theirs, ours = Augmentor.DataPipeline([[np.zeros((1, 1, 3), "uint8")]]), Augmentor.Pipeline()
    for counting in (theirs, ours):
        counting.add_operation(Count(probability))
    theirs.sample(draws)
    for seed in range(draws):
        augmentation.apply(ours, Image.new("RGB", (1, 1)), f"{probability} {seed}")
    return theirs.operations[0].applied / draws, ours.operations[0].applied / draws


random.seed(SEED)
shares = {probability: applied(probability) for probability in (0.1, 0.3, 0.5, 0.7, 0.9)}
measured = pd.DataFrame(shares, index=["Augmentor", "the course"]).T
measured.rename_axis("written").round(3)

# %% [markdown]
# Augmentor 0.2.12 rounds its random draw to one decimal before it compares, so that a draw of 0.54 counts as 0.5. For a
# probability in tenths that adds 0.05. The course's function performs the same operations and compares exactly. The
# figure shows by how much each is off.

# %%
extra = measured.sub(measured.index, axis=0).rename_axis("probability written").reset_index()
long = extra.melt("probability written", var_name="", value_name="applied − written")
figure = Figure(figsize=(8, 3), layout="constrained")
axes = figure.add_subplot()
sns.barplot(long, x="probability written", y="applied − written", hue="",
            palette=["#D55E00", "#009E73"], ax=axes)
axes.axhline(0, color="black", linewidth=0.8)
axes.legend(frameon=False, title="", loc="upper left", bbox_to_anchor=(1, 1))
figures.titled(figure, f"Augmentor applies an operation more often than written: by "
                       f"{extra['Augmentor'].mean():.3f} on average", synthetic=False)

# %% [markdown]
# ## One operation at a time
#
# Now the pipeline of the course. Each picture shows one operation on the same lesion. Ask of each: *is it still the
# same lesion, and still the same diagnosis?*

# %%
def alone(name, image, seed=SEED, **settings):
    """Return what one operation makes of an image when it is applied for certain."""
    single = Augmentor.Pipeline()
    getattr(single, name)(probability=1, **settings)
    return augmentation.apply(single, image, seed)


lesion = open_rgb(train.sample(1, random_state=SEED)["path"].item())
shown = {"original": lesion}
for name in ("rotate90", "flip_left_right", "flip_top_bottom"):
    shown[name] = alone(name, lesion)
shown["zoom"] = alone("zoom", lesion, min_factor=1.25, max_factor=1.25)
for seed in range(2):
    shown[f"rotate, draw {seed}"] = alone("rotate", lesion, seed, max_left_rotation=15,
                                          max_right_rotation=15)
figures.image_grid(shown.values(), [name.replace("_", "\n", 1) for name in shown], 7,
                   title="Turned, flipped or zoomed, it is the same lesion",
                   synthetic=run.images.synthetic)

# %% [markdown]
# On skin there is no up: turns and flips are safe, and quarter turns and flips lose no pixel. Rotation and zoom cut off
# a margin, and with it perhaps the border of the lesion: keep them small.
#
# Brightness, contrast and colour are another matter. Here each is shown from half to double, much stronger than the
# course uses it.

# %%
factors = [0.5, 0.7, 0.9, 1, 1.1, 1.4, 2]
kinds = {"random_brightness": "brightness", "random_contrast": "contrast", "random_color": "colour"}
light = [alone(name, lesion, min_factor=factor, max_factor=factor)
         for name in kinds for factor in factors]
names = [f"{kind}\n× {factor:g}" for kind in kinds.values() for factor in factors]
figures.image_grid(light, names, len(factors), synthetic=run.images.synthetic,
                   title="0.9 to 1.1 may be another lamp; 0.5 or 2, another diagnosis")

# %% [markdown]
# Doctors read asymmetry, border, colour and structure (the ABCD rule of dermoscopy). So the pipeline changes light and
# colour by a tenth at most, as another lamp or camera would. Not in it: shear and distortion, which change asymmetry
# and border, and another hue, which changes colour.

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
# Seven draws of the whole pipeline, each with a seed of its own.

# %%
draws = [augmentation.apply(augmentor, lesion, seed) for seed in range(7)]
figures.image_grid([lesion, *draws], ["original", *[f"seed {seed}" for seed in range(7)]], 8,
                   title="One lesion, seven draws of the whole pipeline",
                   synthetic=run.images.synthetic)

# %% [markdown]
# ## Fill the classes
#
# `fill_classes` fills each class *up to* the same size, so that the smallest grows most. It takes training originals
# only and writes into the run folder, never beside the originals. A file is named after its original, and each row of
# the new manifest names its `parent`. Run it again: it finds its files and writes nothing.

# %%
largest = train["label"].value_counts().max()
augmented = augmentation.fill_classes(table, augmentor, TARGET or largest,
                                      run.folder / "augmented", seed=SEED)
manifest.write(augmented, run.folder / "augmented.csv", run.images.root)
new = augmented[augmented["parent"] != ""]
megabytes = sum(Path(path).stat().st_size for path in new["path"]) / 1e6
print(f"{len(new)} new images, {megabytes:.1f} MB on disk")

# %% [markdown]
# The table counts training images before and after. The last column says how many copies an original has on average.

# %% tags=["nbval-check-output"]
after = manifest.active(augmented, "train")
balance = pd.DataFrame({"originals": train["label"].value_counts(),
                        "with copies": after["label"].value_counts()})
balance["copies per original"] = (balance["with copies"] / balance["originals"] - 1).round(1)
balance.sort_index()

# %% [markdown]
# The same as a figure: the grey bars are the originals, the blue ones add their copies.

# %%
smallest = balance["originals"].idxmin()
counts = balance.loc[smallest].astype(int)
figure = Figure(figsize=(8, 4.5), layout="constrained")
axes = balance.sort_values("originals")[["with copies", "originals"]].plot.barh(
    color=["#0072B2", "#999999"], width=0.8, ylabel="", xlabel="images", ax=figure.add_subplot())
for bars in axes.containers:
    axes.bar_label(bars, padding=3, fontsize=8)
axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), reverse=True)
figures.titled(figure, f"{smallest}: from {counts['originals']} to {counts['with copies']} images",
               synthetic=run.images.synthetic)

# %% [markdown]
# Balance is not information: ten turned copies of one lesion are still one lesion. What they can teach is that the turn
# does not matter. Check that nothing else got in: all new images, and the images they were made from, are in training.

# %% tags=["nbval-check-output"]
parents = table.set_index("image_id")["split"].reindex(new["parent"])
print("splits of the new images:", sorted(new["split"].unique()))
print("splits of their parents: ", sorted(parents.unique()))
assert set(new["split"]) | set(parents) <= {"train"}

# %% [markdown]
# ### On disk, or on the fly?
#
# Augmentor writes its images once: every epoch of a training sees the same ones, and more files make an epoch longer.
# The other way changes each batch as it is made, *on the fly*: nothing is stored, and every epoch sees new pictures.
# Notebook 04 does that. Write to disk what another program shall read, what takes long to make, or what you want to
# look at.

# %% [markdown]
# ## The leak
#
# Now do on purpose what many public notebooks of this case study do: augment everything, *then* split. Copies of one
# lesion come to lie on both sides. **Data leakage** means that training has seen something of what it is later tested
# on.
#
# What can it do? Take the simplest learner there is. A **nearest-neighbour classifier** learns nothing: it keeps all
# training images and gives a new one the label of the most similar. Here similar means: of similar colours. A
# **histogram** counts how many pixels of each channel fall into each of 16 bins from dark to bright.

# %%
def histogram(image):
    """Return the shares of pixels in 16 bins of red, green and blue: 48 numbers."""
    counts = np.array(image.histogram())  # Pillow counts each of the 256 values of each channel
    return counts.reshape(48, 16).sum(axis=1) / (image.width * image.height)


pictures = {"original": lesion}
for seed in (1, 2):
    pictures[f"copy {seed}"] = augmentation.apply(pipeline, lesion, seed)
figure = Figure(figsize=(9.5, 2.4), layout="constrained")
for place, (name, picture) in enumerate(pictures.items()):
    left, right = (figure.add_subplot(1, 6, 2 * place + side) for side in (1, 2))
    left.imshow(picture)
    left.set_title(name, fontsize=10)
    left.axis("off")
    for colour, shares in zip(("#D55E00", "#009E73", "#0072B2"), histogram(picture).reshape(3, 16)):
        right.stairs(shares, np.arange(0, 257, 16), color=colour, linewidth=2)
    right.set(xticks=[], yticks=[], xlabel="dark to bright")
figures.titled(figure, "Another picture, similar colours", synthetic=run.images.synthetic)

# %% [markdown]
# Take the images outside Test (2,000 at most), small, and four copies of each, by the pipeline above: rotate, flip,
# zoom. One row per picture; `copy` 0 is the original.

# %%
def small(path):
    """Return an image of 64 × 64 pixels."""
    return open_rgb(path).resize((64, 64))


used = manifest.active(table)
used = used.assign(code=pd.factorize(used["label"])[0])  # scikit-learn wants numbers for labels
pool, test = used[used["split"] != "test"], used[used["split"] == "test"]
rows, found = [], []
for row in pool.sample(min(len(pool), 2000), random_state=SEED).itertuples():
    original = small(row.path)
    for copy in range(5):
        seed = f"{SEED} {row.image_id} {copy}"
        picture = augmentation.apply(pipeline, original, seed) if copy else original
        rows.append([row.image_id, row.group, row.code, copy])
        found.append(histogram(picture))
everything = pd.DataFrame(rows, columns=["image_id", "group", "code", "copy"])
histograms = np.array(found)
test_histograms = np.array([histogram(small(path)) for path in test["path"]])

# %% [markdown]
# Do colours give a copy away? Ask for the most similar of all originals: how often is it the one it was made from?

# %% tags=["nbval-check-output"]
first, image = everything["copy"] == 0, pd.factorize(everything["image_id"])[0]
nearest = KNeighborsClassifier(n_neighbors=1).fit(histograms[first], image[first])
share = nearest.score(histograms[~first], image[~first])
print(f"{first.sum()} originals, {(~first).sum()} copies; {share:.0%} of the copies are more "
      "similar to their own original than to any other.")

# %% [markdown]
# Three ways to split the same images, a fifth for validation each time. The third keeps all pictures of a lesion on one
# side (`group` in the manifest), and copies training images only:

# %%
def three_ways(seed):
    """Return {way: (rows to learn from, rows to validate on)}."""
    originals = everything[everything["copy"] == 0]
    splitter = GroupShuffleSplit(n_splits=1, test_size=0.2, random_state=seed)
    learned, checked = next(splitter.split(originals, groups=originals["group"]))
    own = everything["group"].isin(originals["group"].iloc[learned])
    how = {"test_size": 0.2, "random_state": seed}
    return {
        "augmented, then split at random": train_test_split(everything, **how),
        "split at random, no copies": train_test_split(originals, **how),
        "split by lesion first, then augmented": (everything[own], originals.iloc[checked]),
    }


# %% [markdown]
# Count first, before anything is learned: what share of the validation images has a copy of itself in training? And
# what share has its lesion there, by a copy or by another photograph? Mean of three seeds.

# %% tags=["nbval-check-output"]
def overlap(learned, checked):
    """Return the shares of validation rows whose image, and whose lesion, is also in training."""
    return {"copies in training": checked["image_id"].isin(learned["image_id"]).mean(),
            "lesion in training": checked["group"].isin(learned["group"]).mean()}


seeds = [(SEED + number) % 2**32 for number in range(3)]
splits = [(way, seed, *parts) for seed in seeds for way, parts in three_ways(seed).items()]
shared = pd.DataFrame([{"way": way, "seed": seed, **overlap(*parts)}
                       for way, seed, *parts in splits])
shared.drop(columns="seed").groupby("way", sort=False).mean().round(3)

# %% [markdown]
# Now let the nearest neighbour classify the validation images, and Test, which is the same in all rows. (Test is here
# to show the leak; nothing is chosen by it.)

# %% tags=["nbval-check-output"]
def scores(learned, checked):
    """Return the accuracy of the nearest neighbour on validation and on Test."""
    nearest = KNeighborsClassifier(n_neighbors=1).fit(histograms[learned.index], learned["code"])
    return {"validation": nearest.score(histograms[checked.index], checked["code"]),
            "test": nearest.score(test_histograms, test["code"])}


leak = pd.DataFrame([{"way": way, "seed": seed, **scores(*parts)} for way, seed, *parts in splits])
leak["copies in training"] = shared["copies in training"]
manifest.write_text(leak.to_csv(index=False), run.folder / "leak.csv")
leak = leak.rename(columns={"test": "Test"})
shown = leak.pivot(index="way", columns="seed", values=["validation", "Test"])
shown.reindex(leak["way"].unique()).round(2)

# %% [markdown]
# The same as a figure: look how far the orange dots are from the green ones in each row.

# %%
mean = leak.groupby("way", sort=False)[["validation", "Test"]].mean()
leaked, honest = mean.iloc[0], mean.iloc[2]
long = leak.melt("way", ["validation", "Test"], "scored on", "accuracy")
figure = Figure(figsize=(9.5, 3), layout="constrained")
axes = figure.add_subplot()
sns.stripplot(long, y="way", x="accuracy", hue="scored on", size=9, jitter=False, dodge=True,
              palette=[figures.SPLIT_COLOURS["val"], figures.SPLIT_COLOURS["test"]], ax=axes)
axes.set(xlim=(0, 1), ylabel="", xlabel="accuracy, a dot for each of three splits")
axes.grid(axis="x", alpha=0.3)
axes.legend(frameon=False, title="", loc="upper left", bbox_to_anchor=(1, 1))
figures.titled(figure, f"Augmented before the split, validation promises "
                       f"{leaked['validation']:.0%}; Test keeps {leaked['Test']:.0%}",
               synthetic=run.images.synthetic)

# %% [markdown]
# The means of three seeds, in words:

# %%
for name, row in {"after the leak": leaked, "with the split first": honest}.items():
    print(f"{name:20} {row['validation']:.0%} on validation, {row['Test']:.0%} on Test: a gap of "
          f"{row['validation'] - row['Test']:.2f}")

# %% [markdown]
# This classifier compares colours and knows nothing of skin. It is the same in every row; what differs is whether
# validation was a test at all. A gap that is left when the split comes first may be honest: Test may come from other
# cameras than training. A network that is large enough to learn images by heart may profit from the same leak, and a
# leaked validation cannot tell you what else it has learned.

# %% [markdown]
# Note in the run folder that this notebook is done.

# %%
run.done()

# %% [markdown]
# ## What you saw
#
# - **Run**: Augmentor needs a few lines, writes where it reads unless you say where, and never replaces a file.
# - **Count**: it applies an operation more often than the probability you write.
# - **Judge**: turns, flips and small zooms keep the lesion; strong light, colour and distortion may change the
#   diagnosis.
# - **Fill**: small classes grew up to the largest, from training originals only, without one new lesion.
# - **Find**: after augmenting before the split, validation measures memory. Split first, by lesion; augment training
#   only.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# Look at shear, which the course leaves out: apply it to `lesion` with the seeds 0 to 5 and
# `max_shear_left=20, max_shear_right=20`. Which letters of the ABCD rule (asymmetry, border, colour, structure) does it
# change? *Expected: outlines that lean and stretch, with seed 1 most of all.*

# %% tags=["solution"]
# @title Solution 1
sheared = []
### BEGIN SOLUTION
sheared = [alone("shear", lesion, seed, max_shear_left=20, max_shear_right=20) for seed in range(6)]
### END SOLUTION
assert len(sheared) == 6, "make six pictures"
figures.image_grid([lesion, *sheared], ["original", *[f"seed {seed}" for seed in range(6)]], 7,
                   title="Shear leans and stretches the outline", synthetic=run.images.synthetic)

# %% [markdown]
# ### Exercise 2
#
# Someone sets `TARGET` to twice the size of the largest class. Without making them: how many new images would
# `fill_classes` write, and how many copies would an original of the smallest class have on average? *Hint: every class
# ends at the same size.*

# %% tags=["solution"]
# @title Solution 2
new_images, copies = None, None
### BEGIN SOLUTION
sizes = train["label"].value_counts()
new_images = (2 * sizes.max() - sizes).sum()
copies = 2 * sizes.max() / sizes.min() - 1
### END SOLUTION
assert new_images == 2 * largest * len(classes) - len(train), "what does each class lack?"
expected = 2 * largest / balance["originals"].min() - 1
assert abs(copies - expected) < 0.01, "new images of the class by its originals"
print(f"{new_images} new images; {copies:.1f} copies of each original of the smallest class")

# %% [markdown]
# ### Exercise 3
#
# **Find the leak.** The first three lines of the cell below are a whole experiment, and it leaks. They have three
# faults: find them, and write below them a `learned` and a `checked` that mend all three, with `everything` and its
# columns `group` and `copy`. *Expected: validation falls to about the third row of the table above.*

# %% tags=["solution"]
# @title Solution 3
shuffled = everything.sample(frac=1, random_state=SEED)
cut = len(shuffled) // 5
learned, checked = shuffled[cut:], shuffled[:cut]
print("leaking:", {name: round(value, 2) for name, value in scores(learned, checked).items()})
### BEGIN SOLUTION
# The copies are made before the split; one lesion may lie on both sides; validation holds copies instead of originals.
lesions = pd.Series(everything["group"].unique()).sample(frac=0.2, random_state=SEED)
held = everything["group"].isin(lesions)
learned, checked = everything[~held], everything[held & (everything["copy"] == 0)]
### END SOLUTION
assert not set(learned["group"]) & set(checked["group"]), "a lesion lies on both sides of the split"
assert (checked["copy"] == 0).all(), "validation holds copies; it should hold originals only"
assert len(learned) + len(checked) * 5 == len(everything), "every image belongs to one side"
print("mended: ", {name: round(value, 2) for name, value in scores(learned, checked).items()})
