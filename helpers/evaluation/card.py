"""The model card of a run: what its networks learned from, how they were scored, and what they are not for."""

import html
from pathlib import Path

import jinja2
import pandas as pd

from helpers import manifest
from helpers.data import labels
from helpers.evaluation import report, scores

POLICIES = {
    "audited": "The set's label, corrected by official diagnoses; pictures whose labels contradict each other are out.",
    "published": "The set's label as it is, also where official diagnoses contradict it.",
}


def write(run, table, results):
    """Write ``report/model_card.md`` of a run: of the networks of ``results`` (``evaluate.evaluate``); return its path.

    ``table`` is the manifest. What is text is escaped, so that no class name becomes markup.
    """
    used, name = manifest.active(table), results.recommended
    images = pd.crosstab(used["collection"].replace("", "unknown"), used["split"])
    per_class = scores.per_class(results.test[name], results.positive).round(2)
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True)
    environment.filters["cell"] = _cell
    text = environment.get_template("card.md").render(
        title=_cell(", ".join(sorted(used["label"].unique()))),
        notice=report.NOTICE,
        synthetic=report.SYNTHETIC if run.images.synthetic else "",
        network=name,
        networks=results.networks.reset_index(),
        about=_cell(f"{run.images.source}: {len(used)} images in use, {len(table) - len(used)} left out."),
        images=images.reindex(columns=manifest.SPLITS, fill_value=0).reset_index(),
        labels=run.parameters["LABELS"],
        policy=POLICIES[run.parameters["LABELS"]],
        fingerprint=manifest.fingerprint(table),
        accuracies=results.accuracies.reset_index(),
        classes=per_class.reset_index(),
        positive=results.positive,
        clinics=results.clinics.reset_index(),
        clinic=_cell(results.clinic),
        known=_known(used, labels.official_labels(used, file=run.folder / "metadata.csv")),
    )
    file = run.folder / "report" / "model_card.md"
    manifest.write_text(text, file)
    return file


def _known(used, facts):
    """Return what is known of the patients, a sentence each for age, sex and site."""
    names = {"age_approx": "Age", "sex": "Sex", "anatom_site_general": "Site"}
    unknown = (facts[list(names)] == "").sum()
    return [f"{said}: unknown of {unknown[column]} of {len(used)} images." for column, said in names.items()]


def _cell(value):
    """Return a value as text that stands in a cell of a table: no markup, no line break, "" for what is missing."""
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return "" if text == "nan" else html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")
