"""One category of a benchmark as arrays: what every stage after `dataset` reads.

A category is written once by the dataset stage and loaded by training, evaluation and figures.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from lib.interruption import whole


@dataclass(frozen=True, eq=False)
class Category:
    """One category of a benchmark: N images of one size; every array has N rows."""

    benchmark: str
    category: str
    images: np.ndarray  # uint8 (N, H, W, C)
    masks: np.ndarray  # bool (N, H, W), True on the defect
    has_mask: np.ndarray  # bool (N,), False where the defect's pixels are not known
    labels: np.ndarray  # uint8 (N,), 0 good, 1 defective
    defects: np.ndarray  # str (N,), "good" or the kind of defect
    names: np.ndarray  # str (N,), file name, unique
    splits: np.ndarray  # str (N,), train, validation or test
    drawn: np.ndarray  # bool (N,), True for synthetic defects
    notes: tuple[str, ...]  # what was left out or is missing, in sentences

    def save(self, path: str | Path) -> None:
        """Write one .npz whose bytes depend on the content only; a half-written one never shows."""
        with whole(path) as partial:
            np.savez(partial, **{field.name: getattr(self, field.name) for field in fields(self)})

    def select(self, chosen: np.ndarray) -> "Category":
        """The images where `chosen`, bool (N,), is True."""
        arrays = {k: v[chosen] for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return replace(self, **arrays)

    def training_images(self) -> np.ndarray:
        """The normal images to train on, uint8 (n, H, W, C)."""
        return self.images[self.splits == "train"]

    def held_out(self) -> "Category":
        """Everything that is not trained on: validation and test, real and drawn defects."""
        return self.select(self.splits != "train")

    @classmethod
    def load(cls, path: str | Path) -> "Category":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            content = {field.name: file[field.name] for field in fields(cls)}
        content |= {key: str(content[key]) for key in ("benchmark", "category")}
        return cls(**content | {"notes": tuple(content["notes"].astype(str).tolist())})


def entry(image, mask, defect: str, name: str, split: str, drawn: bool = False) -> dict:
    """One image's entry in each array of Category; a good image has a known, empty mask.

    `image` is uint8 (H, W, C), `mask` bool (H, W) or None where the defect's pixels are not known.
    """
    return {
        "images": image,
        "masks": np.zeros(image.shape[:2], bool) if mask is None else mask,
        "has_mask": mask is not None or defect == "good",
        "labels": np.uint8(defect != "good"),
        "defects": defect,
        "names": name,
        "splits": split,
        "drawn": drawn,
    }
