"""A deck of slides holds a notebook's figures with their alternative text, its findings, and nothing from elsewhere."""

import re

import nbformat
import pytest
from nbformat import v4

from docs import label_errors, slides
from helpers import runs


def test_a_slide_is_a_figure_with_its_text_or_a_finding_under_the_last_heading():
    figure = v4.new_output("display_data", {"image/png": "AAAA\n"}, metadata={"image/png": {"alt": 'a "dot"'}})
    said = v4.new_output("stream", text="You guessed <3.\n\n")
    cells = [v4.new_markdown_cell("# 1 · A title\n\n**One\npromise.**\n\nbadge"), v4.new_markdown_cell("## A\n\n## B")]
    cells += [v4.new_code_cell("x", outputs=[each], metadata={"tags": ["slide"]}) for each in (figure, said)]
    cells += [v4.new_code_cell("y", outputs=[said])]
    page = slides.deck(v4.new_notebook(cells=cells))
    assert page.count("<section>") == 3 and "<p>One promise.</p>" in page and page.count("<h2>B</h2>") == 2
    assert 'src="data:image/png;base64,AAAA" alt="a &#34;dot&#34;"' in page and "<p>You guessed &lt;3.</p>" in page


@pytest.mark.parametrize("name", runs.NOTEBOOKS)
def test_every_notebook_has_slides_that_need_no_network(name):
    notebook = nbformat.read(runs.FOLDER / f"{name}.ipynb", as_version=4)
    found = slides.slides(notebook)
    assert 3 <= len(found) <= 12 and all(slide["pictures"] or slide["said"] for slide in found)
    assert all(text for slide in found for _, text in slide["pictures"])
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", slides.deck(notebook))


def test_images_whose_label_is_improbable_out_of_sample_are_suspected_first():
    import numpy as np

    chances = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    label = np.array([0, 0, 1, 1, 0])
    assert label_errors.suspects(label, chances)[0] == 4
