# %% [markdown]
# # 6 · Transfer learning: begin with a trained network
#
# **In twenty minutes you will teach a network that was trained on a million photographs to recognise skin lesions: first
# one new layer alone, then all of it, and see what each step gives.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **load** a network that was trained on ImageNet, without its last layer;
# - **freeze** it, guess how good its features are, and train a single layer on them;
# - **tune** the whole network gently;
# - **compare** frozen and tuned, on validation and with the colours of other images;
# - **score** the result beside the networks of the earlier notebooks.
#
# This notebook goes beyond the case study, which trains its networks from scratch: from random weights. It needs an
# internet connection, or a small package of weights; without either it says so and ends there.

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
# the same number gives the same split, images and networks
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
# The same images and the same split as in the notebooks before, but larger: networks that were trained on ImageNet look
# at fine detail.

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
# The augmentation repeats that of notebook 04: the same layers of Keras, and `exchange_colours`, which was written there.
# Only here each image takes the colours of another one *fully* (`FINE_TUNE_EXCHANGE = 1`).

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
def augment(images, seed):
    """Return a batch of images, float32 from 0 to 255, as training sees them."""
    images = pipeline.seeded(geometry, images, seed)
    images = exchange_colours(images, seed, FINE_TUNE_EXCHANGE)
    return pipeline.seeded(tint, images, seed + 1)


# %% [markdown]
# Look at images of five classes, and below each at a view of it that training may see.

# %% tags=["slide"]
some = train.drop_duplicates("label").sort_values("label")[:5]
first = load(some).astype("float32")
views = augment(first, tf.constant([SEED % 2**31, 1]))
figures.image_grid(
    [*first, *views],
    [*some["label"], *["augmented"] * len(first)],
    columns=len(first), inches=1.8,
    title="Training sees each image turned, relit and with other colours",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# Images of rare classes count for more, and a melanoma `MELANOMA_WEIGHT` times as much as that, as in notebook 04.

# %%
weights = pipeline.weights(train, BALANCE, MELANOMA_WEIGHT)
train_targets = pipeline.one_hot(train, CLASSES)
val_data = pipeline.batches(load(val), pipeline.one_hot(val, CLASSES), BATCH_SIZE)
train_data = pipeline.batches(
    load(train), train_targets, BATCH_SIZE,
    seed=SEED, augment=augment, weights=weights,
)

# %% [markdown]
# ## Load a backbone
#
# The first layers of a network that was trained on photographs find edges, spots and textures, which every picture has.
# **Transfer learning** begins with such a network. Its last layer, which predicts cats and lorries, is left off; the rest
# is the **backbone**. It turns an image into a list of numbers, which the last layer received: its **features**.
#
# `keras.applications` has many backbones. `build` is its function of the name `BACKBONE`, and downloads the weights once.
# Where nothing can be downloaded, EfficientNet-Lite0 (Tan and Le, 2019) is used, whose weights come as a package. All
# figures that this course publishes are of that one; the EfficientNetB0 that Colab downloads was not measured.

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

# %% tags=["nbval-check-output"]
print(f"{backbone.output_shape[-1]:,} features an image")

# %% [markdown]
# ## First step: frozen features
#
# Leave the backbone as it is: **frozen**. Only a new Dense layer on top of it will learn.

# %%
backbone.trainable = False
x = layers.Dropout(DROPOUT)(backbone.output)
outputs = layers.Dense(len(CLASSES), activation="softmax", dtype="float32")(x)
network = keras.Model(backbone.input, outputs, name="transfer")

# %% [markdown]
# A frozen backbone gives the same features of a view in every epoch, so they are computed once, for `FEATURE_VIEWS` augmented
# views of each training image. Each row below is one view:

# %%
features, targets, counts = backbones.features(backbone, train_data, FEATURE_VIEWS)
val_features, val_targets = backbones.features(backbone, val_data)
pd.DataFrame(features).head(3).round(2)

# %% [markdown]
# No column was made for skin: the backbone learned them from dogs, cars and mushrooms. How good are they? Remember what
# your networks from scratch reach on validation (notebook 05). Now **guess** the share of validation images that one Dense
# layer on these features classifies correctly.

# %%
GUESS = 0.5  # change me: a share from 0 to 1

# %% [markdown]
# `head` is the part of the network above the backbone. It sees features, not images, so an epoch takes a moment.

# %%
head = keras.Model(backbone.output, outputs)
head.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
stopping = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
past = head.fit(
    features, targets, sample_weight=counts,
    validation_data=(val_features, val_targets),
    batch_size=64, epochs=60, callbacks=[stopping], verbose=0,
)
print(f"{len(past.epoch)} epochs, {head.count_params():,} weights")

# %% [markdown]
# Here is your guess, beside the networks that you trained from scratch. (Those of notebook 04 average eight views of each
# image; this one sees a single view.)

# %%
def predict_validation():
    """Return the network's predictions of validation; images of one lesion have one group."""
    chances = pipeline.average_views(network, load(val), all_views=False)
    found = scores.predictions_table(val, chances, CLASSES)
    return found.assign(group=val["group"].to_numpy())


frozen_rows = predict_validation()
compared = evaluate.on_validation(run, table, {"one layer on frozen features": frozen_rows})
reached = compared["value"].iloc[-1]

# %% tags=["slide"]
figures.shares(
    compared, GUESS,
    title=f"You guessed {GUESS:.0%}; one layer on frozen features gets {reached:.0%}",
    xlabel="accuracy on validation",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# An accuracy on validation may come from the camera rather than the lesion (notebook 05). So before the backbone changes,
# the network also predicts validation images with the colours of others: of the same collection (the control), and of
# another one. With `EXTERNAL_DIR`, it also predicts another set.

# %%
other_set = evaluate.other_set(run, table)
swapped = evaluate.by_colours(network, load, table, SEED)
frozen = evaluate.numbers(network, load, table, other_set, swapped)

# %% [markdown]
# ## Second step: fine-tuning
#
# Now let the backbone change, too: **fine-tuning**. Large first steps could spoil features that are good already. So the
# learning rate is small, rises through the first epoch, and then falls along a cosine to zero; the Dense layer starts
# from what it has learned (Kumar and others, 2022); and batch normalisation stays as ImageNet left it.

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
# epoch, depends less on a few confident mistakes.

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
# The accuracy on validation, with the images' own colours and with those of others. Read down: what did fine-tuning
# change? Read across: how much is left with the colours of another collection?

# %%
swapped = evaluate.colours_of(training.folder, table, SEED)
tuned = evaluate.numbers(network, load, table, other_set, swapped)
both = pd.DataFrame({"frozen": frozen, "fine-tuned": tuned})
manifest.write_text(json.dumps(both.to_dict(), indent=2), run.folder / "transfer" / "numbers.json")
both.T.rename(columns={"validation": "own colours"}).round(2)

# %% [markdown]
# The same images were predicted before and after, so count those that changed sides:

# %% tags=["slide"]
tuned_rows = predict_validation()
change = scores.compare(tuned_rows, frozen_rows, SEED)
difference = report.estimate(change, "difference")
print(f"Of {len(val)} images, {change['only_a_right']} are right only after fine-tuning, "
      f"{change['only_b_right']} only before it.")
print(f"You guessed {GUESS:.2f}; frozen features reach {reached:.2f}, and fine-tuning changes that "
      f"by {difference}.")

# %% [markdown]
# Look at the interval in brackets. Above zero, fine-tuning helped on images like these; below zero, it did harm; if it
# holds zero, these images are too few to say. The sample is tuned for two epochs, which is hardly a start; for other
# images the default is twenty.
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
# `evaluate` scores every network of the run folder, and writes the report anew. Only now is this network scored on Test.
# All choices were made before.

# %%
results = evaluate.evaluate(run, table)
results.accuracies.loc["transfer"]

# %% [markdown]
# The question of notebook 05, put to all networks: what is left on images of another clinic (where Test has too few of
# them, with the colours of another clinic)? The networks of notebook 04 differ from this one in more than their start: they see
# smaller images, whose colours are exchanged in part or not at all, and have another loss.

# %% tags=["slide"]
place = shortcut.hard_place(results.reveal)
reached = results.reveal.loc[("transfer", place), "value"]
shortcut.figure(
    results.reveal,
    title=f"{place}: transfer learning reaches {reached:.2f}",
    synthetic=SYNTHETIC,
)

# %%
run.done(GUESS=GUESS)

# %% [markdown]
# ## What you saw
#
# - **Load**: a network without its last layer turns an image into features.
# - **Freeze**: one layer on features that were never meant for lesions is trained in moments.
# - **Tune**: small steps from a good start; the interval says whether they helped.
# - **Compare**: what is left with other colours, validation alone does not show.
# - **Score**: Test once, after all choices, beside the networks from scratch.
#
# What does the exchange of colours give here, and what does it cost? Train once more with `FINE_TUNE_EXCHANGE = 0` into another
# `OUT_DIR`, and compare the rows.

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
# average them to one **prototype** a class. Predict for each validation image the class with the most similar prototype
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
