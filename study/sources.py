"""Which code each notebook runs, so that DVC reruns it when that code changes, and only then.

    python -m study.sources FOLDER

Writes FOLDER/<name> for each notebook, and for each module that dvc.yaml runs as a command. A line
names one of our modules that the notebook imports, at any depth, with a hash of its code. Comments,
docstrings and blank lines do not count. The notebook itself is not listed: its stage names it.
"""

import ast
import hashlib
import io
import json
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("lib", "study")
COMMANDS = {"elpv": "study.data.elpv", "params": "study.params", "site": "study.site.build"}
TEMPLATES = {"site": "study/site/templates/*"}  # what a command reads beside its modules

# Modules left out of all lists, or of one, because they change no result there. What only they
# import is left out as well.
SILENT = {
    "params",  # reads params.yaml, whose sections the stages name
    "progress",  # says how far a training is
    "results",  # names paths, as dvc.yaml does
    "sources",  # names checkpoints
    "leftovers",  # removes what no stage makes
}
UNUSED = {  # plots only shows
    name: {"plots"} for name in ("dataset", "textures", "student", "segmentation", "maps")
}

LAYOUT = {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code(text):
    """Python source without comments, docstrings and blank lines; the same in every Python."""
    lines, kept, tokens = text.split("\n"), set(), [None]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
        elif token.type != tokenize.NL:
            tokens.append(token)
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        begins = before is None or before.type in LAYOUT
        alone = begins and token.type == tokenize.STRING and after.type == tokenize.NEWLINE
        if token.type not in LAYOUT and not alone:
            kept |= set(range(token.start[0], token.end[0] + 1))
    return "\n".join(lines[row - 1] for row in sorted(kept))


def imported(text, where):
    """Dotted names that Python source imports, inside functions as well; `where` is for messages.

    `from a import b` gives a.b, whether b is a module or not.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"{where}: not plain Python: {error.msg} in line {error.lineno}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(
                    f"{where}: relative import in line {node.lineno}; write `from lib`"
                )
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(name):
    """Our files on the way to a dotted name: its packages' __init__.py, then its module."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1) if parts[0] in PACKAGES else ():
        path = ROOT.joinpath(*parts[:end])
        yield from filter(Path.is_file, (path / "__init__.py", path.with_suffix(".py")))


def short_hash(content):
    return hashlib.sha256(content).hexdigest()[:16]


def modules(text, where, left_out=SILENT):
    """{path: hash of its code} of our modules that Python source imports, at any depth."""
    found, todo = {}, [(text, where)]
    while todo:
        for path in (path for name in imported(*todo.pop()) for path in files(name)):
            where = path.relative_to(ROOT).as_posix()
            if where not in found and path.stem not in left_out:
                text = path.read_text("utf-8")
                todo.append((text, where))
                found[where] = short_hash(code(text).encode())
    return dict(sorted(found.items()))


def used(name):
    """{path: hash} of what a notebook or one of COMMANDS runs, with the command's TEMPLATES."""
    left_out = (SILENT | UNUSED.get(name, set())) - {name}
    if name in COMMANDS:
        found = sorted(ROOT.glob(TEMPLATES[name])) if name in TEMPLATES else ()
        read = [path for path in found if path.is_file()]  # JupyterLab leaves a folder there
        others = {path.relative_to(ROOT).as_posix(): short_hash(path.read_bytes()) for path in read}
        return modules(f"import {COMMANDS[name]}", name, left_out) | others
    path = ROOT / "notebooks" / f"{name}.ipynb"
    where = f"notebooks/{path.name}"
    try:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{where} is not a notebook; get it again from git") from None
    return modules("\n".join(texts), where, left_out)


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in {*COMMANDS, *(path.stem for path in ROOT.glob("notebooks/*.ipynb"))}:
        text = "".join(f"{path} {found}\n" for path, found in used(name).items())
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
