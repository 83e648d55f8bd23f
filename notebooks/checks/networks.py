"""The checks of the exercises of notebooks 03 and 04."""

import numpy as np
from scipy import ndimage

from notebooks.checks import compare, entry, number


def horizontal_edges(given, image):
    """Check the activation of a kernel that finds horizontal edges (03, exercise 1)."""
    assert given is not None, "horizontal is still None: put the activation into it."
    given, slope = np.asarray(given, float), ndimage.sobel(image, axis=0, mode="reflect")
    assert given.shape == image.shape, f"The activation has the shape {given.shape}; the image has {image.shape}."
    assert given.min() >= 0, "There are numbers below zero: the feature map still has to pass through ReLU."

    def same(slope, given=given):
        return any(np.allclose(given, np.maximum(sign * slope, 0), atol=1e-5) for sign in (1, -1))

    vertical = ndimage.sobel(image, axis=1, mode="reflect")
    assert not same(vertical), (
        "This is the kernel for vertical edges: it subtracts left from right, not above from below."
    )
    assert not np.allclose(given, np.abs(slope), atol=1e-5), (
        "These are absolute values; ReLU sets negative ones to zero."
    )
    turned = same(slope, given.T) or same(vertical, given.T)
    assert not turned, "The kernel has to be turned, not the image or its activation."
    zeros = ndimage.sobel(image, axis=0, mode="constant")
    assert not same(zeros), "The border of the image has become an edge: use the same boundary as above."
    assert same(slope) or same(ndimage.prewitt(image, axis=0, mode="reflect")), (
        "This is not what a kernel for horizontal edges gives on `grey`: which pixels should `kernel` subtract?"
    )
    print("Right: the kernel's rows are subtracted instead of its columns.")


def weights_after_global_pooling(given, network):
    """Check a number of weights worked out by hand (03, exercise 2)."""
    import keras
    from keras import layers

    given = number(given, "by_hand")
    x = inputs = keras.Input(network.input_shape[1:])
    for layer in network.layers[:7]:
        x = layer(x)
    x = layers.Dense(network.layers[-2].units)(layers.GlobalAveragePooling2D()(x))
    truth = keras.Model(inputs, layers.Dense(network.output_shape[-1])(x)).count_params()
    biases = 16 + 32 + 64 + network.layers[-2].units + network.output_shape[-1]
    slips = {
        "That is the network with Flatten, unchanged.": network.count_params(),
        "That is what the change saves; how many weights are left?": network.count_params() - truth,
        "That is the convolutions alone: the two Dense layers have weights, too.": sum(
            layer.count_params() for layer in network.layers[:7]
        ),
        "Each kernel and each unit has a bias as well.": truth - biases,
        "The first Dense layer is still there; it has other weights now.": network.count_params()
        - network.layers[-2].count_params(),
        "That is the first Dense layer alone; how many weights has the whole network?": 64 * network.layers[-2].units
        + network.layers[-2].units,
    }
    compare(
        given, truth, slips, f"Keras counts another number than {given:,}; which layer differs? Try them one by one."
    )
    print(f"Right: {network.count_params():,} weights become {truth:,}.")


def surest_error(given, predictions):
    """Check the image of the surest wrong prediction on validation (03, exercise 3)."""
    rows = predictions[predictions["split"] == "val"].set_index("image_id").drop(columns=["split", "label"])
    label = predictions.set_index("image_id")["label"]
    assert given is not None, "surest is still None: put an image_id into it."
    given = np.asarray(given, object).item() if np.size(given) == 1 else given
    assert isinstance(given, str), f"surest is {given!r:.60}, not one image_id."
    assert given in rows.index, f"{given!r} is not the image_id of a validation image."
    predicted = rows.idxmax(axis=1).str.removeprefix("p_")
    assert predicted[given] != label[given], f"The network is right on {given}: look at the wrong predictions only."
    wrong = rows[predicted != label[rows.index]].max(axis=1)
    assert wrong[given] >= wrong.max() - 1e-6, (
        f"Wrong, but at {wrong[given]:.2f}; another image is predicted wrongly with a higher probability."
    )
    print(f"Right: {label[given]}, predicted as {predicted[given]} with a probability of {wrong.max():.2f}.")


def accuracy_without_middle(given, networks, pixels, labels, classes):
    """Check two networks' accuracies on validation images whose middle is hidden (04, exercise 1)."""
    hidden, size = np.array(pixels, float), pixels.shape[1]
    hidden[:, size // 4 : size - size // 4, size // 4 : size - size // 4] = 128
    _accuracies(given, "hidden_middle", "without the middle", networks, pixels, hidden, labels, classes)


def accuracy_in_grey(given, networks, pixels, labels, classes):
    """Check two networks' accuracies on grey validation images (04, exercise 2)."""
    grey = (np.asarray(pixels, float) @ [0.2989, 0.587, 0.114])[..., None].repeat(3, axis=-1)
    _accuracies(given, "in_grey", "in grey", networks, pixels, grey, labels, classes)


def _accuracies(given, name, how, networks, pixels, changed, labels, classes):
    given = {network.name: entry(given, name, network.name, 1) for network in networks}
    for network in networks:
        own, truth = (
            np.mean(np.array(classes)[network.predict(np.asarray(images, "float32"), verbose=0).argmax(1)] == labels)
            for images in (pixels, changed)
        )
        slips = {f"{network.name}: that is its accuracy on the images as they are; were the changed ones used?": own}
        wrong = f"{network.name}: {how}, from one view of each image, its accuracy is not {given[network.name]:.3f}."
        compare(given[network.name], truth, slips, wrong, 5e-3, same=1.01 / len(labels))
        print(f"Right: {network.name}, {own:.2f} as they are, {truth:.2f} {how}.")
    largest = np.unique(labels, return_counts=True)[1].max() / len(labels)
    print(f"Always predicting the largest class would give {largest:.2f}.")


def weights_with_flatten(given, network):
    """Check how many weights the last layer has after Flatten, for images of twice the side (04, exercise 3)."""
    import keras
    from keras import layers

    given = number(given, "last_layer")
    config, classes = network.get_config(), network.output_shape[-1]
    side = network.input_shape[1]
    config["layers"][0]["config"]["batch_shape"] = (None, 2 * side, 2 * side, 3)
    maps = [
        next(layer for layer in each.layers if isinstance(layer, layers.GlobalAveragePooling2D)).input
        for each in (keras.Model.from_config(config), network)
    ]
    truth, today = (classes + classes * layers.Flatten()(kept).shape[-1] for kept in maps)
    slips = {
        "That is the layer after global average pooling.": network.layers[-1].count_params(),
        f"That is for images of {side} pixels a side.": today,
        "Each class has a bias as well.": truth - classes,
        "Twice the side is how many times the places?": classes + 2 * (today - classes),
        "Count the last layer alone, not the whole network.": network.count_params(),
    }
    hint = "How many places and channels has the last feature map?"
    compare(given, truth, slips, f"Keras does not count {given:,}. {hint}")
    print(f"Right: {truth:,}; after global average pooling {network.layers[-1].count_params():,}, whatever the size.")
