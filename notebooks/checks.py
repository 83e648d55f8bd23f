"""The checks of the exercises: each works the truth out in another way than the solution, and says what is wrong."""

import numpy as np
from scipy import ndimage


def horizontal_edges(given, lesion):
    """Check the activation of a kernel that finds horizontal edges (03, exercise 1)."""
    assert given is not None, "horizontal is still None: put the activation into it."
    given, slope = np.asarray(given), ndimage.sobel(lesion, axis=0, mode="reflect")
    assert given.shape == lesion.shape, f"The activation has the shape {given.shape}; the image has {lesion.shape}."
    assert given.min() >= 0, "There are numbers below zero: the feature map still has to pass through ReLU."
    right = np.maximum(slope, 0), np.maximum(-slope, 0)
    vertical = ndimage.sobel(lesion, axis=1, mode="reflect")
    same = any(np.allclose(given, np.maximum(sign * vertical, 0)) for sign in (1, -1))
    assert not same, "This is the kernel for vertical edges: left and right are subtracted, not above and below."
    assert any(np.allclose(given, each) for each in right), (
        "This is not what a kernel for horizontal edges gives; turn `kernel` by a quarter, and use the same mode and border."
    )
    print("Right: the kernel's rows are subtracted instead of its columns.")


def weights_after_global_pooling(given, network):
    """Check a number of weights worked out by hand (03, exercise 2)."""
    import keras
    from keras import layers

    assert given is not None, "by_hand is still None."
    assert given != network.count_params(), "That is the network with Flatten, unchanged."
    inputs = keras.Input(network.input_shape[1:])
    x = inputs
    for layer in network.layers[:7]:
        x = layer(x)
    x = layers.Dense(network.layers[-2].units)(layers.GlobalAveragePooling2D()(x))
    truth = keras.Model(inputs, layers.Dense(network.output_shape[-1])(x)).count_params()
    convolutions = sum(layer.count_params() for layer in network.layers[:7])
    assert given != convolutions, "That is the convolutions alone: the two Dense layers have weights, too."
    biases = 16 + 32 + 64 + network.layers[-2].units + network.output_shape[-1]
    assert given != truth - biases, "Each kernel and each unit has a bias as well."
    assert given == truth, f"Keras counts another number than {given:,}; which layer differs? Try them one by one."
    print(f"Right: {network.count_params():,} weights become {truth:,}.")


def surest_error(given, predictions):
    """Check the image of the surest wrong prediction on validation (03, exercise 3)."""
    rows = predictions[predictions["split"] == "val"].set_index("image_id").drop(columns=["split", "label"])
    label = predictions.set_index("image_id")["label"]
    assert given is not None, "surest is still None."
    assert given in rows.index, f"{given!r} is not the image_id of a validation image."
    predicted = rows.idxmax(axis=1).str.removeprefix("p_")
    assert predicted[given] != label[given], f"The network is right on {given}: look at the wrong predictions only."
    wrong = rows[predicted != label[rows.index]].max(axis=1)
    assert wrong[given] >= wrong.max() - 1e-6, (
        f"Wrong, but at {wrong[given]:.2f}; another image is predicted wrongly with a higher probability."
    )
    print(f"Right: {label[given]}, predicted as {predicted[given]} with a probability of {wrong.max():.2f}.")


def lesion_erased(given, original):
    """Check an image whose middle half shows nothing any more (04, exercise 1)."""
    given, size = np.asarray(given, float), original.shape[1]
    assert given.shape == original.shape, f"spoiled has the shape {given.shape}; the image has {original.shape}."
    low, high = size // 4, size - size // 4
    middle, was = (part[:, low:high, low:high] for part in (given, np.asarray(original, float)))
    assert not np.allclose(given, original), "Nothing has changed yet."
    assert middle.std(axis=(1, 2)).max() < 1, "Something can still be seen in the middle half: is it of one colour?"
    outside = np.ones((size, size), bool)
    outside[low:high, low:high] = False
    assert np.allclose(given[:, outside], np.asarray(original)[:, outside]), "The border has changed as well."
    print(f"The middle varied by {was.std():.0f} before; now it is of one colour, and the label still stands.")


def accuracy_in_grey(given, networks, pixels, labels, classes):
    """Check two networks' accuracies on grey validation images (04, exercise 2)."""
    grey = (np.asarray(pixels, float) @ [0.2989, 0.587, 0.114])[..., None].repeat(3, axis=-1)
    for network in networks:
        assert network.name in given, f"in_grey has no entry {network.name!r}."
        own = np.mean(np.array(classes)[network.predict(pixels.astype("float32"), verbose=0).argmax(1)] == labels)
        truth = np.mean(np.array(classes)[network.predict(grey.astype("float32"), verbose=0).argmax(1)] == labels)
        value = given[network.name]
        assert not isinstance(value, str) and 0 <= value <= 1, f"{network.name}: an accuracy lies between 0 and 1."
        assert abs(value - own) > 0.011 or abs(truth - own) < 0.022, (
            f"{network.name}: that is its accuracy in colour; has `grey` been predicted?"
        )
        assert abs(value - truth) <= 0.011, f"{network.name}: on the grey images its accuracy is not {value:.3f}."
        print(f"{network.name}: {own:.2f} in colour, {truth:.2f} in grey")


def weights_at_another_size(given, network, size):
    """Check the number of weights for an image of another size (04, exercise 3)."""
    import keras

    assert given is not None, "weights_at_twice_the_size is still None."
    config = network.get_config()
    config["layers"][0]["config"]["batch_shape"] = (None, 2 * size, 2 * size, 3)
    truth = keras.Model.from_config(config).count_params()
    assert given != 4 * truth, "Four times as many places, but does any layer have a weight for each place?"
    assert given == truth, f"Built for {2 * size} pixels a side, Keras does not count {given:,}; which layer grows?"
    print(f"Right: {truth:,}, whatever the size. In notebook 03, the layer after Flatten would have grown.")


def sure_and_wrong(given, labelled, away):
    """Check the mean confidence of wrong predictions on another clinic's images (05, exercise 1)."""
    chances = labelled.filter(regex="^p_")
    wrong = chances.idxmax(axis=1).str[2:] != labelled["label"]
    theirs = labelled["image_id"].isin(set(away))
    assert given is not None, "sure_and_wrong is still None."
    if not (theirs & wrong).any():
        return print("No prediction is wrong on such images here: there is nothing to average.")
    truth, mean = chances.max(axis=1)[theirs & wrong].mean(), chances.max(axis=1)
    assert abs(given - mean[wrong].mean()) > 1e-6, "That is all wrong predictions, those of the usual clinics too."
    assert abs(given - mean[theirs].mean()) > 1e-6, "That is all images of the other clinic, the right ones too."
    assert abs(given - truth) < 5e-3, f"{given} is not the mean confidence of the wrong predictions among them."
    print(f"Right: wrong on {(theirs & wrong).sum()} of {theirs.sum()}, with a mean confidence of {truth:.2f}.")


def ratio_of_widths(given, labelled):
    """Check how much narrower a Wilson interval gets with four times as many images (05, exercise 2)."""
    n, share = len(labelled), (labelled.filter(regex="^p_").idxmax(axis=1).str[2:] == labelled["label"]).mean()

    def width(n):  # Wilson, 1927
        z = 1.959964
        return 2 * z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))

    assert given is not None, "ratio is still None."
    assert abs(given - width(n) / width(4 * n)) > 1e-3, "That is old to new; new to old is asked."
    assert abs(given - 0.25) > 1e-3, "Four times the images do not make a quarter of the width: compute both intervals."
    assert abs(given - width(4 * n) / width(n)) < 2e-3, f"{given} is not the ratio of the two widths."
    print(f"Right: {given:.2f}. Half the width takes about four times the images.")


def kept_with_other_colours(given, scored):
    """Check what is left of two networks' accuracies with another collection's colours (05, exercise 3)."""
    for name in ("colours_kept", "colours_exchanged"):
        assert name in given, f"kept has no entry {name!r}."
        found = scored[name].get("colours")
        own, same, other = (
            (found[key] for key in ("own", "same_collection", "other_collection")) if found else (1, 1, 1)
        )
        assert abs(given[name] - other / own) > 1e-6 or own == same, (
            f"{name}: that is of the accuracy with its own colours; the control is colours of the same collection."
        )
        assert abs(given[name] - other) > 1e-6 or same == 1, (
            f"{name}: that is the accuracy itself, not what is left of it."
        )
        assert abs(given[name] * same - other) < 5e-3, f"{name}: {given[name]} is not what is left of its accuracy."
    print("Right: " + ", ".join(f"{name} keeps {value:.0%}" for name, value in given.items()) + " of its accuracy.")


def weights_of_a_head(given, head):
    """Check how many weights a Dense layer on frozen features has (06, exercise 1)."""
    assert given is not None, "by_hand is still None."
    width, classes = head.input_shape[-1], head.output_shape[-1]
    assert given != width * classes, "Each class has a bias as well."
    assert given == head.count_params(), f"Keras does not count {given:,}: what does each unit have a weight for?"
    print(f"Right: {given:,}, {width:,} and a bias for each of {classes} classes.")


def neighbours(given, features, targets, val_features, val_targets):
    """Check the accuracy of five nearest neighbours by cosine (06, exercise 2)."""
    assert given is not None, "by_neighbours is still None."
    order = np.argsort(-_cosine(val_features, features), axis=1)[:, :5]
    truth = float((targets[order].sum(axis=1).argmax(axis=1) == val_targets.argmax(axis=1)).mean())
    one = float((targets[order[:, 0]].argmax(axis=1) == val_targets.argmax(axis=1)).mean())
    assert abs(given - truth) < 0.015 or abs(given - one) > 1e-6, "That is one neighbour; let five of them vote."
    assert abs(given - truth) < 0.015, (
        f"{given:.2f} is not what five neighbours by cosine reach. Is the accuracy that of the validation features?"
    )
    print(f"Right: {truth:.2f}, without any training.")


def prototypes(given, features, targets, val_features, val_targets):
    """Check the accuracy of the mean of five views of each class (06, exercise 3)."""
    assert given is not None, "from_five is still None."

    def accuracy(views):
        means = [features[np.flatnonzero(column)[:views]].mean(axis=0) for column in targets.T]
        return float((_cosine(val_features, np.array(means)).argmax(axis=1) == val_targets.argmax(axis=1)).mean())

    truth, every = accuracy(5), accuracy(len(features))
    right = abs(given - truth) < 0.015
    assert right or abs(given - every) > 1e-6, "These prototypes average all views, not five of each class."
    assert right, (
        f"{given:.2f} is not what five views of each class reach. Are they the first five of each class? Cosine?"
    )
    print(f"Right: {truth:.2f} from five views of each class, {every:.2f} from all {len(features)}.")


def _cosine(a, b):
    """Return the cosine similarity of each row of ``a`` to each row of ``b``."""
    a, b = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (a, b))
    return a @ b.T


def more_false_alarms(given, places, threshold):
    """Check how many more negatives are flagged on Test where no positive of validation is missed (07, exercise 1)."""
    assert given is not None, "more is still None."
    test, val = places["Test"], places["validation"]
    negative = np.sort(test["probability"][~test["truth"]])

    def alarms(least):
        return len(negative) - np.searchsorted(negative, least)

    strict = val["probability"][val["truth"]].min()
    truth = alarms(strict) - alarms(threshold)
    looked = alarms(test["probability"][test["truth"]].min()) - alarms(threshold)
    assert given == truth or given != alarms(strict), "That is all false alarms; how many more than before?"
    assert given == truth or given != looked, "That threshold was chosen on Test; choose it on validation."
    assert given == truth, f"Not {given}: the threshold is the lowest probability of a positive image of validation."
    print(f"Right: {truth} more false alarms on Test, of {len(negative)} negative images.")


def half_are_right(given, point):
    """Check the prevalence at which half of those who are flagged are positive (07, exercise 2)."""
    assert given is not None, "half is still None."
    assert 0 <= given <= 1, f"A prevalence is a share from 0 to 1, not {given}."
    found = point["found"] / (point["found"] + point["missed"]) * given
    alarms, plain = ((1 - value) * (1 - given) for value in (point["specificity_interval"][0], point["specificity"]))
    assert abs(found - alarms) < 1e-6 or abs(found - plain) > 1e-6, "Take the lower end of the specificity's interval."
    assert abs(found - alarms) < 1e-6, (
        f"At {given:.3f}, {1000 * found:.0f} of 1,000 are found, with {1000 * alarms:.0f} false alarms: not as many."
    )
    print(f"Right: at a prevalence of {given:.2f}.")


def covered_lesions(given, covered, pixels, rows, network):
    """Check the accuracy on images whose middle half is painted grey (07, exercise 3)."""
    assert given is not None, "without_lesion is still None."
    size = pixels.shape[1]
    away = np.abs(np.arange(size) - (size - 1) / 2) < size / 4
    own = np.where((away[:, None] & away)[..., None], 128, pixels).astype("uint8")
    assert (np.asarray(covered) != pixels).any(), "covered is still the images as they are."
    part = (np.asarray(covered) == own).mean()
    assert part > 0.98, "The grey square is not the middle half of width and height, or not 128."
    names = np.unique(rows.filter(like="p_").columns.str[2:])
    predicted = names[network.predict(own, verbose=0).argmax(axis=1)]
    truth, whole = (float((name == rows["label"]).mean()) for name in (predicted, rows["predicted"]))
    assert abs(given - truth) < 0.03 or abs(given - whole) > 1e-6, "That is the accuracy on the uncovered images."
    assert abs(given - truth) < 0.03, f"{given:.2f} is not the accuracy on the covered images."
    largest = rows["label"].value_counts(normalize=True).max()
    print(f"Right: {truth:.2f} covered, {whole:.2f} whole, {largest:.2f} for the largest class of Test.")
