"""Textures for the corruption as one array: from scikit-image's photographs or any folder (DTD)."""

from pathlib import Path

import numpy as np

from study.data.images import EXTENSIONS, check_links, is_hidden, problem, read_image, resized
from study.limits import check_memory
from study.params import ROOT

# Photographs inside the scikit-image package, so nothing is downloaded; without drawings, text
# and photographs of mostly one flat surface (moon, rocket, retina).
PHOTOGRAPHS = (
    *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png"),
    *("grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png"),
)


def load_textures(textures, image_size: int, channels: int) -> np.ndarray:
    """Texture images for the corruption: uint8 (M, image_size, image_size, channels).

    `count` random square crops with a side of min_side to max_side pixels (at most the image's
    short side), or with count 0 each image once, whole. Raises FileNotFoundError for a root without
    images, ValueError for an unreadable one and for links out of the root.
    """
    if textures.source == "skimage":
        import skimage.data

        paths = [Path(skimage.data.__file__).parent / name for name in PHOTOGRAPHS]
    else:
        paths = find_images(ROOT / textures.root)
    count = textures.count or len(paths)
    check_memory(2 * count * image_size**2 * channels, f"{count} textures")
    rng = np.random.default_rng(textures.seed)
    counts = np.bincount(rng.integers(len(paths), size=textures.count), minlength=len(paths))
    tiles = []
    for index in np.flatnonzero(counts) if textures.count else range(len(paths)):
        image = read_image(paths[index], channels)
        tiles += [] if textures.count else [resized(image, image_size)]
        for _ in range(counts[index]):
            low, high = (min(*image.size, s) for s in (textures.min_side, textures.max_side))
            side = int(rng.integers(low, high + 1))
            left, top = (int(rng.integers(length - side + 1)) for length in image.size)
            crop = image.crop((left, top, left + side, top + side))
            tiles.append(resized(crop, image_size))
    return np.stack(tiles)


def find_images(root: Path) -> list[Path]:
    """Images at any depth below `root`, sorted, without hidden ones; prints the number of others.

    Raises FileNotFoundError, and ValueError for a link out of `root` or anything but a file.
    """
    found = [path for path in root.rglob("*") if not path.is_dir()]
    found = [path for path in found if not any(map(is_hidden, path.relative_to(root).parts))]
    paths = sorted(path for path in found if path.suffix.lower() in EXTENSIONS)
    if not paths:
        raise FileNotFoundError(f"textures.root {root}: no images below this folder")
    for path in paths:
        if fault := problem(path):  # reading a pipe would never end
            raise ValueError(f"{path}: {fault}; remove it")
    check_links(root, paths)
    if others := len(found) - len(paths):
        print(f"{others} files below textures.root are not images and are not used.")
    return paths
