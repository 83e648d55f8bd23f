# %% [markdown]
# # 3 · A plain convolutional network
#
# **In ten minutes you will build the case study's CNN layer by layer, train it, and watch it learn its training images by
# heart.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **load** the training and validation images as batches;
# - **build** a network of convolutions, pooling and fully connected layers, and see where its weights are;
# - **train** it with categorical cross-entropy and Adam, with early stopping and checkpoints;
# - **read** the curves and name overfitting when you see it;
# - **predict** for validation and test, and keep the answers for notebook 05.

# %%
# {{setup}}

# %% tags=["parameters"]
DATA_DIR = ""  # @param {type:"string"} folder of the images; empty: look for one, else the synthetic sample
OUT_DIR = "runs/course"  # @param {type:"string"} run folder; a path under /content/drive/MyDrive outlives Colab
LABELS = "audited"  # @param ["audited", "published"] which labels to learn from
METADATA = ""  # @param {type:"string"} CSV of official labels and lesions; empty: the one that comes with the course
MIN_CLASS_SIZE = 20  # @param {type:"integer"} a class with fewer training images is left out
IMAGE_SIZE = 96  # @param {type:"integer"} side in pixels of the images that a network sees
BATCH_SIZE = 16  # @param {type:"integer"} images a training step
EPOCHS = 0  # @param {type:"integer"} passes over the training images, at most; 0: 100, or 40 on the sample
PATIENCE = 30  # @param {type:"integer"} epochs without a lower validation loss after which training stops
LEARNING_RATE = 0.001  # @param {type:"number"} step size of Adam
KEEP_ASPECT = False  # @param {type:"boolean"} fit images into the square on black instead of squeezing them
TENSORBOARD = False  # @param {type:"boolean"} also write a log for TensorBoard into the run folder
SEED = 0  # @param {type:"integer"} the same number gives the same split, images and networks

# %%
# %matplotlib inline
import keras
import pandas as pd
from keras import layers

from helpers import course, evaluation, manifest, pipeline, plots, training

# %% [markdown]
# ## The device
#
# A graphics processor (GPU) makes training many times faster. Without one everything works all the same.

# %%
print(training.set_up_device(SEED))

# %% [markdown]
# ## Load
#
# The manifest of notebook 01 says which image is in which split, and with which label. The pixels are decoded once,
# resized, and kept as whole numbers of 0 to 255.

# %%
out_dir = course.open_folder(OUT_DIR)
images, table = course.open_run(globals())
print(f"Images: {images.source}{' (SYNTHETIC: drawings, not patients)' if images.synthetic else ''}")

# %% tags=["nbval-check-output"]
train, val = manifest.active(table, "train"), manifest.active(table, "val")
CLASSES = sorted(train["label"].unique())
print(f"{len(train)} training images, {len(val)} validation images, {len(CLASSES)} classes")

# %% [markdown]
# A batch is what the network sees at once. Training batches are shuffled anew each epoch; validation keeps its order.
# Each image comes with a row of zeros and a single one, the **one-hot** label; above each image stands the class it names.

# %%
def batches_of(rows, **how):
    """Return the images and labels of manifest rows, ``BATCH_SIZE`` at a time."""
    pixels = pipeline.load(rows, IMAGE_SIZE, out_dir / "cache", KEEP_ASPECT)
    return pipeline.batches(pixels, pipeline.one_hot(rows, CLASSES), BATCH_SIZE, **how)


train_data, val_data = batches_of(train, seed=SEED), batches_of(val)

# %%
batch, targets = next(iter(train_data))
print(f"images {batch.shape}, targets {targets.shape}")
plots.image_grid(list(batch[:8].numpy()), [CLASSES[target] for target in targets[:8].numpy().argmax(axis=1)], 8,
                 title="The first images of a batch", synthetic=images.synthetic)

# %% [markdown]
# ## The network, layer by layer
#
# - **Convolution** slides small filters over the image; each learns to answer to one pattern: an edge, a dot, a net.
# - **Pooling** keeps the strongest answer of each 2 × 2 pixels: half the size, and a little shift no longer matters.
# - **Flatten** lays all answers in one long row; **fully connected** layers weigh them.
# - **Softmax** turns the last numbers into probabilities that sum to 1.

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
# Where are the weights? Expect almost all of them in the one layer after Flatten: it has a weight for every answer at
# every place, so it can remember *where* something was in each training image. That is what learning by heart needs.

# %% tags=["nbval-check-output"]
weights = pd.DataFrame([(layer.name, str(layer.output.shape[1:]), layer.count_params()) for layer in network.layers],
                       columns=["layer", "output shape", "weights"])
weights["share"] = (weights["weights"] / network.count_params()).map("{:.1%}".format)
weights

# %% [markdown]
# ## Compile and fit
#
# **Categorical cross-entropy** punishes confidence in the wrong class; **Adam** follows its slope with a step of its own
# for each weight; **accuracy** is what you read. Early stopping ends the training when validation loss has not fallen for
# `PATIENCE` epochs; a checkpoint after each epoch keeps the best weights, and a stopped run goes on where it was.

# %%
epochs = EPOCHS or (40 if images.synthetic else 100)
network.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss="categorical_crossentropy", metrics=["accuracy"])
run = training.begin(network, out_dir, "baseline", table, course.parameters(globals()) | {"EPOCHS": epochs})
network.fit(train_data, validation_data=val_data, epochs=epochs, initial_epoch=run.first_epoch, verbose=0,
            callbacks=training.callbacks(run, epochs, PATIENCE, TENSORBOARD))
history = training.finish(network, run)

# %% [markdown]
# ## Read the curves
#
# The dashed lines are scores on training images, the solid ones on validation images; the dot marks the epoch that is
# kept. Watch where they part.

# %%
plots.curves({"baseline": history}, title="Baseline", synthetic=images.synthetic)

# %%
best, last = history.loc[history["val_loss"].idxmin()], history.iloc[-1]
for name, row in (("kept", best), ("last", last)):
    print(f"{name}: epoch {row['epoch']:2.0f}, training accuracy {row['accuracy']:.2f}, "
          f"validation accuracy {row['val_accuracy']:.2f}")

# %% [markdown]
# Training accuracy goes on rising while validation loss turns round: the network has begun to remember its images instead
# of learning what they share. That is **overfitting**. More epochs make it worse; notebook 04 shows what helps.

# %% [markdown]
# ## Predict, and keep the answers
#
# The probabilities for validation and test go into one file. Nothing is scored on Test here: that happens once, in
# notebook 05.

# %%
test = table[(table["split"] == "test") & (table["flag"] != "unreadable")]
answers = [evaluation.predictions_table(rows, network.predict(batches_of(rows), verbose=0), CLASSES)
           for rows in (val, test)]
manifest.write_text(pd.concat(answers).to_csv(index=False), run.folder / "predictions.csv")
course.done("03_baseline_cnn", globals())
print(f"{len(val)} validation and {len(test)} test images predicted: {run.folder / 'predictions.csv'}")

# %% [markdown]
# ## What you saw
#
# - **Load**: images become batches of numbers, labels become one-hot rows.
# - **Build**: three convolutions see; one fully connected layer holds nearly all the weights.
# - **Train**: cross-entropy, Adam, early stopping, a checkpoint an epoch.
# - **Read**: training accuracy rose, validation did not follow: overfitting.
# - **Predict**: the probabilities are kept; Test is still unscored.
#
# ## Exercises
#
# 1. Replace `Flatten` by `GlobalAveragePooling2D`. How many weights are left, and what do the curves do?
# 2. Set `IMAGE_SIZE = 180`. What happens to the weights, the time and the validation accuracy?
# 3. Set `PATIENCE = 30`. How far does training accuracy go, and what does validation loss do?
