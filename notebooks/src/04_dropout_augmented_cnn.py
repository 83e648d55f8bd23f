# %% [markdown]
# # 4 · A deeper network, trained twice: which one would you send to a clinic?
#
# **In twenty-five minutes of reading (about an hour if you also do it) you will build a deeper network block by block,
# augment its images with Keras's own layers, train it once with the colours as they are and once with exchanged colours,
# and choose one of the two.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **augment** on the fly, so that no epoch shows the same images again;
# - **exchange** the colours of images, so that they reveal less about the clinic;
# - **build** a deeper network: dropout, batch normalisation and global pooling, skip connections;
# - **train** it twice, and compare the two on validation;
# - **choose** the one that you would send to a clinic, for notebook 05 to judge.
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
# also train on the images that notebook 02 wrote with Augmentor
AUGMENTOR_FILES = False  # @param {type:"boolean"}
# second training: how far colours move to those of another image; 0 not, 0.5 a random part, 1 fully
COLOUR_EXCHANGE = 0.5  # @param {type:"number", min:0, max:1}
# side in pixels of the images that the network sees
IMAGE_SIZE = 64  # @param {type:"integer", min:16, max:1024}
# images per training step
BATCH_SIZE = 16  # @param {type:"integer", min:1, max:4096}
# passes over the training images, at most; 0: the notebook's default
EPOCHS = 0  # @param {type:"integer", min:0, max:10000}
# learning rate of Adam
LEARNING_RATE = 0.001  # @param {type:"number", min:0.0000001, max:10}
# add the input of a block to its output
SKIP_CONNECTIONS = True  # @param {type:"boolean"}
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
# also write a log for TensorBoard into the run folder
TENSORBOARD = False  # @param {type:"boolean"}
# the same number gives the same split and images; networks may differ a little from run to run
SEED = 0  # @param {type:"integer", min:0, max:4294967295}

# %%
# %matplotlib inline
from helpers import figures, manifest, runs
from helpers.evaluation import evaluate, scores
from helpers.training import callbacks, pipeline
from notebooks.checks import networks as checks

import keras
import numpy as np
import tensorflow as tf
from keras import layers

# %% [markdown]
# ## The images
#
# The same images and the same split as in notebook 03. With `AUGMENTOR_FILES`, training also sees the images that
# notebook 02 wrote; validation and Test never do.

# %%
run = runs.start("04_dropout_augmented_cnn", globals())
SYNTHETIC = run.images.synthetic  # then figures say so
print(callbacks.set_up_device(SEED))
tf.get_logger().setLevel("ERROR")  # it warns when a network predicts sets of several sizes
table = run.manifest(augmented=AUGMENTOR_FILES)
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * SYNTHETIC)

# %% tags=["nbval-check-output"]
train = manifest.active(table, "train")
val = manifest.active(table, "val")
CLASSES = sorted(train["label"].unique())
print(f"{len(train)} training images, {len(val)} validation images, {len(CLASSES)} classes")


# %%
def load(rows):
    """Return the pixels of manifest rows as the networks take them."""
    return pipeline.load(rows, IMAGE_SIZE, run.folder / "cache", KEEP_ASPECT)


# %% [markdown]
# ## Augment on the fly
#
# Notebook 02 wrote new images to disk, once. Keras's layers change each batch as it is made, anew in every epoch, and
# store nothing. On skin there is no up, so any turn and any flip is allowed. Brightness and contrast change a little;
# zoom enlarges by up to 1.4, so watch the border of the lesion.

# %%
augment = keras.Sequential([
    layers.RandomFlip("horizontal_and_vertical"),
    layers.RandomRotation(0.5, fill_mode="reflect"),
    layers.RandomZoom((-0.3, 0.0), fill_mode="reflect"),
    layers.RandomBrightness(0.075),
    layers.RandomContrast(0.15),
])

# %% [markdown]
# Here are a few training images, one per class, and below each one version that training might see. Would you still give
# it the same label?


# %%
def turned(images, seed):
    """Return a batch of images, float32 0 to 255, turned, zoomed and relit at random."""
    return pipeline.seeded(augment, images, seed)


# %%
some = train.drop_duplicates("label").groupby("collection").head(2)[:4]
lesions = load(some).astype("float32")
draw = tf.constant([0, 12])  # a seed for the pictures

# %% tags=["slide"]
figures.image_grid(
    [*lesions, *turned(lesions, draw)],
    [*some["label"], *["turned, zoomed, relit"] * len(some)],
    columns=len(some), inches=2.2,
    title="Below each image, another view of it: the label stays",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## Exchange the colours
#
# Notebook 01 asked whether four corners of an image give its class and its clinic away. A network that relies on such a
# cue takes a **shortcut**. If the colours of a clinic are the cue, take the cue away: give each image the colours of
# another one.
#
# Colours are summed up by two numbers per channel, mean and spread (standard deviation). As with converting degrees
# Celsius to Fahrenheit, subtract the old mean, stretch to the new spread, add the new mean. (The 4 avoids dividing by
# nearly zero where an image is all of one colour.)

# %%
def colours(images):
    """Return the mean and the spread of each channel of each image."""
    spread = tf.math.reduce_std(images, (1, 2), keepdims=True)
    return tf.reduce_mean(images, (1, 2), keepdims=True), spread + 4


# %%
def in_colours_of(images, others):
    """Return images with the colours of other images."""
    mean, spread = colours(images)
    new_mean, new_spread = colours(others)
    return (images - mean) / spread * new_spread + new_mean


# %% tags=["slide"]
others = np.roll(lesions, 1, axis=0)
figures.image_grid(
    [*lesions, *in_colours_of(lesions, others)],
    [*some["label"], *("in the colours of: " + np.roll(some["label"], 1))],
    columns=len(some), inches=2.2,
    title="Below each image, the same one with the colours of another of these",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# In training, the other image is drawn at random from the batch, and so is how far an image moves towards its colours:
# with an `amount` of 0.5 any part of the way, with 1 all of it, with 0 nothing.

# %%
def exchange_colours(images, seed, amount):
    """Return a batch in which each image has moved towards the colours of another one."""
    count = tf.shape(images)[0]
    order = tf.random.experimental.stateless_shuffle(tf.range(count), seed)
    part = tf.random.stateless_uniform((count, 1, 1, 1), seed) + 2 * amount - 1
    part = tf.clip_by_value(part, 0, 1)
    changed = in_colours_of(images, tf.gather(images, order))
    return tf.clip_by_value(images + part * (changed - images), 0, 255)


# %% [markdown]
# Two more layers of Keras do the rest: some images turn grey, and all hues shift. Notebook 02 ruled out such hues, since
# colour is part of the diagnosis. That is still true: the second training gives up something that helps, to get rid of
# something that may mislead. Both may lower the accuracy on validation, which cannot show which of them did.

# %%
tint = keras.Sequential([layers.RandomGrayscale(0.2), layers.RandomHue(0.2)])


def exchanged(images, seed):
    """Return a batch as the second training sees it: turned, and with the colours of other images."""
    images = exchange_colours(turned(images, seed), seed, COLOUR_EXCHANGE)
    return pipeline.seeded(tint, images, seed + 1)


# %% [markdown]
# ## Build the network: dropout
#
# The network gets new parts, one after the other, most with a picture of what they do to an image.
#
# **Dropout** sets a random share of the numbers to zero at each training step, so that no single one can be relied on,
# and scales up the others, so that their sum stays about the same. In prediction it is switched off. It makes
# memorising harder: a form of **regularisation**.

# %% tags=["slide"]
lesion = lesions[:1]
hidden = layers.Dropout(0.5)(lesion, training=True)
figures.image_grid(
    [*lesion, *hidden], ["before", "after"], columns=2, inches=2.2,
    title="Dropout 0.5: half become zero, the rest are doubled",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## Batch normalisation and global pooling
#
# **Batch normalisation** brings each channel to one scale, batch by batch, so that training is steadier. For validation
# it uses running means; `momentum=0.9` lets them keep up when an epoch has few batches.

# %%
def convolution(x, filters, size=3, strides=1):
    """Return x after a convolution and batch normalisation."""
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9)(x)


# %% [markdown]
# **Global average pooling** keeps one number per channel, the mean over all positions: *what* was seen, not *where*. It
# replaces `Flatten`, after which one layer held nearly all weights in notebook 03.

# %% tags=["slide"]
maps = convolution(lesion / 255, 4)
pooled = layers.GlobalAveragePooling2D()(maps)
figures.image_grid(
    figures.maps(maps),
    map("mean {:.2f}".format, pooled[0]),
    columns=4, inches=1.7,
    title=f"Global average pooling: {IMAGE_SIZE} × {IMAGE_SIZE} × 4 numbers become 4 (random kernels)",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## Skip connections
#
# A **skip connection** adds what went into two convolutions to what comes out of them (He and others, 2016: residual
# learning). A convolution of 1 × 1 pixel first brings the input to as many channels as the output has. Skip connections
# were made for networks of dozens of layers, and may matter little in one of nine.
#
#     x ──► convolution ► ReLU ► convolution ──► + ──► ReLU ──►
#     └────────────── convolution 1 × 1 ─────────┘

# %%
def block(x, filters):
    """Return x after two convolutions, with a skip connection past both."""
    y = layers.ReLU()(convolution(x, filters))
    y = convolution(y, filters)
    y = layers.Add()([y, convolution(x, filters, size=1)]) if SKIP_CONNECTIONS else y
    return layers.ReLU()(y)


# %% tags=["slide"]
x = lesion.mean(axis=-1, keepdims=True) / 255
y = convolution(layers.ReLU()(convolution(x, 1)), 1)
figures.image_grid(
    figures.maps(np.concatenate([x, y, x + y])),
    ["x", "y: two convolutions", "x + y"],
    columns=3, inches=2.2,
    title="A skip connection adds x to what two convolutions made of it",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# The whole network: pixels brought to −1 to 1, a convolution with a stride of two, four blocks with pooling between
# them, global pooling, dropout, softmax. What is each part worth? One training cannot say. On real images, an earlier
# version of this network was trained without one part at a time, three times each: batch normalisation mattered most,
# dropout not visibly ([results](https://github.com/{{repository}}/blob/{{branch}}/docs/results.md#one-part-at-a-time)).

# %%
def build(name):
    """Return the network, untrained."""
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.ReLU()(convolution(x, 32, size=5, strides=2))
    for filters in (32, 64, 128):
        x = layers.MaxPooling2D()(block(x, filters))
    x = layers.GlobalAveragePooling2D()(block(x, 160))
    x = layers.Dropout(DROPOUT)(x)
    outputs = layers.Dense(len(CLASSES), activation="softmax", dtype="float32")(x)
    return keras.Model(inputs, outputs, name=name)


# %% [markdown]
# Where are its weights? In notebook 03, nearly all lay in one Dense layer.

# %% tags=["nbval-check-output"]
weights = pipeline.weights_by_layer(build("untrained"))
print(f"{weights['weights'].sum():,} weights in all")
weights.groupby("kind").sum().round(3)

# %% [markdown]
# Compare the sum with that of notebook 03 (549,032 with eight classes and 64 pixels). It does not alone decide whether a
# network memorises: a kernel's weights are used at every place, and no two epochs show the same images. (Half of the
# weights of batch normalisation are running means and variances: they are counted, but not trained by gradient descent.)

# %% [markdown]
# ## Train it twice
#
# An image counts more in the loss if its class is rare in its collection (`BALANCE`), and a melanoma counts
# `MELANOMA_WEIGHT` times that: **cost-sensitive learning**, as a missed melanoma costs more than another mistake. Both
# trainings get the same images with the same weights, in the same order, and start from the same network; only the
# colours differ.

# %%
def batches(change):
    """Return the training batches, changed on the fly by ``change``."""
    weights = pipeline.weights(train, BALANCE, MELANOMA_WEIGHT)
    targets = pipeline.one_hot(train, CLASSES)
    return pipeline.batches(
        load(train), targets, BATCH_SIZE, seed=SEED, augment=change, weights=weights
    )


# %%
val_targets = pipeline.one_hot(val, CLASSES)
val_data = pipeline.batches(load(val), val_targets, BATCH_SIZE)
epochs = EPOCHS or (15 if SYNTHETIC else 50)

# %% [markdown]
# The learning rate follows a **cosine** down to zero: large steps first, small ones at the end. So all epochs are run,
# and the checkpoint keeps the one with the lowest validation loss.

# %%
def compiled(name, steps):
    """Return the network, ready to train for so many steps."""
    keras.utils.set_random_seed(SEED)  # both trainings start from the same weights
    network = build(name)
    cosine = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, decay_steps=steps)
    adam = keras.optimizers.Adam(cosine)
    network.compile(optimizer=adam, loss="categorical_crossentropy", metrics=["accuracy"])
    return network


# %%
def train_on(data, name):
    """Train the network on ``data``, keep its best epoch, and return it with its history."""
    network = compiled(name, epochs * len(data))
    training = callbacks.begin(run, network, table, epochs)
    checkpoint = keras.callbacks.ModelCheckpoint(
        training.best, monitor="val_loss", save_best_only=True, save_weights_only=True
    )
    network.fit(
        data, validation_data=val_data, epochs=epochs, initial_epoch=training.initial_epoch,
        callbacks=[checkpoint, *callbacks.upkeep(training, checkpoint, tensorboard=TENSORBOARD)],
        verbose=0,
    )
    return network, callbacks.finish(network, training)


# %% [markdown]
# First with the colours as they are:

# %%
kept, kept_history = train_on(batches(turned), "colours_kept")

# %% [markdown]
# Then the same network with exchanged colours:

# %%
exchange, exchange_history = train_on(batches(exchanged), "colours_exchanged")

# %% [markdown]
# Training images are augmented, validation images are as they are. So training is the harder task, and its line of
# accuracy may lie below that of validation; its loss also carries the class weights. Compare shapes, not heights: does
# the gap between the two lines grow as in notebook 03?

# %% tags=["slide"]
last = "{accuracy:.0%} and {val_accuracy:.0%}".format
figures.curves(
    {"colours_kept": kept_history, "colours_exchanged": exchange_history},
    title=f"Last epoch, training and validation: colours kept {last(**kept_history.iloc[-1])}, "
          f"exchanged {last(**exchange_history.iloc[-1])}",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## Predict, and keep the predictions
#
# Any turn of a lesion deserves the same answer, so predict all eight views of an image (four quarter turns, each also
# mirrored) and average them: **test-time augmentation**. The log above scored every epoch from one view; below is the
# saved epoch from eight, so the accuracies may differ by a few points. Nothing is scored on Test here: that happens
# once, in notebook 05.

# %%
def keep_predictions(network):
    """Write the network's predictions of validation and Test into its folder."""
    def views(rows):
        return pipeline.average_views(network, load(rows), TTA)

    scores.write_predictions(run.folder / network.name, table, CLASSES, views)


# %%
keep_predictions(kept)
keep_predictions(exchange)
both = evaluate.on_validation(run, table).loc[["colours kept", "colours exchanged"]]

# %% tags=["slide"]
ranked = both["value"].sort_values(ascending=False)
figures.shares(
    both,
    xlabel="accuracy on validation, with its 95% interval",
    title="Validation prefers {}: {:.0%} against {:.0%}".format(ranked.index[0], *ranked),
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## Choose: which one would you send to a clinic?
#
# A clinic wants one of the two networks. The figure above says which one validation prefers, and so far every choice was
# made on validation. But a network that saw exchanged colours cannot rely so easily on the colours of one clinic; it also
# lost colours that doctors read. Which argument is stronger? Write down your choice: notebook 05 tries it.

# %%
CHOICE = "colours_kept"  # change me, if you like: "colours_kept" or "colours_exchanged"

# %% tags=["slide", "nbval-check-output"]
assert CHOICE in (kept.name, exchange.name), f"CHOICE is {CHOICE!r}, the name of neither network."
sent = CHOICE.replace("_", " ")
largest = train["label"].mode()[0]
always = (val["label"] == largest).mean()
print(f"You send {sent}, which is right on {both.loc[sent, 'value']:.0%} of the validation images.")
print(f"(Always predicting training's largest class: {always:.0%}.)")
run.done(CHOICE=CHOICE)

# %% [markdown]
# ## What you saw
#
# - **Augment**: each epoch shows new views of the same lesions, with nothing on disk.
# - **Exchange**: exchanged colours take away a cue that has nothing to do with the lesion, and some that do.
# - **Build**: dropout, batch normalisation and global pooling, skip connections; the weights now lie in the convolutions.
# - **Train**: the same network twice, all but the colours equal; the last figure shows which one validation prefers.
# - **Choose**: you have sent one of them to a clinic; validation cannot say what it does there.

# %% [markdown]
# {{quiz}}

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# How much does each network know without the lesion? Hide the middle half of every validation image (from a quarter to
# three quarters of each side), where most of a lesion lies (a large one reaches beyond it): set it to 128, a medium
# grey. Put the accuracies of both networks, from one view of each image, into a dictionary `hidden_middle` by the name
# of the network.

# %% tags=["solution"]
# @title Solution 1
hidden_middle = {}
### BEGIN SOLUTION
low, high = IMAGE_SIZE // 4, IMAGE_SIZE - IMAGE_SIZE // 4
covered = load(val).astype("float32")
covered[:, low:high, low:high] = 128
for network in (kept, exchange):
    predicted = network.predict(covered, batch_size=64, verbose=0).argmax(axis=1)
    hidden_middle[network.name] = (predicted == val_targets.argmax(axis=1)).mean()
### END SOLUTION
checks.accuracy_without_middle(hidden_middle, [kept, exchange], load(val), val["label"], CLASSES)

# %% [markdown]
# ### Exercise 2
#
# How much does each network need colours? Show both the validation images in grey (`tf.image.rgb_to_grayscale`, then
# `tf.repeat` to three channels), and put their accuracies, from one view of each image, into a dictionary `in_grey` by
# the name of the network. (*Colours exchanged* saw some grey images in training.)

# %% tags=["solution"]
# @title Solution 2
in_grey = {}
### BEGIN SOLUTION
grey = tf.repeat(tf.image.rgb_to_grayscale(load(val).astype("float32")), 3, axis=-1)
for network in (kept, exchange):
    predicted = network.predict(grey, batch_size=64, verbose=0).argmax(axis=1)
    in_grey[network.name] = (predicted == val_targets.argmax(axis=1)).mean()
### END SOLUTION
checks.accuracy_in_grey(in_grey, [kept, exchange], load(val), val["label"], CLASSES)

# %% [markdown]
# ### Exercise 3
#
# Suppose `Flatten` stood in place of global average pooling, and the images had twice the side. How many weights would
# the last layer have? Work it out without building it, as `last_layer`, a whole number. *Hint: every stride and every
# pooling halves the side.*

# %% tags=["solution"]
# @title Solution 3
last_layer = None
### BEGIN SOLUTION
side = 2 * IMAGE_SIZE // 2**4  # one stride of two, three poolings
last_layer = (side * side * 160 + 1) * len(CLASSES)
### END SOLUTION
checks.weights_with_flatten(last_layer, kept)

# %% [markdown]
# ## Go on
#
# Solutions: [the notebook in full](https://github.com/{{repository}}/blob/{{branch}}/notebooks/{{notebook}}.ipynb).
#
# Next: [05_evaluation](05_evaluation.ipynb), in Colab
# [here](https://colab.research.google.com/github/{{repository}}/blob/{{branch}}/notebooks/exercises/05_evaluation.ipynb).
