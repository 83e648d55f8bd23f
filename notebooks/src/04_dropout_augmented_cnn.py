# %% [markdown]
# # 4 · A network that generalises
#
# **In fifteen minutes you will train a network that keeps what it learns from being learned by heart, and see the curves
# stay together.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **augment** on the fly: every epoch shows every lesion turned, zoomed and lit anew;
# - **build** blocks of convolution, batch normalisation and pooling, with shortcuts past them, and global pooling and
#   dropout at the end;
# - **train** it with a step size that falls, on classes that count more alike, with early stopping and checkpoints;
# - **compare** its curves with the baseline's, and learn how to find what each part of the recipe is worth;
# - **predict** for validation and test, each image seen in sixteen ways, and keep the answers for notebook 05.

# %%
# {{setup}}

# %% tags=["parameters"]
DATA_DIR = ""  # @param {type:"string"} folder of the images; empty: look for one, else the synthetic sample
OUT_DIR = "runs/course"  # @param {type:"string"} run folder; a path under /content/drive/MyDrive outlives Colab
LABELS = "audited"  # @param ["audited", "published"] which labels to learn from
METADATA = ""  # @param {type:"string"} CSV of official labels and lesions; empty: the one that comes with the course
MIN_CLASS_SIZE = 20  # @param {type:"integer"} a class with fewer training images is left out
AUGMENTATION = "on the fly"  # @param ["on the fly", "augmentor", "both", "none"] new images as it trains, or on disk
IMAGE_SIZE = 96  # @param {type:"integer"} side in pixels of the images that a network sees
BATCH_SIZE = 16  # @param {type:"integer"} images a training step
EPOCHS = 0  # @param {type:"integer"} passes over the training images, at most; 0: 100, or 40 on the sample
PATIENCE = 30  # @param {type:"integer"} epochs without a lower validation loss after which training stops
LEARNING_RATE = 0.001  # @param {type:"number"} step size of Adam
DROPOUT = 0.2  # @param {type:"number"} share of answers hidden at random before the fully connected layer
BATCH_NORM = True  # @param {type:"boolean"} normalise the answers of each convolution
BALANCE = 0.5  # @param {type:"number"} 0: every image counts the same; 1: every class does; 0.5: between the two
LABEL_SMOOTHING = 0.1  # @param {type:"number"} share of the target spread over all classes, 0 to 1
SCHEDULE = "cosine"  # @param ["cosine", "constant"] how the step size goes on
TTA = True  # @param {type:"boolean"} test-time augmentation: average the answers over flips, turns and a crop
KEEP_ASPECT = False  # @param {type:"boolean"} fit images into the square on black instead of squeezing them
TENSORBOARD = False  # @param {type:"boolean"} also write a log for TensorBoard into the run folder
SEED = 0  # @param {type:"integer"} the same number gives the same split, images and networks

# %%
# %matplotlib inline
import itertools

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers

from helpers import course, evaluation, manifest, pipeline, plots, training

# %% [markdown]
# ## The device and the images
#
# As in notebook 03. With `AUGMENTATION` set to "augmentor" or "both", training also takes the images that notebook 02
# wrote; validation and test are the same images as ever.

# %%
print(training.set_up_device(SEED))
out_dir = course.open_folder(OUT_DIR)
images, table = course.open_run(globals())
if AUGMENTATION in ("augmentor", "both"):
    course.ensure("02_augmentation", globals())
    table = manifest.read(out_dir / "augmented.csv", images.root)

# %% tags=["nbval-check-output"]
train, val = manifest.active(table, "train"), manifest.active(table, "val")
CLASSES = sorted(train["label"].unique())
print(f"{len(train)} training images, {len(val)} validation images, {len(CLASSES)} classes")

# %% [markdown]
# ## Augment on the fly
#
# Notebook 02 wrote new images to disk, once. Here each batch is changed as it is made: quarter turns, both flips, a crop
# that zooms and shifts, a little light, drawn anew every epoch, with nothing to store. Expect one lesion of each class,
# twice.

# %%
augment = pipeline.augmenter(crop=0.3, light=0.15)


def load(rows):
    """Return the pixels of manifest rows as the network takes them."""
    return pipeline.load(rows, IMAGE_SIZE, out_dir / "cache", KEEP_ASPECT)


def batches_of(rows, **how):
    """Return the images and labels of manifest rows, ``BATCH_SIZE`` at a time."""
    return pipeline.batches(load(rows), pipeline.one_hot(rows, CLASSES), BATCH_SIZE, **how)


on_the_fly = augment if AUGMENTATION in ("on the fly", "both") else None
train_data, val_data = batches_of(train, seed=SEED, augment=on_the_fly), batches_of(val)

# %%
before = tf.cast(load(train.groupby("label").head(1)), tf.float32)
after = augment(before, tf.constant([SEED, 1]))
plots.image_grid([*before.numpy(), *after.numpy()], [*CLASSES, *["turned anew"] * len(CLASSES)], len(CLASSES),
                 title="One lesion of each class, and what training sees of it", synthetic=images.synthetic)

# %% [markdown]
# ## Two building blocks
#
# - **Batch normalisation** brings each filter's answers to one scale, batch by batch: training is faster and steadier.
#   For validation it uses running means; `momentum=0.9` lets them keep up when an epoch has few batches. With Keras's
#   default of 0.99 they lag behind for many epochs, and validation looks hopeless while training goes well.
#   `synchronized` matters with several GPUs only: their shares of a batch are normalised together.
# - A **shortcut** adds what went into two convolutions to what comes out of them. The block has only to learn what to
#   change, and the gradient finds a short way back (He and others, 2016, call it residual learning).

# %%
def convolution(x, filters, size=3, strides=1):
    """Return x after a convolution and batch normalisation."""
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=not BATCH_NORM)(x)
    return layers.BatchNormalization(momentum=0.9, synchronized=True)(x) if BATCH_NORM else x


def block(x, filters):
    """Return x after two convolutions, with a shortcut past both."""
    y = layers.ReLU()(convolution(x, filters))
    y = convolution(y, filters)
    return layers.ReLU()(layers.Add()([y, convolution(x, filters, size=1)]))


# %% [markdown]
# ## The network, top to bottom
#
# - The first convolution takes steps of two pixels: a quarter of the places, a quarter of the work for all that follows.
# - Between the blocks, **pooling** halves the size, while the number of filters grows.
# - **Global average pooling** keeps one number a filter, its mean over all places: *what* was seen, not *where*. It
#   replaces Flatten, and with it the layer that held nearly all the baseline's weights.
# - **Dropout** hides a random share of the answers at each step, so that no answer can be relied on alone.

# %%
inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
x = layers.ReLU()(convolution(x, 32, size=5, strides=2))
x = layers.MaxPooling2D()(block(x, 32))
x = layers.MaxPooling2D()(block(x, 64))
x = layers.MaxPooling2D()(block(x, 128))
x = block(x, 160)
x = layers.GlobalAveragePooling2D()(x)
x = layers.Dropout(DROPOUT)(x)
outputs = layers.Dense(len(CLASSES), activation="softmax", dtype="float32")(x)
network = keras.Model(inputs, outputs, name="regularised")

# %% [markdown]
# Where are the weights now? Expect them in the convolutions.

# %% tags=["nbval-check-output"]
weights = pd.DataFrame([(type(layer).__name__, layer.count_params()) for layer in network.layers],
                       columns=["kind of layer", "weights"])
weights.groupby("kind of layer").sum().query("weights > 0")

# %% [markdown]
# ## Compile
#
# The loss is categorical cross-entropy and the optimiser Adam, as for the baseline, with two additions.
#
# - The **schedule**: the step size falls along a cosine to nothing at the last epoch. Long steps find the way, short
#   ones settle.
# - **Label smoothing**: the target for the right class is a little less than 1. Some labels are wrong, and a network
#   that is asked for certainty learns those by heart too.

# %%
epochs = EPOCHS or (40 if images.synthetic else 100)
cosine = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, decay_steps=epochs * len(train_data))
network.compile(optimizer=keras.optimizers.Adam(cosine if SCHEDULE == "cosine" else LEARNING_RATE),
                loss=keras.losses.CategoricalCrossentropy(label_smoothing=LABEL_SMOOTHING), metrics=["accuracy"])

# %% [markdown]
# ## Fit
#
# An image of a rare class weighs more in the loss. With `BALANCE = 1` all classes weigh the same, so that few images of
# the rarest must carry much; with 0 a network does best by neglecting them. The square root lies between. The callbacks
# are the baseline's: early stopping and checkpoints.

# %%
share = train["label"].value_counts(normalize=True).reindex(CLASSES)
class_weight = dict(enumerate(share ** -BALANCE / (share ** (1 - BALANCE)).sum()))
run = training.begin(network, out_dir, "regularised", table, course.parameters(globals()) | {"EPOCHS": epochs})
network.fit(train_data, validation_data=val_data, epochs=epochs, initial_epoch=run.first_epoch, verbose=0,
            class_weight=class_weight, callbacks=training.callbacks(run, epochs, PATIENCE, TENSORBOARD))
history = training.finish(network, run)

# %% [markdown]
# ## The curves beside the baseline's
#
# If notebook 03 has not run with these parameters, it runs now. Watch the gap between dashed (training) and solid
# (validation): for this network it stays small, because training has become the harder task of the two.

# %%
course.ensure("03_baseline_cnn", globals())
baseline = pd.read_csv(out_dir / "baseline" / "history.csv")
plots.curves({"baseline": baseline, "regularised": history}, title="Both networks", synthetic=images.synthetic)

# %%
for name, past in (("baseline", baseline), ("regularised", history)):
    best = past.loc[past["val_loss"].idxmin()]
    print(f"{name:12} epoch {best['epoch']:2.0f}: training accuracy {best['accuracy']:.2f}, "
          f"validation {best['val_accuracy']:.2f}, validation loss {best['val_loss']:.2f}")

# %% [markdown]
# ## What each part is worth
#
# A recipe is no list of tricks: take out one part at a time, train again, and see. Do it with several seeds, because a
# part that gives less than the seeds differ has given nothing that you can see. A sweep does this from the command line
# (`sweeps/training_ablation.yml`), and the README holds what it found on real images. The story in short:
#
# - Without **batch normalisation** the same epochs lead less far: the largest loss of those measured.
# - Without **augmentation** the training images are known by heart, as for the baseline. Validation suffers less than you
#   might fear: on-the-fly images have the highest mean, in short and in whole trainings, but by less than the seeds
#   differ. Augmentor's files make an epoch longer and have not helped.
# - **Balance** costs accuracy: with `BALANCE = 0` more images are named rightly, because most images are of large
#   classes. It is there for the rare ones, and what they are worth is for you to say, not for the accuracy.
# - A **step size** that falls gave one point, and gave it with every seed.
# - **Dropout**, **label smoothing** and a larger image helped with one seed and hurt with another: three seeds cannot
#   tell that from chance. What costs nothing may stay; only do not credit it with the result.
#
# ## Predict, and keep the answers
#
# A lesson of the augmentation: a lesion has no up, and training saw it closer than the whole image shows it. So ask
# from both sides, for four quarter turns, and for the whole image as well as for the middle 85 % of it, the mean size
# of the crops above; then average the sixteen answers. This is **test-time augmentation**. It costs sixteen
# predictions an image and no training.

# %%
def answers_to(data, close=False, mirrored=False, turns=0):
    """Return the class probabilities for one view of each image of the batches."""
    def view(images, _):
        images = tf.image.central_crop(images, 0.85) if close else images
        images = tf.image.flip_left_right(images) if mirrored else images
        return tf.image.rot90(tf.image.resize(images, (IMAGE_SIZE, IMAGE_SIZE)), turns)

    return network.predict(data.map(view), verbose=0)


def predict(rows):
    """Return the class probabilities of manifest rows, averaged over the views of each image."""
    data = batches_of(rows)
    views = itertools.product((False, True), (False, True), range(4)) if TTA else [()]
    return np.mean([answers_to(data, *view) for view in views], axis=0)


# %%
test = table[(table["split"] == "test") & (table["flag"] != "unreadable")]
answers = pd.concat(evaluation.predictions_table(rows, predict(rows), CLASSES) for rows in (val, test))
manifest.write_text(answers.to_csv(index=False), run.folder / "predictions.csv")
course.done("04_dropout_augmented_cnn", globals())
print(f"{len(val)} validation and {len(test)} test images predicted: {run.folder / 'predictions.csv'}")

# %% [markdown]
# ## What you saw
#
# - **Augment**: each epoch shows new views of the same lesions, with nothing on disk.
# - **Build**: shortcuts and normalisation let a deeper network learn; global pooling took away the layer that could learn
#   by heart.
# - **Train**: the same rules, a harder task, and steps that grow shorter.
# - **Compare**: training and validation stay together longer, and validation ends higher.
# - **Predict**: both networks' answers are kept; Test is still unscored.
#
# ## Exercises
#
# 1. Set `AUGMENTATION = "none"`. Which of the two curves changes most?
# 2. Take the shortcut out of `block`. What changes, and what if you add two more blocks?
# 3. Set `AUGMENTATION = "augmentor"`. Compare time and validation accuracy with "on the fly".
