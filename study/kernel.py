"""A notebook's kernel uses this interpreter and the code beside the notebook, and no user settings.

`execute` is the runner's side. The file itself, run as a script, is the kernel.
"""

import logging
import os
import re
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from traitlets import Unicode
from traitlets.config import Config

PACKAGES = ("lib", "study")  # ours
START = 300  # seconds until a kernel must answer: a busy machine or a slow disk takes minutes
LONGEST = 80  # characters of a folder's path that leave room for the names of sockets in it
# What users set that would change a notebook's bytes, or what it imports.
UNSET = re.compile(
    "(IPYTHON|JUPYTER|LC_|MATPLOTLIB|MPL)"
    "|(COLUMNS|LANGUAGE|LINES|PYTHON(INSPECT|OPTIMIZE|STARTUP|WARNINGS))$"
)


class NotebookError(Exception):
    """A notebook did not run to its end; the message says where and why."""


def environment(root, place):
    """The environment variables of a kernel that works in `root` and has the folder `place`."""
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    return {name: value for name, value in os.environ.items() if not UNSET.match(name)} | {
        "PYTHONPATH": path,  # our code first
        "PYTHONSAFEPATH": "1",  # else the folder of this script would come before it
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # no note about frozen modules at each start
        "LC_ALL": "C.UTF-8",
        "IPYTHONDIR": str(place),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": str(root / "logs" / "matplotlib"),  # kept: it has a cache of fonts
    }


class Kernel(AsyncKernelManager):
    """Starts this interpreter in `root`. What its process says outside of cells goes to `said`."""

    root, said = Unicode(config=True), Unicode(config=True)

    @property
    def kernel_spec(self):
        """This file, whatever kernels the user or the machine has installed."""
        command = [sys.executable, __file__, "-f", "{connection_file}", "--log-level=40"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")

    async def start_kernel(self, **options):
        variables = environment(Path(self.root), Path(self.said).parent)
        with open(self.said, "wb") as said:
            options |= {"cwd": self.root, "env": variables, "stdout": said, "stderr": said}
            await super().start_kernel(**options)


def execute(notebook, output, parameters, root, progress):
    """Run a notebook in `root` by papermill and return it; `progress`: a stream for what it prints.

    Kernel and runner talk through sockets in a private folder, so that no port is needed. Raises
    NotebookError.
    """
    from nbclient.exceptions import DeadKernelError  # here: the kernel itself needs neither
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import execute_notebook

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it logs is raised as well
    usual = tempfile.gettempdir()
    private = {"prefix": "study-", "dir": usual if len(usual) < LONGEST else "/tmp"}
    with tempfile.TemporaryDirectory(**private, ignore_cleanup_errors=True) as place:
        said = Path(place, "said.txt")
        settings = {"root": str(root), "said": str(said), "transport": "ipc"}
        settings["connection_file"] = str(Path(place, "kernel.json"))
        try:
            return execute_notebook(
                notebook,
                output,
                parameters,
                kernel_name="python3",
                kernel_manager_class=Kernel,
                config=Config(Kernel=settings),
                language="python",
                cwd=root,
                start_timeout=START,
                progress_bar=False,
                stdout_file=progress,
                stderr_file=progress,
                record_timing=False,
                coalesce_streams=True,
            )
        except PapermillExecutionError as error:
            begins = error.source.strip().splitlines()[0]
            raise NotebookError(
                f"in cell [{error.exec_count}], which begins '{begins}'\n"
                f"{error.ename}: {error.evalue}"
            ) from error
        except DeadKernelError:
            cause = _cause("^Fatal Python error.*", said)
            raise NotebookError(f"because its kernel died: {cause}") from None
        except RuntimeError as error:
            cause = _cause(r"^.*\S.*$", said)
            if "respond" in str(error):
                cause = f"no answer in {START} s; is the machine or its disk overloaded?"
            raise NotebookError(f"because its kernel did not start: {cause}") from None


def _cause(pattern, said):
    """The last line of the kernel's output that matches the pattern, or a likely cause."""
    text = said.read_text("utf-8", "replace") if said.exists() else ""
    return (re.findall(pattern, text, re.MULTILINE) or ["killed, or out of memory"])[-1].strip()


def main():
    """The kernel's process, which must find our packages in its folder."""
    for name in PACKAGES:
        ours, found = Path.cwd() / name, find_spec(name)
        places = found.submodule_search_locations or [found.origin] if found else []
        if ours.is_dir() and str(ours) not in places:
            sys.exit(
                f"the package `{name}` comes from {(*places, 'nowhere')[0]}, not from {ours}: "
                "uninstall it, or take it out of PYTHONPATH"
            )
    from ipykernel.kernelapp import launch_new_instance
    from IPython.core.application import ENV_CONFIG_DIRS, SYSTEM_CONFIG_DIRS

    ENV_CONFIG_DIRS.clear()  # the machine's start-up files and settings
    SYSTEM_CONFIG_DIRS.clear()
    launch_new_instance()


if __name__ == "__main__":
    main()
