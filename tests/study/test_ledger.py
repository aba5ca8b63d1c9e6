"""A table that grows row by row, and what a killed run leaves of it."""

from study.beyond import ledger


def test_rows_are_kept_and_a_half_written_one_is_not(tmp_path):
    row = dict(zip(ledger.TRAINING, ("nut", "full", "method", 0), strict=True)) | {"split": "test"}
    folder = tmp_path / "deep"
    table = ledger.Rows("tops", folder)
    assert not table.has("nut", "full", "method", 0) and ledger.load("tops", folder).empty
    table.add([row | {"top_pixels": 10, "image_auroc": 0.123456789, "other": 1}])
    table.add([row | {"seed": 1, "top_pixels": 10, "image_auroc": 1.0}])
    assert table.has("nut", "full", "method", 0) and table.has("nut", "full", "method", "1")
    text = (folder / "tops.csv").read_text("utf-8")
    assert text == (
        "category,student,head,seed,split,top_pixels,image_auroc\n"
        "nut,full,method,0,test,10,0.123457\nnut,full,method,1,test,10,1\n"
    )
    with (folder / "tops.csv").open("a") as file:
        file.write("nut,full,method,2,te")
    again = ledger.Rows("tops", folder)
    assert again.has("nut", "full", "method", 1) and not again.has("nut", "full", "method", 2)
    assert (folder / "tops.csv").read_text("utf-8") == text


def test_the_tables_of_the_study_have_these_columns():
    for name, columns in ledger.COLUMNS.items():
        assert list(ledger.load(name)) == columns
