"""study.notebook: equal runs leave equal bytes, failures leave a message and evidence."""

import csv
import json
import subprocess
import sys

import nbformat
import pytest

from study import notebook, sources


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook, "ROOT", tmp_path)
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    return tmp_path


def write(path, *cells, parameters="seed = 0"):
    """A notebook of one Markdown cell, one `parameters` cell (None: without) and `cells`."""
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# What is it?")])
    if parameters is not None:
        tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        nb.cells.append(tagged)
    nb.cells += map(nbformat.v4.new_code_cell, cells)
    nbformat.write(nb, path)
    return str(path)


def test_equal_runs_leave_equal_bytes_without_stderr_and_paths(root, capsys):
    cells = [
        "import os, sys\nprint('seed', seed)\nprint('3 steps/s', file=sys.stderr)\nos.getcwd()",
        "print(hash('a string'))\nprint(os.path.abspath('results/x.npz'), sys.argv and seed + 1)",
    ]
    source = write(root / "student.ipynb", *cells)
    texts = []
    for folder in "ab":
        output = root / "rendered" / folder / "bottle-full-0.ipynb"
        assert notebook.main([source, str(output), "seed: 3"]) == 0
        texts.append(output.read_bytes())
    assert texts[0] == texts[1]
    text = texts[0].decode()
    assert "seed 3" in text and "results/x.npz 4" in text
    assert "steps/s\\n" not in text and str(root) not in text and '"version"' not in text
    assert "student bottle-full-0 | 3 steps/s\n" in capsys.readouterr().err
    assert not list(root.glob("failed/**/*.ipynb")) and not list(root.rglob("*.unfinished"))
    with open(root / "logs" / "timings.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["item"] for row in rows] == ["student bottle-full-0"] * 2
    assert all(float(row["seconds"]) > 0 for row in rows)


def test_failing_cell_gives_one_message_and_evidence_but_no_output(root, capsys):
    source = write(root / "student.ipynb", "print(1)", "# too much\nraise ValueError('rate is -1')")
    output = root / "rendered" / "bottle-full-0.ipynb"
    assert notebook.main([source, str(output)]) == 1
    message = capsys.readouterr().err
    assert "student bottle-full-0: student.ipynb failed in cell [3]" in message
    assert "ValueError: rate is -1" in message and "failed/rendered/bottle-full-0.ipynb" in message
    assert "Traceback" not in message and "\x1b" not in message
    assert "rate is -1" in (root / "failed/rendered/bottle-full-0.ipynb").read_text("utf-8")
    assert not list((root / "rendered").iterdir())


@pytest.fixture
def stage(root, monkeypatch):
    """A function that writes the notebook of a stage `student`; what it uses is listed."""
    stage = {"params": ["students.${item.student}"]}
    (root / "dvc.yaml").write_text(json.dumps({"stages": {"student": stage}}))
    (root / "params.yaml").write_text("students: {full: 1}\nfigures: 1\n")
    for folder in ("lib", "notebooks"):
        (root / folder).mkdir()
    for name in ("__init__", "losses", "plots"):
        (root / "lib" / f"{name}.py").write_text("ONE = 1")
    monkeypatch.setattr(notebook, "STAGE", "student")

    def stage(cell):
        cells = "if seed:\n    from lib import losses", cell
        source = write(root / "notebooks" / "student.ipynb", *cells)
        sources.main(root / "results" / "sources")
        return source

    return stage


EDITED = {  # while the student's notebook runs: path, new content, what the message names
    "its own section": ("params.yaml", "students: {full: 2}\nfigures: 1\n", "students in params"),
    "another section": ("params.yaml", "students: {full: 1}\nfigures: 2\n", None),
    "a module that it uses": ("lib/losses.py", "ONE = 2", "lib/losses.py changed"),
    "a comment": ("lib/losses.py", "ONE = 1  # of two", None),
    "another module": ("lib/plots.py", "ONE = 2", None),
}


@pytest.mark.parametrize("name", EDITED)
def test_what_changes_while_it_runs_is_no_cause_of_its_result(name, root, stage, capsys):
    path, content, told = EDITED[name]
    edit = f"import pathlib\npathlib.Path({str(root / path)!r}).write_text({content!r})"
    source, output = stage(edit), root / "bottle-full-0.ipynb"
    kept = root / ".checkpoints" / "student bottle-full-0" / "key.pt"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert notebook.main([source, str(output)]) == (1 if told else 0)
    assert output.exists() == (told is None) and kept.exists() == bool(told)
    if told:
        assert told in capsys.readouterr().err


def test_code_that_is_not_the_listed_one_does_not_run(root, stage, capsys):
    """DVC would take the result for one of the listed code."""
    source = stage("import pathlib\npathlib.Path('ran').touch()")
    (root / "lib" / "losses.py").write_text("ONE = 2")
    assert notebook.main([source, str(root / "bottle-full-0.ipynb")]) == 1
    assert "lib/losses.py changed since the stage `sources`" in capsys.readouterr().err
    assert not (root / "ran").exists()


def test_checkpoints_of_an_item_go_once_its_notebook_is_finished(root):
    """They lie where the kernel is told that they are its item's, and stay while it may resume."""
    kept = "folder = pathlib.Path.cwd() / '.checkpoints' / os.environ['STUDY_ITEM']"
    source = write(
        root / "student.ipynb",
        f"import os, pathlib\n{kept}\nfolder.mkdir(parents=True, exist_ok=True)",
        "(folder / 'key.pt').touch()\nassert seed, 'failed after the training'",
    )
    own, other = (root / ".checkpoints" / f"student {x}-full-0" / "key.pt" for x in ("nut", "bolt"))
    other.parent.mkdir(parents=True)
    other.touch()
    arguments = [source, str(root / "nut-full-0.ipynb")]
    assert notebook.main(arguments) == 1 and own.is_file()
    assert notebook.main([*arguments, "seed: 3"]) == 0
    assert not own.parent.exists() and other.is_file()


def test_dead_kernel_gives_one_message(root, capsys):
    source = write(
        root / "student.ipynb", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    assert notebook.main([source, str(root / "out.ipynb")]) == 1
    message = capsys.readouterr().err
    assert "kernel died" in message and "Traceback" not in message
    assert not (root / "out.ipynb").exists() and (root / "failed/out.ipynb").exists()


def test_missing_arguments():
    done = subprocess.run([sys.executable, "-m", "study.notebook"], capture_output=True, text=True)
    assert done.returncode == 2 and "NOTEBOOK OUTPUT" in done.stderr
