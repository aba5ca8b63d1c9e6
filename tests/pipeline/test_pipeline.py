"""The real pipeline, DVC and papermill on ELPV, in a temporary copy of the repository."""

import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
import vl_convert
from clones import STUDENTS, change, dvc, git, stale
from nbformat import v4
from toys import grey, put

from study.scoring.scores import COLUMNS


def test_run_leaves_the_contract(finished):
    report = finished / "reports" / "tiny"
    frame = pd.read_csv(report / "ablations.csv")
    assert list(frame.columns) == COLUMNS
    real = frame[frame.real_defects]
    assert len(real) == 9 and set(real.student) == set(STUDENTS)
    assert real.image_auroc.between(0, 1).all() and real.pixel_ap.isna().all()
    drawn = frame[~frame.real_defects]
    assert len(drawn) == 9 and drawn.notna().all().all()
    assert set(frame.benchmark) == {"elpv", "elpv_drawn"}
    assert len(pd.read_csv(report / "validation.csv")) == 18
    heads = frame[frame["map"] == "segmentation, distance"]  # a declared head is a row
    assert set(heads.student) == {"full"} and set(heads.benchmark) == {"elpv", "elpv_drawn"}
    claims = pd.read_csv(report / "claims.csv")
    assert claims.images_low.notna().all() and claims.seeds_low.isna().all()  # of one seed
    assert set(claims.metric) == {"image_auroc", "pixel_ap", "iap"}
    images = pd.read_csv(report / "scores" / "monocrystalline.csv")
    assert {"full/segmentation/0", "full/segmentation, distance/0"} <= set(images)
    page = (report / "README.md").read_text()
    links = [part.split(")")[0] for part in page.split("](")[1:]]
    assert all((report / link).exists() for link in links)


def test_rendered_notebooks_hold_figures_and_no_errors(finished):
    names = {path.name for path in (finished / "rendered" / "tiny").iterdir()}
    assert {
        "ablations.ipynb",
        "explore.ipynb",
        "figures-monocrystalline.ipynb",
        "method.ipynb",
    } <= names
    figures = 0
    for path in (finished / "rendered" / "tiny").iterdir():
        for cell in json.loads(path.read_text())["cells"]:
            for output in cell.get("outputs", []):
                assert output["output_type"] != "error"
                figures += "image/png" in output.get("data", {})
    assert figures >= 10


def test_everything_but_results_is_in_git_and_a_second_run_does_nothing(finished):
    status, output = dvc("repro", cwd=finished)
    assert status == 0 and "Running stage" not in output, output
    assert git("status", "--porcelain", cwd=finished) == ""
    tracked = git("ls-files", cwd=finished).splitlines()
    assert not [name for name in tracked if name.startswith(("results/", "rendered/items/"))]


def test_every_notebook_runs_by_hand_and_changes_nothing(finished):
    """As in JupyterLab: the kernel starts in notebooks/, parameters are the defaults.

    One kernel runs all notebooks, since most of the time would go into starting it.
    """
    paths = sorted((finished / "notebooks").glob("*.ipynb"))
    order = ["dataset", "textures", "student", "segmentation", "maps", "evaluation", "baseline"]
    order.append("calibration")
    first = sorted(paths, key=lambda path: [*order, path.stem].index(path.stem))
    cells = []
    for path in first:
        found = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        cells += map(v4.new_code_cell, [*found, "%reset -f"])
    script = (
        "import sys, nbformat\n"
        "from nbclient import NotebookClient\n"
        "place = {'metadata': {'path': 'notebooks'}}\n"
        "notebook = nbformat.reads(sys.stdin.read(), 4)\n"
        "NotebookClient(notebook, resources=place, kernel_name='python3').execute()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(finished), "JUPYTER_PREFER_ENV_PATH": "1"}
    run = subprocess.run(
        [sys.executable, "-c", script], input=nbformat.writes(v4.new_notebook(cells=cells)),
        cwd=finished, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    assert git("status", "--porcelain", cwd=finished) == ""
    assert not stale(finished)


def test_the_plots_page_needs_no_network(finished):
    script = vl_convert.javascript_bundle()  # as `make plots` does
    assert "window.vegaEmbed" in script
    (finished / ".dvc" / "plots" / "vega.js").write_text(script)
    status, output = dvc("plots", "show", cwd=finished)
    assert status == 0, output
    page = (finished / "dvc_plots" / "index.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(sources) >= 2 and not [source for source in sources if "//" in source]
    assert all((finished / "dvc_plots" / source).is_file() for source in sources)
    for title in ("image AUROC on real defects", "loss of the students", "by threshold"):
        assert title in page
    assert git("status", "--porcelain", cwd=finished) == ""


TRAINED = {f"student@monocrystalline-{name}-0" for name in STUDENTS}
SEGMENTED = {f"segmentation@monocrystalline-{name}-0" for name in STUDENTS}
DATA, SCORES = {"dataset@monocrystalline"}, {"evaluation@monocrystalline"}
MAPS = {"maps@monocrystalline"}
BASELINE, HEADS = {"baseline@monocrystalline"}, {"heads@monocrystalline-distance-0"}
FIGURES, PRO, EXPLORE = {"figures@monocrystalline"}, {"pro@monocrystalline"}, {"explore"}
METHOD, CALIBRATION = {"method"}, {"calibration@monocrystalline"}
NETWORKS = TRAINED | SEGMENTED | HEADS
ALWAYS = {"check", "site"}  # these read params.yaml as a whole; one checks it, one prints it


@pytest.mark.parametrize(
    ("key", "value", "readers"),
    [
        ("arithmetic__threads", 2, NETWORKS | MAPS | BASELINE | EXPLORE | METHOD),
        (
            "arithmetic__precision",
            "fp32",
            NETWORKS | MAPS | BASELINE | EXPLORE | METHOD | {"ablations"},
        ),
        ("running__checkpoint_seconds", 1, set()),
        ("running__live_log", "tensorboard", set()),
        ("dataset__image_size", 96, DATA | CALIBRATION | {"textures", "ablations"}),
        ("elpv__split_seed", 1, {"elpv@monocrystalline"}),
        ("textures__seed", 1, {"textures"}),
        (
            "teacher__levels",
            [1, 2, 4],
            NETWORKS | MAPS | BASELINE | CALIBRATION | EXPLORE | METHOD | {"ablations"},
        ),
        ("augmentation__degrees", 1.0, NETWORKS | EXPLORE | METHOD),
        ("corruption__threshold", 0.6, NETWORKS | EXPLORE | METHOD),
        ("optimiser__momentum", 0.5, NETWORKS | METHOD),
        ("students__plain__steps", 3, {"student@monocrystalline-plain-0"}),
        ("students__full__steps", 3, {"student@monocrystalline-full-0", "ablations"} | METHOD),
        ("segmentation__gamma", 2.0, SEGMENTED | HEADS | METHOD | {"ablations"}),
        ("heads__distance__l1_weight", 0.5, HEADS | MAPS | SCORES),
        (
            "evaluation__top_pixels",
            9,
            SCORES | BASELINE | CALIBRATION | FIGURES | PRO | EXPLORE | METHOD,
        ),
        ("claims__smallest", 1.0, {"ablations"}),
        ("claims__resamples", 300, SCORES | BASELINE | CALIBRATION | {"ablations"}),
        ("calibration__alpha", [0.2], DATA | CALIBRATION | {"ablations"}),
        ("baseline__bank_size", 99, BASELINE),
        ("figures__examples", 2, FIGURES),
        ("figures__dpi", 90, FIGURES | EXPLORE),
    ],
)
def test_a_parameter_makes_only_its_readers_stale(finished, key, value, readers):
    change(finished, **{key: value})
    try:
        found = stale(finished)
    finally:
        git("checkout", "-q", "params.yaml", cwd=finished)
    changed = {
        name
        for name, reasons in found.items()
        if any("changed deps" in reason and not upstream_only(reason) for reason in reasons)
    }
    assert changed == readers | ALWAYS


def test_a_declared_variant_trains_only_itself(clone):
    """A line of YAML each. The other items of the grid find what decides them as it was."""
    change(clone, students__noisy={"noise": 0.1}, heads__dice={"dice_weight": 1.0})
    assert dvc("repro", "-s", "check", cwd=clone)[0] == 0
    trains = {stage for stage in stale(clone) if re.match("student|segmentation|heads", stage)}
    new = {"student@monocrystalline-noisy-0", "segmentation@monocrystalline-noisy-0"}
    assert trains == new | {"heads@monocrystalline-dice-0"}
    change(clone, students__full__batch_size=3)
    assert dvc("repro", "-s", "check", cwd=clone)[0] == 0
    inherits = {"student@monocrystalline-full-0", "student@monocrystalline-noisy-0"}
    assert {stage for stage in stale(clone) if stage.startswith("student")} == inherits


def upstream_only(reason):
    """Whether nothing but files made by other stages changed, which is settled once those ran."""
    return not any(name == "params.yaml" for name in reason["changed deps"])


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def stale_after_sources(clone):
    """What `dvc status` names once the stage `sources` ran on edited modules; undoes the edits."""
    try:
        status, output = dvc("repro", "-s", "sources", cwd=clone)
        assert status == 0 and "Running stage 'sources'" in output, output
        return set(stale(clone))
    finally:
        git("checkout", "-q", "lib", "study", "dvc.lock", cwd=clone)
        assert dvc("checkout", "-q", "sources", cwd=clone)[0] == 0


def test_a_comment_makes_nothing_stale(finished):
    edit(finished / "lib/losses.py", '"""', '"""Reworded. ')
    edit(finished / "lib/networks.py", "\n\n", "\n\n# a new comment\n\n")
    assert stale_after_sources(finished) == set()


def test_code_makes_only_its_readers_stale(finished):
    edit(finished / "study/figures/plots.py", "\n\n\n", "\nADDED = 1\n\n\n")
    readers = FIGURES | PRO | EXPLORE | METHOD | CALIBRATION | {"ablations", "site"}
    assert stale_after_sources(finished) == readers
    edit(finished / "lib/losses.py", "\n\n\n", "\nADDED = 1\n\n\n")
    assert stale_after_sources(finished) >= NETWORKS | SCORES | BASELINE


def test_a_new_test_image_or_mask_retrains_nothing(clone):
    """Only `dataset` reads the folder; training reads the good images, which stay the same."""
    category = clone / "data/mine/monocrystalline"
    shutil.copytree(clone / "data/elpv/monocrystalline", category)
    (cell,) = sorted((category / "test/defective").iterdir())[:1]
    shutil.copy(cell, category / "test/defective/copy.png")
    put(category / "ground_truth/defective/copy_mask.png", grey(255, (300, 300)))
    change(clone, dataset__root="data/mine")
    status, output = dvc("repro", "dataset@monocrystalline", "maps@monocrystalline", cwd=clone)
    assert status == 0, output
    ran = set(re.findall("Running stage '(.*)'", output))
    assert ran == {"check", "dataset@monocrystalline", "maps@monocrystalline"}


def test_a_folder_that_dvc_tracks_is_there_in_temporary_experiments(clone):
    """`dvc add data/<name>` is what DVC asks for; also where its files are links into the cache."""
    shutil.copytree(clone / "data/elpv", clone / "data/mine")
    assert dvc("config", "cache.type", "symlink", cwd=clone)[0] == 0
    status, said = dvc("add", "data/mine", cwd=clone)
    assert status == 0, said
    assert next((clone / "data/mine").rglob("*.png")).is_symlink()
    change(clone, dataset__root="data/mine")
    git("add", "-A", cwd=clone)
    assert "data/mine.dvc" in git("diff", "--cached", "--name-only", cwd=clone).splitlines()
    git("commit", "-qm", "mine", cwd=clone)
    status, said = dvc("exp", "run", "--temp", "dataset@monocrystalline", cwd=clone)
    assert status == 0 and "Ran experiment" in said, said
    size = ("-S", "dataset.image_size=96", "dataset@monocrystalline")
    assert dvc("exp", "run", "--queue", *size, cwd=clone)[0] == 0
    status, said = dvc("exp", "run", "--run-all", cwd=clone)
    assert status == 0 and "Success" in dvc("queue", "status", cwd=clone)[1], said


def test_bad_parameters_stop_the_first_stage(clone):
    change(clone, figures__colour="red")
    status, output = dvc("repro", cwd=clone)
    assert status != 0
    assert "params.yaml: unknown key figures.colour" in output
    assert "Running stage 'dataset" not in output


def test_failing_stage_names_the_value_and_leaves_no_result(clone):
    change(clone, dataset__ignore=["*.png"])
    status, output = dvc("repro", "dataset", cwd=clone)
    assert status != 0
    assert "data/elpv/monocrystalline/train/good: no images; put" in output
    assert "Traceback" not in output
    assert not (clone / "results/dataset/monocrystalline/train.npy").exists()
    assert not (clone / "rendered/items/dataset/monocrystalline.ipynb").exists()
    assert (clone / "failed/rendered/items/dataset/monocrystalline.ipynb").exists()
