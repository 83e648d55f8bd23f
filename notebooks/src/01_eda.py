# %% [markdown]
# # 1 · Look at the data before you train on it
#
# **In fifteen minutes you will know what is in these folders, what is wrong with them, how to split them so that
# nothing leaks, and what a network could cheat with.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **load** the images, count the classes and look at two images of each;
# - **resize and normalise** an image, and see what the network will see;
# - **measure** sizes, colours and brightness;
# - **audit** the labels: find pictures filed under two classes, and pictures that are in Train and in Test;
# - **decide** in the open which labels to believe, with a ledger of every exclusion;
# - **split** into training and validation without tearing a lesion in two;
# - **unmask** a shortcut: how often is the class known from the four corners alone?

# %%
# {{setup}}

# %% tags=["parameters"]
DATA_DIR = ""  # @param {type:"string"} folder of the images; empty: look for one, else the synthetic sample
OUT_DIR = "runs/course"  # @param {type:"string"} run folder; a path under /content/drive/MyDrive outlives Colab
LABELS = "audited"  # @param ["audited", "published"] which labels to learn from
METADATA = ""  # @param {type:"string"} CSV of official labels and lesions; empty: the one that comes with the course
MIN_CLASS_SIZE = 20  # @param {type:"integer", min:1, max:100000} a class with fewer training images is left out
LABELS_CSV = ""  # @param {type:"string"} CSV that says each image's class; empty: found beside the images, or class folders
IMAGE_COLUMN = ""  # @param {type:"string"} its column of image names; empty: known by its name
LABEL_COLUMN = ""  # @param {type:"string"} its column of classes; empty: known by its name
VAL_FRACTION = 0.2  # @param {type:"number", min:0.05, max:0.5} share of the training images kept for validation
VAL_CUT = "at random"  # @param ["at random", "first"] which images: any groups, or each class's first by file name
SEED = 0  # @param {type:"integer", min:0, max:4294967295} the same number gives the same split, images and networks

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from PIL import Image
from scipy.stats import binomtest
from sklearn.ensemble import RandomForestClassifier

from helpers import figures, manifest, runs
from helpers.data import audit, datasets, duplicates, labels, splits
from helpers.data.images import open_rgb, read_files

run = runs.start("01_eda", globals())

# %% [markdown]
# ## What the folders claim
#
# Find the images, and say in three lines how they were understood: where the class of an image is written, which
# images belong to one lesion or patient, and what was left aside. If a line is wrong, every number below is wrong too.

# %%
named = LABELS_CSV, IMAGE_COLUMN, LABEL_COLUMN
published, facts, understood = datasets.list_images(run.images, *named)
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * run.images.synthetic)
print(understood)

# %% [markdown]
# Count the images of each class. Sets like this one often have classes of very unequal size.

# %% tags=["nbval-check-output"]
sizes = pd.crosstab(published["published_label"], published["split"].replace("", "all"))
print(f"{len(published)} images in {len(sizes)} classes")
sizes.assign(total=sizes.sum(axis=1)).rename_axis(index="class")

# %% [markdown]
# That count was made from a table with one row per image, the **manifest**. Every step of the course takes this table
# and returns it with more known. Next, open every file once and note its size and two fingerprints: a **hash**, a
# number that is equal for equal files and different for all others, and a **perceptual hash**, which hardly changes
# when a picture is saved again or made smaller.

# %%
table = duplicates.inspect(published)
table[["image_id", "published_label", "split", "collection", "width", "height"]].head(3)

# %% [markdown]
# A file that cannot be read gets a **flag**: the reason why a row takes no part. A flagged row is never deleted.

# %% tags=["nbval-check-output"]
unreadable = table[table["flag"] == "unreadable"]
print(f"{len(unreadable)} of {len(table)} files cannot be read", *unreadable["image_id"].head(5))
splits.require(table.assign(group=table["image_id"]))  # else it says what is missing

# %% [markdown]
# ## Two images of each class
#
# Look before you count. Which classes could you tell apart by their colour, which by their structure, and which not at
# all?

# %%
readable = table[table["flag"] == ""]
two = readable.sample(frac=1, random_state=SEED).groupby("label").head(2).sort_values("label")
title = f"Two images of each of {two['label'].nunique()} classes"
figures.image_grid(two["path"].tolist(), two["label"].tolist(), 6, title, run.images.synthetic)

# %% [markdown]
# ## How unequal are the classes?
#
# **Class imbalance** means that some classes have far more images than others. A program that always answers with the
# largest class is right as often as that class occurs: the **majority-class score**. An accuracy means nothing without
# it.

# %% tags=["nbval-check-output"]
sizes = readable[readable["split"] != "test"]["label"].value_counts()
(largest, most), (smallest, fewest) = sizes.iloc[[0, -1]].items()
print(f"Largest class: {largest} with {most} images, {most / sizes.sum():.0%} of all;",
      f"smallest: {smallest} with {fewest}.")

# %%
bars = pd.crosstab(readable["label"], readable["split"].replace("", "train"))
bars = bars.loc[bars.sum(axis=1).sort_values().index, bars.columns[::-1]]
figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
bars.plot.barh(stacked=True, color=figures.SPLIT_COLOURS, width=0.8, ax=axes)
axes.set(xlabel="images", ylabel="")
axes.bar_label(axes.containers[-1], padding=3)
axes.margins(x=0.08)
title = f"To learn from: {most / fewest:.0f} times as many of {largest} as of {smallest}"
figures.titled(figure, title, synthetic=run.images.synthetic)
plt.show()

# %% [markdown]
# ## Resize and normalise
#
# A network takes images of one size and numbers of a small range. **Resize** squeezes every image into a square; where
# it gets smaller, neighbouring pixels are averaged, so that fine lines do not turn into noise (**anti-aliasing**).
# **Normalise** divides by 255. In this course the division is the network's own first layer (`Rescaling`), so that a
# saved network can be given a plain image.

# %%
SIZE = 64  # pixels a side: the default of notebooks 03 and 04
original = open_rgb(readable["path"].iloc[0])
resized = original.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
normalised = np.asarray(resized, dtype="float32") / 255
print(f"values 0 to 255 become {normalised.min():.2f} to {normalised.max():.2f}")
figure, places = plt.subplots(1, 2, figsize=(7, 3.8), layout="constrained")
for axes, image in zip(places, (original, resized)):
    width, height = image.size  # show the middle only, to see its pixels
    axes.imshow(image.crop((width // 4, height // 4, 3 * width // 4, 3 * height // 4)))
    axes.set(title=f"the middle of {width} x {height} pixels", xticks=[], yticks=[])
title = f"The network's image has {SIZE**2 / original.width / original.height:.0%} of the pixels"
figures.titled(figure, title, synthetic=run.images.synthetic)
plt.show()

# %% [markdown]
# Are all images of one size? The table lists the five most frequent sizes. Where an image is wider than high, the
# square makes its lesion narrower.

# %% tags=["nbval-check-output"]
readable.value_counts(["width", "height"]).head(5).rename("images").to_frame()

# %% [markdown]
# ## Colour and brightness
#
# Measure the mean of the colour channels. If one class were simply redder, a network would need no structure to name
# it; where the boxes overlap, colour alone is not enough.

# %%
small = read_files(lambda path: open_rgb(path, (32, 32)).resize((32, 32)), readable["path"])
pixels = np.stack([np.asarray(image) for image in small])
means = pixels.mean(axis=(1, 2))
colours = readable.assign(red=means[:, 0], blue=means[:, 2], brightness=means.mean(axis=1))
typical = colours.groupby("label")["brightness"].median().sort_values()
figure, places = plt.subplots(1, 3, figsize=(11, 4.5), sharey=True, layout="constrained")
for axes, column in zip(places, ("red", "blue", "brightness")):
    sns.boxplot(colours, x=column, y="label", order=sorted(typical.index), fliersize=1.5, ax=axes)
    axes.set_ylabel("")
title = " to ".join(f"{value:.0f} ({name})" for name, value in typical.iloc[[0, -1]].items())
figures.titled(figure, f"Median brightness, 0 to 255: {title}", synthetic=run.images.synthetic)
plt.show()

# %% [markdown]
# The **mean image** of a class shows what all its pictures share: mostly where the lesion sits, and the colour of what
# is around it, which may come from the skin, the camera or its light. Do the classes fall into families?

# %%
names = sorted(readable["label"].unique())
mean = [pixels[readable["label"] == name].mean(axis=0) for name in names]
edge = pd.Series([image[:4, :, :2].mean() - image[:4, :, 2].mean() for image in mean], names)
title = f"Mean images: the edge is yellowest for {edge.idxmax()}, bluest for {edge.idxmin()}"
figures.image_grid(mean, names, min(len(mean), 5), title, run.images.synthetic)

# %% [markdown]
# ## What the pictures say: the audit
#
# The folder's name is a claim. The audit checks it against the pictures themselves (one picture under two classes
# cannot be right twice) and against **official labels**: what the ISIC Archive, or a table beside the images, says of
# them.

# %% tags=["nbval-check-output"]
metadata = labels.official_labels(table, facts, METADATA)
pairs = duplicates.near_duplicates(table)
found = audit.findings(table, metadata, pairs)
pd.DataFrame({"count": {meaning: found[name] for name, meaning in audit.COUNTS.items()}})

# %% [markdown]
# Look at the contradictions, if there are any. Each column is one picture, with the two classes it is filed under.
# Nobody can learn to tell these apart, because there is nothing to tell.

# %%
rows = readable.drop_duplicates(["picture", "published_label"]).sort_values("published_label")
twice = rows[rows.duplicated("picture", keep=False)].groupby("picture")
both = pd.concat([twice.nth(0).sort_values("picture")[:6], twice.nth(1).sort_values("picture")[:6]])
if len(both):
    titles = (both["split"] + ": " + both["published_label"]).tolist()
    title = f"{found['contradictory_images']} pictures are filed under two classes"
    display(figures.image_grid(both["path"].tolist(), titles, len(both) // 2, title,
                               run.images.synthetic))
else:
    print("No picture is filed under two classes.")

# %% [markdown]
# Next, the pictures whose official label is known and is another than the folder's name:

# %% tags=["nbval-check-output"]
wrong = pd.DataFrame(found["official_label_disagreements"])
wrong if len(wrong) else print("No official label that is known is another than the folder's name.")

# %% [markdown]
# If a class with a harmless name holds cancers, a network may learn to call them harmless, and a score on labels of the
# same origin rewards it for that. No accuracy can show the fault.
#
# ## Decide in the open: the ledger
#
# `LABELS = "published"` believes the folders and removes nothing that can be read. `LABELS = "audited"`, the default,
# follows five rules:
#
# 1. an official label, where one is known, replaces the folder's;
# 2. a contradiction that no official label settles is left out;
# 3. what is in Test, the same picture or the same lesion, leaves Train;
# 4. of duplicates, one copy stays, if possible in the right folder;
# 5. a class left with fewer than `MIN_CLASS_SIZE` training images is left out.
#
# The **ledger** accounts for every image, class by class; rows and columns without a change are not shown.

# %% tags=["nbval-check-output"]
grouped = duplicates.group(table, metadata, pairs)
labelled = labels.apply_labels(grouped, LABELS, metadata, MIN_CLASS_SIZE)
ledger = labels.ledger(labelled)
moves = ledger.drop(columns=["published", "audited"])
columns = ["published", *moves.columns[moves.any()], "audited"]
shown = ledger.loc[moves.any(axis=1), columns].replace(0, "")
shown if len(shown) else print("Every image keeps its label and takes part.")

# %% [markdown]
# Two things are easy to miss in such a table. What became of the files whose official label is another? And did a
# whole class go?

# %% tags=["nbval-check-output"]
ids = [row["image_id"] for row in found["lists"]["official_label_disagreements"]]
fate = labelled.loc[labelled["image_id"].isin(ids), "flag"]
fate = fate.replace("", "relabelled" if LABELS == "audited" else "taken as published")
print(f"Of {len(ids)} files whose official label is another:", fate.value_counts().to_dict() or "")
left = ledger.drop("test", errors="ignore").groupby("class").sum()
for name in left.index[left["audited"] == 0]:
    lost = left.loc[name].drop(["published", "audited"])
    print(f"{name} is left out: {left['published'][name]} images;", lost[lost != 0].to_dict())
print(f"{(left['audited'] > 0).sum()} of {len(left)} classes can be learned.")

# %% [markdown]
# ## Split
#
# Part of Train becomes **validation**: every choice is made on it, so that Test is scored once, at the end. Two rules
# make the split honest. It is **stratified**: each class gives about the same share. And it is **grouped**: photographs
# of one lesion or patient stay together. Otherwise the network is asked about a lesion that it has already seen, and
# its score may be too good: a **leak**.
#
# `VAL_CUT = "first"` cuts validation as the published Test was cut: the first files of each class by number.

# %% tags=["nbval-check-output"]
table = splits.split(labelled, val_fraction=VAL_FRACTION, seed=SEED, val_cut=VAL_CUT)
used = manifest.active(table)
crossing = (used.groupby("group")["split"].nunique() > 1).sum()
print(f"{used['group'].nunique()} groups, of which {crossing} have members in two splits")
placed = pd.crosstab(used["label"], used["split"]).reindex(columns=manifest.SPLITS, fill_value=0)
placed.assign(total=placed.sum(axis=1))

# %% [markdown]
# ## What could a network cheat with?
#
# A set may be put together from **collections**: pictures that one group of people took, with their own
# cameras, light and patients. If a class comes from one collection only, class and collection are **confounded**: they
# change together, and nothing in the training images can tell which of the two a network has learned. A network then
# may take a **shortcut**: a rule that is right on these images for a reason that has nothing to do with the lesion. A
# collection may itself hold several clinics or cameras; such a shortcut inside it would not show in this table.

# %%
train, val = manifest.active(table, "train"), manifest.active(table, "val")
counts, tie = audit.collections(train.assign(published_label=train["label"]))
collections = sorted(set(train["collection"]) - {""})
several = len(collections) > 1
if several:
    alone = f"{len(tie['one_collection_only'])} of {len(counts)}"
    print(f"{alone} classes come from one collection only. Cramér's V of class and collection is",
          f"{tie['cramers_v']:.2f} (0: unrelated, 1: the one tells the other).")
else:
    print(f"Known collections: {', '.join(collections) or 'none'}. With fewer than two, nobody can",
          "tell from these images whether class and collection go together.")
counts.rename_axis(index="class", columns="training images from")

# %% [markdown]
# Test it without any network. Of each image, keep only the four corners, and of those only their colours: mean, spread
# and five **percentiles** (values below which a given share of the pixels lies) of each channel. A **random forest**,
# the majority vote of many decision trees, learns from them. The idea is that of Bissoto and others (2019, arXiv
# 1904.08818), who blacked the lesions out and found that networks still did clearly better than chance.

# %%
def corners(path):
    """Return the corners of an image, 12 of 96 pixels a side: an array (4, 144, 3), 0 to 255."""
    image = np.asarray(open_rgb(path, (96, 96)).resize((96, 96)))
    ends = slice(0, 12), slice(84, 96)
    return np.stack([image[rows, columns].reshape(-1, 3) for rows in ends for columns in ends])


def describe(blocks):
    """Return mean, spread, percentiles of each channel and corner: (n, 4, 144, 3) to (n, 84)."""
    levels = np.moveaxis(np.percentile(blocks, [5, 25, 50, 75, 95], axis=2), 0, 2)
    facts = [blocks.mean(axis=2, keepdims=True), blocks.std(axis=2, keepdims=True), levels]
    return np.concatenate(facts, axis=2).reshape(len(blocks), -1)


# %% [markdown]
# Train it on the training images, score it on the validation images. The interval (Wilson's, 95 %; it ignores that
# images may share a lesion) says how far chance could move the score.

# %%
parts = {"train": train, "val": val}
cut = {name: np.stack(read_files(corners, part["path"])) for name, part in parts.items()}
forest = RandomForestClassifier(300, min_samples_leaf=2, n_jobs=-1, random_state=SEED)
answers = forest.fit(describe(cut["train"]), train["label"]).predict(describe(cut["val"]))
right = (answers == val["label"]).sum()
interval = binomtest(int(right), len(val)).proportion_ci(method="wilson")
majority = (val["label"] == train["label"].mode()[0]).mean()
score = f"{right / len(val):.0%}"
pd.DataFrame({"validation images classified correctly": [f"{majority:.0%}", score],
              "95 % interval": ["", f"{interval.low:.0%} to {interval.high:.0%}"]},
             index=[f"always {train['label'].mode()[0]}", "random forest, four corners"])

# %% [markdown]
# This is all that the forest saw of one validation image of each class:

# %%
rows = val.drop_duplicates("label").sort_values("label")
covered = np.full((len(rows), 96, 96, 3), 128)
for image, path in zip(covered, rows["path"]):
    blocks = corners(path).reshape(4, 12, 12, 3)
    image[:12, :12], image[:12, 84:], image[84:, :12], image[84:, 84:] = blocks
title = f"From such corners alone, {score} of validation is classified correctly"
figures.image_grid(covered, rows["label"].tolist(), min(len(rows), 5), title, run.images.synthetic)

# %% [markdown]
# What does it mean? The corners show mostly skin or the dark frame of the lens. If they do better than the majority
# class, they tell something that goes with the class, but is not the lesion.

# %%
above = interval.low > majority
print(f"The forest is{'' if above else ' not clearly'} better than always naming one class:",
      "a network may be right without looking at a lesion." if above else
      "here the corners alone do not give the class away.")
if several:
    guess = forest.fit(describe(cut["train"]), train["collection"]).predict(describe(cut["val"]))
    homes = train.groupby("label")["collection"].agg(set)
    test = manifest.active(table, "test")
    strange = sum(row.collection not in homes[row.label] for row in test.itertuples())
    told = f"{(guess == val['collection']).mean():.0%} of the validation images"
    print(f"The same corners name the collection of {told}.")
    print(f"For {strange} of {len(test)} Test images, Train has none of this class and origin:",
          "there a shortcut misleads, and validation does not show it." if strange else
          "nothing here would show the harm of a shortcut; only images from elsewhere can.")

# %% [markdown]
# Keep the score of the corners beside every accuracy of the course: a network that does no better may have learned
# nothing about skin. Notebook 05 asks the trained networks the same question: the camera or the lesion?
#
# ## Who are the patients?
#
# Age, sex and body site may be known for part of the images. A network that does well on average may do badly on those
# of whom it has seen few.

# %%
known = used.join(metadata, on="image_id")
for name, title in (("sex", "sex"), ("anatom_site_general", "body site")):
    share = known[known[name] != ""][name].value_counts()
    print(f"{title}, known of {share.sum()} of {len(known)} images:", share.to_dict())
aged = known.assign(age=pd.to_numeric(known["age_approx"])).dropna(subset=["age"])
if len(aged):
    ages = aged.groupby("label")["age"].median().sort_values()
    figure, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
    sns.boxplot(aged, x="age", y="label", order=sorted(ages.index), fliersize=1.5, ax=axes)
    axes.set_ylabel("")
    title = " to ".join(f"{age:.0f} ({name})" for name, age in ages.iloc[[0, -1]].items())
    figures.titled(figure, f"Age: median {title}", synthetic=run.images.synthetic)
    plt.show()

# %% [markdown]
# ## Keep it
#
# The manifest goes into the run folder. Its **fingerprint**, a hash of the table, is stored with every result from
# here on: two results with the same fingerprint were made from the same images, labels and split.

# %%
manifest.write(table, run.folder / "manifest.csv", run.images.root)
manifest.write_text(metadata.to_csv(), run.folder / "metadata.csv")
run.done()
print(f"{OUT_DIR}/manifest.csv: {len(table)} rows, {len(used)} take part")

# %% tags=["nbval-check-output"]
print(f"fingerprint {manifest.fingerprint(table)}")

# %% [markdown]
# ## What you saw
#
# - **Load**: classes of unequal size; always answering with the largest one is the first score to beat.
# - **Resize and normalise**: every image becomes a small square of numbers from 0 to 1.
# - **Measure**: the boxes of the classes overlap, so mean colour alone is not enough.
# - **Audit**: the folder's name is a claim; hashes and official labels test it.
# - **Decide**: the ledger accounts for every image and every class left out, and says why.
# - **Split**: stratified, grouped, seeded; Test stays untouched.
# - **Unmask**: the score of the four corners is what can be had without looking at a lesion.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# Which class loses the largest share of its training images in the ledger, and how much? Put its name in `loser` and
# the share (0 to 1) in `share`. On the sample it is seborrheic keratosis, which loses all of them.

# %% tags=["solution"]
# @title Solution 1
### BEGIN SOLUTION
lost = 1 - left["audited"] / left["published"]
loser, share = lost.idxmax(), lost.max()
### END SOLUTION
print(f"{loser} loses {share:.0%} of {left['published'][loser]} training images")
assert np.isclose(share, max(1 - left["audited"] / left["published"]))

# %% [markdown]
# ### Exercise 2
#
# Split the rows of Train and validation again, without groups, with `sklearn.model_selection.train_test_split`
# (`test_size=VAL_FRACTION`, `random_state=SEED`). How many groups are `torn`, that is, have members on both sides? On
# the sample: 35. The split above has none.

# %% tags=["solution"]
# @title Solution 2
from sklearn.model_selection import train_test_split

both = used[used["split"] != "test"]
### BEGIN SOLUTION
one, other = train_test_split(both, test_size=VAL_FRACTION, random_state=SEED)
torn = len(set(one["group"]) & set(other["group"]))
### END SOLUTION
print(f"{torn} groups torn in two by a random split, {crossing} by the course's")
assert 0 <= torn <= (both["group"].value_counts() > 1).sum()

# %% [markdown]
# ### Exercise 3
#
# Is it the colour of the corners or the dark frame of the lens that gives the class away? Make the corners grey (the
# mean of the three channels, in all three), train the forest again, and put its validation score in `grey`. Compare it
# with the score in colour and with the majority class. On the sample, expect about .21, no more than the majority
# class.

# %% tags=["solution"]
# @title Solution 3
### BEGIN SOLUTION
greyed = {name: np.repeat(blocks.mean(3, keepdims=True), 3, 3) for name, blocks in cut.items()}
forest.fit(describe(greyed["train"]), train["label"])
grey = forest.score(describe(greyed["val"]), val["label"])
### END SOLUTION
print(f"majority class {majority:.2f}, corners grey {grey:.2f}, in colour {right / len(val):.2f}")
assert 0 < grey < 1
