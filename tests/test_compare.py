"""Two runs in a small git repository: what differs, by how much, and the words for it."""

import pandas as pd
import pytest
from test_revisions import PARAMS, commit, repository, write_run  # noqa: F401
from test_verdicts import scores

from lib import compare, notebook
from lib.params import ROOT

LONGER = PARAMS | {"students": {"full": {"steps": 800}}}
FULL = ("nut", "toy", "full", "segmentation")


@pytest.fixture
def pair(repository):  # noqa: F811
    """HEAD, and a working tree with more steps, 2 points more, and two verdicts turned."""
    (repository / "reports/toy/scores").mkdir(exist_ok=True)
    write_run(repository, verdicts=scores((1, 1, 1, 4), (1, 1, 1, 4)))
    commit(repository)
    write_run(repository, LONGER, lift=2.0, verdicts=scores((1, 9, 9, 4), (1, 9, 9, 4)))
    return compare.both("HEAD", "", repository)


def test_parameters_that_differ_and_no_others(pair):
    table = compare.parameters(*pair)
    assert table.to_dict("index") == {
        "students.full.steps": {"A: HEAD": "400", "B: working tree": "800"}
    }
    added = pair[1]._replace(params=pair[1].params | {"heads.mine.input": "distance"})
    assert compare.parameters(pair[0], added).loc["heads.mine.input"].tolist() == ["–", "distance"]


def test_differences_are_paired_by_seed(pair):
    table = compare.beside(*pair)
    assert table.loc[FULL].tolist() == [
        "+2.0 [+2.0, +2.0]", "better in every seed", "59.2 ± 0.4", "61.2 ± 0.4",
    ]  # fmt: skip
    nearest = table.xs("none", level="student")
    assert set(nearest["B − A (points)"]) == {"0"} and set(nearest.verdict) == {"unchanged"}
    real = [benchmark == "toy" for _, benchmark, *_ in table.index]
    assert real == sorted(real, reverse=True), "real defects first"


def test_a_row_or_seed_of_one_side_only_has_no_difference(pair):
    one, two = pair
    head = two.rows[(two.rows.student == "full") & (two.rows["map"] == "cosine")]
    more = two._replace(rows=pd.concat([two.rows, head.assign(map="head mine")]))
    row = compare.beside(one, more).loc[("nut", "toy", "full", "head mine")]
    assert row.tolist() == ["–", "–", "–", "55.3 ± 0.4"]
    alone = two._replace(rows=two.rows[two.rows.seed == 1])
    assert compare.beside(one, alone).loc[FULL, "verdict"] == "undecided: one seed has no spread"
    none = two._replace(rows=two.rows.assign(seed=two.rows.seed + 5))
    assert compare.beside(one, none).loc[FULL, "B − A (points)"] == "–"


def test_every_metric_where_there_are_masks(pair):
    table = compare.gains(*pair)
    assert set(table.index.get_level_values("benchmark")) == {"toy_drawn"}
    assert list(table.columns) == compare.METRICS
    row = table.loc[("nut", "toy_drawn", "full", "segmentation")]
    assert row.image_auroc == "+2.0 [+2.0, +2.0]" and row.pixel_ap == "0"


def test_flipped_images_by_category(pair):
    table = compare.flipped(*pair)
    assert table["now"].to_dict() == {
        (category, image): word
        for category in ("nut", "bolt")
        for image, word in (("b", "wrong"), ("c", "right"))
    }


def test_the_answer_in_two_sentences(pair):
    said = compare.answer(*pair)
    assert "one parameter differs: `students.full.steps` 400 → 800" in said
    assert "goes from 59.2 ± 0.4 to 61.2 ± 0.4 %" in said
    assert "(+2.0 [+2.0, +2.0] points over 2 paired seeds: better in every seed)" in said
    assert "4 test images change their verdict, 2 of them to the right one" in said
    assert "Careful" not in said
    older = compare.answer(pair[0], pair[1]._replace(stale=["students.full.steps"], scores={}))
    assert "**Careful:** the results of working tree were made with other values" in older
    assert "whether verdicts changed is unknown" in older
    same = compare.answer(pair[0], pair[0])
    assert (
        "no parameter differs" in same
        and ": unchanged); no test image changes its verdict." in same
    )
    assert compare.flipped(pair[0], pair[1]._replace(scores={})).empty


def test_different_studies_are_refused(pair, repository):  # noqa: F811
    write_run(repository, PARAMS | {"study": "other"})
    with pytest.raises(ValueError, match="HEAD is of the study toy, working tree of other"):
        compare.both("HEAD", "", repository)


def test_the_command_line(monkeypatch, tmp_path, capsys):
    assert compare.main(["no/such revision", ""]) == 1
    out, err = capsys.readouterr()
    assert not out and err.startswith("error: no revision 'no/such revision'")
    ran = []

    def run(path, output, parameters):
        ran.append((path.name, output.name, parameters))
        output.parent.mkdir(parents=True)
        output.write_text((ROOT / "notebooks" / "compare.ipynb").read_text("utf-8"))

    def fail(*_):
        raise notebook.NotebookError("compare: compare.ipynb failed")

    monkeypatch.setattr(notebook, "run", fail)
    with monkeypatch.context() as patch:
        patch.setattr(compare, "both", lambda *_: None)
        assert compare.main(["HEAD", ""]) == 1
    assert capsys.readouterr().err == "error: compare: compare.ipynb failed\n"
    monkeypatch.setattr(notebook, "run", run)
    monkeypatch.setattr(compare, "both", lambda *_: None)
    monkeypatch.setattr(compare, "ROOT", tmp_path)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/site.css").write_text("h1 { color: red }")
    assert compare.main(["feature/x", ""]) == 0
    parameters = {"before": "feature/x", "after": ""}
    assert ran == [("compare.ipynb", "feature_x--working-tree.ipynb", parameters)]
    assert "rendered/compare/feature_x--working-tree.html" in capsys.readouterr().out
    page = (tmp_path / "rendered/compare/feature_x--working-tree.html").read_text("utf-8")
    assert "h1 { color: red }" in page and "<script" not in page and "http" not in page
    assert "<title>Which of two experiments does better, and where?</title>" in page
