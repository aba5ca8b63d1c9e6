"""study.kernel: no setting of the user changes a notebook; no ports; failures say why."""

import asyncio
import json
import os
import shutil
import subprocess
import sys

import pytest
from test_notebook import root, write  # noqa: F401
from traitlets.config import Config

from study import kernel, notebook

CELL = """
import locale
import sys

import matplotlib.pyplot as plt
import lib
print(lib.__file__, sys.flags.optimize, locale.getlocale(), "added" in globals())
plt.plot([0, 1]);
"""


@pytest.fixture
def ours(root):  # noqa: F811
    """A repository with a package `lib`; the other package of this name lies in other/lib."""
    for name in ("lib/__init__.py", "other/lib/__init__.py"):
        (root / name).parent.mkdir(parents=True)
        (root / name).touch()
    return root


def spoil(root, monkeypatch):  # noqa: F811
    """Set what reports of users name: other code, kernels, start-up files, looks and languages."""
    specification = {"argv": ["/bin/false"], "display_name": "x", "language": "python"}
    files = {
        "jupyter/kernels/python3/kernel.json": json.dumps(specification),
        "matplotlib/matplotlibrc": "lines.linewidth: 9\n",
        "ipython/profile_default/startup/a.py": "added = 1\n",
        "ipython/profile_default/ipython_config.py": "c.InlineBackend.figure_formats = {'svg'}\n",
        "start.py": "added = 1\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    settings = {
        "PYTHONPATH": "other", "PYTHONSTARTUP": "start.py", "JUPYTER_PATH": "jupyter",
        "MATPLOTLIBRC": "matplotlib", "MPLCONFIGDIR": "matplotlib", "IPYTHONDIR": "ipython",
    }  # fmt: skip
    for name, path in settings.items():
        monkeypatch.setenv(name, str(root / path))
    values = {
        "MPLBACKEND": "Agg",
        "LC_ALL": "C",
        "PYTHONOPTIMIZE": "1",
        "JUPYTER_PREFER_ENV_PATH": "0",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_no_setting_of_the_user_changes_a_byte(ours, monkeypatch):
    source, texts = write(ours / "figures.ipynb", CELL), []
    for name in "ab":
        assert notebook.main([source, str(ours / name / "figures.ipynb")]) == 0
        texts.append((ours / name / "figures.ipynb").read_text("utf-8"))
        spoil(ours, monkeypatch)
    assert texts[0] == texts[1]
    assert '"lib/__init__.py' in texts[1] and "image/png" in texts[1] and "False" in texts[1]


def test_code_from_elsewhere_is_refused_in_one_line(ours, monkeypatch, capsys):
    """A module that Python loads before all else may bring its own `lib`."""
    loads = f"import sys\nsys.path.insert(0, {str(ours / 'other')!r})\nimport lib\n"
    (ours / "other" / "sitecustomize.py").write_text(loads)
    monkeypatch.setenv("PYTHONPATH", str(ours / "other"))
    source = write(ours / "student.ipynb", "import pathlib\npathlib.Path('ran').touch()")
    assert notebook.main([source, str(ours / "out.ipynb")]) == 1
    message = capsys.readouterr().err
    assert f"the package `lib` comes from {ours / 'other/lib'}, not from {ours / 'lib'}" in message
    assert "Traceback" not in message and not (ours / "ran").exists()
    assert notebook.main([str(ours.parent / "a.ipynb"), str(ours / "out.ipynb")]) == 1
    assert "belongs to another repository than lib" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        (
            ["sh", "-c", "sleep 60"],
            "no answer in 1 s; is the machine or its disk overloaded?",
        ),
        (["sh", "-c", "echo; echo no such library >&2; exit 3"], "no such library"),
        (["sh", "-c", "kill -9 $$"], "killed, or out of memory"),
    ],
    ids=["slow", "broken", "killed"],
)
def test_a_failed_start_is_one_line_with_the_cause(command, cause, root, monkeypatch, capsys):  # noqa: F811
    specification = kernel.KernelSpec(argv=command, language="python")
    monkeypatch.setattr(kernel.Kernel, "kernel_spec", specification)
    monkeypatch.setattr(kernel, "START", 1)
    source = write(root / "student.ipynb", "1")
    assert notebook.main([source, str(root / "out.ipynb")]) == 1
    first, *rest = capsys.readouterr().err.strip().split("\n")
    assert first.endswith(f"student.ipynb failed because its kernel did not start: {cause}")
    assert len(rest) == 1 and not (root / "out.ipynb").exists()


ALONE = ["unshare", "-rn"]  # without any network interface, not even the machine's own


@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run([*ALONE, "true"], check=False).returncode,
    reason="this machine allows no network namespaces",
)
def test_a_kernel_needs_no_network_interface(tmp_path):
    shown = "from ipykernel import get_connection_info\nprint(get_connection_info())"
    files = [write(tmp_path / "student.ipynb", shown), tmp_path / "out.ipynb"]
    script = (
        "import sys, pathlib\nfrom study import notebook\n"
        "notebook.ROOT = pathlib.Path(sys.argv[1]).parent\nsys.exit(notebook.main(sys.argv[1:]))"
    )
    run = subprocess.run([*ALONE, sys.executable, "-c", script, *files], stderr=subprocess.PIPE)
    assert run.returncode == 0, run.stderr
    text = files[1].read_text("utf-8")
    assert "ipc" in text and "tcp" not in text


def test_many_kernels_start_side_by_side(tmp_path):
    """Jupyter's ports, chosen before they are bound, made a few of a hundred starts fail.

    `KERNEL_STARTS=50 pytest tests/study/test_kernel.py -k side_by_side` is the long form.
    """

    async def start(number, four):
        async with four:
            (place := tmp_path / str(number)).mkdir()
            settings = {"root": str(tmp_path), "said": str(place / "said.txt")}
            settings |= {"transport": "ipc", "connection_file": str(place / "kernel.json")}
            manager = kernel.Kernel(config=Config(Kernel=settings))
            await manager.start_kernel()
            client = manager.client()
            client.start_channels()
            await client.wait_for_ready(timeout=kernel.START)
            client.stop_channels()
            await manager.shutdown_kernel(now=True)
            return (place / "said.txt").read_text()

    async def every():
        four = asyncio.Semaphore(4)
        return await asyncio.gather(*(start(number, four) for number in range(starts)))

    starts = int(os.environ.get("KERNEL_STARTS", "12"))
    assert asyncio.run(every()) == [""] * starts
