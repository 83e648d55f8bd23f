# %% [markdown]
# # 1 · Four corners: look at the data before you train on it
#
# **Cover all of an image but its four corners: could anybody still name the disease? In twenty-five minutes of reading
# (about an hour if you also do it) you will guess, find out what is in these folders and what is wrong with them, split
# them so that nothing leaks, and see.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **look** at two images of each class;
# - **guess** how often four corners of an image are enough to predict its class;
# - **count** the images of each class, and know the first score to beat;
# - **audit** the labels: find images filed under two classes, and images that are in both Train and Test;
# - **decide** which labels to believe, and account for every image;
# - **split** into training and validation so that all images of a lesion stay together;
# - **see** what the corners reveal;
# - **measure** what could reveal where an image was taken;
# - **resize and normalise** an image for a network.
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
# CSV with the class of each image; empty: a table found beside the images, or class folders
LABELS_CSV = ""  # @param {type:"string"}
# its column of image names; empty: recognised by its name
IMAGE_COLUMN = ""  # @param {type:"string"}
# its column of classes; empty: recognised by its name
LABEL_COLUMN = ""  # @param {type:"string"}
# share of the training images kept for validation
VAL_FRACTION = 0.2  # @param {type:"number", min:0.05, max:0.5}
# which images: whole groups at random, or the first of each class by file name
VAL_CUT = "at random"  # @param ["at random", "first"]
# the same number gives the same split and images; networks may differ a little from run to run
SEED = 0  # @param {type:"integer", min:0, max:4294967295}

# %%
# %matplotlib inline
from helpers import figures, manifest, runs
from helpers.data import audit, datasets, duplicates, labels, review, splits
from helpers.data.images import open_rgb
from helpers.evaluation import corners, shortcut
from notebooks.checks import data as checks

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

# %% [markdown]
# ## Look first
#
# Find the images. The lines that are printed say how the folders were understood: where the class of an image is
# written, which images belong to one lesion or patient, and what was not used. **Train** is to learn from; **Test** is
# kept aside to score the finished networks. If a line is wrong, every number below is wrong too. (`run` knows the
# images and the folder for results.)

# %%
run = runs.start("01_eda", globals())  # it checks the parameters first
SYNTHETIC = run.images.synthetic  # then figures say so
columns = LABELS_CSV, IMAGE_COLUMN, LABEL_COLUMN
draft = run.folder / "labels_draft.csv"  # written if the images cannot be understood
published, facts, understood = datasets.list_images(run.images, *columns, draft)
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * SYNTHETIC)
print(understood)

# %% [markdown]
# Open every file once, and look at two images of each class. Which classes could you distinguish by their colour,
# which by their structure, and which not at all?

# %% tags=["slide"]
table = duplicates.inspect(published)
readable = table[table["flag"] == ""]
two = review.examples(table, SEED)
figures.image_grid(
    two["path"], two["label"], columns=6, inches=1.9,
    title="Two images per class: which classes could you tell apart at a glance?",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# The table that `inspect` returned has one row per image. It is the **manifest**: each step of the course takes this
# table, adds to it and passes it on. `collection` is the clinic or project that an image comes from; a **flag** is the
# reason why an image is not used. A flagged row is never deleted.

# %%
columns = ["image_id", "label", "split", "collection", "width", "height"]
table[columns].head(3)

# %% tags=["nbval-check-output"]
unreadable = table[table["flag"] == "unreadable"]
names = ", ".join(unreadable["image_id"]) or "none"
print(f"{len(unreadable)} of {len(table)} files cannot be read: {names}")

# %% [markdown]
# ## Guess: are four corners enough?
#
# Cover everything but the four corners, each 12 of 96 pixels a side. This is what is left of one image of each class
# above, in another order. Which is which? What do you go by?

# %% tags=["slide"]
one = two.drop_duplicates("label").sample(frac=1, random_state=SEED)
figures.image_grid(
    corners.covered(corners.cut(one["path"])), range(1, len(one) + 1), columns=5, inches=2,
    title=f"Four corners, {4 * 12**2 / 96**2:.0%} of an image: which class is which?",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# A program learns from the corners of some images, with their classes. Then it gets the corners of others. What share
# of these does it classify correctly? The answer comes in *See what the corners reveal*.

# %%
GUESS = 0.25  # change me: the share, from 0 to 1

# %% [markdown]
# How many of the covered images did you name yourself?

# %%
for number, label in enumerate(one["label"], 1):
    print(number, label)

# %% [markdown]
# The program's turn comes later, because a fair answer needs three things: a score for somebody who looks at nothing,
# labels that are right, and images that the program has not seen.

# %% [markdown]
# ## How unequal are the classes?
#
# **Class imbalance** means that some classes have far more images than others. A program that always predicts the
# largest class is right as often as that class occurs: the **majority-class score**. No accuracy, the share of images
# classified correctly, means anything without it. *See what the corners reveal* computes it.

# %% tags=["slide"]
counts = review.counts(readable)
figures.bars(
    counts,
    figures.SPLIT_COLOURS,
    title=f"Images per class: {review.ends(counts.sum(axis=1))}",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## Are the labels right? The audit
#
# The folder's name may be wrong. The audit compares it with the other folders (one image under two classes cannot be
# right twice) and with **official labels**: what the ISIC Archive, or a table beside the images, says. A **hash** is a
# number that is equal for equal files; a **perceptual hash** hardly changes when an image is saved again or made
# smaller. With the two, copies are found. Files with the same pixels are one **picture**, however many they are, and
# the audit counts pictures. Findings with a count of 0 are omitted.

# %% tags=["nbval-check-output"]
metadata = labels.official_labels(table, facts, METADATA)
pairs = duplicates.near_duplicates(table)
found = audit.findings(table, metadata, pairs)
counts = pd.Series(found)[list(audit.COUNTS)].rename(audit.COUNTS)
counts[counts > 0].to_frame("count")

# %% [markdown]
# Look at the contradictions, if there are any. Two neighbours are one picture, filed under two classes. Nobody can
# learn to distinguish them, because there is no difference.

# %% tags=["slide"]
both = review.contradictions(readable)
figures.image_grid(
    both["path"], both["label"], columns=6, inches=1.9,
    title=review.contradictions_in_words(both, found),
    synthetic=SYNTHETIC,
)

# %% [markdown]
# Next, the pictures whose folder differs from their official label, as far as one is known. If a class with a
# harmless name holds cancers (melanomas, say, or carcinomas), a network may learn that they are harmless, and a score
# on labels of the same origin rewards it for that. No accuracy reveals the mistake.

# %% tags=["nbval-check-output"]
none = [{"published": "none", "official": "none", "images": 0}]
wrong = pd.DataFrame(found["official_label_disagreements"] or none)
print(f"{wrong['images'].sum()} pictures have an official label that is not their folder's name.")
wrong

# %% [markdown]
# ## Decide, and account for every image
#
# `LABELS = "published"` believes the folders and leaves out only what cannot be read. `LABELS = "audited"`, the
# default, follows five rules:
#
# 1. an official label, where one is known, replaces the folder's name;
# 2. a contradiction that no official label settles is left out;
# 3. a picture or lesion that is in Test leaves Train, and with it all photographs of that lesion;
# 4. of duplicates, one copy stays, if possible in the right folder;
# 5. a class left with fewer than `MIN_CLASS_SIZE` training images is left out.

# %% tags=["nbval-check-output"]
grouped = duplicates.group(table, metadata, pairs)
labelled = labels.apply_labels(grouped, LABELS, metadata, MIN_CLASS_SIZE)
ledger = labels.ledger(labelled)
print(f"{(labelled['flag'] != '').sum()} of {len(labelled)} files are left out.")
review.reasons(ledger)

# %% [markdown]
# These are files, while the audit counted pictures, so the numbers may differ. A picture whose folder is wrong may also
# lie in the right one: then that file stays, and the wrong one is left out as a *duplicate*. Only if it does not, it is
# moved.
#
# Which class lost what? The **ledger** accounts for every file like a bank statement: read a row from left to right,
# and it adds up. A class with 0 at the end is gone. (Classes without a change are omitted, unless no class has one.)

# %% tags=["nbval-check-output"]
review.changes(ledger)

# %% [markdown]
# ## Split
#
# Part of Train becomes **validation**: every choice is made on it, so that no choice is ever made on Test. Each
# network is scored there once, when it is finished. (Notebook 02 scores a throw-away classifier on it, to show a leak.)
#
# Two rules make the split honest. It is **stratified**: every class has about the same share in each split. And it is
# **grouped**: photographs of one lesion or patient stay together. Otherwise the network is tested on a lesion that it
# has already seen, and its score may be too good: a **leak**.
#
# `VAL_CUT = "first"` cuts validation as the published Test was cut: the first files of each class by number.

# %% tags=["nbval-check-output"]
table = splits.split(labelled, val_fraction=VAL_FRACTION, seed=SEED, val_cut=VAL_CUT)
used = manifest.active(table)
parts = used.groupby("group")["split"].nunique()
print(f"{len(parts)} groups, of which {(parts > 1).sum()} have images in two splits")
review.counts(used)

# %% [markdown]
# Keep the manifest for the other notebooks. Its **fingerprint**, a hash of the table, is stored with every result: the
# same fingerprint means the same images, labels and split.

# %% tags=["nbval-check-output"]
manifest.write(table, run.folder / "manifest.csv", run.images.root)
manifest.write_text(metadata.to_csv(), run.folder / "metadata.csv")
fingerprint = manifest.fingerprint(table)
print(f"{len(table)} rows, of which {len(used)} are used; fingerprint {fingerprint}")

# %% [markdown]
# ## See what the corners reveal
#
# Now everything is there for a fair answer. The score to beat, on the validation images, is that of a program which
# looks at nothing:

# %% tags=["nbval-check-output"]
train = manifest.active(table, "train")
val = manifest.active(table, "val")
largest = train["label"].mode()[0]
always = (val["label"] == largest).mean()
print(f"Always {largest}: correct for {always:.0%} of the validation images")

# %% [markdown]
# Of each corner, keep only colours: mean, spread and five **percentiles** (values below which a given share of the
# pixels lies) of each channel (red, green, blue). A **random forest**, the majority vote of many decision trees, learns
# from them on the training images and predicts the validation images: first the class, then the collection. Bissoto and
# others (2019, arXiv 1904.08818) blacked out the lesions in the same spirit, and found that networks still did clearly
# better than chance.

# %%
learned, held = corners.cut(train["path"]), corners.cut(val["path"])
seen, unseen = corners.describe(learned), corners.describe(held)
forest = RandomForestClassifier(300, min_samples_leaf=2, n_jobs=-1, random_state=SEED)
forest.fit(seen, train["label"])
classes = forest.predict(unseen)
forest.fit(seen, train["collection"])
collections = forest.predict(unseen)

# %% [markdown]
# Compare each blue dot, the corners, with the grey one above it, which looks at nothing. The line through a dot is its
# 95% **confidence interval**: lines made in this way contain the true share in 95 of 100 samples of this size. If the
# line of the corners does not reach down to the score to beat, luck hardly explains the difference. (The grey dot's own
# line does not matter, even if the two overlap: both are measured on the same images. Notebook 05 compares such pairs
# properly.)

# %% tags=["slide"]
shares = corners.shares(train, val, classes, collections)
share = shares["value"].iloc[1]
figures.shares(
    shares, GUESS,
    title=f"Four corners: {share:.0%} right; without looking: {always:.0%} (you guessed {GUESS:.0%})",
    xlabel="share of the validation images, with 95% interval (grey: without looking)",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# If corners reveal the class, a network may use whatever gave it away, and be right without looking at a lesion.

# %% tags=["slide", "nbval-check-output"]
run.done(GUESS=GUESS)
print(corners.sentence(shares, GUESS))

# %% [markdown]
# ## Why? What a network could cheat with
#
# A set may be put together from **collections**: images that one group of people took, with their own cameras, light
# and patients. (Later notebooks call a collection a *clinic*, for short.) If a class comes from one collection only,
# class and collection are **confounded**: they change together, and nothing in the training images can say which of the
# two a network has learned. In a table of several columns, that is a row with a single number above 0. How many are
# there?

# %% tags=["nbval-check-output"]
collection = train["collection"].replace("", "unknown")
pd.crosstab(train["label"], collection)

# %% [markdown]
# A **shortcut** is a rule that is right on these images for a reason that has nothing to do with the lesion, such as
# "from this collection, so a nevus". Validation cannot show the harm, because class and collection go together in it
# as in training. A Test image can show it, if its class and collection are an **unseen pair**: training has images of
# that class, but none of them from that collection. How many such images are in Test?

# %% tags=["nbval-check-output"]
test = manifest.active(table, "test")
away = shortcut.elsewhere(table)
print(f"{len(away)} of {len(test)} Test images are of an unseen pair of class and collection.")

# %% [markdown]
# Notebook 05 looks at them, if there are any, and at images of another set, if you give one. (Exercise 1 asks how far
# the collection alone would take you.)
#
# But what could reveal the collection? The **mean image** of a class shows what all its images share. Look at the
# edges, which show mostly skin: are the classes of one collection more alike than those of two?

# %% tags=["slide"]
pixels = review.thumbnails(train["path"])
mean = review.mean_images(pixels, collection + ": " + train["label"])
edge = pd.Series(review.mean_images(pixels, collection)).map(review.blue_of_edge)
figures.image_grid(
    mean.values(), mean, columns=4, inches=2,
    title=f"Blue share of the edge colour: {review.ends(edge, '%')}",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## Resize and normalise
#
# One thing is left before a network can have the images: it takes numbers of a small range, and images of one size.
# **Resize** squeezes every image into a square: what was wider than high gets narrower. Where it gets smaller,
# neighbouring pixels are averaged, so that fine lines do not turn into noise (**anti-aliasing**). **Normalise** divides
# by 255. In this course the division is the network's own first layer (`Rescaling`), so that a saved network can be
# given a plain image.

# %% tags=["nbval-check-output"]
sides = readable.value_counts(["width", "height"])
width, height = sides.index[0]
print(f"Sizes found: {len(sides)}. The most frequent, {width} × {height} pixels, "
      f"is that of {sides.iloc[0]} of {len(readable)} images.")

# %%
SIZE = 64  # pixels a side: the default of notebooks 03 and 04
original = open_rgb(readable["path"].iloc[0])
resized = original.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
values = np.asarray(resized)
normalised = values / 255
print("before:", values.min(), "to", values.max())
print(f"after: {normalised.min():.2f} to {normalised.max():.2f}")

# %% tags=["slide"]
before, after = original.width * original.height, SIZE * SIZE
figures.image_grid(
    [original, resized], ["original", "resized"], columns=2, inches=3.2,
    title=f"The network sees {after:,} pixels of {before:,}: {after / before:.0%}",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## What you saw
#
# - **Look**: two images of each class, and then of one only its corners.
# - **Guess**: written down before the answer, it shows what you took for granted.
# - **Count**: the size of every class; always predicting the largest class is the first score to beat.
# - **Audit**: hashes and official labels tested the folders' names.
# - **Decide**: the ledger accounts for every file, and for every class that is left out.
# - **Split**: stratified, grouped, seeded; Test has taken part in no choice.
# - **See**: what four corners classify correctly, beside always predicting the largest class; whatever they reveal, a
#   network may use.
# - **Measure**: the edges of an image have colours, too, and these may go with the collection.
# - **Resize and normalise**: every image becomes a small square of numbers from 0 to 1.

# %% [markdown]
# {{quiz}}

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# Suppose all that you know of a validation image is its collection. Predict the class that is most frequent in that
# collection *in training*. What share of the validation images does this rule get right? Put that share (0 to 1) in
# `rule`. Is it above the score of the corners?

# %% tags=["solution"]
# @title Solution 1
rule = None
### BEGIN SOLUTION
frequent = train.groupby("collection")["label"].agg(lambda names: names.mode()[0])
rule = (val["collection"].map(frequent) == val["label"]).mean()
### END SOLUTION
checks.collection_rule(rule, train, val)

# %% [markdown]
# ### Exercise 2
#
# Split the images outside Test again, at random and without groups: `train_test_split(rows, test_size=VAL_FRACTION,
# random_state=SEED)`. How many groups are `divided`, that is, have images in both parts?

# %% tags=["solution"]
# @title Solution 2
rows = used[used["split"] != "test"]
divided = None
### BEGIN SOLUTION
first, second = train_test_split(rows, test_size=VAL_FRACTION, random_state=SEED)
divided = len(set(first["group"]) & set(second["group"]))
### END SOLUTION
checks.groups_on_both_sides(divided, rows, VAL_FRACTION, SEED)

# %% [markdown]
# ### Exercise 3
#
# Is it the colour of the corners, or their darkness, that reveals the class? Make `learned` and `held` grey (in each
# pixel, the mean of the three channels in all three), train the forest again, and put the classes that it predicts for
# the validation images in `grey`. How many are correct, and how many were in colour?

# %% tags=["solution"]
# @title Solution 3
grey = None
### BEGIN SOLUTION
grey_learned, grey_held = (blocks.mean(axis=3, keepdims=True).repeat(3, axis=3)
                           for blocks in (learned, held))
forest.fit(corners.describe(grey_learned), train["label"])
grey = forest.predict(corners.describe(grey_held))
### END SOLUTION
checks.corners_in_grey(grey, train, val, SEED)

# %% [markdown]
# ## Go on
#
# Solutions: [the notebook in full](https://github.com/{{repository}}/blob/{{branch}}/notebooks/{{notebook}}.ipynb).
#
# Next: [02_augmentation](02_augmentation.ipynb), in Colab
# [here](https://colab.research.google.com/github/{{repository}}/blob/{{branch}}/notebooks/exercises/02_augmentation.ipynb).
