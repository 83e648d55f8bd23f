# %% [markdown]
# # 7 · Transfer learning: begin with a trained network
#
# **In twenty minutes you will teach a network that was trained on a million photographs to tell skin lesions apart, and
# ask it the same hard question as your own: the lesion, or the camera?**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **load** a network that was trained on ImageNet, without its last layer;
# - **freeze** it, and learn from its features alone;
# - **tune** it gently, as a whole;
# - **doubt** both with the same four numbers;
# - **predict** validation and Test, so that notebook 05 scores this network too.
#
# This notebook goes beyond the case study, which trains its networks from scratch. It needs a network connection, or a
# small package of weights; without either it says so and does nothing more.

# %%
# {{setup}}

# %% tags=["parameters"]
DATA_DIR = ""  # @param {type:"string"} folder of the images; empty: look for one, else the synthetic sample
OUT_DIR = "runs/course"  # @param {type:"string"} run folder; a path under /content/drive/MyDrive outlives Colab
LABELS = "audited"  # @param ["audited", "published"] which labels to learn from
METADATA = ""  # @param {type:"string"} CSV of official labels and lesions; empty: the one that comes with the course
MIN_CLASS_SIZE = 20  # @param {type:"integer", min:1, max:100000} a class with fewer training images is left out
BACKBONE = "EfficientNetB0"  # @param ["EfficientNetB0", "EfficientNetV2B0", "MobileNetV3Large", "ResNet50V2", "EfficientNetLite0"] the network to begin with
TRANSFER_SIZE = 128  # @param {type:"integer", min:32, max:1024} side in pixels of the images that the backbone sees
FEATURE_VIEWS = 2  # @param {type:"integer", min:1, max:100} how many augmented views of each training image the frozen features are of
FINE_TUNE_EPOCHS = 0  # @param {type:"integer", min:0, max:10000} passes over the training images in fine-tuning; 0: 20, or 2 on the sample
FINE_TUNE_RATE = 0.0003  # @param {type:"number", min:0.0000001, max:10} learning rate of fine-tuning
FINE_TUNE_EXCHANGE = 1.0  # @param {type:"number", min:0, max:1} how far an image's colours move to those of another in transfer learning: 0 not, 0.5 a random part, 1 all the way
UNFREEZE = 1.0  # @param {type:"number", min:0, max:1} share of the backbone's layers that fine-tuning may change, counted from the last
BATCH_SIZE = 16  # @param {type:"integer", min:1, max:4096} images a training step
DROPOUT = 0.2  # @param {type:"number", min:0, max:0.95} share of activations hidden at random before a Dense layer
BALANCE = 0.5  # @param {type:"number", min:0, max:1} 0: every image counts the same; 1: every class of every collection does; 0.5: between the two
MELANOMA_WEIGHT = 2.5  # @param {type:"number", min:0.01, max:100} how many times a melanoma counts in the loss; a missed one costs more than other mistakes
TTA = True  # @param {type:"boolean"} test-time augmentation: average the predictions over flips and quarter turns
KEEP_ASPECT = False  # @param {type:"boolean"} fit images into the square on black instead of squeezing them
EXTERNAL_DIR = ""  # @param {type:"string"} folder of another set, to be scored beside Test; empty: none
SEED = 0  # @param {type:"integer", min:0, max:4294967295} the same number gives the same split, images and networks

# %%
# %matplotlib inline
import json

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from helpers import figures, manifest, runs
from helpers.evaluation import scores
from helpers.training import backbones, callbacks, pipeline

# %% [markdown]
# ## The device and the images
#
# The same images and the same split as in notebooks 03 and 04, only larger: the networks of ImageNet look at fine
# detail.

# %%
print(callbacks.set_up_device(SEED))
tf.get_logger().setLevel("ERROR")  # it warns when a network predicts sets of several sizes
run = runs.start("07_transfer_learning", globals())
table = run.manifest()
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * run.images.synthetic)

# %% [markdown]
# Test is set aside: nothing below looks at it before the network is finished.

# %% tags=["nbval-check-output"]
train, val = manifest.active(table, "train"), manifest.active(table, "val")
CLASSES = sorted(train["label"].unique())
print(f"{len(train)} training images, {len(val)} validation images, {len(CLASSES)} classes")

# %% [markdown]
# ## Load a backbone
#
# The first layers of a network that was trained on photographs find edges, spots and textures, which any picture has.
# **Transfer learning** begins with such a network. Its last layer, which names cats and lorries, is left off; what it
# received is kept, a list of numbers for each image: its **features**. The rest is the **backbone**.
#
# `keras.applications` has many, whose weights are downloaded once. Where there is no connection, EfficientNet-Lite0 (Tan
# and Le, 2019) stands in. Its weights come as a package, its layers are written out here. A block widens the image to
# more channels, looks at each of them alone (a *depthwise* convolution), narrows them again, and adds what came in.

# %%
BLOCKS = [(3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),  # kernel, stride,
          (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1)]  # widening, channels, repeats
SAME = {"padding": "same", "use_bias": False}


def step(x, layer, activated=True):
    """Return what a layer makes of x, normalised and, if ``activated``, without negative values."""
    x = layers.BatchNormalization(epsilon=1e-3)(layer(x))
    return layers.ReLU(6)(x) if activated else x


# %% [markdown]
# The whole network is a first convolution, the blocks, a last convolution, and the mean of each of its 1,280 channels.

# %%
def lite0(pixels):
    """Return EfficientNet-Lite0, untrained, from images of 0 to 255 to their 1,280 features."""
    x = step(layers.Rescaling(1 / 127, -1)(pixels), layers.Conv2D(32, 3, 2, **SAME))
    for kernel, stride, widening, channels, repeats in BLOCKS:
        for strides in [stride] + [1] * (repeats - 1):
            y = step(x, layers.Conv2D(widening * x.shape[-1], 1, **SAME)) if widening > 1 else x
            y = step(y, layers.DepthwiseConv2D(kernel, strides, **SAME))
            y = step(y, layers.Conv2D(channels, 1, **SAME), activated=False)
            x = layers.Add()([x, y]) if x.shape == y.shape else y
    x = step(x, layers.Conv2D(1280, 1, **SAME))
    return keras.Model(pixels, layers.GlobalAveragePooling2D()(x), name="efficientnet_lite0")


# %% [markdown]
# Load the one that `BACKBONE` names, with its weights.

# %%
try:
    backbone = backbones.load(BACKBONE, TRANSFER_SIZE, lite0)
    print(f"{backbone.name}: {backbone.count_params():,} weights, "
          f"{backbone.output_shape[-1]} features an image")
except runs.RunError as reason:
    backbone = None
    print(reason, "\nUntil then the rest of this notebook only shows the images.")

# %% [markdown]
# ## What training sees
#
# The same augmentation as in notebook 04, but the colours move all the way to those of another image
# (`FINE_TUNE_EXCHANGE = 1`): a network that begins with trained features may need them less. First the geometry and the
# light:

# %%
def turn_and_crop(images, seed, crop=0.3, light=0.15):
    """Return a batch, float32 0 to 255, each image turned or flipped, cropped and lit at random."""
    n, size = images.shape[:2]
    draw = tf.random.stateless_uniform((8, n), seed, -1.0, 1.0)
    # With the flips below, mirroring a batch along its diagonal makes all eight views equally likely.
    images = tf.cond(draw[0, 0] > 0, lambda: tf.transpose(images, (0, 2, 1, 3)), lambda: images)
    side = 1 - crop * (1 + draw[1]) / 2
    middle = 0.5 + draw[2:4] * (1 - side) / 2
    reach = tf.sign(draw[4:6]) * side / 2  # a box from bottom to top is a flipped image
    boxes = tf.clip_by_value(tf.concat([middle - reach, middle + reach], axis=0), 1e-6, 1 - 1e-6)
    images = tf.image.crop_and_resize(images, tf.transpose(boxes), tf.range(n), (size, size))
    brightness, contrast = tf.unstack(1 + light * draw[6:8, :, None, None, None])
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return tf.clip_by_value((images - mean) * contrast + mean * brightness, 0, 255)


# %% [markdown]
# Then the colours: the mean and spread of each channel move towards those of another image of the batch, and at random
# an image turns grey or changes its hue.

# %%
def exchange_colours(images, seed):
    """Return a batch, float32 0 to 255, its colours moved towards those of others of the batch."""
    draw = tf.random.stateless_uniform((4, images.shape[0], 1, 1, 1), seed)
    mean = tf.reduce_mean(images, (1, 2), keepdims=True)
    spread = tf.math.reduce_std(images, (1, 2), keepdims=True) + 4
    other, part = tf.argsort(draw[0, :, 0, 0, 0]), draw[1] + 2 * FINE_TUNE_EXCHANGE - 1
    part = tf.clip_by_value(part, 0, 1)
    new_mean = mean + part * (tf.gather(mean, other) - mean)
    new_spread = spread + part * (tf.gather(spread, other) - spread)
    images = tf.clip_by_value((images - mean) / spread * new_spread + new_mean, 0, 255)
    grey = tf.reduce_mean(images, -1, keepdims=True)
    images = tf.where(draw[2] < 0.2, grey, images)
    hue, saturation, value = tf.split(tf.image.rgb_to_hsv(images / 255), 3, axis=-1)
    hue = tf.math.floormod(hue + 0.1 * (2 * draw[3] - 1), 1)
    return 255 * tf.image.hsv_to_rgb(tf.concat([hue, saturation, value], axis=-1))

def augment(images, seed):
    """Return a batch as training sees it."""
    images = turn_and_crop(images, seed)
    return exchange_colours(images, seed + 1) if FINE_TUNE_EXCHANGE else images


# %% [markdown]
# Training batches are shuffled and augmented; validation is left as it is. As in notebook 04, an image of a class that is
# rare, or rare in its collection, counts for more, and a melanoma `MELANOMA_WEIGHT` times as much as that: a missed one
# costs more than another mistake. The price may be nevi that are called melanoma.

# %%
def load(rows):
    """Return the pixels of manifest rows as the networks take them."""
    return pipeline.load(rows, TRANSFER_SIZE, run.folder / "cache", KEEP_ASPECT)


val_pixels, val_targets = load(val), pipeline.one_hot(val, CLASSES)
val_data = pipeline.batches(val_pixels, val_targets, BATCH_SIZE)
cells = train["label"] + train["collection"]
weight = cells.map(cells.value_counts(normalize=True)) ** -BALANCE
weight *= np.where(train["label"] == "melanoma", MELANOMA_WEIGHT, 1)
train_data = pipeline.batches(load(train), pipeline.one_hot(train, CLASSES), BATCH_SIZE,
                              seed=SEED, augment=augment, weights=weight / weight.mean())

# %% [markdown]
# One lesion of each class, above what training may see of it:

# %%
before = load(train.groupby("label").head(1))
after = augment(tf.cast(before, tf.float32), tf.constant([SEED, 1]))
titles = [*CLASSES, *["augmented"] * len(CLASSES)]
figures.image_grid([*before, *after.numpy()], titles, len(CLASSES),
                   "What training may see of a lesion", run.images.synthetic)

# %% [markdown]
# ## First step: frozen features
#
# Leave the backbone as it is, **frozen**. Each training image passes through it `FEATURE_VIEWS` times, and its features
# are kept.

# %%
if backbone:
    seen = [(backbone.predict_on_batch(images), *rest)
            for _ in range(FEATURE_VIEWS) for images, *rest in train_data]
    features, targets, weights = (np.concatenate(part) for part in zip(*seen))
    val_features = backbone.predict(val_pixels, batch_size=64, verbose=0)
    print(f"{len(features)} views of {len(train)} training images, "
          f"{features.shape[1]} features each")

# %% [markdown]
# Then a single Dense layer learns to tell the classes by them. It needs no image any more, so an epoch takes a moment.

# %%
if backbone:
    head = keras.Sequential([keras.Input(features.shape[1:]), layers.Dropout(DROPOUT),
                             layers.Dense(len(CLASSES), activation="softmax", dtype="float32")])
    head.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    stopping = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    past = head.fit(features, targets, validation_data=(val_features, val_targets), epochs=60,
                    batch_size=64, sample_weight=weights, callbacks=[stopping], verbose=0)
    _, accuracy = head.evaluate(val_features, val_targets, verbose=0)
    print(f"accuracy on validation after {len(past.epoch)} epochs: {accuracy:.2f}")

# %% [markdown]
# Put the two together, backbone and Dense layer: a network from image to class, which can be tuned as a whole.

# %%
if backbone:
    x = layers.Dropout(DROPOUT)(backbone.output)
    outputs = layers.Dense(len(CLASSES), activation="softmax", dtype="float32")(x)
    network = keras.Model(backbone.input, outputs, name="transfer")
    network.layers[-1].set_weights(head.layers[-1].get_weights())

# %% [markdown]
# ## Four numbers
#
# An accuracy on validation may be bought with the camera instead of the lesion (notebook 05). So ask, of one view each:
#
# 1. the accuracy on validation as it is;
# 2. the same with the overall colour of another image: of the same collection (the control), and of another one;
# 3. on another set (`EXTERNAL_DIR`): how many nevi and melanomas are found (recall);
# 4. there, how well melanoma and nevus are told apart at any threshold: the area under the ROC curve (**AUC**), 0.5 by
#    chance, 1 at best.

# %%
def exchanged(pixels, collections, same, random):
    """Return images with the mean and spread of each channel of others, of their collection or not."""
    partner = np.zeros(len(pixels), int)
    for name in np.unique(collections):
        own = collections == name
        partner[own] = random.choice(np.flatnonzero(own == same), own.sum())
    mean, spread = (part(pixels, axis=(1, 2), keepdims=True) for part in (np.mean, np.std))
    return np.clip((pixels - mean) / np.maximum(spread, 1) * spread[partner] + mean[partner], 0, 255)

names, random = val["collection"].to_numpy(), np.random.default_rng(SEED)
looks = {"validation": val_pixels}
if len({*names} - {""}) > 1:
    for text, same in (("the same", True), ("another", False)):
        looks[f"colours of {text} collection"] = exchanged(val_pixels, names, same, random)
outside = scores.external(EXTERNAL_DIR, table, CLASSES) if EXTERNAL_DIR else pd.DataFrame()
print(f"Asked of {len(val)} validation images {len(looks)} times, "
      f"and of {len(outside)} images of another set.")

# %% [markdown]
# The function counts them for the network as it is at that moment, here with its backbone frozen.

# %%
def numbers():
    """Return the four numbers of the network as it is now, as a dictionary."""
    found = {}
    for look, pixels in looks.items():
        called = network.predict(pixels, batch_size=64, verbose=0).argmax(axis=1)
        found[look] = float((called == val_targets.argmax(axis=1)).mean())
    if len(outside):
        chances = network.predict(load(outside), batch_size=64, verbose=0)
        rows = scores.predictions_table(outside, chances, CLASSES)
        recall = scores.per_class(rows)["recall"].reindex(["nevus", "melanoma"]).dropna()
        found |= recall.add_prefix("other set, recall of ").to_dict()
        if len(recall) == 2:
            pair = rows[rows["label"].isin(recall.index)]
            melanoma = pair["p_melanoma"] / (pair["p_melanoma"] + pair["p_nevus"])
            found["other set, AUC"] = roc_auc_score(pair["label"] == "melanoma", melanoma)
    return found


four = {"frozen": numbers()} if backbone else {}

# %% [markdown]
# ## Second step: fine-tuning
#
# Now let the backbone change too: **fine-tuning**. The learning rate is small, rises through the first epoch and then
# falls along a cosine, as large first steps could spoil features that are good already. For the same reason the Dense
# layer starts from what it learned on the frozen ones (Kumar and others, 2022), and batch normalisation stays as
# ImageNet left it. With `UNFREEZE` below 1 the first layers stay as they are too.
#
# **Label smoothing** asks for a probability of about 0.9 instead of 1: the loss on validation, which chooses the epoch,
# may then hang less on a few bold mistakes.

# %%
epochs = FINE_TUNE_EPOCHS or (2 if run.images.synthetic else 20)
if backbone:
    for place, layer in enumerate(backbone.layers):
        late = place >= (1 - UNFREEZE) * len(backbone.layers)
        layer.trainable = late and not isinstance(layer, layers.BatchNormalization)
    tuned = sum(weight.shape.num_elements() for weight in network.trainable_weights)
    cosine = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=(epochs - 1) * len(train_data) + 1,
        warmup_target=FINE_TUNE_RATE, warmup_steps=len(train_data))
    softened = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    network.compile(keras.optimizers.Adam(cosine), softened, metrics=["accuracy"])
    print(f"{tuned:,} of {network.count_params():,} weights may change.")

# %% [markdown]
# Train, with the callbacks of notebook 03 except early stopping: the learning rate falls to zero with the last epoch.

# %%
if backbone:
    training = callbacks.begin(run, network, table, epochs)
    checkpoint = keras.callbacks.ModelCheckpoint(training.best, monitor="val_loss",
                                                 save_best_only=True, save_weights_only=True)
    network.fit(train_data, validation_data=val_data, epochs=epochs,
                initial_epoch=training.initial_epoch, verbose=0,
                callbacks=[checkpoint, *callbacks.upkeep(training, checkpoint)])
    history = callbacks.finish(network, training)

# %% [markdown]
# What did each step give? Read across a row before you read down: how much of the accuracy on validation is left with
# colours of the same collection, and how much with those of another one?

# %%
if backbone:
    four["fine-tuned"] = numbers()
    manifest.write_text(json.dumps(four, indent=2), training.folder / "numbers.json")
    display(pd.DataFrame(four).T.round(2))
    for name, row in four.items():
        if len(looks) == 3:
            plain, same, other = (row[look] for look in looks)
            print(f"{name}: accuracy {plain:.2f}; with colours of the same collection {same:.2f}, "
                  f"with those of another {other:.2f}")
    if not EXTERNAL_DIR:
        print("EXTERNAL_DIR names no other set: whether it works elsewhere, this run does not tell.")

# %% [markdown]
# Where the camera tells the class, features may tell the camera. The augmentation is there to take that clue away. What
# does it give and cost? Train once more with `FINE_TUNE_EXCHANGE = 0` into another `OUT_DIR`, and compare the rows.
#
# Below are the curves, with those of notebook 04's network where it is in the run folder. It was trained on other sizes
# of images, for another number of epochs, and without label smoothing, which puts the loss on another scale: compare the
# accuracies, not the lengths, and not the losses.

# %%
if backbone:
    known = run.folder / "regularised" / "history.csv"
    histories = {"regularised": pd.read_csv(known)} if known.exists() else {}
    histories["transfer"] = history
    best = {name: past["val_accuracy"][past["val_loss"].idxmin()] for name, past in histories.items()}
    said = ", ".join(f"{name} {value:.2f}" for name, value in best.items())
    display(figures.curves(histories, f"Validation accuracy of the epoch that was kept: {said}",
                           run.images.synthetic))

# %% [markdown]
# ## Predict, and keep the predictions
#
# As in notebook 04: the average over flips and quarter turns, one row per image. Run notebook 05 again, and it scores
# this network beside the others.

# %%
def predict(rows):
    """Return the class probabilities of manifest rows, averaged over the views of each image."""
    return pipeline.average_views(network, load(rows), TTA)


test = table[(table["split"] == "test") & (table["flag"] != "unreadable")]
if backbone:
    predictions = pd.concat(scores.predictions_table(rows, predict(rows), CLASSES)
                            for rows in (val, test))
    manifest.write_text(predictions.to_csv(index=False), training.folder / "predictions.csv")
    print(f"{len(val)} validation and {len(test)} Test images predicted: "
          f"{OUT_DIR}/transfer/predictions.csv")
run.done()

# %% [markdown]
# ## What you saw
#
# - **Load**: a network without its last layer turns an image into features.
# - **Freeze**: features that were never meant for lesions tell some of them apart, after moments of training.
# - **Tune**: small steps at first, from what the frozen features gave; a missed melanoma counts more.
# - **Doubt**: transfer learning may take a shortcut too; ask the four numbers of any network.
# - **Predict**: the predictions are kept; Test is still unscored.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# How many weights would be learned if only the new Dense layer were trained? Work it out from the number of features and
# of classes.

# %% tags=["solution", "nbval-check-output"]
# @title Solution 1
width = backbone.output_shape[-1] if backbone else 1280  # of EfficientNet-B0
### BEGIN SOLUTION
learned = (width + 1) * len(CLASSES)
### END SOLUTION
if backbone:
    assert learned == head.count_params()
print(f"{learned:,} weights: for each class one a feature, and a bias")

# %% [markdown]
# ### Exercise 2
#
# Are the features any good without training anything? Let scikit-learn's `KNeighborsClassifier` name each validation
# image after the five training views with the most similar features (`metric="cosine"`), and give its accuracy.

# %% tags=["solution"]
# @title Solution 2
if backbone:
    ### BEGIN SOLUTION
    neighbours = KNeighborsClassifier(5, metric="cosine").fit(features, targets.argmax(axis=1))
    by_neighbours = float(neighbours.score(val_features, val_targets.argmax(axis=1)))
    ### END SOLUTION
    print(f"accuracy on validation by neighbours: {by_neighbours:.2f}, "
          f"by the Dense layer: {four['frozen']['validation']:.2f}")
    assert 0 <= by_neighbours <= 1

# %% [markdown]
# ### Exercise 3
#
# How many lesions do the frozen features need? Train a copy of the Dense layer on five views of each class, 60 epochs,
# and compare its accuracy on validation with that of the layer that saw them all.

# %% tags=["solution"]
# @title Solution 3
if backbone:
    ### BEGIN SOLUTION
    few = np.concatenate([np.flatnonzero(targets[:, place])[:5] for place in range(len(CLASSES))])
    small = keras.models.clone_model(head)
    small.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    small.fit(features[few], targets[few], epochs=60, verbose=0)
    from_few = small.evaluate(val_features, val_targets, verbose=0)[1]
    ### END SOLUTION
    print(f"accuracy on validation from {len(few)} views: {from_few:.2f}, "
          f"from {len(features)}: {four['frozen']['validation']:.2f}")
    assert len(few) <= 5 * len(CLASSES) and 0 <= from_few <= 1
