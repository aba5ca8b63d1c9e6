"""`make compare`: the names it refuses, and the two files that it writes."""

import pytest

from study import notebook
from study.params import ROOT
from study.site import comparison
from study.tables import compare


def test_a_wrong_name_is_reported_before_a_kernel_starts(monkeypatch):
    monkeypatch.setattr(notebook, "run", None)
    with pytest.raises(SystemExit, match=r"^error: no revision 'no/such revision'"):
        comparison.main("no/such revision", "")


def test_a_notebook_and_a_page(monkeypatch, tmp_path, capsys):
    ran = []

    def run(path, output, parameters):
        ran.append((path.name, output.name, parameters))
        output.parent.mkdir(parents=True)
        output.write_text((ROOT / "notebooks" / "compare.ipynb").read_text("utf-8"))

    def fail(*_):
        raise notebook.NotebookError("compare: compare.ipynb failed")

    monkeypatch.setattr(compare, "both", lambda *_: None)
    monkeypatch.setattr(notebook, "run", fail)
    with pytest.raises(SystemExit, match=r"^error: compare: compare\.ipynb failed"):
        comparison.main("HEAD", "")
    monkeypatch.setattr(notebook, "run", run)
    monkeypatch.setattr(comparison, "ROOT", tmp_path)
    comparison.main("feature/x")
    parameters = {"before": "feature/x", "after": ""}
    assert ran == [("compare.ipynb", "feature_x--working-tree.ipynb", parameters)]
    assert "rendered/compare/feature_x--working-tree.html" in capsys.readouterr().out
    page = (tmp_path / "rendered/compare/feature_x--working-tree.html").read_text("utf-8")
    assert "<style>\n/* One look" in page and "<script" not in page and "http" not in page
    assert "<title>Which of two experiments does better, and where?</title>" in page
