"""Another clinic's images beside what validation promised: worked by hand."""

import pandas as pd

from helpers.evaluation import clinics


def rows(split, collection, *images):
    """Return labelled predictions, one lesion an image, of (label, probability of melanoma), the rest nevus."""
    table = pd.DataFrame(images, columns=["label", "p_melanoma"]).assign(p_nevus=lambda rows: 1 - rows["p_melanoma"])
    names = [f"{collection}{number}" for number in range(len(table))]
    return table.assign(image_id=names, split=split, collection=collection, group="")


VALIDATION = rows("val", "A", *[("melanoma", 0.9)] * 9, ("melanoma", 0.1), *[("nevus", 0.2)] * 4, ("nevus", 0.95))
# In B all melanomas rank above all nevi, but only one of four reaches the threshold of validation, .9.
RANKED = rows("", "B", ("melanoma", 0.92), *[("melanoma", 0.6)] * 3, *[("nevus", 0.3)] * 5)
# C has no nevi.
NEVI = rows("", "C", *[("nevus", 0.3)] * 3)


def of(other):
    return clinics.measure({"validation": VALIDATION, "another set": other}, ["melanoma"])


def measured():
    return of(pd.concat([RANKED, NEVI], ignore_index=True))


def test_the_threshold_of_validation_is_used_elsewhere():
    places = measured()
    point = places["B"]["melanoma or nevus"]
    assert point["threshold"] == places["validation"]["positive or not"]["threshold"] == 0.9
    assert (point["found"], point["missed"], point["cleared"], point["auc"]) == (1, 3, 5, 1.0)
    assert places["C"]["n"] == 3 and "melanoma or nevus" not in places["C"]
    assert places["C"]["promised"] == 0.8  # of the nevi of validation alone


def test_a_row_for_each_place_and_what_is_not_there_is_empty():
    (found,) = clinics.table({"net": measured()})
    assert found.index.tolist() == [("net", "validation"), ("net", "B"), ("net", "C")]
    assert found.loc[("net", "B"), "melanomas found"] == "0.25 (0.05 to 0.70)"
    assert found.loc[("net", "C"), "melanomas found"] == ""
    alone = clinics.measure({"validation": VALIDATION}, ["melanoma"])
    assert alone == {} and clinics.table({"net": alone}) == []


def test_the_sentence_says_that_the_ranking_survives_only_where_it_does():
    said = clinics.sentence(measured(), "net")
    assert "finds 90% of the melanomas of validation and 25% of those of B; it clears 80% and 100% of" in said
    assert "The AUC is 0.72 and 1.00: the ranking survives" in said
    worse = RANKED.assign(p_melanoma=0.95 - RANKED["p_melanoma"] * 0.01, p_nevus=0.0)
    assert "survives" not in clinics.sentence(of(worse), "net")
    assert clinics.sentence({}, "net").startswith("No other set was given")
