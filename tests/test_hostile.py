"""reports/hostile.md, which `make hostile` writes, is what the inputs get now."""

import hostile


def test_the_committed_page_is_true():
    assert hostile.page(hostile.table()) == hostile.PAGE.read_text(encoding="utf-8")
