"""Run one notebook through papermill and write a file whose bytes depend on its results only.

    python -m study.notebook NOTEBOOK OUTPUT ['name: value' ...]

The kernel (study/kernel.py) works in the repository root. What cells print appears at once on
stderr, behind the item's name. By convention notebooks print results to stdout and progress (steps,
rates, time left) to stderr; the saved file leaves stderr out, as it is never the same twice.
"""

import io
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from study.files import alone, end_with_parent, whole

if __name__ == "__main__":
    end_with_parent()  # first of all: what follows takes seconds

import yaml

from study import kernel, sources
from study.kernel import NotebookError
from study.params import ROOT
from study.progress import Display, log_times

# Else jsonschema compiles a grammar of IRIs, 2 to 3 s of each start; notebooks have no use for it.
sys.modules.setdefault("rfc3987_syntax", None)
# The stage's name without its item; empty where no DVC runs it.
STAGE = os.environ.get("DVC_STAGE", "").rpartition(":")[2].partition("@")[0]

import nbformat  # noqa: E402
from papermill.translators import PythonTranslator  # noqa: E402


class Progress(io.TextIOBase):
    """Shows each finished line on stderr, behind the item's name."""

    def __init__(self, item, display):
        self.item, self.display, self.rest = item, display, ""

    def write(self, text):
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.display.show(self.item, line)


def run(notebook, output, parameters):
    """Execute the notebook with `parameters` (dict) and write `output`, whole or not at all.

    Raises ValueError for parameters that the notebook does not define, OSError where nothing can be
    written, NotebookError where a cell or the kernel fails: the notebook as far as it came then
    lies in failed/.
    """
    notebook, output = Path(notebook).resolve(), Path(output).resolve()
    if not notebook.is_relative_to(ROOT):
        raise ValueError(f"{notebook} belongs to another repository than lib, which is in {ROOT}")
    _check_parameters(notebook, parameters)
    item = (
        output.stem if output.stem.startswith(notebook.stem) else f"{notebook.stem} {output.stem}"
    )
    place = output.relative_to(ROOT) if output.is_relative_to(ROOT) else output.name
    evidence = ROOT / "failed" / place
    for folder in (evidence.parent, output.parent, ROOT / "logs"):
        folder.mkdir(parents=True, exist_ok=True)
    with alone(ROOT / ".checkpoints" / f"{item}.lock", item):
        _finish(notebook, output, parameters, item, evidence)


def _finish(notebook, output, parameters, item, evidence):
    """The rest of `run`, under the item's lock."""
    started, clock = datetime.now(UTC).isoformat("T", "seconds"), time.monotonic()
    before = _inputs(notebook) | _listed(notebook)
    _refuse_changes(
        item, notebook, before, "since the stage `sources` listed it: run `dvc repro sources` first"
    )
    try:
        os.environ["STUDY_ITEM"] = item  # names the folder of its checkpoints
        progress = Progress(item, Display())
        executed = kernel.execute(notebook, evidence, parameters, ROOT, progress)
    except NotebookError as error:
        raise NotebookError(
            f"\n{item}: {notebook.relative_to(ROOT)} failed {error}\n"
            f"The notebook up to there, with the traceback: {evidence.relative_to(ROOT)}"
        ) from error
    _refuse_changes(
        item, notebook, before,
        "while it ran, so DVC would record the result for other inputs; run it again: a training "
        "resumes from its last checkpoint unless the change affects it",
    )  # fmt: skip
    with whole(output) as unfinished:
        unfinished.write_text(nbformat.writes(_tidied(executed)) + "\n", encoding="utf-8")
    seconds = time.monotonic() - clock
    try:
        log_times(ROOT, [f"{notebook.name},{item},{started},{seconds:.1f}"])
    except OSError as error:  # the result is there: only `make record` misses the time
        print(f"{item} | time not logged: {error}", file=sys.stderr)
    evidence.unlink()
    shutil.rmtree(ROOT / ".checkpoints" / item, ignore_errors=True)


def _inputs(notebook):
    """{name: content} of what may be edited during a run: the notebook, the modules that it uses,
    and the sections of params.yaml that dvc.yaml names for this stage.
    """
    found = {str(notebook.relative_to(ROOT)): notebook.read_bytes()}
    if not STAGE:
        return found
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    sections = {name.partition(".")[0] for name in stages[STAGE].get("params", ())}
    numbers = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8")) if sections else {}
    found |= {f"{name} in params.yaml": numbers.get(name) for name in sections}
    return found | sources.used(notebook.stem)


def _listed(notebook):
    """The modules as the stage `sources` found them: DVC compares these, not the code of now."""
    path = ROOT / "results" / "sources" / notebook.stem
    return dict(map(str.split, path.read_text("utf-8").splitlines())) if STAGE else {}


def _refuse_changes(item, notebook, before, when):
    """NotebookError where an input is not what it was."""
    now = _inputs(notebook)
    if changed := sorted(name for name in now | before if now.get(name) != before.get(name)):
        raise NotebookError(f"{item}: {', '.join(changed)} changed {when}")


def _check_parameters(notebook, parameters):
    """Refuse a file that is not a notebook, and a name that its cell tagged `parameters` lacks."""
    name = notebook.relative_to(ROOT)
    try:
        nbformat.validate(content := nbformat.read(notebook, as_version=4))
    except OSError:
        raise
    except Exception as error:  # nbformat can raise almost anything for such a file
        reason = " ".join(str(error).split())[:80]
        raise ValueError(f"{name} is not a notebook ({reason}); get it again from git") from None
    cells = [cell for cell in content.cells if "parameters" in cell.metadata.get("tags", [])]
    known = {found.name for cell in cells[:1] for found in PythonTranslator.inspect(cell)}
    if unknown := sorted(set(parameters) - known):
        raise ValueError(
            f"{name} has no parameter {', '.join(unknown)}; its cell tagged "
            f"'parameters' sets {', '.join(sorted(known)) or 'nothing'}"
        )


def _tidied(notebook):
    """The executed notebook without what differs between equal runs, machines or Pythons."""
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"},
    }
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index}"
        cell.metadata.pop("papermill", None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
        for out in cell.get("outputs", []):
            texts = out if out.output_type == "stream" else out.data
            for kind in texts:
                if kind.startswith("text"):  # not base64, where a path could stand by chance
                    texts[kind] = texts[kind].replace(f"{ROOT}/", "").replace(str(ROOT), ".")
    return notebook


def _parsed(pair):
    try:
        if isinstance(parsed := yaml.safe_load(pair), dict):
            return parsed
    except yaml.YAMLError:
        pass
    raise ValueError(f"{pair!r} is not a parameter; write 'name: value'")


def main(arguments):
    """The command line; returns the exit status."""
    if len(arguments) < 2:
        print("python -m study.notebook NOTEBOOK OUTPUT ['name: value' ...]", file=sys.stderr)
        return 2
    notebook, output, *pairs = arguments
    try:
        parameters = {}
        for pair in pairs:
            parameters |= _parsed(pair)
        run(notebook, output, parameters)
    except (NotebookError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
