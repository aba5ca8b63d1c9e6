"""study.sources: which code counts, and for which stage."""

from pathlib import Path

import pytest
import yaml

from study import sources
from study.sources import code, modules, used

STAGES = yaml.safe_load((sources.ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
MODULE = '''"""A module."""

RATE = 0.1  # of learning


def double(x):
    """Twice x.

    Exactly.
    """
    # no comment: "#" in a text stays
    text = f"""{x}
    # b

    """
    return x, "#", f"{x}#", text


class Wrong(Exception):
    """Nothing else."""
'''


def changed(old, new):
    assert MODULE.count(old) == 1
    return code(MODULE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # of learning", ""),
        ("  # of learning", "  # of both"),
        ("A module.", "A chapter."),
        ("    Exactly.\n", ""),
        ("Nothing else.", "At all."),
        ("0.1  # of learning\n\n\n", "0.1\n"),
        ('# no comment: "#" in a text stays\n', "\n\n"),
    ],
)
def test_comments_docstrings_and_blank_lines_do_not_count(old, new):
    assert changed(old, new) == code(MODULE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.1", "0.2"),
        ('x, "#"', 'x, "##"'),
        ("{x}#", "{x}"),
        ("    # b\n", ""),  # inside a text
        ("    # b\n\n", "    # b\n"),
        ("(Exception)", "(ValueError)"),
    ],
)
def test_everything_else_counts(old, new):
    assert changed(old, new) != code(MODULE)


def test_code_stays_python():
    assert code(MODULE).startswith("RATE = 0.1\ndef double(x):\n    text =")
    assert code("") == code("# a\n") == ""
    assert code("x = [  # list\n    1,\n\n]") == "x = [\n    1,\n]"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """lib/ and study/ with a package; each module imports the next in another way."""
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    texts = {
        "lib/__init__.py": "",
        "lib/losses.py": "",
        "lib/training.py": "import numpy\nfrom lib.losses import cosine",
        "lib/plots.py": "from lib import colours",
        "lib/colours.py": "",
        "study/data/__init__.py": "from study.data import images",
        "study/data/images.py": "def read():\n    import study.limits as limits",
        "study/limits.py": "from lib import plots, training",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_imports_are_found_at_any_depth(root):
    assert set(modules("from lib.training import optimise", "here")) == {
        *("lib/__init__.py", "lib/losses.py", "lib/training.py"),
    }
    everything = {path.relative_to(root).as_posix() for path in root.rglob("*.py")}
    assert set(modules("import os, study.data", "here")) == everything
    assert modules("import numpy\nlib = 1", "here") == {}


def test_a_folder_among_the_templates_is_no_template(root):
    for name in ("study/site/build.py", "study/site/templates/site.css"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (root / "study/site/templates/.ipynb_checkpoints").mkdir()
    assert set(used("site")) == {"study/site/build.py", "study/site/templates/site.css"}


def test_what_is_left_out_takes_its_own_imports_along(root):
    found = set(modules("from study import limits", "here", {"plots"}))
    assert found == {
        *("lib/__init__.py", "lib/losses.py", "lib/training.py", "study/limits.py"),
    }


def test_a_change_at_depth_changes_the_hash(root):
    before = modules("import study.data", "here")
    (root / "lib/losses.py").write_text("# a comment\n")
    assert modules("import study.data", "here") == before
    (root / "lib/losses.py").write_text("MARGIN = 1\n")
    after = modules("import study.data", "here")
    assert {path for path in after if after[path] != before[path]} == {"lib/losses.py"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%matplotlib inline", "here: not plain Python: invalid syntax in line 1"),
        ("from . import losses", "here: relative import in line 1; write `from lib`"),
    ],
)
def test_what_cannot_be_followed_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        modules(text, "here")


def test_a_broken_notebook_is_named(root):
    (root / "notebooks").mkdir()
    (root / "notebooks/mine.ipynb").write_text("{}")
    with pytest.raises(ValueError, match=r"notebooks/mine\.ipynb is not a notebook"):
        used("mine")


def runs(stage):
    """What a stage runs last: the name of its notebook or of its module."""
    command = STAGES[stage]["cmd"]
    _, _, _, module, *rest = (command if isinstance(command, str) else command[-1]).split()
    names = {path: name for name, path in sources.COMMANDS.items()}
    return Path(rest[0]).stem if module.endswith(".notebook") else names[module]


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "sources"])
def test_a_stage_depends_on_the_code_that_it_runs(stage):
    listed = [path for path in STAGES[stage]["deps"] if path.startswith("results/sources/")]
    assert listed == [f"results/sources/{runs(stage)}"]


def test_each_exception_is_needed():
    """A module that a notebook no longer imports leaves the table."""
    for name, left_out in sources.UNUSED.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sources, "UNUSED", {})
            found = {Path(path).stem for path in used(name)}
        assert left_out <= found, name


def test_the_lists_of_the_study(tmp_path):
    sources.main(tmp_path / "new" / "folder")
    student = (tmp_path / "new/folder/student").read_text().splitlines()
    assert [line.split()[0] for line in student] == sorted(used("student"))
    assert {"lib/losses.py", "study/checkpoint.py", "lib/fast/upsampled.py"} <= used(
        "student"
    ).keys()
    assert (
        not {"study/figures/plots.py", "study/progress.py", "study/params.py"}
        & used("student").keys()
    )
    assert "study/params.py" in used("params")
    assert {"study/figures/plots.py", "study/site/templates/site.css"} <= used("site").keys()
