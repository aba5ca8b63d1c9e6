"""The tables grow training by training, and cut rows to their columns."""

from study.beyond import ledger

TEXT = """category,student,head,seed,split,top_pixels,image_auroc
nut,full,method,0,test,10,0.123457
nut,full,method,1,test,10,1
"""


def test_rows_are_kept(tmp_path):
    row = dict(zip(ledger.TRAINING, ("nut", "full", "method", 0), strict=True)) | {"split": "test"}
    folder = tmp_path / "deep"
    first, second = ("nut", "full", "method", 0), ("nut", "full", "method", "1")
    assert not ledger.has("tops", folder, first) and ledger.load("tops", folder).empty
    ledger.add("tops", folder, [row | {"top_pixels": 10, "image_auroc": 0.123456789, "other": 1}])
    assert ledger.has("tops", folder, first) and not ledger.has("tops", folder, second)
    ledger.add("tops", folder, [row | {"seed": 1, "top_pixels": 10, "image_auroc": 1.0}])
    assert ledger.has("tops", folder, second)
    assert (folder / "tops.csv").read_text("utf-8") == TEXT


def test_a_training_that_runs_again_replaces_its_rows(tmp_path):
    """A run killed between its tables leaves some of a training, which then runs again."""
    row = dict(zip(ledger.TRAINING, ("nut", "full", "method", 1), strict=True))
    for seed, top in ((1, 10), (11, 10), (1, 30)):
        ledger.add("tops", tmp_path, [row | {"seed": seed, "top_pixels": top}])
    found = ledger.load("tops", tmp_path)
    assert list(zip(found.seed, found.top_pixels, strict=True)) == [("11", 10), ("1", 30)]


def test_the_tables_of_the_study_have_these_columns():
    for name, columns in ledger.COLUMNS.items():
        assert list(ledger.load(name)) == columns
