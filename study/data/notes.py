"""Notes on what a data set lacks: missing, empty and inverted masks."""

import numpy as np

HELD_OUT = ("validation", "test")


def listed(names: list[str], count: int = 20) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return f"{', '.join(names[:count])}{more}"


def about_masks(rows: list[dict], size: int) -> list[str]:
    """Notes on missing, empty and inverted masks.

    A split whose masks mark no pixel has no pixel metrics: its `has_mask` becomes False here.
    """
    notes, left_out = [], "so the pixel metrics of its real defects are left out."
    if not any(row["labels"] and row["has_mask"] for row in rows):
        return ["No defective image has a mask, so the pixel metrics of real defects are left out."]
    for split in HELD_OUT:
        defective = [row for row in rows if row["labels"] and row["splits"] == split]
        missing = [row["names"] for row in defective if not row["has_mask"]]
        empty = [row for row in defective if row["has_mask"] and not row["masks"].any()]
        if missing:
            notes.append(
                f"{len(missing)} of {len(defective)} defective {split} images have no mask, "
                f"{left_out} Without a mask: {listed(missing, 3)}."
            )
        elif empty and len(empty) == len(defective):
            notes.append(f"No mask of {split} marks a pixel at {size}x{size}, {left_out}")
            for row in empty:
                row["has_mask"] = False
        elif empty:
            notes.append(
                f"{len(empty)} of {len(defective)} masks of {split} mark no pixel at {size}x{size}."
            )
    if frames := sum(_is_frame(row["masks"]) for row in rows):
        notes.append(
            f"{frames} masks mark the whole border of their image but not all of it: are they "
            "inverted? The defect is white."
        )
    return notes


def _is_frame(mask: np.ndarray) -> bool:
    border = mask[0].all() and mask[-1].all() and mask[:, 0].all() and mask[:, -1].all()
    return bool(border and not mask.all())
