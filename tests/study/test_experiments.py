"""Experiments beside each other: what differs, and what came out."""

from study.tables.experiments import table

SHOWN = """Experiment,rev,typ,image_auroc,pro_drawn,study,seeds,students.full.steps,study,lib
,workspace,baseline,93.8,80.0,quick,"[0, 1]",400,a.dir,b.dir
,main,baseline,93.8,80.0,quick,"[0, 1]",400,c.dir,b.dir
longer,2fa187d,branch_base,94.1,81.0,quick,"[0, 1]",800,c.dir,b.dir
"""


def test_only_what_differs_and_the_figures_are_shown():
    found = table(SHOWN, ["study", "seeds", "students.full.steps", "heads"])
    assert list(found) == ["students.full.steps", "image_auroc", "pro_drawn"]
    assert found.index.tolist() == ["workspace", "main", "longer"]
    assert found.loc["longer"].tolist() == ["800", "94.1", "81.0"]


def test_figures_of_several_categories_keep_their_category():
    """DVC names the file where two files have one figure."""
    shown = SHOWN.replace("image_auroc,pro_drawn", "metrics/m/nut.json:pro,metrics/m/bolt.json:pro")
    assert list(table(shown, [])) == ["nut pro", "bolt pro"]
