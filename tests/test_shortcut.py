"""Images of an unseen pair of class and collection, swapped colours, and what is said of a choice: worked by hand."""

import inspect
import re
import textwrap
import types
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from conftest import sources

from helpers import figures, manifest, runs
from helpers.evaluation import card as model_card
from helpers.evaluation import evaluate, report, scores, shortcut
from helpers.training import colours

NAMES = ["melanoma", "nevus"]


def table(*rows):
    """Return a manifest of (image_id, split, label, collection)."""
    found = pd.DataFrame(rows, columns=["image_id", "split", "label", "collection"])
    found = found.assign(path=found["image_id"], published_label=found["label"])
    return found.reindex(columns=manifest.COLUMNS, fill_value="")


TABLE = table(
    ("a", "train", "melanoma", "A"),
    ("b", "train", "nevus", "B"),
    ("c", "train", "wart", ""),
    ("v", "val", "melanoma", "A"),
    ("w", "val", "nevus", "B"),
    *[(f"m{n}", "test", "melanoma", "B") for n in range(10)],
    ("n", "test", "nevus", "B"),
    ("u", "test", "wart", "A"),
    ("x", "test", "melanoma", ""),
    ("y", "test", "acne", "A"),
)


def predicted(rows, classes):
    """Return predictions that are sure of these classes, of the rows that are not in training."""
    rows = rows[rows["split"] != "train"]
    chances = np.array([[name == each for name in NAMES] for each in classes], float)
    return scores.predictions_table(rows, chances, NAMES).assign(group="")


def two_networks():
    """On validation the first is right twice, the second once; elsewhere the first gets 1 right, the second 7."""
    rest = ["nevus"] * 4
    kept = predicted(TABLE, ["melanoma", "nevus", *["melanoma"] + ["nevus"] * 9, *rest])
    exchanged = predicted(TABLE, ["melanoma", "melanoma", *["melanoma"] * 7 + ["nevus"] * 3, *rest])
    return {"colours_kept": kept, "colours_exchanged": exchanged}


def places(networks, table=TABLE, outside=None):
    """Return the places of networks, as ``evaluate.Results`` has them."""
    found = {}
    for name, rows in networks.items():
        rows, away = scores.outcomes(rows), rows["image_id"].isin(shortcut.elsewhere(table))
        parts = {"validation": rows[rows["split"] == "val"], "Test": rows[rows["split"] == "test"]}
        parts |= {shortcut.UNSEEN: rows[away], "another set": rows[:0] if outside is None else outside}
        found[name] = {place: scores.outcomes(part) for place, part in parts.items() if len(part)}
    return found


def test_elsewhere_is_what_training_has_from_other_collections_only():
    assert list(shortcut.elsewhere(TABLE)) == [f"m{n}" for n in range(10)]  # of warts and acne nothing is known
    both = pd.concat([TABLE, table(("d", "train", "melanoma", "B"))])
    assert list(shortcut.elsewhere(both)) == []


def test_the_reveal_counts_and_says_who_chose_what():
    found = shortcut.reveal(places(two_networks()), {})
    away = found.loc["colours_kept", "Test, unseen pairs"]
    assert (away["right"], away["images"], away["value"]) == (1, 10, pytest.approx(0.1))
    assert found.loc[("colours_exchanged", "validation"), "value"] == 0.5
    said = shortcut.answer(found, "colours_kept")
    assert said == (
        "You chose colours kept, as validation did.\nOf the 10 Test images whose class and collection training "
        "never saw together,\ncolours kept gets 1 right, colours exchanged 7."
    )
    said = shortcut.answer(found, "colours_exchanged")
    assert said.startswith("You chose colours exchanged; validation prefers colours kept.\nOf the 10")
    assert said.endswith("colours exchanged gets 7 right, colours kept 1.")
    assert shortcut.answer(found).startswith("Validation prefers colours kept.\nOf the 10")


def test_of_other_choices_and_of_equals_the_answer_reads_as_well():
    networks = two_networks() | {"baseline": two_networks()["colours_exchanged"]}
    said = shortcut.answer(shortcut.reveal(places(networks), {}), "baseline")
    assert said.startswith("You chose baseline; validation prefers colours kept.")
    assert said.endswith("baseline gets 7 right, colours kept 1, colours exchanged 7.")
    alike = {"colours_kept": networks["baseline"], "colours_exchanged": networks["baseline"]}
    found = shortcut.reveal(places(alike), {})
    assert all(shortcut.answer(found, name).startswith(f"You chose {report.plain(name)}, as val") for name in alike)
    theirs = shortcut.answer(shortcut.reveal(places({"theirs": networks["baseline"]}), {}))
    assert theirs.startswith("Validation prefers theirs.") and theirs.endswith("theirs gets 7 right.")


def test_errors_are_looked_at_where_the_clinic_is_new_and_counted_by_the_clinic_of_what_is_predicted():
    """Melanomas of B, predicted as nevi, which training has from B; acne is not learned, so both classes are wrong."""
    rows = places(two_networks())["colours_kept"]["Test"].merge(TABLE[["image_id", "collection"]])
    wrong = shortcut.errors(rows, TABLE)
    assert len(wrong) == 9 and wrong["own_clinic"].all() and wrong["by_chance"].eq(1).all()
    near = TABLE[TABLE["collection"] != "B"]
    wrong = shortcut.errors(rows[rows["image_id"].isin(near["image_id"])], near).set_index("image_id")
    assert wrong["own_clinic"].to_dict() == {"u": False, "x": False, "y": False}  # of B, which training has not now
    assert wrong["by_chance"].to_dict() == {"u": 0.5, "x": 0, "y": 0.5}  # x is of an unknown clinic
    right = rows[rows["correct"]]
    assert shortcut.errors(right, TABLE).empty


def test_without_images_from_elsewhere_colours_or_another_set_decide():
    near, swapped = TABLE[TABLE["collection"] != "B"], {"colours_kept": {"own": 1, "same_collection": 0.8}}
    swapped["colours_kept"]["other_collection"] = 0.25
    rows = two_networks()["colours_kept"]
    own = {"colours_kept": rows[rows["image_id"].isin(near["image_id"])]}
    found = shortcut.reveal(places(own, near), swapped)
    assert shortcut.hard_place(found) == "validation, colours of another collection"
    said = "Of the validation images with the colours of another collection,\ncolours kept gets 25% right."
    assert shortcut.answer(found, "colours_kept").endswith(said)
    assert shortcut.cost("colours_kept", swapped["colours_kept"]) == (
        "Any swap of colours costs colours kept 20 percentage points; those of another collection cost 55 more."
    )
    assert "cannot be swapped" in shortcut.cost("colours_kept", {})
    outside = own["colours_kept"].query("split == 'test'").assign(collection="C")
    found = shortcut.reveal(places(own, near, outside), swapped)
    assert shortcut.hard_place(found) == "another set"
    found = shortcut.reveal(places(own, near), {})
    assert shortcut.hard_place(found) == "Test"
    assert "Of the 3 Test images,\ncolours kept gets 0 right." in shortcut.answer(found, "colours_kept")


def test_the_figure_has_the_guess_and_every_value_in_its_alternative_text():
    found = shortcut.reveal(places(two_networks()), {})
    figure = shortcut.figure(found, "It is revealed", 0.4, synthetic=True, choice="colours_kept")
    assert (
        "colours kept, Test, unseen pairs: 10% (1 of 10); colours exchanged, " in figure.alt
        and "synthetic" in figure.alt
    )
    assert "your guess: 40%" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [
        "colours kept\nyour choice",
        "colours exchanged",
    ]


def test_swapped_colours_are_those_of_another_image_and_nothing_else():
    random, names = np.random.default_rng(1), np.array(["A", "A", "B", "B", "C"])
    pixels = np.array([60, 80, 160, 180, 120])[:, None, None, None] + random.normal(0, 5, (5, 12, 12, 3))
    for same in (True, False):
        changed = shortcut.swap_colours(pixels, names, same, 1)
        nearest = np.abs(changed.mean((1, 2, 3))[:, None] - pixels.mean((1, 2, 3))).argmin(axis=1)
        assert ((names[nearest] == names) == same).all()
        np.testing.assert_allclose(changed.std((1, 2)), pixels.std((1, 2))[nearest], rtol=0.01)
        for old, new in zip(pixels, changed):
            assert np.corrcoef(old[..., 0].ravel(), new[..., 0].ravel())[0, 1] > 0.99


def test_a_network_that_only_sees_the_collection_does_not_survive():
    rows = pd.DataFrame({"collection": ["A"] * 4 + ["B"] * 4 + [""], "label": ["melanoma"] * 4 + ["nevus"] * 4 + ["x"]})
    pixels = np.array([50] * 4 + [200] * 4 + [9])[:, None, None, None] + np.zeros((9, 4, 4, 3))

    def by_brightness(images):
        bright = images.mean(axis=(1, 2, 3)) > 120
        return np.stack([~bright, bright], axis=1).astype(float)

    found = shortcut.colours(by_brightness, pixels, rows, NAMES)
    assert found == {"own": 1, "same_collection": 1, "other_collection": 0} and shortcut.kept(found) == 0
    assert shortcut.colours(by_brightness, pixels[:4], rows[:4], NAMES) == {} and shortcut.kept({}) == 1


def test_recommended_is_the_best_on_validation_of_those_that_survive():
    def scored(accuracy, same, other):
        return {
            "val": {"accuracy": accuracy},
            "colours": {"own": 1, "same_collection": same, "other_collection": other},
        }

    networks = {"cheat": scored(0.9, 0.8, 0.2), "good": scored(0.7, 0.7, 0.5), "poor": scored(0.5, 0.5, 0.5)}
    assert evaluate.recommended(networks) == "good"
    assert evaluate.recommended({"cheat": networks["cheat"], "worse": scored(0.95, 0.8, 0.1)}) == "cheat"


def test_networks_in_other_colours_stand_beside_a_new_one_and_without_collections_in_their_own(monkeypatch):
    own = pd.DataFrame({"value": [0.8, 0.7, 0.6], "low": 0.5, "high": 0.9}, ["colours kept", "lost", "new"])
    monkeypatch.setattr(evaluate, "on_validation", lambda run, table, new: own.copy())
    kept = {"colours_kept": "kept", "lost": "no model", "transfer": "of an earlier run"}
    run = types.SimpleNamespace(networks=lambda table: kept)
    colours = {"kept": {"other_collection": 0.1}, "no model": {}}
    monkeypatch.setattr(evaluate, "colours_of", lambda folder, table, seed: colours[folder])
    new = {"plain": {"other_collection": 0.2}, "new": {"other_collection": 0.4}}
    found = evaluate.in_other_colours(run, None, new, None, 0)
    assert found["value"].to_dict() == {"colours kept": 0.1, "plain": 0.2, "new": 0.4}
    assert found["guessed"].tolist() == [False, False, True] and "low" not in found
    one = evaluate.in_other_colours(run, None, {"plain": {}, "new": {}}, None, 0)
    assert one["value"].tolist() == [0.8, 0.7, 0.6] and one["guessed"].tolist() == [False, False, True]


def test_exchanged_colours_are_the_ones_that_notebook_04_writes():
    """The function is written in the lesson, then imported by others: both have the same body."""
    for function in (colours.colours, colours.in_colours_of, colours.exchange_colours):
        start = f"def {function.__name__}("
        written = next(text for text in sources("04_dropout_augmented_cnn") if text.startswith(start))
        bodies = [text.rsplit('"""', 1)[1].strip("\n") for text in (written, inspect.getsource(function))]
        assert textwrap.dedent(bodies[0]).strip() == textwrap.dedent(bodies[1]).strip()


def test_exchanged_colours_go_all_the_way_half_way_or_nowhere():
    images = np.array([40, 200], "float32")[:, None, None, None] + np.random.default_rng(0).normal(0, 9, (2, 8, 8, 3))
    images, moved = tf.constant(images, "float32"), set()
    for seed in range(20):
        means = [
            colours.exchange_colours(images, tf.constant([seed, 0]), amount).numpy().mean(axis=(1, 2, 3)).round(-1)
            for amount in (0, 0.5, 1)
        ]
        assert list(means[0]) == [40, 200] and set(means[2]) == {40, 200}
        moved |= set(means[1])
    assert len(moved) > 10


def test_every_network_is_scored_once_and_reported(tmp_path, monkeypatch, write_image):
    """Two networks' predictions become accuracies, a reveal, metrics.json and a page."""
    rows = TABLE.assign(
        path=[str(write_image(tmp_path / f"{name}.png", n)) for n, name in enumerate(TABLE["image_id"])]
    )
    for name, predictions in two_networks().items():
        (tmp_path / name).mkdir()
        predictions.drop(columns=["split", "label", "group"]).to_csv(tmp_path / name / "predictions.csv", index=False)
    given = {
        "LABELS": "audited",
        "SEED": 0,
        "MIN_CLASS_SIZE": 1,
        "MALIGNANT": "",
        "EXTERNAL_DIR": "",
    }
    asked, measure = [], evaluate.clinics.measure
    monkeypatch.setattr(evaluate.clinics, "measure", lambda *given: asked.append(given[2:]) or measure(*given))
    run = SimpleNamespace(folder=tmp_path, parameters=given, images=SimpleNamespace(source="here", synthetic=True))
    run.networks = lambda table: {name: tmp_path / name for name in ("colours_exchanged", "colours_kept")}
    run.answer = lambda notebook, name, default: "colours_exchanged"
    rows = rows[~rows["label"].isin(["wart", "acne"])].assign(sha256=rows["image_id"])
    for name in ("colours_kept", "colours_exchanged"):
        part = pd.read_csv(tmp_path / name / "predictions.csv")
        part[part["image_id"].isin(rows["image_id"])].to_csv(tmp_path / name / "predictions.csv", index=False)
    (tmp_path / "metadata.csv").write_text("image_id,sex\nv,female\n")
    results = evaluate.evaluate(run, rows)
    found = report.read_json(tmp_path / "report" / "metrics.json")["models"]["colours_kept"]
    assert found["val"]["accuracy"] == 1 and found["unseen_at_clinic"]["accuracy"] == 0.1
    assert results.recommended == "colours_kept" and results.positive == ["melanoma"]
    assert list(results.accuracies.index.unique("network")) == ["colours exchanged", "colours kept"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert (
        "Validation prefers colours kept.\nOf the 10 Test images" in page
        and "Most accurate on validation: colours kept; on Test: colours exchanged" in page
        and "<th>0</th>" not in page
        and "colours kept, validation: 100% (2 of 2)" in page
        and "of whom 20 are assumed to" in page
        and not re.search("swap of colours|Colours of other images", page)  # networks that are not there show none
    )
    assert asked == [(0.9, 0)] * 2  # of notebook 05, also where 06 is run before it
    given["MALIGNANT"] = "nevus"  # whoever looks for nevi finds no cancers
    evaluate.evaluate(run, rows)
    assert not re.search("cancer", (tmp_path / "report" / "report.html").read_text()) and "cancers found" in page
    card = (tmp_path / "report" / "model_card.md").read_text()
    assert (
        "| A | 1 | 1 | 0 |" in card
        and "Sex: unknown of 15 of 16" in card
        and "Skin tone: unknown of 16" in card
        and "No other set was given" in card
    )
    assert (
        "highest accuracy on validation. Test" in card
        and "SYNTHETIC" in card
        and "| colours kept | validation | 2 | 1.00" in card
    )
    leaves = rows.assign(label=rows["label"].map({"melanoma": "rust"}).fillna("scab"))
    card = model_card.write(run, leaves, results).read_text()
    assert "sets" in card and not re.search("clinics|lesion|diagnos|doctor|Skin tone|whom", card)
    reveal = pd.read_csv(tmp_path / "report" / "reveal.csv").set_index(["network", "place"])
    assert reveal.loc[("colours_exchanged", "Test, unseen pairs"), "right"] == 7
    with pytest.raises(runs.RunError, match="predictions of Test"):
        gone = rows["split"] == "test"
        evaluate.evaluate(
            run, rows.assign(flag=gone.map({True: "contradiction", False: ""}), label=rows["label"].mask(gone, ""))
        )


def test_another_set_is_predicted_once_for_each_network(tmp_path, monkeypatch):
    other, asked, network = TABLE[5:9].assign(split=""), [], tmp_path / "net"

    def predict_other(network, load, table, rows):
        asked.append(len(rows))
        return scores.predictions_table(rows, [[1 / 3, 2 / 3]] * len(rows), NAMES)

    monkeypatch.setattr(evaluate, "predict_other", predict_other)
    monkeypatch.setattr(evaluate.explain, "open_network", lambda folder: (None, None))
    network.mkdir()
    assert evaluate.on_other_set(network, TABLE, other).empty  # only predictions are here
    for content in (b"1", b"2"):
        (network / "model.keras").write_bytes(content)
        first, again = (evaluate.on_other_set(network, TABLE, other) for _ in range(2))
        assert first.equals(again) and first["p_nevus"].tolist() == [2 / 3] * 4 and first["collection"].eq("B").all()
    evaluate.on_other_set(network, TABLE, other[1:])
    assert asked == [4, 4, 3] and evaluate.on_other_set(network, TABLE, other[:0]).empty


def test_alternative_text_is_stored_beside_the_picture():
    figure = figures.shares(pd.DataFrame({"value": [0.25]}, ["corners"]), 0.5, "Corners reveal it", synthetic=True)
    assert figure._repr_mimebundle_()[1]["image/png"]["alt"].startswith(
        "Corners reveal it. corners 25%; your guess 50%"
    )
    axes = figure.axes[0]
    assert axes.get_legend().get_texts()[0].get_text() == "your guess: 50%" and axes.texts[0].get_text() == "25%"


def test_the_guess_is_drawn_beside_what_it_is_about_and_nothing_else():
    def drawn(figure):
        lines = [line for line in figure.axes[0].collections if str(line.get_label()).startswith("your guess")]
        return [end for line in lines for end in line.get_segments()[0][:, 1].tolist()]

    table = pd.DataFrame({"value": [0.2, 0.4, 0.6], "guessed": [False, True, False]})
    assert drawn(figures.shares(table, 0.5)) == [0.5, 1.5] and drawn(figures.shares(table)) == []
    found = shortcut.reveal(places(two_networks()), {})
    last = 1 + 0.8 / 3  # the hard place of the second network, below its other two
    figure = shortcut.figure(found, guess=0.5, choice="colours_exchanged")
    assert drawn(figure) == pytest.approx([last - 0.13, last + 0.13])
    assert drawn(shortcut.figure(found)) == []
