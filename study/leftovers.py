"""Remove what an earlier grid left: a category, seed or head that params.yaml no longer declares.

    python -m study.leftovers FOLDER...

A stage that depends on a folder that other stages fill runs this first. DVC hashes the folder after
the stage, so dvc.lock is the same on a machine with leftovers and in a fresh clone. DVC's cache
keeps trained networks: declare them again to get them back.
"""

import shutil
import sys
import time
from pathlib import Path

import yaml
from dvc.repo import Repo

from study.params import ROOT


def recorded(lock, patience=50):
    """Paths of the outputs that dvc.lock names; [] without the file.

    Another `dvc repro` may be writing it just now: a half-written file is read again.
    """
    for _ in range(patience):
        try:
            stages = yaml.safe_load(lock.read_text("utf-8"))["stages"]
            paths = [out["path"] for stage in stages.values() for out in stage.get("outs", ())]
            if all(paths):
                return paths
        except FileNotFoundError:
            return []
        except (yaml.YAMLError, TypeError, KeyError, AttributeError):
            pass
        time.sleep(0.1)
    raise ValueError(f"{lock}: half written or damaged; get it again with `git checkout dvc.lock`")


def remove(folders, root=ROOT):
    """Remove paths in `folders` (relative to `root`) that were outputs of a stage and are none now.

    All of results/ belongs to stages. Elsewhere a reader's own file may lie beside their outputs,
    so only what dvc.lock names counts. What goes is named on stderr.
    """
    with Repo(str(root)) as repository:
        declared = {Path(out.fs_path) for out in repository.index.outs}
    kept = declared.union(*(path.parents for path in declared))
    named = {root / path for path in recorded(root / "dvc.lock")}
    for folder in (root / name for name in folders):
        inside = {path for path in named if folder in path.parents}
        if folder.is_relative_to(root / "results"):
            inside |= set(folder.glob("*"))
        for path in sorted(inside - kept):
            if path.exists() and declared.isdisjoint(path.parents):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                print(f"{path.relative_to(root)}: removed, no longer declared", file=sys.stderr)


if __name__ == "__main__":
    remove(sys.argv[1:])
