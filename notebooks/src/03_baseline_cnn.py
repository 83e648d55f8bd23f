# %% [markdown]
# # 3 · A plain convolutional network
#
# **In twenty minutes of reading (about an hour if you also do it) you will compute a convolution by hand, build the case
# study's CNN layer by layer, find out where its weights are, train it, and see whether it starts to memorise.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **load** the training and validation images as batches;
# - **convolve** one image with a small kernel, first by hand, and see the feature map;
# - **build** a network of convolutions, pooling and fully connected layers, and guess where its weights are;
# - **train** it with categorical cross-entropy and Adam, with early stopping and checkpoints;
# - **read** the curves, and recognise overfitting;
# - **predict** one image, and then validation and Test, for notebook 05.
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
# side in pixels of the images that the network sees
IMAGE_SIZE = 64  # @param {type:"integer", min:16, max:1024}
# images per training step
BATCH_SIZE = 16  # @param {type:"integer", min:1, max:4096}
# passes over the training images, at most; 0: the notebook's default
EPOCHS = 0  # @param {type:"integer", min:0, max:10000}
# epochs without a lower validation loss after which training stops
PATIENCE = 5  # @param {type:"integer", min:1, max:10000}
# learning rate of Adam
LEARNING_RATE = 0.001  # @param {type:"number", min:0.0000001, max:10}
# fit images into the square with black borders instead of stretching them
KEEP_ASPECT = False  # @param {type:"boolean"}
# also write a log for TensorBoard into the run folder
TENSORBOARD = False  # @param {type:"boolean"}
# the same number gives the same split and images; networks may differ a little from run to run
SEED = 0  # @param {type:"integer", min:0, max:4294967295}

# %%
# %matplotlib inline
from helpers import figures, manifest, runs
from helpers.evaluation import scores
from helpers.training import callbacks, pipeline
from notebooks.checks import networks as checks

import keras
import numpy as np
import pandas as pd
from keras import layers
from scipy import signal

# %% [markdown]
# A graphics processor (GPU) can make training many times faster; everything works without one. The cell says which
# device and which images are used.

# %%
run = runs.start("03_baseline_cnn", globals())
SYNTHETIC = run.images.synthetic  # then figures say so
print(callbacks.set_up_device(SEED))
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * SYNTHETIC)

# %% [markdown]
# ## Load
#
# The manifest of notebook 01 says which image is in which split, and with which label. If it is not there yet, notebook
# 01 runs first.

# %% tags=["nbval-check-output"]
table = run.manifest()
train = manifest.active(table, "train")
val = manifest.active(table, "val")
CLASSES = sorted(train["label"].unique())
print(f"{len(train)} training images, {len(val)} validation images, {len(CLASSES)} classes")

# %% [markdown]
# A **batch** is what the network sees at once, an **epoch** one pass over all training images. Training batches are
# shuffled anew each epoch; validation keeps its order. The pixels are whole numbers from 0 to 255. Each image comes
# with its **one-hot** label: zeros, and a single one in the place of its class.

# %%
def batches_of(rows, **how):
    """Return the images and labels of manifest rows, ``BATCH_SIZE`` at a time."""
    pixels = pipeline.load(rows, IMAGE_SIZE, run.folder / "cache", KEEP_ASPECT)
    return pipeline.batches(pixels, pipeline.one_hot(rows, CLASSES), BATCH_SIZE, **how)


# %%
train_data = batches_of(train, seed=SEED)
val_data = batches_of(val)
batch, targets = next(iter(train_data))
print("images", batch.shape, "targets", targets.shape)

# %% [markdown]
# Look at the first images of the batch. Could you distinguish the classes at this size?

# %% tags=["slide"]
labels = targets.numpy().argmax(axis=1)
figures.image_grid(
    batch.numpy()[:6],
    np.array(CLASSES)[labels[:6]],
    columns=6, inches=1.7,
    title=f"{IMAGE_SIZE} × {IMAGE_SIZE} pixels are all that the network will see",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## A convolution by hand
#
# A **kernel** is a small table of numbers. A **convolution** slides it over the image: at every position it multiplies
# each number by the pixel under it, and adds up. The sums make a **feature map**. This kernel of 3 × 3 subtracts the
# pixels on the left from those on the right, and the middle row counts twice:
#
#     -1  0  1
#     -2  0  2
#     -1  0  1
#
# By hand, at one position: from left to right, each of the three rows under the kernel reads 10, 10, 50. The kernel
# gives (-10 + 50) + 2 × (-10 + 50) + (-10 + 50) = 160, a strong edge. Had the rows read 50, 10, 10, it would give -160;
# and 0 had all pixels been alike. So vertical edges stand out: the sum is large where it gets brighter to the right,
# below zero where it gets darker, near zero where nothing changes.
#
# **ReLU** then sets everything below zero to zero. What remains is an **activation**, large where the pattern was found.
# Without ReLU between them, several convolutions in a row could be replaced by a single, larger one.
#
# The next cell does it at every position. (SciPy calls this *correlation*: a mathematician's convolution flips the kernel
# first. As a network learns its kernels, it makes no difference.)

# %%
grey = batch.numpy()[0].mean(axis=-1) / 255
kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])  # Sobel, 1968
feature_map = signal.correlate2d(grey, kernel, mode="same", boundary="symm")
activation = np.maximum(feature_map, 0)  # ReLU

# %% [markdown]
# Each picture goes from its lowest number, black, to its highest, white. In the middle one, the grey of flat areas is
# zero.

# %% tags=["slide"]
figures.image_grid(
    [figures.shades(grey), figures.shades(feature_map), figures.shades(activation)],
    ["one image, in grey", "its feature map", "after ReLU"],
    columns=3, inches=2.2,
    title="The kernel answers where it gets brighter to the right",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# Nobody chooses the kernels of a network: they start at random, and training finds them. With `padding="same"` the map
# keeps the image's size (**padding**: a border of zeros). The **stride** is how far the kernel moves, here one pixel.
#
# ## The network, layer by layer
#
# - **Conv2D** holds many kernels, here 16, 32 and 64. Each makes a map, a *channel*, out of all channels before it.
# - **Pooling** keeps the largest activation of each 2 × 2 (of 1, 3 / 0, 2 it keeps 3): half the side, and a small shift
#   matters less.
# - **Flatten** lays all activations out in one long row; **fully connected** layers (Dense) weigh them.
# - The last layer has one number per class, the **logits**; **softmax** turns them into probabilities that sum to 1. It
#   raises e to each logit and divides by the sum: logits 2, 1, 0 become 7.4, 2.7, 1, and so 67%, 24%, 9%.

# %%
network = keras.Sequential([
    keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3)),
    layers.Rescaling(1 / 255),
    layers.Conv2D(16, 3, padding="same", activation="relu"),
    layers.MaxPooling2D(),
    layers.Conv2D(32, 3, padding="same", activation="relu"),
    layers.MaxPooling2D(),
    layers.Conv2D(64, 3, padding="same", activation="relu"),
    layers.MaxPooling2D(),
    layers.Flatten(),
    layers.Dense(128, activation="relu"),
    layers.Dense(len(CLASSES), activation="softmax", dtype="float32"),
], name="baseline")

# %% [markdown]
# What comes out of each layer for one image: height, width and channels, and from Flatten on a row of numbers.

# %%
shapes = {layer.name: layer.output.shape[1:] for layer in network.layers}
pd.Series(shapes).to_frame("output")

# %% [markdown]
# ## Guess: where are the weights?
#
# A **weight** is a number that training may change: each number of a kernel; one for each number that reaches each
# **unit** of a fully connected layer (a unit gives one number); and a **bias**, which is added, for each kernel and
# unit. The three convolutions look at the image; the two fully connected layers only weigh what they
# found. What share of all the weights do the **three convolutions** hold? Put your guess into the next cell, then run
# on.

# %%
GUESS = 0.5  # change me: the share of the weights that the three convolutions hold, from 0 to 1

# %% tags=["nbval-check-output"]
weights = pipeline.weights_by_layer(network)
weights.round(3)

# %% tags=["slide"]
groups = weights.groupby("kind")[["share"]].sum().set_axis(["value"], axis=1)
groups["guessed"] = groups.index == "Conv2D"
convolutions = groups.loc["Conv2D", "value"]
figures.shares(
    groups.rename({"Conv2D": "three convolutions", "Dense": "two fully connected layers"}), GUESS,
    title=f"You guessed {GUESS:.0%}; the three convolutions hold {convolutions:.0%}",
    xlabel="share of all weights",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# Count one layer by hand: the first fully connected layer, which has 128 units.

# %%
side = IMAGE_SIZE // 8  # three times half the side
activations = side * side * 64
weights_by_hand = activations * 128 + 128
print(f"{activations:,} activations x 128 units + 128 biases = {weights_by_hand:,} weights")

# %% [markdown]
# A kernel is small, and used at every position. This layer has weights for each *position*: what it learns about the
# upper left of the image says nothing about the lower right. Notebook 04 replaces it.

# %% [markdown]
# ## How a network learns: gradient descent
#
# The **loss** is one number that says how wrong the network is: the lower, the better. Take the simplest network of
# all, with a single weight, and let its loss be the weight squared: lowest at 0. Training cannot see the curve. It only
# knows the *slope* of the loss where it stands, and goes downhill: **gradient descent**. The steeper the slope, the
# longer the step; the **learning rate** says how long.

# %%
def descend(rate, weight=-2.0):
    """Return the weights that nine steps of gradient descent visit."""
    path = [weight]
    for _ in range(9):
        slope = 2 * weight  # of weight², at this weight
        weight = weight - rate * slope
        path.append(weight)
    return np.array(path)


# %% [markdown]
# The same start, at a weight of -2, and nine steps at three learning rates:

# %% tags=["slide"]
rates, line = [0.02, 0.3, 1.03], np.linspace(-3.5, 3.5)
figure, places = figures.new(9, 3, 1, 3, sharey=True)
for axes, rate in zip(places, rates):
    axes.plot(line, line**2, color=figures.GREY)
    axes.plot(descend(rate), descend(rate) ** 2, "o-", color="#D55E00")
    axes.set_title(f"learning rate {rate}", fontsize=10)
    axes.set(xlabel="weight", ylabel="loss")
title = "A rate too small hardly gets there; one too large jumps over the lowest loss and climbs"
figures.titled(figure, title, synthetic=False)

# %% [markdown]
# The network above has a great many weights instead of one. Each step takes one batch, computes the slope
# of the loss for every weight (*backpropagation*), and moves them all.

# %% [markdown]
# **Adam** is gradient descent with two refinements: it averages the slopes of recent steps, and it gives each weight a
# learning rate of its own, smaller where the slopes have been large. **Categorical cross-entropy**, the loss for classes,
# is minus the logarithm of the probability given to the true class: 0 where the network was sure and right, large where
# it was sure and wrong. **Accuracy**, the share classified correctly, has no slope to follow: a small step seldom changes
# a count.

# %%
network.compile(
    optimizer=keras.optimizers.Adam(LEARNING_RATE),
    loss="categorical_crossentropy",
    metrics=["accuracy"],
)

# %% [markdown]
# A network that knows nothing gives each of *k* classes the probability 1/*k*, and has a loss of log *k*. Training
# should start near that.

# %%
untrained, _ = network.evaluate(val_data, verbose=0)
even = np.log(len(CLASSES))
print(f"log {len(CLASSES)} = {even:.2f}; untrained, the loss is {untrained:.2f}")

# %% [markdown]
# Keep what the first layer makes of one image *before* training, to compare it later.

# %%
first_layer = keras.Model(network.inputs, network.layers[1].output)
one = batch[:1]
before = first_layer.predict(one, verbose=0)

# %% [markdown]
# ## Fit
#
# **Early stopping** ends the training when the validation loss has set no new low for `PATIENCE` epochs. The
# **checkpoint** keeps the weights of the epoch with the lowest validation loss. Both are *callbacks*, which Keras calls
# during training. The others, `upkeep`, print progress and save enough to resume: if the runtime stops, run the
# notebook again. `finish` loads the kept weights and returns a table, one row per epoch.

# %%
epochs = EPOCHS or 40
stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=PATIENCE)

# %% [markdown]
# Watch whether the training loss keeps falling while the validation loss starts to rise.

# %%
training = callbacks.begin(run, network, table, epochs)
checkpoint = keras.callbacks.ModelCheckpoint(
    training.best, monitor="val_loss", save_best_only=True, save_weights_only=True
)
upkeep = callbacks.upkeep(training, checkpoint, stopping, TENSORBOARD)
network.fit(
    train_data, validation_data=val_data,
    epochs=epochs, initial_epoch=training.initial_epoch,
    callbacks=[stopping, checkpoint, *upkeep], verbose=0,
)
history = callbacks.finish(network, training)

# %% [markdown]
# ## Read the curves
#
# On the left is the loss, on the right the accuracy. Where the two lines part, the network does better on the images
# that it learns from than on others.

# %% tags=["slide"]
last = history.iloc[-1]
figures.curves(
    {"baseline": history},
    title=f"In the last epoch, {last['accuracy']:.0%} of training images are classified correctly, "
          f"{last['val_accuracy']:.0%} of validation images",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# Compare the saved epoch with the last one. **Overfitting** means that the network gets better on the images it learns
# from and worse on others: it memorises instead of **generalising**. Then the training columns improve from row to row,
# and the validation loss gets worse.

# %%
two = history.iloc[[history["val_loss"].idxmin(), -1]]
two = two.set_axis(["saved epoch", "last epoch"])
two.drop(columns="seconds").round(2)

# %% [markdown]
# **Why does the loss decide, and not the accuracy?** Accuracy only counts which class came first. Suppose two networks
# predict four images of two classes, and give their true classes these probabilities:

# %%
true_class = pd.DataFrame({
    "careful": [0.6, 0.6, 0.4, 0.4],
    "too sure": [0.99, 0.99, 0.01, 0.01],
})
accuracy, loss = (true_class > 0.5).mean(), -np.log(true_class).mean()
pd.DataFrame({"accuracy": accuracy, "loss": loss}).round(2)

# %% [markdown]
# Both are right on the same two images, so accuracy sees no difference. The loss does: the second is just as wrong, but
# sure of it. A network that memorises may become sure even where it is wrong. So the validation loss may rise while the
# accuracy stays, or even rises a little.
#
# ## Room to memorise
#
# The weights and the curves belong together: how many weights learned from how many images, and what became of the two
# losses? (The saved epoch has the lowest validation loss of all, so later ones cannot be lower. Look at how far the
# losses part.)

# %% tags=["slide"]
trained, checked = two["loss"], two["val_loss"]
each = network.count_params() / len(train)
print(f"{network.count_params():,} weights learned from {len(train):,} images: {each:,.0f} per image.")
print("After the saved epoch the training loss went from {:.2f} to {:.2f},".format(*trained))
print("the validation loss from {:.2f} to {:.2f}.".format(*checked))

# %% [markdown]
# The more weights per image, the more easily a network learns single images by heart; and most of these belong to one
# position each. If the training loss keeps falling while the validation loss does not, it may have begun to.
#
# ## What did the first layer learn?
#
# Where in one image is each kernel of the first convolution *active*, that is, above zero: untrained, and trained? Take
# the four of the 16 kernels for which this changed at most positions.

# %%
after = first_layer.predict(one, verbose=0)
switched = (before > 0) != (after > 0)
most = switched.mean(axis=(0, 1, 2)).argsort()[-4:]

# %% [markdown]
# Below each map, that of the same kernel after training. (Each map goes from its own lowest value, black, to its
# highest, white.)

# %% tags=["slide"]
both = np.concatenate([before, after])[..., most]
active = (both > 0).mean(axis=(1, 2, 3))
figures.image_grid(
    figures.maps(both),
    ["untrained"] * 4 + ["trained"] * 4,
    columns=4, inches=1.7,
    title="The four kernels that changed most: active at {:.0%} of positions before, {:.0%} after".format(*active),
    synthetic=SYNTHETIC,
)

# %% [markdown]
# Nobody told a kernel what to look for: many small steps down the slope of the loss made it from what chance had drawn.
#
# ## One prediction
#
# Give the network one validation image, and read what it answers: the three most probable classes.

# %%
images, _ = next(iter(val_data))
image = images[:1]
probabilities = pd.Series(network.predict(image, verbose=0)[0], CLASSES)
probabilities.nlargest(3).to_frame("probability").round(3)

# %% tags=["slide"]
truth = val["label"].iloc[0]
chance = probabilities[truth]
figures.image_grid(
    image.numpy(),
    [f"true: {truth}\npredicted: {probabilities.idxmax()}"],
    columns=1, inches=3.5,
    title=f"The true class got {chance:.1%}: a loss of {-np.log(chance):.2f}",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## Predict, and keep the predictions
#
# The probabilities for validation and Test go into one file. Nothing is scored on Test here: that happens once, in
# notebook 05.

# %%
def predict(rows):
    """Return the network's probabilities for manifest rows."""
    return network.predict(batches_of(rows), verbose=0)


predictions = scores.write_predictions(training.folder, table, CLASSES, predict)
run.done(GUESS=GUESS)
print(f"{len(predictions)} images of validation and Test: {OUT_DIR}/baseline/predictions.csv")

# %% [markdown]
# ## What you saw
#
# - **Load**: images become batches of numbers, labels become one-hot rows.
# - **Convolve**: a kernel finds one pattern everywhere; its feature map shows where.
# - **Build**: three convolutions look; the fully connected layers hold most of the weights.
# - **Train**: steps down the slope of the cross-entropy; early stopping; a checkpoint of the best epoch.
# - **Read**: where training still improves and the validation loss rises, the network overfits.
# - **Predict**: the probabilities are kept; Test is still unscored.

# %% [markdown]
# {{quiz}}

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# Which kernel responds to *horizontal* edges? Set `horizontal` to its activation for `grey`, computed as above: the
# feature map, then ReLU.

# %% tags=["solution"]
# @title Solution 1
horizontal = None
### BEGIN SOLUTION
horizontal = signal.correlate2d(grey, kernel.T, mode="same", boundary="symm")
horizontal = np.maximum(horizontal, 0)
### END SOLUTION
checks.horizontal_edges(horizontal, grey)

# %% [markdown]
# ### Exercise 2
#
# Replace `Flatten` by `GlobalAveragePooling2D`, which keeps one number per channel. How many weights does the whole
# network have then? Work it out by hand, as `by_hand`, a whole number, before you build it.

# %% tags=["solution"]
# @title Solution 2
by_hand = None
### BEGIN SOLUTION
convolutions = (9 * 3 + 1) * 16 + (9 * 16 + 1) * 32 + (9 * 32 + 1) * 64
by_hand = convolutions + (64 + 1) * 128 + (128 + 1) * len(CLASSES)
### END SOLUTION
checks.weights_after_global_pooling(by_hand, network)

# %% [markdown]
# ### Exercise 3
#
# A network that is sure and wrong: let it predict the validation images, and set `surest` to the `image_id` of the
# image that it classifies wrongly with the highest probability. (`val["image_id"]` is in the order of `val_data`.)

# %% tags=["solution"]
# @title Solution 3
surest = None
### BEGIN SOLUTION
chances = network.predict(val_data, verbose=0)
wrong = np.array(CLASSES)[chances.argmax(axis=1)] != val["label"]
surest = val["image_id"][wrong].iloc[chances.max(axis=1)[wrong].argmax()]
### END SOLUTION
checks.surest_error(surest, predictions)

# %% [markdown]
# ## Go on
#
# Solutions: [the notebook in full](https://github.com/{{repository}}/blob/{{branch}}/notebooks/{{notebook}}.ipynb).
#
# Next: [04_dropout_augmented_cnn](04_dropout_augmented_cnn.ipynb), in Colab
# [here](https://colab.research.google.com/github/{{repository}}/blob/{{branch}}/notebooks/exercises/04_dropout_augmented_cnn.ipynb).
