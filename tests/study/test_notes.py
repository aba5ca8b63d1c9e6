"""Notes on masks; whole folders are in tests/study/test_mvtec.py and tests/helpers/hostile.py."""

import numpy as np

from study.data.notes import about_masks, listed


def row(name, mask=None, split="test"):
    """A defective image."""
    known = np.zeros((8, 8), bool) if mask is None else mask
    return {"names": name, "labels": 1, "splits": split, "masks": known,
            "has_mask": mask is not None}  # fmt: skip


def test_long_lists_are_cut():
    assert listed(["a", "b"]) == "a, b"
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"


def test_masks_that_mark_nothing_are_no_masks():
    empty = np.zeros((8, 8), bool)
    rows = [row("a", empty), row("b", empty)]
    (note,) = about_masks(rows, 8)
    assert note.startswith("No mask of test marks a pixel at 8x8")
    assert not any(one["has_mask"] for one in rows)


def test_a_frame_is_suspected_to_be_inverted():
    mask = np.ones((8, 8), bool)
    mask[3:5, 3:5] = False
    assert about_masks([row("a", mask)], 8) == [
        "1 masks mark the whole border of their image but not all of it: are they inverted? The "
        "defect is white."
    ]
    assert about_masks([row("a", ~mask)], 8) == []
