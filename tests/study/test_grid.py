"""The grid as chains of DVC stages, as items of the log, and as a number of steps."""

from dataclasses import replace

from study import grid, params

SHIPPED = params.load()
HEAD = replace(SHIPPED.segmentation, input="distance", steps=7)
PARAMS = replace(
    SHIPPED,
    categories=("bottle", "screw"),
    seeds=(0, 7),
    heads={"distance": HEAD},
    head_seeds=(0, 7),
)


def test_a_chain_trains_what_later_members_need_first():
    for chain in grid.chains(PARAMS):
        for place, stage in enumerate(chain):
            kind, _, item = stage.partition("@")
            if kind == "segmentation":
                assert f"student@{item}" in chain[:place]
            if kind == "heads":
                category, _, seed = item.split("-")
                assert f"student@{category}-full-{seed}" in chain[:place]


def test_the_chains_hold_every_training_once():
    found = sorted(stage for chain in grid.chains(PARAMS) for stage in chain)
    runs = [f"{c}-{s}-{n}" for c in ("bottle", "screw") for s in PARAMS.students for n in (0, 7)]
    heads = [f"heads@{c}-distance-{n}" for c in ("bottle", "screw") for n in (0, 7)]
    both = [f"{stage}@{run}" for stage in ("student", "segmentation") for run in runs]
    assert found == sorted([*both, *heads])


def test_scoring_holds_every_category_once():
    found = sorted(stage for chain in grid.scoring(PARAMS) for stage in chain)
    stages = ("baseline", "evaluation", "figures", "maps", "pro")
    assert found == sorted(f"{stage}@{c}" for stage in stages for c in ("bottle", "screw"))


def test_every_segmentation_network_is_mapped_once():
    found = list(grid.networks(PARAMS))
    assert len(found) == len(set(found)) == 2 * (4 + 1)
    assert ("plain-7", "plain-7", "method") in found
    assert ("full-distance-7", "full-7", "distance") in found


def test_cost_counts_every_step():
    cost = grid.cost(PARAMS)
    assert cost["student full"] == (4, SHIPPED.students["full"].steps)
    assert cost["segmentation"] == (4 * 4, SHIPPED.segmentation.steps)
    assert cost["head distance"] == (4, 7)


def test_a_bad_params_file_is_one_line(monkeypatch, capsys):
    def fail():
        raise ValueError("params.yaml: unknown key x")

    monkeypatch.setattr(params, "load", fail)
    assert grid.main(["cost"]) == 1
    assert "unknown key x" in capsys.readouterr().err


def test_a_refused_lock_is_tried_again(monkeypatch, tmp_path, capsys):
    (tmp_path / "dvc.py").write_text(
        "import pathlib, sys\n"
        "calls = pathlib.Path('calls')\n"
        "first = not calls.exists()\n"
        "calls.open('a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        "sys.exit('ERROR: Unable to acquire lock. Most likely' if first else 'WARNING: shown')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(grid.time, "sleep", lambda seconds: None)
    stages = ["student@a", "segmentation@a"]
    grid.reproduce(stages, grid.Watch(stages, [], 1))
    assert (tmp_path / "calls").read_text() == "repro -s student@a segmentation@a\n" * 2
    assert capsys.readouterr().err == "WARNING: shown\n"
