# %% [markdown]
# # 3 · A plain convolutional network
#
# **In fifteen minutes you will compute a convolution by hand, build the case study's CNN layer by layer, train it, and
# see whether it overfits.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **load** the training and validation images as batches;
# - **convolve** one lesion with a kernel of your own, and see the feature map;
# - **build** a network of convolutions, pooling and fully connected layers, and count its weights;
# - **train** it with categorical cross-entropy and Adam, with early stopping and checkpoints;
# - **read** the curves, and name overfitting when you see it;
# - **predict** one image, and then validation and Test, for notebook 05.

# %%
# {{setup}}

# %% tags=["parameters"]
DATA_DIR = ""  # @param {type:"string"} folder of the images; empty: look for one, else the synthetic sample
OUT_DIR = "runs/course"  # @param {type:"string"} run folder; a path under /content/drive/MyDrive outlives Colab
LABELS = "audited"  # @param ["audited", "published"] which labels to learn from
METADATA = ""  # @param {type:"string"} CSV of official labels and lesions; empty: the one that comes with the course
MIN_CLASS_SIZE = 20  # @param {type:"integer", min:1, max:100000} a class with fewer training images is left out
IMAGE_SIZE = 64  # @param {type:"integer", min:16, max:1024} side in pixels of the images that a network sees
BATCH_SIZE = 16  # @param {type:"integer", min:1, max:4096} images a training step
EPOCHS = 0  # @param {type:"integer", min:0, max:10000} passes over the training images, at most; 0: as the notebook says
PATIENCE = 5  # @param {type:"integer", min:1, max:10000} epochs without a lower validation loss after which training stops
LEARNING_RATE = 0.001  # @param {type:"number", min:0.0000001, max:10} learning rate of Adam
KEEP_ASPECT = False  # @param {type:"boolean"} fit images into the square on black instead of squeezing them
TENSORBOARD = False  # @param {type:"boolean"} also write a log for TensorBoard into the run folder
SEED = 0  # @param {type:"integer", min:0, max:4294967295} the same number gives the same split, images and networks

# %%
# %matplotlib inline
import keras
import numpy as np
import pandas as pd
from keras import layers
from scipy import signal

from helpers import figures, manifest, runs
from helpers.evaluation import scores
from helpers.training import callbacks, pipeline

# %% [markdown]
# ## The device
#
# A graphics processor (GPU) can make training many times faster; everything works without one.

# %%
print(callbacks.set_up_device(SEED))
run = runs.start("03_baseline_cnn", globals())
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * run.images.synthetic)

# %% [markdown]
# ## Load
#
# The manifest of notebook 01 says which image is in which split, and with which label. If it is not there yet, notebook
# 01 runs first. The pixels are decoded once, resized, and kept as whole numbers of 0 to 255.

# %% tags=["nbval-check-output"]
table = run.manifest()
train, val = manifest.active(table, "train"), manifest.active(table, "val")
CLASSES = sorted(train["label"].unique())
print(f"{len(train)} training images, {len(val)} validation images, {len(CLASSES)} classes")

# %% [markdown]
# A **batch** is what the network sees at once. Training batches are shuffled anew each epoch; validation keeps its order.
# Each image comes with a row of zeros and a single one, the **one-hot** label; above each image stands the class it names.

# %%
def batches_of(rows, **how):
    """Return the images and labels of manifest rows, ``BATCH_SIZE`` at a time."""
    pixels = pipeline.load(rows, IMAGE_SIZE, run.folder / "cache", KEEP_ASPECT)
    return pipeline.batches(pixels, pipeline.one_hot(rows, CLASSES), BATCH_SIZE, **how)


train_data, val_data = batches_of(train, seed=SEED), batches_of(val)

# %%
batch, targets = next(iter(train_data))
print(f"images {batch.shape}, targets {targets.shape}")
names = [CLASSES[target] for target in targets[:8].numpy().argmax(axis=1)]
figures.image_grid(list(batch[:8].numpy()), names, 8, "The first images of a batch", run.images.synthetic)

# %% [markdown]
# ## A convolution by hand
#
# A **kernel** is a small table of numbers. A **convolution** lays it on every place of the image, multiplies number by
# pixel, and adds up; the result is a **feature map**. This kernel of 3 × 3 subtracts what is left from what is right,
# so that vertical edges stand out. **ReLU** then sets everything below zero to zero: what is left is an **activation**,
# large where the pattern was found.

# %%
lesion = batch[0].numpy() / 255
kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])  # Sobel's, 1968
feature_map = signal.correlate2d(lesion.mean(axis=-1), kernel, mode="same", boundary="symm")
activation = np.maximum(feature_map, 0)


def shades(values):
    """Return a map of numbers as a grey picture, its largest value white."""
    return np.repeat((255 * (values - values.min()) / np.ptp(values))[..., None], 3, axis=-1)


figures.image_grid([255 * lesion, shades(feature_map), shades(activation)],
                   ["one lesion", "its feature map", "after ReLU"], 3,
                   "One kernel finds edges of one direction", run.images.synthetic)

# %% [markdown]
# Nobody chooses the kernels of a network: they start at random, and training finds them. With `padding="same"` the map
# keeps the image's size (**padding**: a border of zeros); the **stride** is how far the kernel moves, here one pixel.
#
# ## The network, layer by layer
#
# - **Conv2D** holds many kernels; each sees all channels of the layer before.
# - **Pooling** keeps the largest activation of each 2 × 2: half the side, and a little shift matters less.
# - **Flatten** lays all activations in one long row; **fully connected** layers (Dense) weigh them.
# - The last layer's numbers are the **logits**; **softmax** turns them into probabilities that sum to 1.

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
# Count two layers by hand. A kernel of the first convolution has 3 × 3 places and 3 channels, and one number more, its
# bias; the layer has 16 kernels. The first Dense layer has a weight for every activation at every place, and a bias, for
# each of its 128 units. Expect your counts in the table, and most weights in that one layer.

# %% tags=["nbval-check-output"]
first_convolution = (3 * 3 * 3 + 1) * 16
first_dense = ((IMAGE_SIZE // 8) ** 2 * 64 + 1) * 128
print(f"by hand: first convolution {first_convolution:,}, first Dense {first_dense:,}")
weights = [(layer.name, str(layer.output.shape[1:]), layer.count_params()) for layer in network.layers]
weights = pd.DataFrame(weights, columns=["layer", "output shape", "weights"])
weights["share"] = (weights["weights"] / network.count_params()).map("{:.1%}".format)
assert {first_convolution, first_dense} <= set(weights["weights"])
weights

# %% [markdown]
# ## Compile
#
# **Categorical cross-entropy** is the loss: minus the logarithm of the probability that the network gave the true class.
# A network that gives each of *k* classes the same has a loss of log *k*; the printed number is where training starts.
# **Adam** follows the loss downhill; the **learning rate** is how far a step goes. **Accuracy** is what you read: the
# share of images classified correctly. The learning rate is a **hyperparameter**: you choose it, training does not.

# %%
network.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss="categorical_crossentropy",
                metrics=["accuracy"])
print(f"log {len(CLASSES)} = {np.log(len(CLASSES)):.2f}; "
      f"untrained, on validation: loss {network.evaluate(val_data, verbose=0)[0]:.2f}")

# %% [markdown]
# ## Fit
#
# Keras's own callbacks do the rest. `EarlyStopping` ends the training when the validation loss has not fallen for
# `PATIENCE` epochs, `ModelCheckpoint` keeps the weights of the epoch with the lowest. `upkeep` prints the progress, logs the
# curves, and keeps what a stopped training needs: if the runtime stops, run the notebook again, and it goes on. Watch whether the training loss falls on while the validation loss turns.

# %%
epochs = EPOCHS or 40
training = callbacks.begin(run, network, table, epochs)
stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=PATIENCE)
checkpoint = keras.callbacks.ModelCheckpoint(training.best, monitor="val_loss",
                                             save_best_only=True, save_weights_only=True)
network.fit(train_data, validation_data=val_data, epochs=epochs, verbose=0,
            initial_epoch=training.initial_epoch,
            callbacks=[stopping, checkpoint,
                       *callbacks.upkeep(training, checkpoint, stopping, TENSORBOARD)])
history = callbacks.finish(network, training)

# %% [markdown]
# Did early stopping end it?

# %%
best, last = history.loc[history["val_loss"].idxmin()], history.iloc[-1]
print(f"The lowest validation loss came in epoch {best['epoch']:.0f}.",
      f"{PATIENCE} epochs later, after {len(history)} of {epochs}, early stopping ended the training."
      if stopping.stopped_epoch else f"In {len(history)} of {epochs} epochs, it had no reason to act.")

# %% [markdown]
# ## Read the curves
#
# The dashed lines are training images, the solid ones validation images; the dot marks the epoch that is kept. Watch
# where they part.

# %%
ends = f"training accuracy {last['accuracy']:.2f} in the end, validation {last['val_accuracy']:.2f}"
figures.curves({"baseline": history}, f"Baseline: {ends}", run.images.synthetic)

# %%
gap = {}
for name, row in (("kept", best), ("last", last)):
    gap[name] = row["accuracy"] - row["val_accuracy"]
    print(f"{name}: epoch {row['epoch']:2.0f}, accuracy in training {row['accuracy']:.2f}, "
          f"on validation {row['val_accuracy']:.2f}, gap {gap[name]:.2f}")
print("The gap grew after the kept epoch: the network overfits."
      if gap["last"] > gap["kept"] + 0.02 else "The gap did not grow after the kept epoch.")

# %% [markdown]
# A training accuracy that goes on rising while the validation loss rises again is **overfitting**: the network remembers
# its images instead of learning what they share. The opposite, what you want, is **generalisation**. Notebook 04 shows
# what may help.
#
# ## What did the first layer learn?
#
# The activations of the first convolution for the same lesion, one picture for each of its 16 kernels. Some may be
# almost the image, some may show edges; in a black one the kernel found nothing here.

# %%
first = keras.Model(network.inputs, network.layers[1].output)
maps = first.predict(batch[:1], verbose=0)[0]
pictures = [shades(maps[..., k]) if np.ptp(maps[..., k]) else np.zeros((*maps.shape[:2], 3))
            for k in range(16)]
figures.image_grid(pictures, [f"kernel {k + 1}" for k in range(16)], 8,
                   "Activations of the trained first layer", run.images.synthetic)

# %% [markdown]
# ## One prediction, read aloud
#
# Give the network one validation image, and read what it says.

# %%
image, target = next(iter(val_data.unbatch().batch(1)))
probabilities = network.predict(image, verbose=0)[0]
truth = CLASSES[int(target.numpy().argmax())]
order = probabilities.argsort()[::-1]
print("; ".join(f"{CLASSES[k]} {probabilities[k]:.0%}" for k in order[:3]))
chance = probabilities[CLASSES.index(truth)]
print(f"It is filed as {truth}. The loss for this image is -log({chance:.3f}) = {-np.log(chance):.2f}; "
      f"the prediction is {'right' if CLASSES[order[0]] == truth else 'wrong'}.")

# %% [markdown]
# ## Predict, and keep the predictions
#
# The probabilities for validation and Test go into one file. Nothing is scored on Test here: that happens once, in
# notebook 05.

# %%
test = table[(table["split"] == "test") & (table["flag"] != "unreadable")]
predictions = [scores.predictions_table(rows, network.predict(batches_of(rows), verbose=0), CLASSES)
               for rows in (val, test)]
manifest.write_text(pd.concat(predictions).to_csv(index=False), training.folder / "predictions.csv")
run.done()
print(f"{len(val)} validation and {len(test)} Test images predicted: "
      f"{OUT_DIR}/baseline/predictions.csv")

# %% [markdown]
# ## What you saw
#
# - **Load**: images become batches of numbers, labels become one-hot rows.
# - **Convolve**: a kernel finds one pattern everywhere; its feature map shows where.
# - **Build**: three convolutions see; one fully connected layer holds most of the weights.
# - **Train**: cross-entropy, Adam, early stopping, a checkpoint of the best epoch.
# - **Read**: where training accuracy rises and validation loss rises too, the network overfits.
# - **Predict**: the probabilities are kept; Test is still unscored.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# Turn the kernel so that it finds horizontal edges instead of vertical ones. How large is the mean activation of each
# on this lesion?

# %% tags=["solution"]
# @title Solution 1
### BEGIN SOLUTION
horizontal = signal.correlate2d(lesion.mean(axis=-1), kernel.T, mode="same", boundary="symm")
horizontal = np.maximum(horizontal, 0)
### END SOLUTION
print(f"vertical {activation.mean():.3f}, horizontal {horizontal.mean():.3f}")
assert horizontal.shape == activation.shape and not np.allclose(horizontal, activation)

# %% [markdown]
# ### Exercise 2
#
# Replace `Flatten` by `GlobalAveragePooling2D`. How many weights are left? Work it out before you let Keras count.

# %% tags=["solution"]
# @title Solution 2
### BEGIN SOLUTION
small = keras.Sequential([*network.layers[:7], layers.GlobalAveragePooling2D(),
                          layers.Dense(128, activation="relu"),
                          layers.Dense(len(CLASSES), activation="softmax")])
small.build((None, IMAGE_SIZE, IMAGE_SIZE, 3))
convolutions = (27 + 1) * 16 + (9 * 16 + 1) * 32 + (9 * 32 + 1) * 64
by_hand = convolutions + (64 + 1) * 128 + (128 + 1) * len(CLASSES)
### END SOLUTION
print(f"{network.count_params():,} weights become {small.count_params():,}")
assert small.count_params() == by_hand

# %% [markdown]
# ### Exercise 3
#
# Train the network for five epochs with a learning rate ten times as high. What is the lowest validation loss now,
# beside that of the first five epochs above?

# %% tags=["solution"]
# @title Solution 3
### BEGIN SOLUTION
keras.utils.set_random_seed(SEED)
again = keras.models.clone_model(network)
high = keras.optimizers.Adam(10 * LEARNING_RATE)
again.compile(high, "categorical_crossentropy", metrics=["accuracy"])
faster = again.fit(train_data, validation_data=val_data, epochs=5, verbose=0).history
### END SOLUTION
print(f"lowest validation loss in five epochs: {min(faster['val_loss']):.2f} with the higher "
      f"learning rate, {history['val_loss'].head(5).min():.2f} with the lower")
assert len(faster["val_loss"]) == 5
