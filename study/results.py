"""Where every result lies: the paths that dvc.yaml names, for whatever reads or writes them."""

from study.params import ROOT


def dataset(category):
    """Folder of both files that `Category.save` writes."""
    return ROOT / "results/dataset" / category


def training_images(category):
    """The good images to train on, uint8 (N, S, S, C)."""
    return dataset(category) / "train.npy"


def held_out(category):
    """Validation and test images, for `Category.load`."""
    return dataset(category) / "held_out.npz"


def textures():
    """All textures, uint8 (N, S, S, C)."""
    return ROOT / "results/textures.npy"


def item(student, seed, head="method"):
    """Name of a trained network of a category; head: `method`, or a declared one."""
    return f"{student}-{seed}" if head == "method" else f"{student}-{head}-{seed}"


def network(phase, category, item):
    """Folder of a trained network's weights and losses; phase: student or segmentation."""
    return ROOT / "results" / phase / category / item


def maps(category, item):
    """Both stride-4 maps of the held-out images, by one segmentation network."""
    return ROOT / "results/maps" / category / item / "maps.npz"


def rows(stage, category):
    """Table of all figures of a category; stage: evaluation, baseline or calibration."""
    return ROOT / "results" / stage / f"{category}.csv"


def gaussian(category):
    """The Gaussian of the first of `baseline.levels`, for `Gaussian.load`."""
    return ROOT / "results/baseline" / category / "gaussian.npz"


def calibration(category):
    """Calibration scores and thresholds, as study/scoring/conformal.py describes them."""
    return ROOT / "results/calibration" / f"{category}.json"


def draws(stage, category):
    """The same figures in each resample of the test images."""
    return ROOT / "results" / stage / f"{category}.npz"


def reports(study):
    """Folder of the tables, figures and page of a study."""
    return ROOT / "reports" / study


def scores(study, category, stage="evaluation"):
    """Scores by image of a category; stage: evaluation, baseline or calibration."""
    name = category if stage == "evaluation" else f"{category}-{stage}"
    return reports(study) / "scores" / f"{name}.csv"


def metrics(study, category):
    """What `dvc metrics show` prints; the means of all rows lie beside it, `<category>-all`."""
    return ROOT / "metrics" / study / f"{category}.json"


def rendered(study):
    """Folder of a study's finished notebooks; of single items: `rendered/items`."""
    return ROOT / "rendered" / study
