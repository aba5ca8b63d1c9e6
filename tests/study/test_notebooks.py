"""A rendered notebook as the body of a page."""

from base64 import b64decode
from io import BytesIO

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbformat import v4
from PIL import Image

from study.site import notebooks

TABLE = "<table border='1'><thead><tr><th></th><th>score</th></tr></thead><tbody><tr><th>a</th><td>1</td></tr></tbody></table>"  # noqa: E501
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # noqa: E501
LINKS = "[next](figures-nut.ipynb), [some](figures.ipynb), [guide](../../docs/guide.md), [paper](https://example.org/p)"


def write_notebook(path, title="What came out?"):
    """An executed notebook with a heading, links, a table and a figure."""
    output = [
        v4.new_output("display_data", {"text/html": TABLE}),
        v4.new_output("display_data", {"text/html": TABLE}),
        v4.new_output("display_data", {"image/png": PIXEL}),
        v4.new_output("stream", text="a line\n"),
    ]
    cells = [
        v4.new_markdown_cell(f"# {title}\nOne sentence. {LINKS}", id="a"),
        v4.new_markdown_cell("## Scores\nHigher is better.", id="b"),
        v4.new_code_cell("show()\nshow()", outputs=output, id="c"),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(v4.new_notebook(cells=cells), path)


@pytest.fixture
def soup(tmp_path):
    write_notebook(tmp_path / "one.ipynb")
    known = ["figures-nut", "figures-z"]
    title, html, sections = notebooks.notebook(tmp_path / "one.ipynb", known)
    assert title == "What came out?" and sections == [("part-1", "Scores")]
    return BeautifulSoup(html, "html.parser")


def test_links_lead_to_pages_of_the_site_or_become_text(soup):
    targets = [link["href"] for link in soup.find_all("a")]
    assert targets == [*["figures-nut.html"] * 2, "https://example.org/p"]
    assert "guide" in soup.get_text()


def test_code_folds(soup):
    (details,) = soup.find_all("details")
    assert details.summary.get_text() == "Code, 2 lines" and "show" in details.get_text()
    assert not soup.select(".prompt, script, style")


def test_a_figure_says_what_it_shows(soup):
    assert soup.img["alt"] == "Scores. Higher is better."


def test_tables_can_be_read_and_scrolled(soup):
    frames = [table.parent for table in soup.find_all("table")]
    assert [frame["aria-label"] for frame in frames] == ["Table 1: Scores", "Table 2: Scores"]
    assert all(frame["role"] == "region" and frame["tabindex"] == "0" for frame in frames)
    assert all(head.get_text(strip=True) and head["scope"] for head in soup.find_all("th"))


def test_equations_become_mathml_and_code_stays(tmp_path):
    text = "With $a < b$:\n\n$$D_k = 1 - \\frac{t \\cdot s}{2}$$\n\nIt costs `$5$`."
    output = v4.new_output("stream", text="$PATH and $HOME\n")
    cells = [v4.new_markdown_cell(text, id="a"), v4.new_code_cell("x", outputs=[output], id="b")]
    nbformat.write(v4.new_notebook(cells=cells), tmp_path / "one.ipynb")
    soup = BeautifulSoup(notebooks.notebook(tmp_path / "one.ipynb", set())[1], "html.parser")
    inline, block = soup.find_all("math")
    assert (inline["display"], block["display"]) == ("inline", "block")
    assert inline.get_text() == "a<b" and len(block.find_all("mfrac")) == 1
    assert "$" not in soup.p.get_text() and "$PATH and $HOME" in soup.get_text()
    assert "$5$" in [code.get_text() for code in soup.find_all("code")]


def test_the_same_notebook_gives_the_same_bytes(tmp_path):
    write_notebook(tmp_path / "one.ipynb")
    first, second = (notebooks.notebook(tmp_path / "one.ipynb", set()) for _ in range(2))
    assert first == second


def test_markdown():
    html = notebooks.markdown("## Run\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[x](run.md)")
    assert "<table>" in html and 'role="region"' in html and "<a" not in html


def test_the_download_has_no_outputs(tmp_path):
    write_notebook(tmp_path / "one.ipynb")
    found = nbformat.reads(notebooks.bare(tmp_path / "one.ipynb"), 4)
    assert [cell.get("outputs", []) for cell in found.cells] == [[], [], []]
    assert found.cells[2].source == "show()\nshow()"


def test_figures_become_webp_of_the_same_pixels(soup):
    kind, _, data = soup.img["src"].partition(";base64,")
    assert kind == "data:image/webp"
    pixels = [np.asarray(Image.open(BytesIO(b64decode(x))).convert("RGBA")) for x in (data, PIXEL)]
    assert np.array_equal(*pixels)
