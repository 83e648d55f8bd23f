"""Hostile text only stands there, foreign networks run no code, odd values are refused, and every image is counted."""

import html.parser
import json
import math
import types

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from helpers import figures, manifest, page, runs
from helpers.batch import execute, results, sweep
from helpers.data import audit, datasets, labels, splits
from helpers.evaluation import explain, intervals, report, scores

EVIL = [
    "<script>document.title = 'run'</script>",
    "<img src=x onerror=\"document.title='run'\">",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></textarea><script>alert(1)</script>",
    "{{ 7 * 7 }}{% for x in y %}",
    "&lt;b&gt; & <b>",
    "=cmd|' /C calc'!A0",
]


class Structure(html.parser.HTMLParser):
    """The tags of a page, with the names of their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, [name for name, _ in attrs]))

    def handle_data(self, data):
        self.text += data


def written(file, text, images):
    table = pd.DataFrame({text: [text, "b"], "n": [1, 2]}, index=[text, "c"])
    cards = {"cards": [(text, text)]}
    pictures = {"caption": text, "images": [(images[0], text)]}
    parts = {f"{n} {text}": [figures.titled(Figure(), text, True), text, table, cards, pictures] for n in range(5)}
    return Structure(page.write(file, text, parts, [text]).read_text(encoding="utf-8"))


@pytest.mark.parametrize("evil", EVIL)
def test_a_page_has_the_same_structure_whatever_its_text_is(tmp_path, image_set, evil):
    images = [next(image_set.rglob("*.png")).read_bytes()]
    plain, page_of_evil = (written(tmp_path / "page.html", text, images) for text in ("plain", evil))
    assert page_of_evil.tags == plain.tags and page_of_evil.text.count(evil) >= 35


def test_the_pages_of_report_sweep_and_audit_show_hostile_names(tmp_path, image_set, write_image):
    name = EVIL[1]
    run = types.SimpleNamespace(folder=tmp_path, images=datasets.Images(tmp_path, "x", False, ()))
    table = scores.predictions_table(
        pd.DataFrame({"image_id": ["a"], "split": ["test"], "label": [name]}), [[1, 0]], [name, "b"]
    )
    shown = [report.write(run, "report", name, {name: [scores.per_class(table), scores.confusion(table)]})]
    jobs = [{"name": "run", "folder": str(tmp_path), "notebooks": [], "values": {"DATA_DIR": name}}]
    results.write(jobs, {"run": {"status": "failed", "error": name}}, [name], tmp_path)
    write_image(image_set / "Train" / name / "a.png", 3)
    write_image(image_set / "Train" / EVIL[7].replace("/", "") / "=1+1.png", 3)
    audit.command(str(image_set), html_file=str(tmp_path / "audit.html"))
    for file in [*shown, tmp_path / "results.html", tmp_path / "audit.html"]:
        structure = Structure(file.read_text(encoding="utf-8"))
        assert name in structure.text and "<img src=x" not in file.read_text(encoding="utf-8")
        assert not [names for _, names in structure.tags if "onerror" in names]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_no_text_of_a_sweeps_table_is_run_by_a_spreadsheet(tmp_path, start):
    evil = f"{start}cmd|' /C calc'!A0"
    job = {"name": "run", "folder": str(tmp_path), "notebooks": [], "values": {"SEED": -1}}
    outcome = {"status": "failed", "images": evil, "error": evil, "found": {evil: evil, "x": -0.5}}
    results.write([job], {"run": outcome}, [evil, "x"], tmp_path)
    read = pd.read_csv(tmp_path / "results.csv", keep_default_na=False, dtype=str).iloc[0]
    assert read[["images", "error", f"'{evil}"]].tolist() == [f"'{evil}"] * 3
    assert read[["SEED", "x"]].tolist() == ["-1", "-0.5"]


def test_a_class_named_like_a_formula_can_be_drawn(tmp_path, image_set):
    image_set.joinpath("Train", "nevus").rename(image_set / "Train" / "$\\bad{$")
    given = {name: parameter.default for name, parameter in runs.declared("01_eda").items()}
    runs.start("01_eda", given | {"DATA_DIR": image_set, "OUT_DIR": tmp_path / "out"})
    figure = figures.image_grid([np.zeros((4, 4, 3))], ["$\\bad{$"], 1, "$\\bad{$")
    figure.add_subplot().set_xticks([0], ["$\\bad{$"])
    figure.savefig(tmp_path / "a.png")


def small():
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])


def test_code_in_a_foreign_network_is_not_run_and_a_broken_one_is_named(tmp_path):
    file = tmp_path / "model.keras"
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Lambda(lambda x: 1 / 0 if x is None else x)]).save(file)
    with pytest.raises(runs.RunError, match=r"model\.keras cannot be read.*run the notebook"):
        explain.open_network(tmp_path)
    small().save(file)
    whole, rng, refused = file.read_bytes(), np.random.default_rng(0), 0
    for case in range(40):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 1 + 5 * (case % 4)):
            broken[place] = rng.integers(0, 256)
        file.write_bytes(broken[: rng.integers(0, len(whole)) if case % 2 else None])
        try:
            explain.open_network(tmp_path)
        except runs.RunError as error:
            refused += str(file) in str(error)
    assert refused >= 20


NUMBERS = {name: notebook for notebook in runs.NOTEBOOKS for name in runs.declared(notebook)}  # alike in all of them
ODD = [
    None,
    [],
    {},
    b"x",
    1j,
    math.nan,
    math.inf,
    "nan",
    "1e999",
    "9" * 6000,
    "(" * 300,
    "(" * 100_000,
    "--5",
    "\0",
    "é",
]


@pytest.mark.parametrize("name, notebook", NUMBERS.items())
def test_every_value_out_of_range_is_refused_before_work_starts(name, notebook, tmp_path):
    parameter = runs.declared(notebook)[name]
    if isinstance(parameter.default, str):
        odd = [5, True, *ODD[:5], *(["", "AUDITED"] if parameter.choices else []), "caf\udce9"]
    elif isinstance(parameter.default, bool):
        odd = [0, 1, 2.0, "maybe", "2", *ODD]
    else:
        assert math.isfinite(parameter.low) and parameter.low < parameter.high
        odd = [parameter.low - 1, parameter.high * 2 + 1, True, "true", *ODD]
        runs.checked(notebook, {name: type(parameter.default)(parameter.low)})
        runs.checked(notebook, {name: str(type(parameter.default)(parameter.high))})
    for value in odd:
        with pytest.raises(runs.RunError, match=name) as caught:
            runs.checked(notebook, {name: value})
        assert len(str(caught.value)) < 250 and "\n" not in str(caught.value), value
    file = tmp_path / "a.yml"
    if isinstance(parameter.default, (int, float)) and name != "OUT_DIR":
        file.write_text(json.dumps({"notebooks": [notebook], "parameters": {name: odd[0]}}))
        with pytest.raises(runs.RunError, match=f"a.yml: {name} is"):
            sweep.plan(file, tmp_path)
        with pytest.raises(runs.RunError, match=f"{name} is"):
            execute.plan([notebook], {name: str(odd[0])})


PHASES = [Phase.explicit, Phase.generate]  # shrinking takes minutes
IMAGE = st.tuples(
    st.sampled_from(["train", "test", "val", ""]),
    st.sampled_from(["nevus", "melanoma", "basal cell carcinoma", "x"]),
    st.integers(0, 12),
    st.sampled_from(["", "NV", "MEL", "BCC", "VASC"]),
    st.booleans(),
)


@given(st.lists(IMAGE, min_size=1, max_size=25), st.integers(1, 4))
@settings(max_examples=25, phases=PHASES)
def test_whatever_the_labels_are_every_image_is_accounted_for_and_nothing_leaks(images, smallest):
    columns = ["split", "published_label", "picture", "diagnosis", "broken"]
    table = pd.DataFrame(images, columns=columns)
    names = [f"i{number}" for number in range(len(table))]
    known = pd.DataFrame("", names, labels.FACTS).assign(diagnosis=table["diagnosis"].to_numpy())
    table = table.assign(
        image_id=names,
        path=names,
        label=table["published_label"],
        flag="",
        group="g" + (table["picture"] // 2).astype(str),
    )
    table["picture"] = table["picture"].astype(str).mask(table["broken"], "")
    table["flag"] = table["flag"].mask(table["broken"], "unreadable")
    table = table.reindex(columns=manifest.COLUMNS, fill_value="")
    for policy in ("audited", "published"):
        done = labels.apply_labels(table, policy, known, smallest)
        used, book = manifest.active(done), labels.ledger(done)
        manifest.check(done)
        assert book["published"].sum() == len(table) and book["audited"].sum() == len(used)
        assert (used["label"] != "").all() and (done.loc[done["flag"] != "", "label"] == "").all()
        assert policy == "published" or not used["picture"].duplicated().any()
        try:
            manifest.check(splits.split(done))
        except ValueError as error:
            assert "\n" not in str(error) and len(str(error)) < 400


NAME = (
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
    .map(str.strip)
    .filter(bool)
)


@given(
    st.lists(NAME, min_size=2, max_size=5, unique=True), st.lists(NAME, min_size=1, max_size=5, unique=True), st.data()
)
@settings(max_examples=80)
def test_any_predictions_survive_the_way_to_disk_and_back(tmp_path_factory, names, ids, data):
    values = np.array([data.draw(st.lists(st.floats(0.01, 1), min_size=len(names), max_size=len(names))) for _ in ids])
    rows = pd.DataFrame({"image_id": ids, "split": "test", "label": names[0]})
    made = scores.predictions_table(rows, values / values.sum(axis=1, keepdims=True), sorted(names))
    file = tmp_path_factory.mktemp("p") / "predictions.csv"
    made.to_csv(file, index=False)
    pd.testing.assert_frame_equal(scores.read_predictions(file), made)


@given(st.floats(0, 1), st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=80)
def test_an_area_lies_in_its_interval(value, positives, negatives):
    low, high = intervals.area(value, positives, negatives)
    assert 0 <= low <= value + 1e-6 and value - 1e-6 <= high <= 1 and low < high


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30))
@settings(max_examples=25)
def test_a_bootstrap_interval_lies_between_the_smallest_and_the_largest_unit(images):
    hits, units = (np.array(part) for part in zip(*images))

    def mean(weights):
        return (weights @ hits / weights.sum(axis=1))[:, None]

    found = intervals.bootstrap(mean, units)[0]
    by_unit = pd.Series(hits, dtype=float).groupby(units).mean()
    assert (found is None) == (len(by_unit) < 2)
    assert found is None or by_unit.min() - 1e-9 <= found[0] <= found[1] <= by_unit.max() + 1e-9
