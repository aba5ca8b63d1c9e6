"""params.yaml: the shipped files load, faults have a line each (all kinds:
tests/helpers/hostile.py).
"""

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from toys import shipped_with

from study import params, schema
from study.params import ROOT, load

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
STUDENTS = ("plain", "denoising", "encoder_decoder", "full")
PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(folder: Path, key: str, value: str) -> Path:
    return write(folder, shipped_with(key, value))


def fault(path: Path) -> str:
    with pytest.raises(ValueError) as caught:
        load(path)
    message = str(caught.value)
    assert "mine.yaml" in message
    assert message.count("mine.yaml:") == 1  # one message, not one for every consequence
    return message


def test_shipped_file():
    loaded = load()
    assert loaded.study == "quick"
    assert loaded.seeds == (0, 1, 2)
    assert loaded.teacher.levels == (1, 2, 3)
    full, plain = loaded.students["full"], loaded.students["plain"]
    assert full.denoising is full.encoder_decoder is True
    assert plain.denoising is plain.encoder_decoder is False
    with pytest.raises(FrozenInstanceError):
        loaded.study = "other"


def needed(raw: dict) -> dict[str, bool]:
    """What a profile needs beside the repository: {path: whether it is a folder}."""
    found = {raw["textures"]["root"]: raw["textures"]["source"] == "folder"}
    if raw["dataset"]["root"] != params.ELPV:
        found[raw["dataset"]["root"]] = True
    weights = raw["teacher"]["weights"]
    if weights != "timm" and not weights.startswith("package:"):
        found[weights] = False
    return found


def put(root: Path, name: str, is_folder: bool) -> None:
    (root / name if is_folder else (root / name).parent).mkdir(parents=True, exist_ok=True)
    if not is_folder:
        (root / name).touch()


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_profiles(path, tmp_path, monkeypatch):
    """In a folder that holds nothing but what the profile names."""
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    mine = write(tmp_path, yaml.safe_dump(raw))
    monkeypatch.setattr(schema, "ROOT", tmp_path)
    for name, is_folder in needed(raw).items():
        message = fault(mine)
        if is_folder or name != "requirements.txt":
            assert "make mvtec" in message
        put(tmp_path, name, is_folder)
    loaded = load(mine)
    assert loaded.study == raw["study"] and loaded.heads.keys() == raw["heads"].keys()
    for head, keys in raw["heads"].items():
        steps = keys.get("steps", loaded.segmentation.steps)
        assert loaded.head(head).steps == steps


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("010", 10), ("0o10", 8), ("1:30", "'1:30'"), ("yes", "'yes'")],
)
def test_numbers_are_read_as_dvc_reads_them(tmp_path, text, value):
    """As YAML 1.2; PyYAML would take 1e-3 for text, 010 for 8, 1:30 for 90 and yes for true."""
    from dvc.utils.serialize import load_yaml

    mine = changed(tmp_path, "running.checkpoint_seconds", text)
    if isinstance(value, str):
        assert f"running.checkpoint_seconds: {value}: Input should be a valid number" in fault(mine)
    else:
        by_dvc = load_yaml(mine)["running"]["checkpoint_seconds"]
        assert load(mine).running.checkpoint_seconds == value == by_dvc


def test_elpv_is_exported_before_it_is_read(tmp_path):
    """data/elpv need not exist yet; its categories must be among the exported ones."""
    both = changed(tmp_path, "categories", "[monocrystalline, polycrystalline]")
    assert "elpv.categories: add 'polycrystalline' of categories" in fault(both)


def test_a_home_folder_has_to_be_written_out(tmp_path):
    home = changed(tmp_path, "dataset.root", "~/parts")
    assert f"dataset.root: write '~/parts' out: {Path.home() / 'parts'}" in fault(home)


def test_heads(tmp_path):
    one = "{other_1: {input: distance, l1_weight: 0.5}, l1_off: {input: product, l1_weight: 0.0}}"
    loaded = load(changed(tmp_path, "heads", one))
    assert loaded.head("method") is loaded.segmentation
    expected = replace(loaded.segmentation, input="distance", l1_weight=0.5)
    assert loaded.head("other_1") == expected
    assert loaded.head("l1_off") == replace(loaded.segmentation, l1_weight=0.0)
    with pytest.raises(ValueError, match=r"heads: no 'other'; known: other_1, l1_off$"):
        loaded.head("other")
    with pytest.raises(ValueError, match=r"heads: no 'other'; known: none$"):
        load().head("other")


def test_a_variant_states_what_it_changes(tmp_path):
    """Unset keys: a student's from the headline, a head's from `segmentation`."""
    raw = yaml.safe_load(TEXT)
    raw["students"]["noisy"] = {"noise": 0.02, "corruption": {"sources": {"darken": 1.0}}}
    raw["students"]["full"]["corruption"] = {"max_beta": 0.5}
    raw["heads"] = {"dice": {"dice_weight": 1.0}, "low": {"corruption": {"threshold": 0.4}}}
    loaded = load(write(tmp_path, yaml.safe_dump(raw)))
    full, common = loaded.students["full"], loaded.corruption
    own = replace(common, max_beta=0.5, sources={"darken": 1.0})
    assert loaded.students["noisy"] == replace(full, noise=0.02, corruption=own)
    assert loaded.head("dice") == replace(loaded.segmentation, dice_weight=1.0)
    low = replace(common, threshold=0.4)
    assert loaded.head("low") == replace(loaded.segmentation, corruption=low)
    assert loaded.variant("plain").corruption == common
    assert loaded.variant("noisy", "method").corruption == own
    assert loaded.variant("full", "dice").corruption == replace(common, max_beta=0.5)
    assert loaded.variant("full", "low").corruption == low


def test_what_decides_a_training(tmp_path):
    """Keys at their defaults do not count: a new optional key retrains nothing."""
    before = load().variants()
    assert before.keys() == {f"{p}/{s}" for p in ("student", "segmentation") for s in STUDENTS}
    assert before["student/full"] == yaml.safe_load(TEXT)["students"]["full"] | {
        "corruption": yaml.safe_load(TEXT)["corruption"]
    }
    raw = yaml.safe_load(TEXT)
    raw["students"]["noisy"] = {"noise": 0.02}
    raw["heads"] = {"dice": {"dice_weight": 1.0}}
    raw["segmentation"]["ema"] = 0.0
    after = load(write(tmp_path, yaml.safe_dump(raw))).variants()
    assert {k: after[k] for k in before} == before
    assert after.keys() - before.keys() == {"student/noisy", "segmentation/noisy", "head/dice"}
    assert after["student/noisy"] == before["student/full"] | {"noise": 0.02}


@pytest.mark.parametrize(
    ("heads", "line"),
    [
        ("{a: {rate: 1}}", "mine.yaml: unknown key heads.a.rate; the files in profiles/ show"),
        ("{a: {corruption: []}}", "heads.a.corruption: []: Input should be an object"),
        ("{a: {corruption: false}}", "heads.a.corruption: False: Input should be an object"),
        ("{a: {corruption: {size: 1}}}", "mine.yaml: unknown key heads.a.corruption.size;"),
        ("{a: 3}", "mine.yaml: heads.a: 3: Input should be"),
    ],
)
def test_a_fault_of_a_variant_has_one_line(tmp_path, heads, line):
    message = fault(changed(tmp_path, "heads", heads))
    assert line in message and len(message.splitlines()) == 1


def test_an_inherited_fault_is_reported_once(tmp_path):
    raw = yaml.safe_load(TEXT)
    raw["heads"] = {"a": {}, "b": {"steps": 3}}
    raw["students"] = {"full": raw["students"]["full"], "same": {}}
    raw["segmentation"]["gamma"], raw["students"]["full"]["steps"] = -1.0, 0
    with pytest.raises(ValueError) as caught:
        load(write(tmp_path, yaml.safe_dump(raw)))
    keys = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert keys == ["students.full.steps", "segmentation.gamma"]


def test_several_faults_have_a_line_each(tmp_path):
    text = TEXT.replace("channels: 1 ", "channels: 2 ").replace("momentum: 0.9", "momentum: 9")
    with pytest.raises(ValueError) as caught:
        load(write(tmp_path, text))
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["dataset.channels", "optimiser.momentum"]


def run(root: Path, *arguments: str):
    """`python -m study.params` on a repository that holds nothing but these modules."""
    return subprocess.run(
        [sys.executable, "-m", "study.params", *arguments], cwd=root, capture_output=True, text=True
    )


def test_command(tmp_path):
    for name in ("study/__init__.py", "study/params.py", "study/schema.py", "params.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "requirements.txt").touch()
    assert run(tmp_path, "results/check.txt", "results/variants").returncode == 0
    assert (tmp_path / "results" / "check.txt").is_file()
    written = (tmp_path / "results/variants/student/full").read_text("utf-8")
    assert json.loads(written) == load().variants()["student/full"]

    (tmp_path / "params.yaml").write_text(TEXT.replace("image_size: 128", "image_size: 13"))
    failed = run(tmp_path, "results/again.txt", "results/variants")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: params.yaml: dataset.image_size: 13")
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "results" / "again.txt").exists()


def test_other_images_do_not_overwrite_the_reports_that_ship():
    loaded = load()
    params.check_own_name(loaded)
    own = replace(loaded, dataset=replace(loaded.dataset, root="docs"))
    with pytest.raises(ValueError, match="names the reports of data/elpv"):
        params.check_own_name(own)
    params.check_own_name(replace(own, study="parts"))


def test_a_category_without_a_folder_is_named_before_dvc_misses_it(tmp_path, monkeypatch):
    monkeypatch.setattr(params, "ROOT", tmp_path)
    (tmp_path / "parts/cell").mkdir(parents=True)

    def check(root, category):
        dataset = SimpleNamespace(root=root)
        params.check_categories(SimpleNamespace(dataset=dataset, categories=(category,)))

    with pytest.raises(ValueError, match="categories: parts has no folder 'part'; found: cell"):
        check("parts", "part")
    check("parts", "cell")
    check(schema.ELPV, "monocrystalline")  # a stage exports it
