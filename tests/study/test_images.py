"""study.data.images: resizing, and links into DVC's cache; formats and faults:
tests/helpers/hostile.py.
"""

import numpy as np
import pytest
from PIL import Image, ImageFile
from toys import put

from study.data import images
from study.data.images import check_links, read_image, resized


def test_resizing_to_the_same_size_changes_nothing():
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resized(Image.fromarray(noise), 32), noise)
    assert resized(Image.fromarray(noise[..., 0]), 16).shape == (16, 16, 1)


def test_links_into_the_cache_of_dvc_are_followed(tmp_path, monkeypatch):
    """With `cache.type symlink` every file of a data set that DVC tracks is such a link."""
    monkeypatch.setattr(images, "dvc_cache", lambda: tmp_path / "cache")
    root = tmp_path / "parts"
    root.mkdir()
    for folder in ("cache", "elsewhere"):
        (root / f"{folder}.png").symlink_to(put(tmp_path / folder / "files/md5/ab/cdef.png"))
    check_links(root, [root / "cache.png"])
    with pytest.raises(ValueError, match=r"parts/elsewhere.png: a link out of .*parts; copy"):
        check_links(root, [root / "cache.png", root / "elsewhere.png"])


def test_the_cache_is_the_one_of_this_repository():
    assert images.dvc_cache().parts[-2:] == ("files", "md5")


def test_a_truncated_file_is_refused_although_another_library_allows_it(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="truncated"):
        read_image(tmp_path / "a.png", 1)
