"""Runs read from a small git repository: names of every kind, and what is missing."""

import pytest
import yaml
from clones import git
from test_ablations import baseline_rows, rows
from test_thresholds import by_image

from study.scoring.thresholds import FACTS
from study.tables import revisions

PARAMS = {
    "study": "toy",
    "categories": ["nut", "bolt"],
    "seeds": [0, 1],
    "students": {"full": {"steps": 400}},
    "heads": {},
}


def write_run(root, params=PARAMS, lift=0.0, images=None, recorded=None):
    """A finished run in the working tree: `lift` points on every test row, dvc.lock's numbers."""
    folder = root / "reports" / params["study"]
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    test = rows(lift=lift).query("split == 'test'").drop(columns="split")
    test.to_csv(folder / "ablations.csv", index=False)
    baseline_rows().to_csv(folder / "baseline.csv", index=False)
    for name in params["categories"]:
        found = by_image() if images is None else images
        found.to_csv(folder / "scores" / f"{name}.csv", index=False)
        nearest = found[FACTS].assign(**{"none/nearest_neighbour/0": 0.5})
        nearest.to_csv(folder / "scores" / f"{name}-baseline.csv", index=False)
    section = (recorded or params)["students"]["full"]
    record = {"params": {"params.yaml": {"students.full": section}}}
    removed = {"params": {"params.yaml": {"students.full": {"steps": 1}}}}  # seed 9 is not declared
    stages = {"student@nut-full-0": record, "student@nut-full-9": removed, "check": {}}
    (root / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))


def commit(root, message="run"):
    git("add", "-A", cwd=root)
    git("commit", "-qm", message, cwd=root)
    return git("rev-parse", "HEAD", cwd=root).strip()


@pytest.fixture
def repository(tmp_path):
    git("init", "-q", "-b", "main", cwd=tmp_path)
    write_run(tmp_path)
    commit(tmp_path)
    return tmp_path


def test_every_kind_of_name_leads_to_its_commit(repository):
    first = git("rev-parse", "HEAD", cwd=repository).strip()
    git("tag", "v1", cwd=repository)
    git("branch", "wide", cwd=repository)
    for name in (first, first[:8], "HEAD", "main", "v1", "wide", "HEAD^{commit}"):
        assert revisions.files(name, repository).rev == first


def test_an_experiment_of_dvc_is_found_by_its_name(repository):
    first = git("rev-parse", "HEAD", cwd=repository).strip()
    git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/more-steps", first, cwd=repository)
    git("update-ref", "refs/exps/celery/stash", first, cwd=repository)
    assert revisions.files("more-steps", repository).rev == first
    with pytest.raises(ValueError, match="no revision 'stash'"):
        revisions.files("stash", repository)
    (repository / "new").touch()
    second = commit(repository)
    git("update-ref", f"refs/exps/{second[:2]}/{second[2:]}/more-steps", second, cwd=repository)
    found = revisions.files("more-steps", repository).rev
    assert found == second, "the one that began here, as in DVC"
    (repository / "new").write_text("newer")
    commit(repository)
    with pytest.raises(ValueError, match=r"ambiguous Git revision 'more-steps'.*: give a commit"):
        revisions.files("more-steps", repository)


@pytest.mark.parametrize("name", ["nope", "--all", "HEAD~5", "*"])
def test_an_unknown_revision_is_an_error_that_says_what_to_give(repository, name):
    with pytest.raises(ValueError, match="give a commit, branch, tag or the name of an experiment"):
        revisions.load(name, repository)


def test_a_commit_is_read_as_it_was_not_as_it_is(repository):
    write_run(repository, lift=5.0)
    before, after = revisions.load("HEAD", repository), revisions.load("", repository)
    assert (before.name, after.name) == ("HEAD", "working tree")
    assert before.params["students.full.steps"] == 400 and "heads" not in before.params
    full = "student == 'full' and map == 'segmentation' and real_defects"
    gained = after.rows.query(full).image_auroc.mean() - before.rows.query(full).image_auroc.mean()
    assert gained == pytest.approx(0.05)
    assert set(before.scores) == {"nut", "bolt"} and len(before.scores["nut"]) == 6
    assert {"full/segmentation/1", "none/nearest_neighbour/0"} <= set(after.scores["nut"])
    assert "nearest_neighbour" in set(before.rows["map"])


def test_results_older_than_their_parameters_are_noticed(repository):
    assert revisions.load("HEAD", repository).stale == []
    write_run(repository, PARAMS | {"students": {"full": {"steps": 800}}}, recorded=PARAMS)
    assert revisions.load("", repository).stale == ["students.full.steps"]


def test_a_revision_without_results_says_so(repository):
    (repository / "reports/toy/ablations.csv").unlink()
    commit(repository)
    for name, called in (("HEAD", "HEAD"), ("", "working tree")):
        with pytest.raises(ValueError, match=f"{called}: no results, reports/toy/ablations.csv"):
            revisions.load(name, repository)
    (repository / "params.yaml").unlink()
    with pytest.raises(ValueError, match=r"there is no params\.yaml"):
        revisions.load("", repository)


def test_equal_numbers_do_not_differ():
    one = {"rate": 1, "levels": [1], "width": 8, "gone": None}
    two = {"rate": 1.0, "levels": [1, 2], "width": None}
    table = revisions.differing({"A": one, "B": two})
    assert table.fillna("–").to_dict("index") == {
        "levels": {"A": "[1]", "B": "[1, 2]"},
        "width": {"A": "8", "B": "None"},
        "gone": {"A": "None", "B": "–"},
    }
