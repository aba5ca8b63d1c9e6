"""The law of the house: lib is the method and stands alone; study turns it into a study."""

import ast
import json
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

import lib
from study import sources

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for package in ("lib", "study") for path in ROOT.glob(f"{package}/**/*.py"))
MODULES = [path for path in FILES if path.stem != "__init__"]
CHAPTERS = ("networks", "losses", "corruption", "anomaly_map", "batches", "training", "inference")


def name(path):
    return path.relative_to(ROOT).as_posix()


def lines(path):
    return len(path.read_text("utf-8").splitlines())


def imports(path):
    """Paths of our files that a file imports itself, at the top or inside functions."""
    text = path.read_text("utf-8")
    found = {file for dotted in sources.imported(text, path) for file in sources.files(dotted)}
    return {file for file in found if file.stem != "__init__"} - {path}


def test_the_method_imports_nothing_of_the_study():
    for path in ROOT.glob("lib/**/*.py"):
        used = {dotted.split(".")[0] for dotted in sources.imported(path.read_text("utf-8"), path)}
        assert "study" not in used, name(path)


def test_nothing_imports_in_a_circle():
    TopologicalSorter({path: imports(path) for path in FILES}).prepare()  # else a CycleError


def test_the_method_is_short():
    assert sum(map(lines, ROOT.glob("lib/**/*.py"))) < 1250
    assert sum(lines(ROOT / "lib" / f"{chapter}.py") for chapter in CHAPTERS) < 750


def test_the_order_of_reading_names_every_chapter_once():
    listed = re.findall(r"^\d\. (\w+)", lib.__doc__, re.MULTILINE)
    assert tuple(listed[: len(CHAPTERS)]) == CHAPTERS
    assert sorted(listed) == sorted(path.stem for path in MODULES if path.parent.name == "lib")


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_a_chapter_with_a_test_file(path):
    assert lines(path) <= 320
    assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), "say what it is about"
    tests = [*ROOT.glob(f"tests/{path.relative_to(ROOT).parts[0]}/test_{path.stem}.py")]
    assert len(tests) == 1


def test_the_pipeline_names_no_module():
    """The stage `sources` finds out which code a notebook runs."""
    text = (ROOT / "dvc.yaml").read_text("utf-8")
    assert len(text.splitlines()) < 300
    for stage, content in yaml.safe_load(text)["stages"].items():
        named = {path.split("/")[0] for path in content["deps"]}
        assert stage == "sources" or not named & {"lib", "study"}, stage


def test_every_notebook_stands_once_in_the_order_to_read_them():
    text = (ROOT / "notebooks" / "README.md").read_text("utf-8")
    items = re.findall(r"^(\d+)\. \[(\w+)\]\((\w+)\.ipynb\): (.+\?)$", text, re.MULTILINE)
    numbers, names, links, questions = zip(*items, strict=True)
    for name, question in zip(names, questions, strict=True):
        cell = json.loads((ROOT / f"notebooks/{name}.ipynb").read_text("utf-8"))["cells"][0]
        assert "".join(cell["source"]).split("\n")[0] == f"# {question}"
    assert [int(number) for number in numbers] == [*range(1, len(items) + 1)]
    assert names == links and names[0] == "method" and text.count(".ipynb") == len(names)
    assert sorted(names) == sorted(path.stem for path in ROOT.glob("notebooks/*.ipynb"))
