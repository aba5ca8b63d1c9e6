"""What hosts of repositories and package tools read: citation, changelog, hooks, environments."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def pins():
    """{name: exact version} of requirements.txt, of the packages for this platform."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    wanted = [Requirement(line) for text in lines if (line := text.partition("#")[0].strip())]
    chosen = (one for one in wanted if one.marker is None or one.marker.evaluate())
    return {one.name: str(one.specifier).removeprefix("==") for one in chosen}


def test_the_citation_names_this_study_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    for key in ("message", "title", "authors", "abstract", "keywords"):
        assert citation[key], key
    assert (str(citation["version"]), citation["license"]) == (
        PROJECT["version"],
        PROJECT["license"],
    )
    (paper,) = citation["references"]
    assert paper["type"] == "conference-paper" and paper["year"] == 2023
    assert paper["title"].startswith("DeSTSeg: Segmentation Guided Denoising Student-Teacher")
    assert paper["authors"][0]["family-names"] == "Zhang"
    assert len(paper["authors"]) == 6 and paper["url"].endswith("2211.11317")


def test_the_changelog_keeps_its_form():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    released = [
        re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", one) for one in headings[1:]
    ]
    assert all(released) and released[0][1] == PROJECT["version"]
    assert [one[2] for one in released] == sorted((one[2] for one in released), reverse=True)
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_contributing_names_five_commands_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    commands = re.findall(r"^make ([\w-]+)", text, re.MULTILINE)
    targets = re.findall(r"^([\w-]+):.*##", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert len(commands) == 5 and set(commands) <= set(targets)


def hooks():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    for repository in config["repos"]:
        assert repository["repo"] == "local", "another source would bring a version of its own"
        yield from repository["hooks"]


def test_hooks_run_the_pinned_tools_of_the_environment():
    scripts = {one.name: one.dist.name for one in entry_points(group="console_scripts")}
    for hook in hooks():
        assert hook["language"] == "system", "another language would install what it likes"
        folder, _, tool = shlex.split(hook["entry"])[0].rpartition("/")
        assert folder == ".venv/bin"
        package = {"ruff": "ruff"}.get(tool) or scripts[tool]
        assert version(package) == pins()[package], package


@pytest.mark.parametrize("hook", list(hooks()), ids=lambda hook: hook["id"])
def test_a_hook_accepts_what_is_here_and_mends_what_is_not(hook, tmp_path):
    tool, *options = shlex.split(hook["entry"])
    tool = Path(sys.executable).parent / Path(tool).name
    if not tool.exists():
        pytest.skip(f"{tool.name} is not beside this Python")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "study" / "tables").mkdir(parents=True)  # the first party, which is ordered apart
    book = nbformat.read(ROOT / "notebooks" / "compare.ipynb", as_version=4)
    clean = tmp_path / "clean.ipynb"
    nbformat.write(book, clean)
    before = clean.read_text("utf-8")
    code = next(cell for cell in book.cells if cell.cell_type == "code")
    if hook["id"] == "notebook-outputs":
        code.execution_count = 7
        code.outputs = [nbformat.v4.new_output("stream", text="left over")]
    else:
        code.source += "\nimport  os"  # unused, and two spaces
    nbformat.write(book, dirty := tmp_path / "dirty.ipynb")

    def run(path):
        command = [tool, *options, path.name]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    accepted = run(clean)
    assert accepted.returncode == 0 and clean.read_text("utf-8") == before, accepted.stderr
    spoilt = dirty.read_text("utf-8")
    assert run(dirty).returncode != 0 or dirty.read_text("utf-8") != spoilt
    if hook["id"] == "notebook-outputs":
        assert dirty.read_text("utf-8") == before


def test_conda_gets_the_pip_list_and_the_same_python():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    assert conda["name"] == PROJECT["name"]
    python, pip, packages = conda["dependencies"]
    assert packages == {"pip": ["-r requirements.txt", "-e ."]} and pip == "pip"
    assert python.startswith("python")
    ours = SpecifierSet(PROJECT["requires-python"])
    assert SpecifierSet(python.removeprefix("python")) == ours
    named = re.search(
        r"Python (3\.\d+) to (3\.\d+)", (ROOT / "requirements.txt").read_text("utf-8")
    )
    tried = {f"3.{minor}" for minor in range(20) if f"3.{minor}.1" in ours}
    assert {named[1], named[2]} == {
        min(tried, key=Version),
        max(tried, key=Version),
    }


def test_what_is_installed_is_what_is_pinned():
    """pip or conda: the environment that runs these tests has the versions of the one list."""
    differing = {}
    for name, pin in pins().items():
        try:
            found = Version(version(name)).public  # without the build, as in 2.13.0+cpu
        except PackageNotFoundError:
            found = "missing"
        if found != pin:
            differing[name] = (pin, found)
    assert not differing, f"make env: {differing}"
