"""Load params.yaml into frozen dataclasses; an unknown, missing or mistyped key is an error.

A declared variant may leave keys out. A student then takes all unset keys from the headline, a head
from `segmentation`, and a `corruption` of either from the section `corruption`.

`python -m study.params FILE FOLDER`, the stage `check`, checks params.yaml and writes FILE, and to
FOLDER what decides each training (`Params.variants`), so that a variant trains only itself.
"""

import json
import sys
from dataclasses import MISSING, fields
from functools import reduce
from operator import getitem
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent

from study.schema import ELPV, ROOT, Params, Student

# A student that gives all of these inherits no key.
NEEDED = {field.name for field in fields(Student) if field.default is MISSING}


def load(path=None):
    """Read and check a params file (default: the repository's params.yaml) into `Params`.

    Raises ValueError with one line for each fault, which names the file, the key and the value.
    """
    path = Path(path or ROOT / "params.yaml")
    try:
        text = path.read_text(encoding="utf-8")
        yaml = YAML(typ="safe", pure=True)  # as DVC reads it
        raw = yaml.load(text)
        # Nested aliases would fill the memory when they are expanded.
        if aliases := [event for event in yaml.parse(text) if isinstance(event, AliasEvent)]:
            raise ValueError(f"aliases (*{aliases[0].anchor}) are not allowed")
        # As JSON: strict checking then accepts a list for a tuple, but still no text for a number.
        whole = json.dumps(inherited(raw), default=refuse)
        loaded = TypeAdapter(Params).validate_json(whole)
    except ValidationError as error:
        # pydantic also reports a list with a wrong item as too short; the item's message is enough.
        inner = {e["loc"][:-1] for e in error.errors()}
        faults = [e for e in error.errors() if e["type"] != "too_short" or e["loc"] not in inner]
        faults = [e for e in faults if is_own(raw, e["loc"])] or faults
        raise ValueError("\n".join(describe(path.name, e) for e in faults)) from None
    except (YAMLError, TypeError, ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        if isinstance(error, MarkedYAMLError) and error.problem_mark:
            reason = f"{error.problem} in line {error.problem_mark.line + 1}"
        reason = " ".join(reason.split())
        raise ValueError(f"{path.name}: not a valid params file: {reason}") from None
    missing = {*loaded.categories} - {*loaded.elpv.categories}
    if loaded.dataset.root == ELPV and missing:
        raise ValueError(f"{path.name}: elpv.categories: add {min(missing)!r} of categories")
    return loaded


def check_own_name(loaded):
    """ValueError if other images would overwrite the reports of a profile that ships with them."""
    yaml = YAML(typ="safe", pure=True)
    for path in sorted(ROOT.glob("profiles/*.yaml")):
        shipped = yaml.load(path.read_text("utf-8"))
        study, images = shipped["study"], shipped["dataset"]["root"]
        ships = (ROOT / "reports" / study / "run.md").exists()
        if ships and study == loaded.study and images != loaded.dataset.root:
            raise ValueError(
                f"params.yaml: study: {study!r} names the reports of {images} "
                f"(profiles/{path.name}), which a run on {loaded.dataset.root} would overwrite; "
                "give your study a name of its own"
            )


def check_categories(loaded):
    """ValueError for a category without a folder: DVC would only say that a path is missing."""
    root = ROOT / loaded.dataset.root
    for name in loaded.categories if loaded.dataset.root != ELPV else ():
        if not (root / name).is_dir():
            found = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir()))
            raise ValueError(
                f"params.yaml: categories: {loaded.dataset.root} has no folder {name!r}; "
                f"found: {found or 'none'}"
            )


def inherited(raw):
    """The file with the keys that its variants leave out; a malformed file stays as it is."""
    try:
        common, method, students = raw["corruption"], raw["segmentation"], raw["students"]
        headline = students.get(raw["headline"], {})
        return raw | {
            "segmentation": filled(common, {}, method),
            "students": {
                name: filled(common, {} if one.keys() >= NEEDED else headline, one)
                for name, one in students.items()
            },
            "heads": {name: filled(common, method, one) for name, one in raw["heads"].items()},
        }
    except (AttributeError, KeyError, TypeError):  # pydantic says what is wrong
        return raw


def filled(common, parent, own):
    """A section on top of its parent's, with its corruption on top of the common one."""
    whole = parent | own
    if whole.get("corruption") is not None:
        layers = common, parent.get("corruption"), own.get("corruption")
        given = [layer for layer in layers if layer is not None]
        whole["corruption"] = {k: v for layer in given for k, v in layer.items()}
    return whole


def is_own(raw, place):
    """Whether a fault is at a key that the file gives there, and not at an inherited one."""
    is_variant = place[:1] in (("heads",), ("students",)) and place[1:2] != (raw.get("headline"),)
    if len(place) < 3 or not (is_variant or "corruption" in place):
        return True
    try:
        reduce(getitem, (key for key in place if key != "[key]"), raw)
    except KeyError:
        return False
    return True


def refuse(value):
    """TypeError for a value that YAML knows and JSON does not, such as a date."""
    raise TypeError(f"{value} is a {type(value).__name__} to YAML; write it in quotes")


def describe(name, error):
    """One line for one fault that pydantic found."""
    key = ".".join(map(str, error["loc"])) or "the file"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{name}: missing key {key}; the files in profiles/ are complete"
    if error["type"] == "unexpected_keyword_argument":
        return f"{name}: unknown key {key}; the files in profiles/ show the known ones"
    if error["type"] == "value_error" and not error["loc"]:
        return f"{name}: {message}"
    value = f"{value[:97]}..." if len(value := repr(error["input"])) > 100 else value
    return f"{name}: {key}: {value}: {message}"


if __name__ == "__main__":
    try:
        target, folder = map(Path, sys.argv[1:])
        check_own_name(loaded := load())
        check_categories(loaded)
        variants = loaded.variants().items()
        texts = {folder / name: json.dumps(keys, indent=1) + "\n" for name, keys in variants}
        texts[target] = "params.yaml is well-formed\n"
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
