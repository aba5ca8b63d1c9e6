"""Folders of one's own, each without something that is optional, from images to the last stage."""

import json
import shutil

import pandas as pd
import pytest
import yaml
from clones import change, copy_of_repository, dvc, git, make_tiny, stale
from toys import grey, put

PARTS = ("nut", "pin")  # with masks, without defects


def shade(index):
    """A good part: grey, a little different each time."""
    return grey(90 + 3 * index, (64, 64))


def defective():
    image = shade(1)
    image.paste(255, (10, 10, 40, 30))
    return image


def mask():
    image = grey(0, (64, 64))
    image.paste(255, (10, 10, 40, 30))
    return image


def write_parts(root):
    """Two categories; only `pin` has a validation split."""
    for part in PARTS:
        for index in range(4):
            put(root / part / f"train/good/{index:03}.png", shade(index))
        for index in range(3):
            put(root / part / f"test/good/{index:03}.png", shade(index + 4))
        if part != "pin":
            for index in range(2):
                put(root / part / f"test/scratch/{index:03}.png", defective())
    for index in range(2):
        put(root / f"nut/ground_truth/scratch/{index:03}_mask.png", mask())
        put(root / f"pin/validation/good/{index:03}.png", shade(index + 7))


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """One student, one seed, no head, no baseline row, no drawn defect."""
    clone = copy_of_repository(tmp_path_factory.mktemp("parts"))
    write_parts(clone / "data/parts")
    make_tiny(clone)
    raw = yaml.safe_load((clone / "params.yaml").read_text())
    student = raw["students"]["plain"]
    change(clone, study="parts", categories=list(PARTS), students={"mine": student})
    change(clone, headline="mine", heads={}, head_seeds=[], baseline__levels=[])
    change(
        clone,
        dataset__root="data/parts",
        dataset__image_size=32,
        dataset__drawn_defects=False,
        elpv__categories=[],
    )
    status, output = dvc("repro", cwd=clone)
    assert status == 0, output[-3000:]
    git("add", "-A", cwd=clone)
    git("commit", "-qm", "run", cwd=clone)
    return clone


def everything(clone):
    """All texts that a reader of the run sees, without the code that made them."""
    texts = [path.read_text() for path in (clone / "reports/parts").rglob("*.md")]
    texts += [path.read_text() for path in (clone / "site/parts").rglob("*.html")]
    for path in (clone / "rendered/parts").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            assert not [out for out in cell.get("outputs", []) if out["output_type"] == "error"]
            texts += [json.dumps(cell.get("outputs", []))]
    return "\n".join(texts)


def table(clone):
    return pd.read_csv(clone / "reports/parts/ablations.csv").set_index(["category", "map"])


def test_each_part_has_the_figures_that_its_folder_allows(parts):
    frame = table(parts)
    assert set(frame.index.levels[0]) == set(PARTS) - {"pin"}
    assert frame.loc["nut"].pixel_ap.notna().all() and frame.image_auroc.notna().all()
    page = (parts / "reports/parts/README.md").read_text()
    assert "pin: No test image is defective, so there is no figure to report." in page


def test_a_smaller_study_of_good_images_alone_reaches_the_last_stage(parts, tmp_path):
    """A category goes, and a head that somebody tried; a clone with the cache reruns nothing."""
    change(parts, categories=["pin"])
    networks = parts / "results/segmentation/pin"
    shutil.copytree(networks / "mine-0", networks / "mine-tried-0")
    status, output = dvc("repro", cwd=parts)
    assert status == 0, output[-3000:]
    assert "Running stage 'student" not in output and not len(table(parts))
    said = everything(parts)
    assert "nan" not in said.split() and "No test image is defective" in said
    assert [path.name for path in networks.iterdir()] == ["mine-0"]
    outputs = [*parts.glob("results/*/*"), *parts.glob("site/parts/**/*")]
    assert outputs and not [path for path in outputs if "nut" in path.name]
    git("add", "-A", cwd=parts)
    git("commit", "-qm", "smaller", cwd=parts)
    clone = tmp_path / "clone"
    git("clone", "-q", parts, clone, cwd=tmp_path)
    assert dvc("cache", "dir", "--local", str(parts / ".dvc" / "cache"), cwd=clone)[0] == 0
    shutil.copytree(parts / "data/parts", clone / "data/parts")
    dvc("checkout", "-q", cwd=clone)
    assert not stale(clone)
