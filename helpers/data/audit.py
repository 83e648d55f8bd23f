"""The audit: what is wrong with a set of labelled images, and what a network could cheat with."""

import io
import json
import os
from pathlib import Path

import pandas as pd
from scipy.stats.contingency import association

from helpers import manifest
from helpers.data import classes, datasets, duplicates, families, folders, labels
from helpers.data.images import UnreadableImage, open_rgb, read_files

LISTED = ["image_id", "file", "published_label", "split"]  # what is said of a file in a list
COUNTS = {
    "images": "image files",
    "unreadable": "unreadable files",
    "contradictory_images": "pictures filed under two classes",
    "train_test_twins": "pictures in Train and in Test",
    "validation_twins": "pictures in validation and in another split",
    "same_class_duplicates": "pictures twice in one class folder",
    "near_duplicate_pairs": "pairs of pictures that are nearly the same",
    "augmented_copies": "augmented copies of other pictures",
    "lesions_with_several_pictures": "lesions with several pictures",
}
SHOWN = 200  # groups of pictures of each kind on the page; a phone must still open it
SIDE = 160  # px, longest side of a picture on the page


def findings(table, metadata, pairs=None):
    """Count what is wrong with a set of images, and list it.

    Two files are one picture if they decode to the same pixels, and each picture counts once; those that are only
    nearly the same are counted in ``near_duplicate_pairs`` and nowhere else.

    Takes a manifest that ``duplicates.inspect`` has filled, ``metadata`` as ``labels.official_labels`` returns it, and
    ``pairs`` as ``duplicates.near_duplicates`` does (None: they are searched). Returns a dict for ``json.dumps``: the
    counts of ``COUNTS``; ``lesions`` and ``families``: how many are known, and the part (0 to 1) that a random 20% for
    validation is expected to tear apart, or to leak; by pair of labels, with the number of pictures (``images``),
    ``contradictory_folders`` and ``official_label_disagreements``; ``collections``; ``lists``: the files behind all.
    """
    pairs = duplicates.near_duplicates(table) if pairs is None else pairs
    table = table.join(metadata, on="image_id").sort_values("image_id")
    root = os.path.commonpath([Path(path).parent for path in table["path"]])
    table["file"] = [folders.text(Path(path).relative_to(root).as_posix()) for path in table["path"]]
    table["folder"] = (table["split"] + " " + table["published_label"]).str.strip()
    table["original"] = families.originals(table)
    known, unreadable = table[table["picture"] != ""], table[table["flag"] == "unreadable"]
    again = known[known.duplicated("picture", keep=False)]
    pictures = again.groupby("picture").agg({"published_label": "nunique", "split": set, "folder": list})
    filed = pictures["folder"].map(lambda places: " / ".join(sorted(set(places))))

    def files(chosen):
        """Return the files of each of these pictures, as a list of lists."""
        rows = again[again["picture"].isin(chosen.index[chosen.astype(bool)])]
        return [same[LISTED].to_dict("records") for _, same in rows.groupby("picture", sort=False)]

    contradictory, disagreements = pictures["published_label"] > 1, _disagreements(known)
    lists = {
        "unreadable": unreadable[LISTED].assign(reason=unreadable["path"].map(_reason)).to_dict("records"),
        "contradictory_images": files(contradictory),
        "train_test_twins": files(pictures["split"].map({"train", "test"}.issubset)),
        "validation_twins": files(pictures["split"].map(lambda splits: "val" in splits and len(splits) > 1)),
        "same_class_duplicates": files(pictures["folder"].map(lambda places: len(set(places)) < len(places))),
        "near_duplicate_pairs": pairs.round({"similarity": 3}).to_dict("records"),
        "augmented_copies": known[known["original"] != ""][[*LISTED, "original"]].to_dict("records"),
    }
    named = known["original"].where(known["original"] != families.UNKNOWN, "")
    family = named.mask(named == "", known["image_id"])
    leaked = float((1 - 0.2 ** (family.map(family.value_counts()) - 1)).mean()) if len(known) else 0.0
    lesions = known.drop_duplicates("picture")["lesion_id"].str.split().explode().replace("", None).value_counts()
    several = lesions[lesions > 1]
    torn = float((1 - 0.8**several - 0.2**several).mean()) if len(several) else 0.0
    return {
        "images": len(table),
        **{name: len(rows) for name, rows in lists.items()},
        "lesions_with_several_pictures": len(several),
        "lesions": {"known": len(lesions), "pictures_of_several": int(several.sum()), "torn": round(torn, 3)},
        "families": {"originals": len(set(named) - {""}), "leaked": round(leaked, 3)},
        "contradictory_folders": _counted(filed[contradictory].rename("folders").to_frame()),
        "official_label_disagreements": _counted(disagreements[["published", "official"]]),
        "collections": collections(known)[1],
        "lists": {**lists, "official_label_disagreements": disagreements.to_dict("records")},
    }


def collections(table):
    """Say how far the collection gives the class away in a manifest.

    Returns the images by published class (rows) and collection (columns; "unknown" where it is empty), a DataFrame, and
    a dict of what is known: ``cramers_v`` (0: unrelated, 1: one determines the other; Cramer 1946; None if there are
    fewer than two classes or collections), ``one_collection_only`` ({class: its only collection}, {} if there is but
    one), ``images`` (the counts as dicts).
    """
    counts = pd.crosstab(table["published_label"], table["collection"].replace("", "unknown"))
    known = counts.drop(columns="unknown", errors="ignore")
    known = known[known.sum(axis=1) > 0]
    related = min(known.shape) > 1
    single = known[(known > 0).sum(axis=1) == 1].idxmax(axis=1).to_dict() if related else {}
    value = round(float(association(known.to_numpy(), method="cramer")), 3) if related else None
    return counts, {"cramers_v": value, "one_collection_only": single, "images": counts.to_dict("index")}


def command(data_dir, json_file="", html_file="", metadata="", **named):
    """Audit the images of ``data_dir`` (as ``datasets.find`` takes it) and return what was found, as text to print.

    The findings are written to ``json_file``, a page with the pictures side by side to ``html_file``; "" is neither.
    ``metadata`` is a table of official labels and lesions, or ""; ``named`` are parameters of ``datasets.list_images``.
    OSError or ValueError if there are no images, a table cannot be understood, or, tried first, a file be written.
    """
    for file in filter(None, (json_file, html_file)):
        if Path(file).is_dir() or not os.access(Path(file).absolute().parent, os.W_OK):
            raise OSError(f"{file} cannot be written: it is a folder, or its folder is not there or read-only.")
    images = datasets.find(data_dir)
    table, facts, understood = datasets.list_images(images, **named)
    known, table = labels.official_labels(table, facts, metadata), duplicates.inspect(table)
    found = findings(table, known)
    if json_file:
        manifest.write_text(json.dumps(found, indent=1) + "\n", json_file)
    if html_file:
        page(html_file, found, table, images.synthetic)
    counts, sentences = summary(found)
    drawn = " (SYNTHETIC: drawings, not patients)" if images.synthetic else ""
    lines = [f"Images: {images.source}, {images.root}{drawn}", understood]
    return "\n".join([*lines, *(f"{number:6d} {meaning}" for meaning, number in counts.items()), *sentences])


def page(file, found, table, synthetic):
    """Write what :func:`findings` found in a manifest as one HTML page, with up to 200 groups of pictures of a kind."""
    from helpers import page as html  # it imports matplotlib, which the rest of the audit does without

    counts, sentences = summary(found)
    sections = {"Counts": pd.DataFrame({"count": counts})}
    sections["Collections and groups"] = [collections(table)[0], *sentences]
    files = table.assign(caption=table["split"] + " " + table["published_label"] + ", " + table["image_id"])
    files = files.set_index("image_id")
    lists, note = found["lists"], "{how}: {distance} of 64 bits apart, similarity {similarity:.2f}"
    shown = {name: [("", [row["image_id"] for row in rows]) for rows in lists[name]] for name in list(COUNTS)[2:6]}
    pairs = [(note.format(**pair), [pair["image_id"], pair["other_id"]]) for pair in lists["near_duplicate_pairs"]]
    for name, groups in {**shown, "near_duplicate_pairs": pairs}.items():
        contents = []
        for caption, ids in groups[:SHOWN]:
            pictures = zip(read_files(_embedded, files.loc[ids, "path"]), files.loc[ids, "caption"])
            contents.append({"caption": caption, "images": list(pictures)})
        contents += [f"{len(groups) - SHOWN} more are in the JSON file."] * (len(groups) > SHOWN)
        sections |= {f"{COUNTS[name].capitalize()}: {len(groups)}": contents} if groups else {}
    if unreadable := found["lists"]["unreadable"]:
        sections["Unreadable files"] = pd.DataFrame(unreadable)[["file", "reason"]]
    html.write(file, "Image audit", sections, ["SYNTHETIC: drawings, not photographs of patients."] * synthetic)


def summary(found):
    """Return {what was counted: how many}, and sentences on what collections and lesions do to a random split."""
    counts = {meaning: found[name] for name, meaning in COUNTS.items() if found[name] or "lesion" not in name}
    counts |= {f"pictures in {row['folders']}": row["images"] for row in found["contradictory_folders"]}
    for row in found["official_label_disagreements"]:
        counts[f"pictures filed under {row['published']}, officially {row['official']}"] = row["images"]
    lesions, value, sentences = found["lesions"], found["collections"]["cramers_v"], []
    if value is not None:
        sentences.append(f"Cramer's V of class and collection: {value:.2f} (0: unrelated, 1: one tells the other).")
    only = pd.Series(found["collections"]["one_collection_only"], dtype=str)
    sentences += [f"Only in {name}: {', '.join(names)}." for name, names in only.groupby(only).groups.items()]
    if several := found["lesions_with_several_pictures"]:
        sentences.append(
            f"{several} of {lesions['known']} lesions have several pictures ({lesions['pictures_of_several']} in all); "
            f"a random 20% for validation would split {lesions['torn']:.0%} of them."
        )
    every = [row["original"] for row in found["lists"]["augmented_copies"]]
    if copies := len(every) - every.count(families.UNKNOWN):
        sentences.append(
            f"{copies} files are augmented copies of {found['families']['originals']} pictures; of a random 20% for "
            f"validation, {found['families']['leaked']:.0%} would have another version in training."
        )
    if unknown := len(every) - copies:
        sentences.append(f"{unknown} files are augmented copies of pictures that their names do not say.")
    return counts, sentences


def _reason(path):
    """Return why a file cannot be read, without its name."""
    try:
        open_rgb(path)
    except UnreadableImage as error:
        return str(error).removeprefix(f"{path}: ").replace(str(path), "it")[:200]
    return "it can be read now"


def _embedded(path):
    image, stream = open_rgb(path, (SIDE, SIDE)), io.BytesIO()
    image.thumbnail((SIDE, SIDE))
    image.save(stream, "JPEG", quality=75)
    return stream.getvalue()


def _disagreements(known):
    """Return one row per picture and class whose official label is another: published, official and the file."""
    rows = known[known["diagnosis"] != ""].drop_duplicates(["picture", "published_label"])
    names, pairs = set(known["published_label"]), zip(rows["diagnosis"], rows["published_label"])
    official = [labels.official_class(code, label, names) or classes.coded(code) for code, label in pairs]
    rows = rows.rename(columns={"published_label": "published"}).assign(official=official)
    return rows.loc[rows["official"] != rows["published"], ["published", "official", "image_id", "file", "split"]]


def _counted(table):
    """Return the different rows of ``table`` as dicts, most frequent first, with their number as ``images``."""
    counts = table.value_counts().rename("images").reset_index()
    return counts.sort_values(["images", *table], ascending=[False] + [True] * table.shape[1]).to_dict("records")
