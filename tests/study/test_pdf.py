"""The study as a PDF: the numbers of the site, on a few pages."""

import re
from unittest import mock

import pytest
from bs4 import BeautifulSoup
from PIL import Image
from test_build import TOY, make_study

from study import results
from study.site import pdf


@pytest.fixture
def html(tmp_path):
    make_study(tmp_path, TOY)
    for name in TOY.categories:
        path = tmp_path / "reports" / "toy" / "figures" / f"{name}-outcomes.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (40, 40)).save(path)
    with mock.patch.object(results, "ROOT", tmp_path):
        return pdf.page(TOY, tmp_path / "pdf"), tmp_path / "pdf"


def test_it_has_every_answer_and_pages(html):
    text, folder = html
    soup = BeautifulSoup(text, "html.parser")
    assert "59.2 [59.2, 59.2] percent image AUROC" in soup.select_one(".abstract").get_text()
    assert len(soup.select(".claim")) == 5 and not soup.find("details")
    assert len(soup.select("svg.strip style")) == len(soup.select("svg.strip"))
    assert not re.search(r"https?:(?!//(arxiv|doi)\.org)", text.replace("http://www.w3.org", ""))
    weasyprint = pytest.importorskip("weasyprint")
    pages = weasyprint.HTML(string=text, base_url=str(folder)).render().pages
    assert 3 <= len(pages) <= 10
