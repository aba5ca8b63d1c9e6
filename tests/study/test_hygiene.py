"""What a reader would trip over in the repository: notebooks, profiles, pins, paths, sizes."""

import ast
import re
import subprocess
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# Whose keys are names the reader gives, not part of the schema.
OPEN_KEYS = {"augmentation.rotation", "heads", "students"}
MACHINE = re.compile(
    r"(?<![\w.+/])(?:file://)?/(?:work|root|home|farm|tmp|Users)/[\w.]"
    r"|/opt/(?:pypi|wheels)|--(?:extra-)?index-url"
)


@pytest.mark.parametrize("path", sorted(ROOT.glob("notebooks/*.ipynb")), ids=lambda path: path.stem)
def test_notebook_is_thin_and_clean(path):
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert cells[0].cell_type == "markdown", "begin with the question, in Markdown"
    assert not any(cell.outputs or cell.execution_count for cell in code), "make notebooks-clean"
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    assert len(code) <= 10, "at most 10 code cells"
    for cell in code:
        assert len(cell.source.splitlines()) <= 12, f"more than 12 lines:\n{cell.source}"
        made = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        nodes = ast.walk(ast.parse(cell.source))
        assert not any(isinstance(node, made) for node in nodes), (
            "def and class belong in lib/ or study/"
        )


@pytest.mark.parametrize("name", ["data/mine", "downloads/dtd", "downloads/resnet18.pth"])
def test_git_hides_data_but_not_what_dvc_writes_of_it(name):
    """`dvc add` refuses a folder whose .dvc file git ignores."""
    ignored = ["git", "check-ignore", "-q"]
    assert subprocess.run([*ignored, name], cwd=ROOT, check=False).returncode == 0
    assert subprocess.run([*ignored, f"{name}.dvc"], cwd=ROOT, check=False).returncode == 1


def flat_keys(tree, prefix=""):
    """{"dataset.root", ...} of nested mappings."""
    if not isinstance(tree, dict) or prefix[:-1] in OPEN_KEYS:
        return {prefix[:-1]}
    return set().union(*(flat_keys(tree[key], f"{prefix}{key}.") for key in tree))


def test_profiles_have_the_same_keys():
    shipped = flat_keys(yaml.safe_load((ROOT / "params.yaml").read_text("utf-8")))
    for path in sorted(ROOT.glob("profiles/*.yaml")):
        differing = flat_keys(yaml.safe_load(path.read_text("utf-8"))) ^ shipped
        assert not differing, f"{path.name} and params.yaml differ in {sorted(differing)}"


def test_every_package_is_pinned_once():
    """Also those that only `make export` or `make cluster` needs."""
    files = ("requirements.txt", "requirements-export.txt", "requirements-cluster.txt")
    lines = [line for name in files for line in (ROOT / name).read_text("utf-8").splitlines()]
    lines = [line.partition("#")[0].strip() for line in lines]
    names = []
    for line in filter(None, lines):
        match = re.fullmatch(r"([\w.-]+)==[\w.]+( ; .+)?", line)
        assert match, f"not pinned with ==: {line}"
        names.append(re.sub(r"[-_.]+", "-", match[1].lower()))
    assert len(names) == len(set(names))


def test_no_machine_paths_in_the_repository():
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file() or b"\0" in (content := path.read_bytes()):
            continue  # deleted, or binary
        found = MACHINE.search(content.decode("utf-8", errors="replace"))
        assert not found, f"{name}: {found[0]!r}"


def test_the_shipped_params_are_the_quick_profile():
    shipped = (ROOT / "params.yaml").read_text("utf-8")
    assert shipped == (ROOT / "profiles/quick.yaml").read_text("utf-8")


def test_the_lock_names_only_stages_that_are_declared():
    declared, locked = (
        yaml.safe_load((ROOT / name).read_text("utf-8"))["stages"]
        for name in ("dvc.yaml", "dvc.lock")
    )
    assert {stage.partition("@")[0] for stage in locked} <= {*declared}
