"""The model card of a run: what its networks learned from, how they were scored, and what they are not for."""

import html
from pathlib import Path

import jinja2
import pandas as pd

from helpers import manifest
from helpers.data import classes, labels
from helpers.evaluation import report, scores

FACTS = {"age_approx": "Age", "sex": "Sex", "anatom_site_general": "Site", "fitzpatrick_skin_type": "Skin tone"}


def write(run, table, results):
    """Write ``report/model_card.md`` of a run: of the networks of ``results`` (``evaluate.evaluate``); return its path.

    ``table`` is the manifest. What is text is escaped, so that no class name becomes markup.
    """
    used, name = manifest.active(table), results.recommended
    images = pd.crosstab(used["collection"].replace("", "unknown"), used["split"])
    skin = classes.subject(used["label"].unique()) == "skin-lesion"
    facts = labels.official_labels(used, file=run.folder / "metadata.csv")
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True)
    environment.filters["cell"] = _cell
    text = environment.get_template("card.md").render(
        report=report,
        run=run,
        results=results,
        used=used,
        left=len(table) - len(used),
        images=images.reindex(columns=manifest.SPLITS, fill_value=0),
        fingerprint=manifest.fingerprint(table),
        classes=scores.per_class(results.places[name]["Test"], results.positive).round(2),
        skin=skin,
        swapped=any(found["colours"] for found in results.scored.values()),
        unknown={said: (facts[what] == "").sum() for what, said in FACTS.items() if skin or facts[what].any()},
    )
    file = run.folder / "report" / "model_card.md"
    manifest.write_text(text, file)
    return file


def _cell(value):
    """Return a value as text that stands in a cell of a table: no markup, no line break, "" for what is missing."""
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return "" if text == "nan" else html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")
