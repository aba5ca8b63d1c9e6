"""The paths are those of dvc.yaml."""

import yaml

from study import results
from study.results import item

ROOT = results.ROOT
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]


def outputs(stage):
    """Outputs, metrics and plots of a stage."""
    for kind in ("outs", "metrics", "plots"):
        for out in STAGES[stage].get(kind, ()):
            yield from [out] if isinstance(out, str) else out


def test_each_path_is_an_output_of_its_stage():
    category, student, seed, study = (
        *("${item.category}", "${item.student}", "${item.seed}"),
        "${study}",
    )
    trained = item(student, seed)
    head = item("${headline}", seed, "${item.head}")
    expected = [
        ("dataset", results.training_images(category)),
        ("dataset", results.held_out(category)),
        ("textures", results.textures()),
        ("student", results.network("student", category, trained)),
        ("segmentation", results.network("segmentation", category, trained)),
        ("heads", results.network("segmentation", category, head)),
        ("maps", results.maps(category, trained).parents[1]),
        ("evaluation", results.rows("evaluation", category)),
        ("evaluation", results.draws("evaluation", category)),
        ("evaluation", results.scores(study, category)),
        ("evaluation", results.metrics(study, category)),
        ("baseline", results.rows("baseline", category)),
        ("baseline", results.draws("baseline", category)),
        ("baseline", results.scores(study, category, "baseline")),
        ("baseline", results.gaussian(category).parent),
        ("calibration", results.calibration(category)),
        ("calibration", results.rows("calibration", category)),
        ("calibration", results.draws("calibration", category)),
        ("calibration", results.scores(study, category, "calibration")),
        ("ablations", results.reports(study) / "README.md"),
        ("ablations", results.rendered(study) / "ablations.ipynb"),
        ("dataset", results.rendered("items") / "dataset/${key}.ipynb"),
    ]
    for stage, path in expected:
        assert path.relative_to(ROOT).as_posix() in outputs(stage), path


def test_the_categorys_folder_holds_both_files():
    folder = results.dataset("nut")
    assert {results.training_images("nut").parent, results.held_out("nut").parent} == {folder}
