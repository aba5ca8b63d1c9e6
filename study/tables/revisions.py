"""A finished run as git keeps it: parameters and tables of a commit, branch, tag or experiment.

Read from params.yaml, dvc.lock and reports/<study>/ of the revision; nothing is checked out.
"""

import io
import re
from typing import NamedTuple

import fsspec
import pandas as pd
import yaml
from dvc.scm import Git, SCMError, resolve_rev
from dvc.utils.flatten import flatten

from study.params import ROOT
from study.scoring.scores import load_scores
from study.scoring.thresholds import FACTS
from study.tables.paper import together

RUN = "run `dvc repro` there and commit, or name another revision"
KEYS = {"study": str, "categories": list, "seeds": list, "students": dict}  # what is read here


class Experiment(NamedTuple):
    """One run: flat parameters, test rows of networks and baseline, scores by image by category."""

    name: str
    params: dict
    rows: pd.DataFrame
    scores: dict
    stale: list  # keys of params.yaml whose value is not the one that the results were made with


def files(name, root=ROOT):
    """The file system of a revision, or of the working tree, whose name is empty.

    Raises ValueError for a name that git and DVC do not know, or that several experiments have.
    """
    if not name:
        return fsspec.filesystem("dir", path=str(root), target_protocol="file")
    try:
        repository = Git(str(root))
        return repository.get_fs(resolve_rev(repository, name))
    except SCMError as error:
        raise ValueError(
            f"no revision {name!r} ({error}): give a commit, branch, tag or the name of an "
            "experiment (`dvc exp list --all-commits`)"
        ) from None


def _read(files, path):
    """Text of a file; None if it is not there."""
    text = files.read_text(path, encoding="utf-8") if files.isfile(path) else None
    if text and re.search("^<<<<<<< ", text, re.MULTILINE):
        raise ValueError(f"{path}: unresolved conflicts of a merge; resolve them first")
    return text


def _tree(text, path):
    """The mapping that a YAML file holds; ValueError in one line if it holds none."""
    try:
        if isinstance(tree := yaml.safe_load(text), dict):
            return tree
        reason = "no mapping of keys to values"
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
    raise ValueError(f"{path}: {reason}; fix it, or get it again from git")


def differing(sides):
    """Parameters that differ, as text, a row each; NaN where a side lacks one.

    sides: {label: flat parameters} of two.
    """
    columns = {label: pd.Series(params).map(str) for label, params in sides.items()}
    one, two = sides.values()
    equal = [key for key in one if key in two and one[key] == two[key]]  # 1 and 1.0 are
    return pd.concat(columns, axis="columns", sort=False).drop(index=equal)


def _stale(lock, params, tree):
    """Keys that dvc.lock recorded with another value, for the items of the declared grid."""
    names = [*tree.get("students", {}), *tree.get("heads", {})]
    keys = {f"{c}-{n}-{s}" for c in tree["categories"] for n in names for s in tree["seeds"]}
    keys |= {"", *tree["categories"]}
    used = {}
    for stage, record in _tree(lock or "{}", "dvc.lock").get("stages", {}).items():
        if stage.partition("@")[2] in keys:
            for section, value in record.get("params", {}).get("params.yaml", {}).items():
                used |= flatten({section: value})
    return sorted(key for key, value in used.items() if params.get(key, value) != value)


def load(name, root=ROOT):
    """The experiment at a revision. Raises ValueError where it is unknown or has no results."""
    source, called = files(name, root), name or "working tree"
    if not (text := _read(source, "params.yaml")):
        raise ValueError(f"{called}: there is no params.yaml")
    tree = _tree(text, f"{called}: params.yaml")
    if wrong := [key for key, kind in KEYS.items() if not isinstance(tree.get(key), kind)]:
        raise ValueError(f"{called}: params.yaml: {wrong[0]}: missing or mistyped; correct the key")
    folder, params = f"reports/{tree['study']}", flatten(tree)

    def frame(path, read=pd.read_csv):
        found = _read(source, f"{folder}/{path}.csv")
        return read(io.StringIO(found)) if found else None

    def images(category):
        one, other = (frame(f"scores/{category}{of}", load_scores) for of in ("", "-baseline"))
        if one is None or "drawn" not in one:  # older runs kept less
            return None
        return one if other is None else one.join(other.drop(columns=FACTS))

    if (test := frame("ablations")) is None:
        raise ValueError(f"{called}: no results, {folder}/ablations.csv is not there; {RUN}")
    baseline = frame("baseline")
    rivals = test[:0] if baseline is None else baseline[baseline.split == "test"]
    scores = {c: table for c in tree["categories"] if (table := images(c)) is not None}
    stale = _stale(_read(source, "dvc.lock"), params, tree)
    rows = together(test, rivals).reset_index(drop=True)
    rows = rows.sort_values("real_defects", ascending=False, kind="stable")
    return Experiment(called, params, rows, scores, stale)
