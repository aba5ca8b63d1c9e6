"""One category of a data set as arrays, and the checks of the notebook `dataset`.

The stage `dataset` writes two files. Training reads the good images alone, so a new test image or
mask retrains nothing. Maps, evaluation and figures read the held-out images.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from PIL import Image

from study.files import whole

ALIKE = 0.98  # correlation of thumbnails above which two images probably show the same part


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
    notes: tuple[str, ...]  # sentences on what was left out or is missing

    def save(self, folder: Path) -> None:
        """Write train.npy (the images to train on) and held_out.npz (for `load`) to `folder`.

        Equal content gives equal bytes. No half-written file is ever visible.
        """
        with whole(folder / "train.npy") as partial:
            np.save(partial, self.training_images())
        held_out = self.held_out()
        with whole(folder / "held_out.npz") as partial:
            np.savez(
                partial, **{field.name: getattr(held_out, field.name) for field in fields(self)}
            )

    def select(self, chosen: np.ndarray) -> "Category":
        """The images where `chosen`, bool (N,), is True."""
        arrays = {k: v[chosen] for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return replace(self, **arrays)

    def training_images(self) -> np.ndarray:
        """The normal images to train on, uint8 (n, H, W, C)."""
        return self.images[self.splits == "train"]

    def calibrates(self) -> np.ndarray:
        """Which images set thresholds, bool (N,): the real good ones of the split validation."""
        return (self.splits == "validation") & (self.labels == 0) & ~self.drawn

    def held_out(self) -> "Category":
        """Everything that is not trained on: validation and test, real and drawn defects."""
        return self.select(self.splits != "train")

    @classmethod
    def load(cls, path: str | Path) -> "Category":
        """Read the held-out images that `save` wrote."""
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


def near_duplicates(category: Category, threshold: float = ALIKE) -> list[tuple[str, str, float]]:
    """Pairs (training image, held-out image, similarity), most similar first; not drawn copies.

    Similarity is the correlation (-1..1) of 16x16 thumbnails after the mean training thumbnail is
    subtracted. Aligned parts look alike, so only the difference from their mean counts.
    """
    grey = category.images.mean(axis=-1).astype(np.uint8)
    tiny = [np.asarray(Image.fromarray(i).resize((16, 16), Image.Resampling.BOX)) for i in grey]
    vectors = np.stack(tiny).reshape(len(tiny), -1).astype(float)
    train = np.flatnonzero(category.splits == "train")
    held_out = np.flatnonzero((category.splits != "train") & ~category.drawn)
    vectors -= vectors.mean(axis=1, keepdims=True)
    vectors /= np.maximum(vectors.std(axis=1, keepdims=True), 1e-9)
    vectors -= vectors[train].mean(axis=0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    similarity = vectors[train] @ vectors[held_out].T
    a, b = np.nonzero(similarity >= threshold)
    names = category.names[train[a]].tolist(), category.names[held_out[b]].tolist()
    return sorted(zip(*names, similarity[a, b].tolist(), strict=True), key=lambda pair: -pair[2])


def about_duplicates(category: Category) -> list[str]:
    """A note on held-out images that closely resemble a training image, if there are any."""
    closest = {}  # {held-out image: training image}, most similar first
    for train, held_out, _ in near_duplicates(category):
        closest.setdefault(held_out, train)
    if not closest:
        return []
    named = [f"{one} ~ {other}" for one, other in closest.items()][:3]
    many = int(((category.splits != "train") & ~category.drawn).sum())
    return [
        f"{len(closest)} of {many} held-out images closely resemble a training image, which "
        f"favours every method. The closest: {', '.join(named)}."
    ]


def summary(category: Category):
    """Counts as a pandas.DataFrame: one row per defect, one column per split."""
    import pandas as pd

    counts = pd.crosstab(category.defects, category.splits, rownames=["defect"], colnames=["split"])
    return counts[[split for split in ("train", "validation", "test") if split in counts]]
