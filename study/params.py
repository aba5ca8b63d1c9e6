"""Load params.yaml into frozen dataclasses; an unknown, missing or mistyped key is an error.

`python -m study.params FILE`, the stage `check`, checks params.yaml and writes FILE.
"""

import json
import sys
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent

from study.schema import ELPV, ROOT, Params


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
        loaded = TypeAdapter(Params).validate_json(json.dumps(raw, default=refuse))
    except ValidationError as error:
        # pydantic also reports a list with a wrong item as too short; the item's message is enough.
        inner = {e["loc"][:-1] for e in error.errors()}
        faults = [e for e in error.errors() if e["type"] != "too_short" or e["loc"] not in inner]
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


def check_own_name(loaded, profiles=ROOT / "profiles"):
    """ValueError if other images would overwrite the reports of a study that ships.

    A profile's study keeps its name to the images of that profile; `parts` is for anybody's.
    """
    yaml = YAML(typ="safe", pure=True)
    for path in sorted({*profiles.glob("*.yaml")} - {profiles / "parts.yaml"}):
        shipped = yaml.load(path.read_text("utf-8"))
        if shipped["study"] == loaded.study and shipped["dataset"]["root"] != loaded.dataset.root:
            raise ValueError(
                f"params.yaml: study: {loaded.study!r} names the reports of "
                f"{shipped['dataset']['root']} (profiles/{path.name}), which a run on "
                f"{loaded.dataset.root} would overwrite; give your study a name of its own"
            )


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
        check_own_name(load())
        for target in map(Path, sys.argv[1:]):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("params.yaml is well-formed\n", encoding="utf-8")
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
