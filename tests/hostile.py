"""Every bad or unusual input that the tests know, and what it gets: reports/hostile.md.

    python tests/hostile.py [FILE]

The cases are the tests' own lists, which assert a part of each message; here it is shown whole.
"""

import contextlib
import io
import signal
import sys
import tempfile
from pathlib import Path
from unittest import mock

import pandas as pd
import test_archive
import test_folder
import test_notebook
import test_params
import test_teacher
from clones import ROOT
from PIL import Image
from toys import dataset, put, write_nut

from lib import archive, notebook, params
from lib.benchmarks import load_category
from lib.folder import read_image
from lib.teacher import Teacher

PAGE = ROOT / "reports" / "hostile.md"
PATIENCE = 60  # seconds for an answer


def read_format(name, folder):
    test_folder.FORMATS[name][0].save(folder / name)
    return f"read: grey {read_image(folder / name, 1).getpixel((0, 0))}"


def read_bomb(folder):
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    read_image(folder / "bomb.png", 1)


def read_mask(name, folder):
    root = write_nut(folder)
    put(root / "nut/ground_truth/scratch/001_mask.png", test_folder.MASKS[name][0])
    nut = load_category(dataset(root=str(root)), "nut")
    note = "".join(f"; noted: {note}" for note in nut.notes)
    return f"read: marks {nut.masks[5].mean():.0%} of its image{note}"


def read_folder(case, folder):
    root = write_nut(folder)
    test_folder.BAD[case][0](root)
    load_category(dataset(root=str(root)), "nut")


def read_archive(case, folder):
    source = test_archive.write_categories(folder / "mvtec")
    settings = test_archive.pack_with_bad_member(case, source, folder / "a.tar")
    archive.unpack(settings, ("nut",), folder / "out")


def read_cut_archive(folder):
    source = test_archive.write_categories(folder / "mvtec")
    test_archive.pack(source, folder / "a.tar.xz")
    (folder / "a.tar.xz").write_bytes((folder / "a.tar.xz").read_bytes()[:-40])
    archive.unpack(test_archive.pinned(folder / "a.tar.xz"), ("nut",), folder / "out")


def read_weights(kind, folder):
    test_teacher.bad_file(kind, test_teacher.plain_backbone(), folder / "mine.pth")
    try:
        Teacher("resnet10t", str(folder / "mine.pth"))
    finally:
        assert not (folder / "ran").exists(), "the code in it was run"


def read_text(text, folder):
    params.load(test_params.write(folder, text))


def read_value(key, value, folder):
    params.load(test_params.changed(folder, key, value))


def run_notebook(parameters, pair, folder):
    source = test_notebook.write(folder / "student.ipynb", parameters=parameters)
    start_notebook(source, pair, folder)


def run_text(text, folder):
    (folder / "student.ipynb").write_text(text)
    start_notebook(str(folder / "student.ipynb"), "seed: 3", folder)


def start_notebook(source, pair, folder):
    with (
        mock.patch.object(notebook, "ROOT", folder),
        contextlib.redirect_stderr(io.StringIO()) as e,
    ):
        status = notebook.main([source, str(folder / "out.ipynb"), pair])
    assert status == 1
    raise ValueError(e.getvalue().strip())


def cases():
    """(group, input, function of a folder that gives what was read, or raises) one by one."""
    for name in test_folder.FORMATS:
        shown = name if len(name) < 60 else f"{name[:20]}... ({len(name)} letters)"
        yield "image", shown, lambda f, name=name: read_format(name, f)
    yield "image", "20,000 x 20,000 pixels in some kB", read_bomb
    for name in test_folder.MASKS:
        yield "mask", name, lambda f, name=name: read_mask(name, f)
    for case in test_folder.BAD:
        yield "folder", case, lambda f, case=case: read_folder(case, f)
    for case in test_archive.BAD_MEMBERS:
        yield "archive", case, lambda f, case=case: read_archive(case, f)
    yield "archive", "cut off", read_cut_archive
    for kind in test_teacher.BAD_WEIGHTS:
        yield "weights", kind, lambda f, kind=kind: read_weights(kind, f)
    for name, (text, _) in test_params.MALFORMED.items():
        yield "params.yaml", name, lambda f, text=text: read_text(text, f)
    for key, value, _ in test_params.WRONG_VALUES:
        yield "params.yaml", f"{key}: {value}", lambda f, k=key, v=value: read_value(k, v, f)
    for name, (parameters, pair, _) in test_notebook.WRONG_PARAMETERS.items():
        yield "notebook", name, lambda f, p=parameters, pair=pair: run_notebook(p, pair, f)
    yield "notebook", "text", lambda f: run_text("no notebook", f)


def answer(function):
    """What the input gets, on one line and without the name of the temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        signal.alarm(PATIENCE)
        try:
            text = function(Path(name))
        except (ValueError, OSError) as error:
            text = str(error)
        finally:
            signal.alarm(0)
        assert text and "Traceback" not in text, "no answer"
        text = text.replace(f"{name}/", "").replace(str(ROOT), ".")
        return " / ".join(line.strip() for line in text.splitlines())


def table():
    """DataFrame: group, input and answer of every case."""
    with contextlib.redirect_stderr(io.StringIO()):
        rows = [(group, case, answer(function)) for group, case, function in cases()]
    return pd.DataFrame(rows, columns=["group", "input", "what it gets"])


def page(frame):
    """The Markdown page."""
    shown = frame.map(lambda text: text.replace("|", "\\|").replace("<", "&lt;"))
    return (
        "# Bad and unusual inputs\n\n"
        f"`make hostile` wrote this page: {len(frame)} inputs, each with what it is read as or "
        "with the message that stops the run before anything trains. The tests assert them one by "
        "one; no code in any of them runs.\n\n"
        f"{shown.to_markdown(index=False, disable_numparse=True)}\n"
    )


if __name__ == "__main__":
    target = Path(sys.argv[1]) if sys.argv[1:] else PAGE
    target.parent.mkdir(exist_ok=True)
    target.write_text(page(table()), encoding="utf-8")
    print(target)
