# %% [markdown]
# # 4 · Towards a network that generalises better, in three steps
#
# **In twenty minutes you will grow the baseline step by step into a deeper network, see what each step gave, and train
# it so that it may rely less on the camera.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **augment** on the fly, so that no epoch shows the same images again;
# - **exchange** the colours of images, so that they tell less about the collection;
# - **grow** the network: dropout, then batch normalisation and global pooling, then shortcuts;
# - **compare** the curves of the steps, and credit only what the numbers show;
# - **predict** validation and Test with test-time augmentation, for notebook 05.

# %%
# {{setup}}

# %% tags=["parameters"]
DATA_DIR = ""  # @param {type:"string"} folder of the images; empty: look for one, else the synthetic sample
OUT_DIR = "runs/course"  # @param {type:"string"} run folder; a path under /content/drive/MyDrive outlives Colab
LABELS = "audited"  # @param ["audited", "published"] which labels to learn from
METADATA = ""  # @param {type:"string"} CSV of official labels and lesions; empty: the one that comes with the course
MIN_CLASS_SIZE = 20  # @param {type:"integer", min:1, max:100000} a class with fewer training images is left out
AUGMENTATION = "on the fly"  # @param ["on the fly", "augmentor", "both", "none"] new images as it trains, or on disk
COLOUR_EXCHANGE = 0.5  # @param {type:"number", min:0, max:1} how far an image's colours move to those of another: 0 not, 0.5 a random part, 1 all the way
STEPS = True  # @param {type:"boolean"} also train the two steps before the final network
IMAGE_SIZE = 64  # @param {type:"integer", min:16, max:1024} side in pixels of the images that a network sees
BATCH_SIZE = 16  # @param {type:"integer", min:1, max:4096} images a training step
EPOCHS = 0  # @param {type:"integer", min:0, max:10000} passes over the training images, at most; 0: as the notebook says
LEARNING_RATE = 0.001  # @param {type:"number", min:0.0000001, max:10} learning rate of Adam
DROPOUT = 0.2  # @param {type:"number", min:0, max:0.95} share of activations hidden at random before a Dense layer
BALANCE = 0.5  # @param {type:"number", min:0, max:1} 0: every image counts the same; 1: every class of every collection does; 0.5: between the two
MELANOMA_WEIGHT = 2.5  # @param {type:"number", min:0.01, max:100} how many times a melanoma counts in the loss; a missed one costs more than other mistakes
TTA = True  # @param {type:"boolean"} test-time augmentation: average the predictions over flips and quarter turns
KEEP_ASPECT = False  # @param {type:"boolean"} fit images into the square on black instead of squeezing them
TENSORBOARD = False  # @param {type:"boolean"} also write a log for TensorBoard into the run folder
SEED = 0  # @param {type:"integer", min:0, max:4294967295} the same number gives the same split, images and networks

# %%
# %matplotlib inline
import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers

from helpers import figures, manifest, runs
from helpers.evaluation import scores
from helpers.training import callbacks, pipeline

# %% [markdown]
# ## The device and the images
#
# As in notebook 03. With `AUGMENTATION` set to "augmentor" or "both", training also takes the images that notebook 02
# wrote; validation and Test are the same images as ever.

# %%
print(callbacks.set_up_device(SEED))
run = runs.start("04_dropout_augmented_cnn", globals())
table = run.manifest()
if AUGMENTATION in ("augmentor", "both"):
    run.need("02_augmentation")
    table = manifest.read(run.folder / "augmented.csv", run.images.root)
print(f"Images: {run.images.source}{' (SYNTHETIC: drawings, not patients)' if run.images.synthetic else ''}")

# %% tags=["nbval-check-output"]
train, val = manifest.active(table, "train"), manifest.active(table, "val")
CLASSES = sorted(train["label"].unique())
print(f"{len(train)} training images, {len(val)} validation images, {len(CLASSES)} classes")

# %% [markdown]
# ## Augment on the fly
#
# Notebook 02 wrote new images to disk, once. Here each batch is changed as it is made, anew every epoch, with nothing
# to store. A lesion has no up: quarter turns and flips show the same lesion. A crop of random size and place, resized
# to the whole, zooms and shifts it and leaves its shape alone; light scales brightness and contrast a little. Keras has
# layers for this too (`RandomFlip`, `RandomRotation`, `RandomZoom`); this function resamples each image once.

# %%
def turn_and_crop(images, seed, crop=0.3, light=0.15):
    """Return a batch, float32 0 to 255, each image seen from a random side, cropped and lit at random."""
    n, size = images.shape[:2]
    draw = tf.random.stateless_uniform((8, n), seed, -1.0, 1.0)
    # With the flips below, mirroring a whole batch along its diagonal or not makes all eight views equally likely.
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
# ## Exchange the colours
#
# In notebook 01 the corners alone told which collection an image comes from, and with it much about its class: a
# **shortcut**. So take the clue away: move the mean and the spread of each colour channel a random part of the way to
# those of another image of the batch; make some images grey, and shift the hue of all a little. What is lost is real:
# colour is diagnostic too. `COLOUR_EXCHANGE` is the dial: 0 leaves all colours alone, 1 moves them all the way.

# %%
def exchange_colours(images, seed):
    """Return the images of a batch, float32 0 to 255, with colours moved towards those of others of the batch."""
    draw = tf.random.stateless_uniform((4, images.shape[0], 1, 1, 1), seed)
    mean = tf.reduce_mean(images, (1, 2), keepdims=True)
    spread = tf.math.reduce_std(images, (1, 2), keepdims=True) + 4
    other, part = tf.argsort(draw[0, :, 0, 0, 0]), draw[1] + 2 * COLOUR_EXCHANGE - 1
    part = tf.clip_by_value(part, 0, 1)
    new_mean = mean + part * (tf.gather(mean, other) - mean)
    new_spread = spread + part * (tf.gather(spread, other) - spread)
    images = tf.clip_by_value((images - mean) / spread * new_spread + new_mean, 0, 255)
    images = tf.where(draw[2] < 0.2, tf.reduce_mean(images, -1, keepdims=True), images)
    hue, saturation, value = tf.split(tf.image.rgb_to_hsv(images / 255), 3, axis=-1)
    hue = tf.math.floormod(hue + 0.1 * (2 * draw[3] - 1), 1)
    return 255 * tf.image.hsv_to_rgb(tf.concat([hue, saturation, value], axis=-1))


def augment(images, seed):
    """Return a batch as training sees it."""
    images = turn_and_crop(images, seed)
    return exchange_colours(images, seed + 1) if COLOUR_EXCHANGE else images


# %% [markdown]
# One lesion of each class, and below it what training may see of it. Is each still the same lesion to you?

# %%
def load(rows):
    """Return the pixels of manifest rows as the networks take them."""
    return pipeline.load(rows, IMAGE_SIZE, run.folder / "cache", KEEP_ASPECT)


before = load(train.groupby("label").head(1))
after = augment(tf.cast(before, tf.float32), tf.constant([SEED, 1]))
figures.image_grid([*before, *after.numpy()], [*CLASSES, *["augmented"] * len(CLASSES)], len(CLASSES),
                   title="One lesion of each class, and what training may see of it", synthetic=run.images.synthetic)

# %% [markdown]
# ## One way to train all of them
#
# Three networks follow, and each is trained alike, but that the last counts melanomas for more. Beside what notebook 03 did:
#
# - The learning rate falls along a **cosine** to nothing in the last epoch: long steps find the way, short ones settle. So
#   all epochs are run; early stopping would cut off the part in which the network settles.
# - An image weighs more in the loss if its class is rare in its collection. With `BALANCE = 0` all images weigh the
#   same.

# %%
train_pixels, train_targets = load(train), pipeline.one_hot(train, CLASSES)
val_data = pipeline.batches(load(val), pipeline.one_hot(val, CLASSES), BATCH_SIZE)


def training_batches(melanoma=1):
    """Return the training batches, in which an image weighs by its rarity, and a melanoma so many times more."""
    cells = train["label"] + train["collection"]
    weight = cells.map(cells.value_counts(normalize=True)) ** -BALANCE
    weight *= np.where(train["label"] == "melanoma", melanoma, 1)
    on_the_fly = augment if AUGMENTATION in ("on the fly", "both") else None
    return pipeline.batches(train_pixels, train_targets, BATCH_SIZE, seed=SEED, augment=on_the_fly,
                            weights=weight / weight.mean())


# %% [markdown]
# `fit` does it all for one network:

# %%
epochs = EPOCHS or (12 if run.images.synthetic else 50)  # the sample shows the way in fewer


def fit(network, melanoma=1):
    """Compile and train a network, keep the epoch with the lowest validation loss; return its folder and its history."""
    train_data = training_batches(melanoma)
    cosine = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, decay_steps=epochs * len(train_data))
    network.compile(optimizer=keras.optimizers.Adam(cosine), loss="categorical_crossentropy", metrics=["accuracy"])
    training = callbacks.begin(run, network, table, epochs)
    checkpoint = keras.callbacks.ModelCheckpoint(training.best, monitor="val_loss",
                                                 save_best_only=True, save_weights_only=True)
    network.fit(train_data, validation_data=val_data, epochs=epochs, initial_epoch=training.initial_epoch, verbose=0,
                callbacks=[checkpoint, *callbacks.upkeep(training, checkpoint, tensorboard=TENSORBOARD)])
    return training.folder, callbacks.finish(network, training)


# %% [markdown]
# ## Step 1: dropout and augmentation
#
# The case study's own second network: the baseline, with **dropout**, which hides a random share of the activations at
# each step so that none can be relied on alone, and with the augmented batches. Both are **regularisation**: they make
# learning by heart harder. Does training accuracy rise more slowly than the baseline's?

# %%
histories = {}
if STEPS:
    network = keras.Sequential([keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3)), layers.Rescaling(1 / 255)],
                               name="dropout_augmented")
    for filters in (16, 32, 64):
        network.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        network.add(layers.MaxPooling2D())
    network.add(layers.Flatten())
    network.add(layers.Dense(128, activation="relu"))
    network.add(layers.Dropout(0.5))
    network.add(layers.Dense(len(CLASSES), activation="softmax", dtype="float32"))
    histories[network.name] = fit(network)[1]

# %% [markdown]
# ## Step 2: batch normalisation and global pooling
#
# - **Batch normalisation** brings each channel's activations to one scale, batch by batch: training may be steadier.
#   For validation it uses running means; `momentum=0.9` lets them keep up when an epoch has few batches.
# - **Global average pooling** keeps one number per channel, its mean over all places: *what* was seen, not *where*. It
#   replaces Flatten, and with it the Dense layer that held nearly all the weights.

# %%
def convolution(x, filters, size=3, strides=1):
    """Return x after a convolution and batch normalisation."""
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9)(x)


if STEPS:
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for filters in (32, 64, 128):
        x = layers.MaxPooling2D()(layers.ReLU()(convolution(x, filters)))
    x = layers.Dropout(DROPOUT)(layers.GlobalAveragePooling2D()(x))
    outputs = layers.Dense(len(CLASSES), activation="softmax", dtype="float32")(x)
    network = keras.Model(inputs, outputs, name="normalised")
    histories[network.name] = fit(network)[1]

# %% [markdown]
# ## Step 3: shortcuts
#
# A **shortcut** adds what went into two convolutions to what comes out of them, so that the block has only to learn what
# to change (He and others, 2016: residual learning). With it a deeper network can be trained.
#
#     block:   x ──► convolution ► ReLU ► convolution ──► + ──► ReLU ──►
#              └────────── convolution 1 × 1 ─────────────┘
#
# The first convolution has a stride of two pixels: a quarter of the places, a quarter of the work for all that follows.

# %%
def block(x, filters):
    """Return x after two convolutions, with a shortcut past both."""
    y = layers.ReLU()(convolution(x, filters))
    y = convolution(y, filters)
    return layers.ReLU()(layers.Add()([y, convolution(x, filters, size=1)]))


inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
x = layers.ReLU()(convolution(x, 32, size=5, strides=2))
for filters in (32, 64, 128):
    x = layers.MaxPooling2D()(block(x, filters))
x = block(x, 160)
x = layers.Dropout(DROPOUT)(layers.GlobalAveragePooling2D()(x))
outputs = layers.Dense(len(CLASSES), activation="softmax", dtype="float32")(x)
network = keras.Model(inputs, outputs, name="regularised")

# %% [markdown]
# Where are the weights now? Expect them in the convolutions.

# %% tags=["nbval-check-output"]
weights = pd.DataFrame([(type(layer).__name__, layer.count_params()) for layer in network.layers],
                       columns=["kind of layer", "weights"])
weights.groupby("kind of layer").sum().query("weights > 0")

# %% [markdown]
# This is the network that is kept, so it learns one thing more: **cost-sensitive learning**. A missed melanoma costs more
# than most other mistakes, so a melanoma counts `MELANOMA_WEIGHT` times what its rarity says; the price may be other lesions
# that are called melanoma. So two things change in this step; with `MELANOMA_WEIGHT = 1` only the network does.

# %%
folder, histories[network.name] = fit(network, MELANOMA_WEIGHT)

# %% [markdown]
# ## What did each step give?
#
# The epoch that was kept, for each network, with the baseline of notebook 03 where it is in the run folder. The **gap**
# is training accuracy less validation accuracy; on augmented images training is the harder task, so a small gap alone is
# no merit. Which row is best on validation?

# %%
known = run.folder / "baseline" / "history.csv"
if known.exists():
    histories = {"baseline": pd.read_csv(known), **histories}
kept = pd.DataFrame({name: past.loc[past["val_loss"].idxmin()] for name, past in histories.items()}).T
kept = kept.assign(gap=kept["accuracy"] - kept["val_accuracy"]).drop(columns=["seconds"]).astype({"epoch": int})
kept.rename(columns={"accuracy": "training accuracy", "val_loss": "validation loss",
                     "val_accuracy": "validation accuracy"}).round(2)

# %%
figures.curves(histories, title=f"Highest validation accuracy: {kept['val_accuracy'].idxmax().replace('_', ' ')} "
               f"({kept['val_accuracy'].max():.2f})", synthetic=run.images.synthetic)

# %% [markdown]
# One training is one draw: with another seed the order may change, and a step that gives less than the seeds differ has
# given nothing that you can see. `sweeps/` repeats this over seeds, and the results page holds what it found on real
# images.
#
# ## Predict, and keep the predictions
#
# A lesion has no up, so ask from both sides and for four quarter turns, and average the eight predictions. This is
# **test-time augmentation**: it costs eight predictions per image and no training.

# %%
def predict(rows):
    """Return the class probabilities of manifest rows, averaged over the views of each image."""
    return pipeline.average_views(network, load(rows), TTA)


test = table[(table["split"] == "test") & (table["flag"] != "unreadable")]
predictions = pd.concat(scores.predictions_table(rows, predict(rows), CLASSES) for rows in (val, test))
manifest.write_text(predictions.to_csv(index=False), folder / "predictions.csv")
run.done()
print(f"{len(val)} validation and {len(test)} test images predicted: {OUT_DIR}/regularised/predictions.csv")

# %% [markdown]
# ## What you saw
#
# - **Augment**: each epoch shows new views of the same lesions, with nothing on disk.
# - **Exchange**: moved colours take away a clue that has nothing to do with the lesion, and some that have.
# - **Grow**: dropout, batch normalisation and global pooling, shortcuts: one idea a step; with the last, a missed
#   melanoma costs more.
# - **Compare**: the table says which step was worth what, in this training.
# - **Predict**: the predictions are kept; Test is still unscored.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# How many weights does the Dense layer after Flatten have in step 1, and how many has the whole network of step 3?

# %% tags=["solution"]
# @title Solution 1
### BEGIN SOLUTION
after_flatten = ((IMAGE_SIZE // 8) ** 2 * 64 + 1) * 128
whole = network.count_params()
### END SOLUTION
print(f"{after_flatten:,} in one layer of step 1; {whole:,} in all of step 3")
assert whole == sum(int(np.prod(weight.shape)) for weight in network.weights)

# %% [markdown]
# ### Exercise 2
#
# Write an augmentation that must not be used: one that changes what the label says. Show it on one lesion, and say why.

# %% tags=["solution"]
# @title Solution 2
### BEGIN SOLUTION
def erase_the_middle(images):
    """Return the images with their middle half painted over: the lesion is gone, the label stays."""
    half = np.array(images, dtype="float32")
    low, high = IMAGE_SIZE // 4, IMAGE_SIZE - IMAGE_SIZE // 4
    half[:, low:high, low:high] = half.mean(axis=(1, 2), keepdims=True)
    return half


spoiled = erase_the_middle(before[:1])
### END SOLUTION
assert spoiled.shape == before[:1].shape and not np.allclose(spoiled, before[:1])
figures.image_grid([before[0], spoiled[0]], ["original", "no lesion left"], 2, synthetic=run.images.synthetic)

# %% [markdown]
# ### Exercise 3
#
# How much does the network's accuracy on validation change when you show it grey images? Work it out for one view of each
# image.

# %% tags=["solution"]
# @title Solution 3
### BEGIN SOLUTION
colour = load(val).astype("float32")
grey = np.repeat(colour.mean(axis=-1, keepdims=True), 3, axis=-1)
truth = pipeline.one_hot(val, CLASSES).argmax(axis=1)
in_colour, in_grey = (float((network.predict(images, batch_size=64, verbose=0).argmax(axis=1) == truth).mean())
                      for images in (colour, grey))
### END SOLUTION
print(f"accuracy on validation, one view: {in_colour:.2f} in colour, {in_grey:.2f} in grey")
assert 0 <= in_grey <= 1 and 0 <= in_colour <= 1
