# %% [markdown]
# # 1 · Look at the data before you train on it
#
# **In fifteen minutes you will know what is in these folders, what is wrong with them, and how to split them so that
# nothing leaks.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **load** the nine classes, count them and look at one image of each;
# - **resize and normalise** an image, and see what the network will see;
# - **measure** sizes, colours and brightness, and see what a network could cheat with;
# - **audit** the labels: find pictures filed under two classes, and test pictures that are also in Train;
# - **decide** in the open which labels to believe, with a ledger of every exclusion;
# - **split** into training and validation without tearing a lesion in two.

# %%
# {{setup}}

# %% tags=["parameters"]
DATA_DIR = ""  # @param {type:"string"} folder of the images; empty: look for one, else the synthetic sample
OUT_DIR = "runs/course"  # @param {type:"string"} run folder; a path under /content/drive/MyDrive outlives Colab
LABELS = "audited"  # @param ["audited", "published"] which labels to learn from
METADATA = ""  # @param {type:"string"} CSV of official labels and lesions; empty: the one that comes with the course
MIN_CLASS_SIZE = 20  # @param {type:"integer"} a class with fewer training images is left out
VAL_FRACTION = 0.2  # @param {type:"number"} share of the training images kept for validation
VAL_CUT = "at random"  # @param ["at random", "first"] which images: any groups, or each class's first by file name
IMAGE_SIZE = 96  # @param {type:"integer"} side in pixels of the images that a network sees
SEED = 0  # @param {type:"integer"} the same number gives the same split, images and networks

# %%
# %matplotlib inline
import numpy as np
import pandas as pd
from IPython.display import display
from PIL import Image

from helpers import audit, course, datasets, manifest, plots, splits

# %% [markdown]
# ## What the folders claim
#
# Each image lies in a folder named after its class, once for `Train` and once for `Test`. Expect nine classes of very
# unequal size.

# %%
out_dir = course.open_folder(OUT_DIR)
images = datasets.find(DATA_DIR)
published = datasets.list_images(images.root)
print(f"Images: {images.source}{' (SYNTHETIC: drawings, not patients)' if images.synthetic else ''}")

# %% tags=["nbval-check-output"]
datasets.counts(published)

# %% [markdown]
# The table is the **manifest**: one row an image. Every step of the course takes this table and returns it with more
# known; no step keeps a second list of files. Next, open every file once and write down its size, a hash of its bytes, a
# hash of its pixels and a *perceptual* hash, which hardly changes when a picture is saved again or made smaller.

# %%
table = audit.inspect(published)
table[["image_id", "published_label", "split", "sha256", "phash", "width", "height", "flag"]].head(3)

# %% [markdown]
# A file that cannot be read gets a **flag**. A flagged row takes no part, but it is never deleted: you can always ask why.

# %% tags=["nbval-check-output"]
table.loc[table["flag"] == "unreadable", ["image_id", "published_label", "split", "flag"]]

# %% [markdown]
# ## Two images of each class
#
# Look before you count. Some classes are told apart by colour, some by structure; a few pairs look alike even to
# experts.

# %%
readable = table[table["flag"] == ""]
plots.examples(readable, per_class=2, title="Two images of each class", seed=SEED, synthetic=images.synthetic)

# %% [markdown]
# ## How unequal are the classes?
#
# A network that always answers with the largest class is right this often. Keep the number in mind: an accuracy means
# nothing without it.

# %% tags=["nbval-check-output"]
sizes = readable[readable["split"] != "test"]["published_label"].value_counts()
print(f"Largest class: {sizes.index[0]} with {sizes.iloc[0]} images, {sizes.iloc[0] / sizes.sum():.0%} of all; "
      f"smallest: {sizes.index[-1]} with {sizes.iloc[-1]}; ratio {sizes.iloc[0] / sizes.iloc[-1]:.1f}.")

# %%
plots.class_counts(readable, title="Images by class, as published", synthetic=images.synthetic)

# %% [markdown]
# ## Resize and normalise
#
# A network takes images of one size and numbers of a small range. **Resize** squeezes every image into a square, with
# anti-aliasing so that fine lines do not turn into noise; **normalise** divides by 255. In this course the division is
# the network's own first layer (`Rescaling`), so that a saved network can be given a plain image.

# %%
with Image.open(readable["path"].iloc[0]) as file:
    original = file.convert("RGB")
resized = original.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS)
normalised = np.asarray(resized, dtype="float32") / 255
print(f"from {original.size} pixels, values 0 to 255, to {normalised.shape}, "
      f"values {normalised.min():.2f} to {normalised.max():.2f}")
plots.image_grid([original, resized], [f"{original.width} pixels", f"{IMAGE_SIZE} pixels"], 2,
                 synthetic=images.synthetic)

# %% [markdown]
# Are all images of one size? The table says how many there are of each.

# %% tags=["nbval-check-output"]
readable.groupby(["width", "height"]).size().rename("images").to_frame()

# %% [markdown]
# ## Colour and brightness
#
# Measure the mean of each colour channel. If one class were simply redder, a network would need no structure to name it;
# where the boxes overlap, colour alone is not enough.

# %%
pixels = np.stack([np.asarray(Image.open(path).convert("RGB").resize((32, 32), Image.Resampling.BOX))
                   for path in readable["path"]])
means = pixels.mean(axis=(1, 2))
colours = readable.assign(red=means[:, 0], green=means[:, 1], blue=means[:, 2], brightness=means.mean(axis=1))
plots.boxes(colours, ["red", "green", "blue", "brightness"], title="Mean colour by class, 0 to 255",
            synthetic=images.synthetic)

# %% [markdown]
# The **mean image** of a class shows what all its pictures share: mostly where the lesion sits, and how dark the corners
# are. Dark corners come from the dermatoscope, not from the skin: a network may learn them all the same.

# %%
names = sorted(readable["label"].unique())
plots.image_grid([pixels[readable["label"] == name].mean(axis=0) for name in names], names, 9,
                 title="Mean image of each class", synthetic=images.synthetic)

# %% [markdown]
# ## What the pictures say: the audit
#
# The folder name is a claim. The audit checks it against the pictures themselves (the same picture under two classes
# cannot be right twice) and against the **official labels** that the ISIC Archive gives for each image id.

# %% tags=["nbval-check-output"]
metadata = audit.official_labels(METADATA, images.root)
found = audit.findings(table, metadata)
pd.Series({name: value for name, value in found.items() if isinstance(value, int)}).rename("count").to_frame()

# %% [markdown]
# Look at the contradictions. Each column is one picture, with the two classes it is filed under. Nobody can learn to
# tell these apart, because there is nothing to tell: they are the same bytes.

# %%
first, second = audit.contradictory_pairs(table)
plots.pairs(first[:8], second[:8], title="One picture, two classes", synthetic=images.synthetic) if len(first) else None

# %% [markdown]
# Next, where an official label is known and the folder says something else, by pair of labels:

# %% tags=["nbval-check-output"]
pd.DataFrame(found["official_label_disagreements"])

# %% [markdown]
# Why does this matter? If a class with a harmless name is filled with melanomas, a network learns to call melanoma
# harmless, and a score on labels of the same origin rewards it for that. No accuracy can show the fault: only looking
# does.

# %% [markdown]
# ## Decide in the open: the ledger
#
# `LABELS = "published"` believes the folders and removes nothing. `LABELS = "audited"`, the default, follows five rules:
#
# 1. an official label, where one is known, replaces the folder's;
# 2. a contradiction that no official label settles is left out;
# 3. of duplicates, one copy stays;
# 4. what is in Test, the same picture or the same lesion, leaves Train;
# 5. a class left with fewer than `MIN_CLASS_SIZE` training images is left out.
#
# The ledger accounts for every image, class by class. You may disagree with a rule: change it, and see what it costs.

# %% tags=["nbval-check-output"]
grouped = audit.group(table, metadata)
labelled = audit.apply_labels(grouped, LABELS, metadata, MIN_CLASS_SIZE)
ledger = audit.ledger(labelled)
left_out = sorted(set(published["published_label"]) - set(manifest.active(labelled, "train")["label"]))
print(f"Classes left out altogether: {', '.join(left_out) or 'none'}")
ledger

# %% [markdown]
# ## Split
#
# Part of Train becomes **validation**: every choice is made on it, so that Test is scored once, at the end. Two rules
# make the split honest. It is **stratified**: each class gives the same share. And it is **grouped**: photographs of one
# lesion stay together, or the network would be asked about a lesion that it has already seen.
#
# The published Test is not a random sample: it holds the first files of each class by number, so perhaps another clinic's.
# `VAL_CUT = "first"` cuts validation the same way. Prefer what helps on both.

# %% tags=["nbval-check-output"]
table = splits.split(labelled, val_fraction=VAL_FRACTION, seed=SEED, val_cut=VAL_CUT)
used = manifest.active(table)
pd.crosstab(used["label"], used["split"], margins=True, margins_name="total")

# %% [markdown]
# Check it: no group has members in two splits.

# %% tags=["nbval-check-output"]
crossing = (used.groupby("group")["split"].nunique() > 1).sum()
print(f"{used['group'].nunique()} groups, of which {crossing} cross from one split to another")
assert crossing == 0

# %%
plots.class_counts(used, title=f"Images by class, {LABELS} labels", synthetic=images.synthetic)

# %% [markdown]
# ## Is Test a fair sample?
#
# The number in an image's name tells when it entered the archive, and so from which clinic it came. Where the dots of
# Test sit at one end, Test was photographed elsewhere than most of Train: expect Test scores below validation.

# %%
numbers = pd.to_numeric(table["image_id"].str.extract(r"(\d{5,})")[0])
numbered = table.assign(**{"image number": numbers}).dropna(subset=["image number"])
plots.strips(numbered, "image number", by="published_label", title="Number in the image's name, by split",
             synthetic=images.synthetic) if len(numbered) else None

# %% [markdown]
# ## Who are the patients?
#
# Age, sex and body site are known for part of the images. A network that does well on average may do badly on those of
# whom it has seen few: notebook 05 asks that question again, with scores.

# %%
known = audit.with_metadata(used, metadata).query("diagnosis != ''")
print(f"Something is known of {len(known)} of {len(used)} images.")
for fact in ("sex", "anatom_site_general"):
    display(known[fact].replace("", "unknown").value_counts().rename("images").to_frame().T)
plots.boxes(known.assign(age=pd.to_numeric(known["age_approx"])), ["age"], title="Age by class, in years",
            synthetic=images.synthetic) if len(known) else None

# %% [markdown]
# ## Keep it
#
# The manifest goes into the run folder. Its fingerprint is stored with every result from here on: two results with the
# same fingerprint were made from the same images, labels and split.

# %%
manifest.write(table, out_dir / "manifest.csv", images.root)
course.done("01_eda", globals())
print(f"{out_dir / 'manifest.csv'}: {len(table)} rows, {len(used)} take part")

# %% tags=["nbval-check-output"]
print(f"fingerprint {manifest.fingerprint(table)}")

# %% [markdown]
# ## What you saw
#
# - **Load**: the folders hold nine classes of very unequal size; always answering with the largest is the score to beat.
# - **Resize and normalise**: every image becomes a small square of numbers, and detail is lost on the way.
# - **Measure**: colours overlap between classes; dark corners and image numbers tell of the camera, not of the skin.
# - **Audit**: the same picture stands under two classes, and Test pictures stand in Train.
# - **Decide**: the ledger accounts for every image left out, and why.
# - **Split**: stratified, grouped, seeded; Test stays untouched.
#
# ## Exercises
#
# 1. Set `LABELS = "published"` and run again. Which classes change most in the last table?
# 2. Split without groups, with `sklearn.model_selection.train_test_split`. How many lesions are torn in two?
# 3. Choose three contradictory pictures and look up their ids in the ISIC Archive. Which folder was right?
