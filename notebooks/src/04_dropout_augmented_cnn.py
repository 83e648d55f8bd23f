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
# - **build** blocks of convolution, batch normalisation and pooling, with global pooling and dropout at the end;
# - **train** it with a step size that falls, by the rules of the baseline: early stopping and checkpoints;
# - **compare** its curves with the baseline's;
# - **predict** for validation and test, and keep the answers for notebook 05.

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
BATCH_SIZE = 32  # @param {type:"integer"} images a training step
EPOCHS = 40  # @param {type:"integer"} passes over the training images, at most
PATIENCE = 10  # @param {type:"integer"} epochs without a lower validation loss after which training stops
LEARNING_RATE = 0.001  # @param {type:"number"} step size of Adam
DROPOUT = 0.3  # @param {type:"number"} share of answers hidden at random before each fully connected layer
SEED = 0  # @param {type:"integer"} the same number gives the same split, images and networks

# %%
# %matplotlib inline
import keras
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
# Notebook 02 wrote new images to disk, once. Here each batch is changed as it is made: any turn, both flips, a little
# zoom, shift and light, drawn anew every epoch, with nothing to store. Expect one lesion of each class, twice.

# %%
augment = pipeline.augmenter(rotation=180, zoom=0.15, shift=0.08, light=0.15)


def batches_of(rows, **how):
    """Return the images and labels of manifest rows, ``BATCH_SIZE`` at a time."""
    pixels = pipeline.load(rows, IMAGE_SIZE, out_dir / "cache")
    return pipeline.batches(pixels, pipeline.one_hot(rows, CLASSES), BATCH_SIZE, **how)


on_the_fly = augment if AUGMENTATION in ("on the fly", "both") else None
train_data, val_data = batches_of(train, seed=SEED, augment=on_the_fly), batches_of(val)

# %%
before = tf.cast(pipeline.load(train.groupby("label").head(1), IMAGE_SIZE, out_dir / "cache"), tf.float32)
after = augment(before, tf.constant([SEED, 1]))
plots.image_grid([*before.numpy(), *after.numpy()], [*CLASSES, *["turned anew"] * len(CLASSES)], len(CLASSES),
                 title="One lesion of each class, and what training sees of it", synthetic=images.synthetic)

# %% [markdown]
# ## The network, block by block
#
# - **Batch normalisation** brings each filter's answers to one scale, batch by batch: training is faster and steadier.
#   For validation it uses running means; `momentum=0.9` lets them keep up when an epoch has few batches. With Keras's
#   default of 0.99 they lag behind for many epochs, and validation looks hopeless while training goes well.
# - **Global average pooling** keeps one number a filter, its mean over all places: *what* was seen, not *where*. It
#   replaces Flatten, and with it the layer that held nearly all the baseline's weights.
# - **Dropout** hides a random share of the answers at each step, so that no answer can be relied on alone.

# %%
def block(filters):
    """Return the layers of two convolutions, each normalised, and a pooling that halves the size."""
    convolution = [[layers.Conv2D(filters, 3, padding="same", use_bias=False),
                    layers.BatchNormalization(momentum=0.9), layers.ReLU()] for _ in range(2)]
    return [*convolution[0], *convolution[1], layers.MaxPooling2D()]


# %%
network = keras.Sequential([
    keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3)),
    layers.Rescaling(1 / 255),
    *block(16),
    *block(32),
    *block(64),
    *block(128),
    layers.GlobalAveragePooling2D(),
    layers.Dropout(DROPOUT),
    layers.Dense(128, activation="relu"),
    layers.Dropout(DROPOUT),
    layers.Dense(len(CLASSES), activation="softmax", dtype="float32"),
], name="regularised")

# %% [markdown]
# Where are the weights now? Expect them in the convolutions.

# %% tags=["nbval-check-output"]
weights = pd.DataFrame([(type(layer).__name__, layer.count_params()) for layer in network.layers],
                       columns=["kind of layer", "weights"])
weights.groupby("kind of layer").sum().query("weights > 0")

# %% [markdown]
# ## Compile and fit
#
# The same loss and callbacks as the baseline's, and Adam again, but with a **schedule**: the step size falls along a
# cosine to nothing at the last epoch. Long steps find the way, short ones settle.

# %%
schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, decay_steps=EPOCHS * len(train_data))
network.compile(optimizer=keras.optimizers.Adam(schedule), loss="categorical_crossentropy", metrics=["accuracy"])
run = training.begin(network, out_dir, "regularised", table, course.parameters(globals()))
network.fit(train_data, validation_data=val_data, epochs=EPOCHS, initial_epoch=run.first_epoch, verbose=0,
            callbacks=training.callbacks(run, EPOCHS, PATIENCE))
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
for name, epochs in (("baseline", baseline), ("regularised", history)):
    best = epochs.loc[epochs["val_loss"].idxmin()]
    print(f"{name:12} epoch {best['epoch']:2.0f}: training accuracy {best['accuracy']:.2f}, "
          f"validation {best['val_accuracy']:.2f}, validation loss {best['val_loss']:.2f}")

# %% [markdown]
# ## Predict, and keep the answers

# %%
test = table[(table["split"] == "test") & (table["flag"] != "unreadable")]
answers = [evaluation.predictions_table(rows, network.predict(batches_of(rows), verbose=0), CLASSES)
           for rows in (val, test)]
manifest.write_text(pd.concat(answers).to_csv(index=False), run.folder / "predictions.csv")
course.done("04_dropout_augmented_cnn", globals())
print(f"{len(val)} validation and {len(test)} test images predicted: {run.folder / 'predictions.csv'}")

# %% [markdown]
# ## What you saw
#
# - **Augment**: each epoch shows new views of the same lesions, with nothing on disk.
# - **Build**: global pooling took away the layer that could learn by heart; dropout and normalisation did the rest.
# - **Train**: the same rules, a harder task, and steps that grow shorter.
# - **Compare**: training and validation stay together longer, and validation ends higher.
# - **Predict**: both networks' answers are kept; Test is still unscored.
#
# ## Exercises
#
# 1. Set `AUGMENTATION = "none"`. Which of the two curves changes most?
# 2. Set `DROPOUT = 0.6`. When does it help, and when does it only slow down?
# 3. Set `AUGMENTATION = "augmentor"`. Compare time and validation accuracy with "on the fly".
