"""A small calibrated model on random networks, and the files that the pipeline leaves of one."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from toys import category_of, grey, put

from lib.anomaly_map import image_score
from lib.inference import make_teacher, teacher_levels
from lib.networks import SegmentationNetwork, Student, input_channels
from study import params, results, trained
from study.data.category import entry
from study.inspector.judge import Judge
from study.scoring import calibration, conformal
from study.scoring.baseline import Gaussian

SIZE, KNOWN = 64, 40
SHIPPED = params.load()


def settings(**changed):
    """The shipped parameters at SIZE, two seeds, a random teacher."""
    small = {"dataset": replace(SHIPPED.dataset, image_size=SIZE), "seeds": (0, 1)}
    small["evaluation"] = replace(SHIPPED.evaluation, top_pixels=50)
    return replace(SHIPPED, **(small | changed))


def pictures(count, seed=0, size=SIZE):
    """Smooth random grey images, uint8 (count, size, size, 1)."""
    random = np.random.default_rng(seed)
    coarse = random.integers(60, 200, (count, size // 8, size // 8, 1), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def networks(chosen, teacher):
    """{seed: (student, segmentation network)}, untrained."""
    torch.manual_seed(0)
    depth = input_channels(teacher.channels)
    return {
        seed: (
            Student(teacher.channels, width=8).eval(),
            SegmentationNetwork(depth, 8, 0.05).eval(),
        )
        for seed in chosen.seeds
    }


def scored(model, images):
    """Image scores and largest pixels of each map, {map: (seeds, N)}, as the pipeline has them."""
    with torch.no_grad():
        maps = model.maps(torch.from_numpy(images))
    pixels = {kind: 1 if kind == "gaussian" else model.top_pixels for kind in maps}
    scores = {k: np.stack([image_score(m, pixels[k]).numpy() for m in v]) for k, v in maps.items()}
    return scores, {k: np.stack([m.flatten(1).amax(1).numpy() for m in v]) for k, v in maps.items()}


def make(chosen=None, kind="combined", **options):
    """(judge, calibration document, its networks and Gaussian) on 30 + KNOWN good images."""
    chosen = chosen or settings()
    teacher = make_teacher(chosen)
    parts = networks(chosen, teacher)
    gaussian = Gaussian.fit((2, 3), teacher_levels(teacher, pictures(30)))
    none = {"scores": [[0.0, 1.0]] * 2, "pixel_threshold": [1.0] * 2}
    maps = dict.fromkeys(("cosine", "segmentation", "gaussian", "combined"), none)
    plain = Judge(teacher, parts, gaussian, {"maps": maps}, chosen)
    scores, largest = scored(plain, pictures(KNOWN, seed=1))
    document = {"category": "monocrystalline", "alpha": 0.05, "n": KNOWN, "model": "0" * 64}
    document["maps"] = {
        name: {
            "scores": values.astype(float).tolist(),
            "threshold": [conformal.threshold(row, 0.05) for row in values],
            "pixel_threshold": [conformal.threshold(row, 0.05) for row in largest[name]],
        }
        for name, values in scores.items()
    }
    document["maps"]["combined"] = {"scores": [[0.0]], "threshold": [0.0], "pixel_threshold": [1.1]}
    model = Judge(teacher, parts, gaussian, document, chosen, kind, **options).eval()
    return SimpleNamespace(
        judge=model, document=document, networks=parts, gaussian=gaussian, settings=chosen
    )


def leave(made, root):
    """Write what the pipeline leaves of `make`: networks, Gaussian, images and calibration."""
    category = "monocrystalline"
    for seed, both in made.networks.items():
        item = results.item(made.settings.headline, seed)
        for phase, network in zip(("student", "segmentation"), both, strict=True):
            folder = results.network(phase, category, item)
            trained.save(folder, network, network.shape, [(0, 1.0)])
    made.gaussian.save(results.gaussian(category))
    files = [f"train/good/{index:03}.png" for index in range(KNOWN)]
    rows = [
        entry(image, None, "good", name, "validation")
        for image, name in zip(pictures(KNOWN, seed=1), files, strict=True)
    ]
    category_of(rows, "elpv", category).save(results.dataset(category))
    for name in files:
        put(root / made.settings.dataset.root / category / name, grey(size=(SIZE, SIZE)))
    made.document["files"] = files
    made.document["model"] = calibration.model_hash(made.settings, category)
    calibration.save(made.document, category)
