"""A table that grows row by row, and what a killed run leaves of it."""

from study.beyond.ledger import Rows


def test_rows_are_kept_and_a_half_written_one_is_not(tmp_path):
    path = tmp_path / "deep" / "rows.csv"
    table = Rows(path, ["name", "seed"])
    assert not table.has("a", 0)
    table.add([{"name": "a", "seed": 0, "value": 0.123456789}])
    table.add([{"name": "b", "seed": 1, "value": 2.0}])
    assert table.has("a", 0) and table.has("b", "1") and not table.has("b", 0)
    text = path.read_text("utf-8")
    assert text == "name,seed,value\na,0,0.123457\nb,1,2\n"
    with path.open("a") as file:
        file.write("c,2,0.")
    again = Rows(path, ["name", "seed"])
    assert again.has("b", 1) and not again.has("c", 2) and path.read_text("utf-8") == text
