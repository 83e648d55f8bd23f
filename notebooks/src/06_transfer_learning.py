# %% [markdown]
# # 6 · Transfer learning: begin with a pretrained network
#
# **In twenty minutes of reading (about an hour if you also do it) you will teach a network that was trained on a million
# photographs to recognise skin lesions: first one new layer alone, then all of it, and see what each step gives.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **load** a network that was trained on ImageNet (over a million photographs of a thousand kinds of things), and look
#   at what it finds alike in images of skin;
# - **freeze** it, guess how far a single layer gets with its features, and train that layer;
# - **tune** the whole network gently;
# - **compare** frozen and tuned, on validation and with the colours of other images;
# - **score** the result beside the networks of the earlier notebooks.
#
# This notebook goes beyond the case study, which trains its networks from scratch: from random weights. It needs an
# internet connection, or a small package of weights; without either it says so and ends there.
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
# the pretrained network to start from
BACKBONE = "EfficientNetB0"  # @param ["EfficientNetB0", "EfficientNetV2B0", "MobileNetV3Large", "ResNet50V2", "EfficientNetLite0"]
# side in pixels of the images that the backbone sees
TRANSFER_SIZE = 128  # @param {type:"integer", min:32, max:1024}
# augmented views of each training image used to compute the frozen features
FEATURE_VIEWS = 2  # @param {type:"integer", min:1, max:100}
# passes over the training images in fine-tuning; 0: 20, or 2 on the sample
FINE_TUNE_EPOCHS = 0  # @param {type:"integer", min:0, max:10000}
# learning rate of fine-tuning
FINE_TUNE_RATE = 0.0003  # @param {type:"number", min:0.0000001, max:10}
# transfer learning: how far colours move to those of another image; 0 not, 0.5 in part, 1 fully
FINE_TUNE_EXCHANGE = 1.0  # @param {type:"number", min:0, max:1}
# share of the backbone's layers that fine-tuning may change, counted from the last
UNFREEZE = 1.0  # @param {type:"number", min:0, max:1}
# images per training step
BATCH_SIZE = 16  # @param {type:"integer", min:1, max:4096}
# share of activations set to zero at random before a Dense layer
DROPOUT = 0.2  # @param {type:"number", min:0, max:0.95}
# class weights: 0 every image counts the same; 1 every class of every collection; 0.5 between
BALANCE = 0.5  # @param {type:"number", min:0, max:1}
# factor on the weight of a melanoma in the loss; a missed one costs more than other mistakes
MELANOMA_WEIGHT = 2.5  # @param {type:"number", min:0.01, max:100}
# test-time augmentation: average the predictions over flips and quarter turns
TTA = True  # @param {type:"boolean"}
# fit images into the square with black borders instead of stretching them
KEEP_ASPECT = False  # @param {type:"boolean"}
# folder of another set of images, scored as well as Test; empty: none
EXTERNAL_DIR = ""  # @param {type:"string"}
# the same number gives the same split and images; networks may differ a little from run to run
SEED = 0  # @param {type:"integer", min:0, max:4294967295}

# %%
# %matplotlib inline
from helpers import figures, manifest, runs
from helpers.evaluation import evaluate, report, scores, shortcut
from helpers.training import backbones, callbacks, pipeline
from helpers.training.colours import exchange_colours
from notebooks.checks import scores as checks

import json

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers
from sklearn.neighbors import KNeighborsClassifier

# %%
run = runs.start("06_transfer_learning", globals())
SYNTHETIC = run.images.synthetic  # then figures say so
print(callbacks.set_up_device(SEED))
tf.get_logger().setLevel("ERROR")  # it warns when a network predicts sets of several sizes
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * SYNTHETIC)

# %% [markdown]
# ## The images
#
# The same images and the same split as in the notebooks before, but larger, as networks that were trained on photographs
# expect fine detail.

# %% tags=["nbval-check-output"]
table = run.manifest()
train = manifest.active(table, "train")
val = manifest.active(table, "val")
CLASSES = sorted(train["label"].unique())
print(f"{len(train)} training images, {len(val)} validation images, {len(CLASSES)} classes")

# %%
def load(rows):
    """Return the pixels of manifest rows, as this network takes them."""
    return pipeline.load(rows, TRANSFER_SIZE, run.folder / "cache", KEEP_ASPECT)


# %% [markdown]
# Training sees them as the second training of notebook 04 did: turned by the same layers of Keras, and with the colours
# of others. `exchange_colours` was written there; here each image takes the colours of another one *fully*
# (`FINE_TUNE_EXCHANGE = 1`).

# %%
geometry = keras.Sequential([
    layers.RandomFlip("horizontal_and_vertical"),
    layers.RandomRotation(0.5, fill_mode="reflect"),
    layers.RandomZoom((-0.3, 0.0), fill_mode="reflect"),
    layers.RandomBrightness(0.075),
    layers.RandomContrast(0.15),
])
tint = keras.Sequential([layers.RandomGrayscale(0.2), layers.RandomHue(0.2)])


# %%
def turned(images, seed):
    """Return a batch of images, float32 from 0 to 255, turned, zoomed and relit at random."""
    return pipeline.seeded(geometry, images, seed)


def exchanged(images, seed):
    """Return a batch as training sees it: turned, and with the colours of other images."""
    images = exchange_colours(turned(images, seed), seed, FINE_TUNE_EXCHANGE)
    return pipeline.seeded(tint, images, seed + 1)


# %% [markdown]
# How much an image counts is as in notebook 04.

# %%
def batches(change):
    """Return the training batches, changed on the fly by ``change``."""
    weights = pipeline.weights(train, BALANCE, MELANOMA_WEIGHT)
    targets = pipeline.one_hot(train, CLASSES)
    return pipeline.batches(
        load(train), targets, BATCH_SIZE, seed=SEED, augment=change, weights=weights
    )


train_data = batches(exchanged)
val_data = pipeline.batches(load(val), pipeline.one_hot(val, CLASSES), BATCH_SIZE)

# %% [markdown]
# ## Load a backbone
#
# The first layers of a network that was trained on photographs find edges, spots and textures, which every picture has.
# **Transfer learning** begins with such a network, without its last layer, which predicts cats and lorries. The rest is
# the **backbone**. It turns an image into the list of numbers that the last layer received: its **features**.
#
# `keras.applications` has many backbones. `build` is its function of the name `BACKBONE`, which downloads the weights,
# by default those of EfficientNetB0. Where that fails, EfficientNet-Lite0 (Tan and Le, 2019) is used, whose weights come
# as a package. **Every number that this course publishes is of EfficientNet-Lite0**; EfficientNetB0 was not measured, so
# your numbers may differ.

# %%
build = backbones.find(BACKBONE)  # by default, keras.applications.EfficientNetB0
backbone = build(
    input_shape=(TRANSFER_SIZE, TRANSFER_SIZE, 3),
    include_top=False,
    weights="imagenet",
    pooling="avg",
)

# %%
print(f"{backbone.name}: {backbone.count_params():,} weights")

# %% [markdown]
# ## Do features of cats and lorries say anything about skin?
#
# The backbone has never seen a lesion, so look at what it finds alike. Take the features of each validation image, and
# find the image of another lesion whose features are most similar:

# %%
val_features, val_targets = backbones.features(backbone, val_data)
nearest = val.iloc[backbones.nearest(val_features, val["group"])]
alike = nearest["label"].to_numpy() == val["label"].to_numpy()
by_chance = backbones.by_chance(val)

# %% tags=["slide"]
some = val.sample(frac=1, random_state=SEED).index[:5]
pairs = pd.concat([val.loc[some], nearest.set_index(val.index).loc[some]])
figures.image_grid(
    pairs["path"], pairs["label"],
    columns=len(some), inches=1.8,
    title=f"Below each image, the most similar other one: {alike.mean():.0%} of {len(val)} pairs "
          f"are of one class (at random, within a collection: {by_chance:.0%})",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# Nobody told the backbone what a melanoma is. If neighbours share a class more often than at random, its features
# **transfer**: numbers that were learned for one task serve another. (Images of one collection may be alike for other
# reasons than the lesion; hence the comparison within a collection.)

# %% [markdown]
# ## First step: frozen features
#
# Leave the backbone as it is: **frozen**. Only a new Dense layer on top of it will learn to name the classes.

# %%
backbone.trainable = False
x = layers.Dropout(DROPOUT)(backbone.output)
outputs = layers.Dense(len(CLASSES), activation="softmax", dtype="float32")(x)
network = keras.Model(backbone.input, outputs, name="transfer")

# %% [markdown]
# A frozen backbone gives the same features of a view in every epoch, so they are computed once, for `FEATURE_VIEWS`
# augmented views of each training image. (`importance` is how much each view counts in the loss.)

# %%
features, targets, importance = backbones.features(backbone, train_data, FEATURE_VIEWS)

# %% tags=["nbval-check-output"]
print("{:,} views of {:,} features each".format(*features.shape))

# %% [markdown]
# In the colours of another collection, your networks from scratch lost part of their score, or most of it (notebook 05).
# **Guess**: train one Dense layer on these features, with exchanged colours. Of the validation images in the colours of
# another collection, what share does it classify correctly? (If all images come from one collection, the question is
# about their own colours.)

# %%
GUESS = 0.5  # change me: a share from 0 to 1

# %% [markdown]
# `head` is the new layer alone. It sees features, not images, so an epoch takes a moment.

# %%
def train_head(head, features, targets, importance):
    """Train a layer on features of the frozen backbone, keep its best epoch, and return the number of epochs."""
    head.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    stopping = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    past = head.fit(
        features, targets, sample_weight=importance,
        validation_data=(val_features, val_targets),
        batch_size=64, epochs=60, callbacks=[stopping], verbose=0,
    )
    return len(past.epoch)


# %%
head = keras.Model(backbone.output, outputs)
count = train_head(head, features, targets, importance)
print(f"{count} epochs, {head.count_params():,} weights")

# %% [markdown]
# Its training exchanged colours. What do the features give without that? Train a second layer like it on images in
# their own colours, as the first training of notebook 04 saw them.

# %%
plain_head = keras.models.clone_model(head)
train_head(plain_head, *backbones.features(backbone, batches(turned), FEATURE_VIEWS))
plain_network = keras.Model(backbone.input, plain_head(backbone.output))

# %% [markdown]
# Here is your guess, beside the networks that you trained from scratch. All see one view of each image. The two
# *frozen* rows differ only in the exchange of colours. Compared with the networks from scratch, the images are larger,
# too, and the exchange is full instead of partial: so not all of the difference need be due to the features.

# %%
def predict_validation():
    """Return the network's predictions of validation; images of one lesion have one group."""
    chances = pipeline.average_views(network, load(val), all_views=False)
    found = scores.predictions_table(val, chances, CLASSES)
    return found.assign(group=val["group"].to_numpy())


frozen_rows = predict_validation()

# %%
swapped = evaluate.by_colours(network, load, table, SEED)
new = {
    "frozen features, colours kept": evaluate.by_colours(plain_network, load, table, SEED),
    "frozen features, colours exchanged": swapped,
}
compared = evaluate.in_other_colours(run, table, new, frozen_rows, SEED)
reached = compared["value"].iloc[-1]
scratch = compared["value"].drop([*new], errors="ignore").max()

# %% tags=["slide"]
figures.shares(
    compared, GUESS,
    title=f"Frozen features {reached:.0%}, from scratch at most {scratch:.0%} (you guessed {GUESS:.0%})",
    xlabel="accuracy on validation, in the colours of another collection (if there is one)",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# Before the backbone changes, keep what to compare it with: these accuracies and, with `EXTERNAL_DIR`, those on another
# set.

# %%
other_set = evaluate.other_set(run, table)
frozen = evaluate.numbers(frozen_rows, swapped, network, load, table, other_set)

# %% [markdown]
# ## Second step: fine-tuning
#
# On the sample this takes two epochs only: enough to see how it is done, not what it can do. Other images get twenty.
#
# Now let the backbone change, too: **fine-tuning**. Large first steps could spoil features that are good already. So the
# Dense layer starts from what it has learned (Kumar and others, 2022), and the learning rate is small: it rises through
# the first epoch, then falls along a cosine to zero. Batch normalisation stays as ImageNet left it.

# %%
epochs = FINE_TUNE_EPOCHS or (2 if SYNTHETIC else 20)
backbones.unfreeze(backbone, UNFREEZE)
steps = len(train_data)
rate = keras.optimizers.schedules.CosineDecay(
    0.0,
    decay_steps=(epochs - 1) * steps + 1,  # after one epoch of warm-up
    warmup_target=FINE_TUNE_RATE,
    warmup_steps=steps,
)

# %% [markdown]
# **Label smoothing** asks for a probability of about 0.9 instead of 1, so that the validation loss, which chooses the
# epoch, depends less on a few confident mistakes. (Even perfect answers then have a loss of about 0.5 with eight
# classes: do not compare it with notebook 04.)

# %%
smoothed = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
network.compile(optimizer=keras.optimizers.Adam(rate), loss=smoothed, metrics=["accuracy"])

# %%
training = callbacks.begin(run, network, table, epochs)
checkpoint = keras.callbacks.ModelCheckpoint(
    training.best, monitor="val_loss", save_best_only=True, save_weights_only=True
)
network.fit(
    train_data, validation_data=val_data,
    epochs=epochs, initial_epoch=training.initial_epoch,
    callbacks=[checkpoint, *callbacks.upkeep(training, checkpoint)], verbose=0,
)
history = callbacks.finish(network, training)

# %% [markdown]
# ## What did fine-tuning give?
#
# Accuracy on validation, before and after. Read down: what did fine-tuning change? Read across: how much is left with the
# colours of another image, of the same collection (the control) or of another one?

# %%
tuned_rows = predict_validation()
swapped = evaluate.colours_of(training.folder, table, SEED)
tuned = evaluate.numbers(tuned_rows, swapped, network, load, table, other_set)
both = pd.DataFrame({"frozen": frozen, "fine-tuned": tuned})
manifest.write_text(json.dumps(both.to_dict(), indent=2), run.folder / "transfer" / "numbers.json")
both.T.rename(columns={"validation": "own colours"}).round(2)

# %% [markdown]
# The same images were predicted before and after, so count those that changed sides:

# %% tags=["slide"]
change = scores.compare(tuned_rows, frozen_rows, SEED)
difference = report.estimate(change, "difference")
print(f"Of {len(val)} images, {change['only_a_right']} are right only after fine-tuning, "
      f"{change['only_b_right']} only before it.")
print(f"You guessed {GUESS:.0%}; frozen features reach {reached:.0%}.")
print(f"In their own colours, fine-tuning changes the share that is right by {difference}.")

# %% [markdown]
# If the interval in brackets lies above zero, fine-tuning helped on images like these; below zero, it did harm; if it
# includes zero, these images are too few to say.
#
# ## Keep it, and score it on Test
#
# As in notebook 04, predictions are averaged over the eight views of each image.

# %%
def average(rows):
    """Return the probabilities of manifest rows, averaged over the views of each image."""
    return pipeline.average_views(network, load(rows), TTA)


predictions = scores.write_predictions(training.folder, table, CLASSES, average)
print(f"{len(predictions)} images of validation and Test: {OUT_DIR}/transfer/predictions.csv")

# %% [markdown]
# `evaluate` scores every network of the run folder, and writes the report anew. Only now is this network scored on
# Test: no choice in this notebook used it.

# %%
results = evaluate.evaluate(run, table)
results.accuracies.loc["transfer"].drop(shortcut.UNSEEN, errors="ignore")

# %% [markdown]
# Last, the question of notebook 05: how many of the unseen pairs of class and clinic (or, where Test has too few such
# images, of other hard ones) does it classify correctly?

# %% tags=["slide"]
place = shortcut.hard_place(results.reveal)
hard = results.reveal.xs(place, level="place", drop_level=False)
best = hard["value"].droplevel("place")
shortcut.figure(
    hard,
    title=f"{place}: transfer {best['transfer']:.0%}, "
          f"from scratch at most {best.drop('transfer').max():.0%}",
    synthetic=SYNTHETIC,
)

# %%
run.done(GUESS=GUESS)

# %% [markdown]
# Do not conclude that a pretrained network always wins. On the real images that this course was tried on (four
# trainings), *transfer* was worse than *colours kept* on validation (56% to 62%, against 65% to 66%), and better where
# the clinic changes: of another clinic's nevi it recognised 59% to 75%, against 6% to 10%. Its frozen features alone
# reached 41% in another collection's colours, hardly more than *colours exchanged* (39%, one training)
# ([results](https://github.com/{{repository}}/blob/{{branch}}/docs/results.md#which-network-would-you-send-to-a-clinic)).

# %% [markdown]
# ## What you saw
#
# - **Load**: a network without its last layer turns an image into features; similar images may get similar features, even
#   on skin.
# - **Freeze**: one layer on features that were never meant for lesions is trained in moments; in other colours, the figure
#   compares it with networks trained from scratch.
# - **Tune**: small steps from a good start; the interval says whether they helped.
# - **Compare**: validation alone does not show how much is left with other colours.
# - **Score**: on Test after all choices, beside the networks from scratch.
#
# What does the exchange of colours give here, and what does it cost? Train once more with `FINE_TUNE_EXCHANGE = 0` into
# another `OUT_DIR`, and compare the rows.

# %% [markdown]
# {{quiz}}

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# How many weights did the first step learn? Work it out from the number of features and of classes, as `by_hand`, before
# you ask Keras.

# %% tags=["solution"]
# @title Solution 1
by_hand = None
### BEGIN SOLUTION
by_hand = (features.shape[1] + 1) * len(CLASSES)
### END SOLUTION
checks.weights_of_a_head(by_hand, head)

# %% [markdown]
# ### Exercise 2
#
# Are the features any good without training anything? Fit scikit-learn's `KNeighborsClassifier` with five neighbours and
# `metric="cosine"` on the training features, and set `by_neighbours` to its accuracy on validation. (It takes class
# numbers: `targets.argmax(axis=1)`.)

# %% tags=["solution"]
# @title Solution 2
by_neighbours = None
### BEGIN SOLUTION
neighbours = KNeighborsClassifier(5, metric="cosine").fit(features, targets.argmax(axis=1))
by_neighbours = neighbours.score(val_features, val_targets.argmax(axis=1))
### END SOLUTION
checks.neighbours(by_neighbours, features, targets, val_features, val_targets)

# %% [markdown]
# ### Exercise 3
#
# How many images do such features need? Take only the first five views of each class, in the order of `features`, and
# average them to one **prototype** per class. Predict for each validation image the class with the most similar prototype
# (cosine), and set `from_five` to the accuracy.

# %% tags=["solution"]
# @title Solution 3
from_five = None
### BEGIN SOLUTION
kinds = pd.Series(targets.argmax(axis=1)).sort_values(kind="stable")
few = kinds.groupby(kinds).head(5)
prototypes = pd.DataFrame(features[few.index]).groupby(few.to_numpy()).mean().to_numpy()
prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
similar = val_features @ prototypes.T
from_five = (similar.argmax(axis=1) == val_targets.argmax(axis=1)).mean()
### END SOLUTION
checks.prototypes(from_five, features, targets, val_features, val_targets)

# %% [markdown]
# ## Go on
#
# Solutions: [the notebook in full](https://github.com/{{repository}}/blob/{{branch}}/notebooks/{{notebook}}.ipynb).
#
# Next: [07_decisions](07_decisions.ipynb), in Colab
# [here](https://colab.research.google.com/github/{{repository}}/blob/{{branch}}/notebooks/exercises/07_decisions.ipynb).
