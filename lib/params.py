"""Load params.yaml into frozen dataclasses; an unknown, missing or mistyped key is an error.

The classes are the schema: a key of params.yaml is a field here, with its type and range (pydantic
checks them). `python -m lib.params FILE` is the pipeline's first stage: it checks params.yaml
before anything trains and leaves FILE.
"""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic.functional_validators import AfterValidator

ROOT = Path(__file__).resolve().parents[1]

Count = Annotated[int, Field(gt=0)]
# oneDNN's AVX2 kernels for 1x1 convolutions corrupt memory or hang below a block of 8 channels.
Channels = Annotated[int, Field(gt=0, multiple_of=8)]
Number = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Batch = Annotated[int, Field(gt=0, le=4096)]
# Of YAML's and of pandas's.
WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "na", "inf")


def check_name(name):
    """A name becomes a folder, a cell of tables and a value on command lines."""
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,63}", name) or name.lower() in WORDS:
        raise ValueError(
            "a name is a letter and up to 63 letters, digits or _, and no word such as NA or yes"
        )
    return name


Name = Annotated[str, AfterValidator(check_name)]
Input = Literal["product", "concatenated", "distance"]
Schedule = Literal["constant", "cosine"]
Levels = Annotated[tuple[Number, ...], Field(min_length=1, max_length=3)]
GET = "; `make mvtec` fetches what the paper's profile needs, data/README.md says what goes where"
section = dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))


@section
class Dataset:
    source: Literal["elpv", "folder", "archive"]
    root: str
    archive: str
    archive_size: Number
    archive_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
    strict: bool
    image_size: Annotated[int, Field(gt=0, le=4096, multiple_of=32)]  # the student's stride
    channels: Literal[1, 3]
    held_out: Annotated[float, Field(gt=0, lt=1)]
    split_seed: Number
    drawn_defects: bool


@section
class Textures:
    source: Literal["skimage", "folder"]
    root: str
    count: Number
    min_side: Count
    max_side: Count
    seed: Number


@section
class Teacher:
    backbone: str
    weights: str
    levels: Annotated[tuple[Number, ...], Field(min_length=3, max_length=3)]


@section
class Augmentation:
    flips: bool
    rotation: dict[str, Literal["none", "small", "right_angles"]]
    degrees: Weight
    fill: Annotated[int, Field(ge=0, le=255)]


@section
class Corruption:
    max_log2_frequency: Annotated[int, Field(ge=0, le=8)]
    rotation: Weight
    threshold: Share
    max_beta: Share


@section
class Optimiser:
    momentum: Share
    weight_decay: Weight


@section
class Student:
    denoising: bool
    encoder_decoder: bool
    width: Channels
    steps: Count
    batch_size: Batch
    learning_rate: Rate
    schedule: Schedule


@section
class Segmentation:
    input: Input
    channels: Channels
    steps: Count
    batch_size: Annotated[Batch, Field(gt=1)]  # one image has no batch statistics in ASPP's pooling
    learning_rate_residual: Rate
    learning_rate_head: Rate
    schedule: Schedule
    gamma: Weight
    l1_weight: Weight


@section
class Head:
    input: Input
    l1_weight: Weight


@section
class Evaluation:
    top_pixels: Count
    fpr_limit: Annotated[float, Field(gt=0, le=1)]
    recall: Annotated[float, Field(gt=0, le=1)]


@section
class Claims:
    smallest: Weight
    resamples: Annotated[int, Field(ge=100, le=100_000)]


@section
class Baseline:
    levels: tuple[Levels, ...]
    bank_size: Count


@section
class Figures:
    dpi: Annotated[int, Field(ge=20, le=600)]
    examples: Count


@section
class Params:
    study: Name
    categories: Annotated[tuple[Name, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Number, ...], Field(min_length=1)]
    threads: Annotated[int, Field(gt=0, le=1024)]
    deterministic: bool
    precision: Literal["auto", "fp32", "bf16"]
    checkpoint_seconds: Weight
    live_log: Literal["none", "tensorboard"]
    dataset: Dataset
    textures: Textures
    teacher: Teacher
    augmentation: Augmentation
    corruption: Corruption
    optimiser: Optimiser
    students: Annotated[dict[Name, Student], Field(min_length=1)]
    headline: Name
    segmentation: Segmentation
    heads: dict[Name, Head]
    evaluation: Evaluation
    claims: Claims
    baseline: Baseline
    figures: Figures

    @model_validator(mode="after")
    def consistent(self):
        for key in ("categories", "seeds"):
            check_once(key, getattr(self, key))
        check_once("baseline.levels", self.baseline.levels)
        for key in ("dataset", "textures"):
            here = getattr(self, key)
            if here.source == "folder" and not (ROOT / here.root).is_dir():
                raise ValueError(f"{key}.root: there is no folder {here.root!r}{GET}")
            if not (ROOT / here.root).exists():  # DVC watches it in any case
                raise ValueError(f"{key}.root: there is no {here.root!r}; take requirements.txt")
        if self.dataset.source == "archive":
            archive = ROOT / self.dataset.archive
            if not archive.is_file():
                raise ValueError(f"dataset.archive: there is no file {self.dataset.archive!r}{GET}")
            if archive.stat().st_size != self.dataset.archive_size:
                raise ValueError(
                    f"dataset.archive: {archive.name} has {archive.stat().st_size} bytes, expected "
                    f"dataset.archive_size {self.dataset.archive_size}{GET}"
                )
        if self.headline not in self.students:
            raise ValueError(f"headline: {self.headline!r} is none of the students")
        if taken := {"method", *self.students} & self.heads.keys():
            raise ValueError(f"heads: {min(taken)!r} is a student's or the method's; take another")
        if self.textures.min_side > self.textures.max_side:
            raise ValueError(f"textures.min_side: {self.textures.min_side} is above max_side")
        weights = self.teacher.weights
        named = weights in ("timm", "random") or weights.startswith("package:")
        if not named and not (ROOT / weights).is_file():
            raise ValueError(f"teacher.weights: there is no file {weights!r}{GET}")
        if any(level not in (1, 2, 3) for levels in self.baseline.levels for level in levels):
            raise ValueError(f"baseline.levels: {self.baseline.levels} must be levels 1 to 3")
        return self

    def head(self, name: str) -> Segmentation:
        """Settings of a segmentation network: the `method`, or a row of tables 5 and 6."""
        if name == "method":
            return self.segmentation
        if name not in self.heads:
            raise ValueError(f"heads: no {name!r}; known: {', '.join(self.heads) or 'none'}")
        return replace(self.segmentation, **vars(self.heads[name]))


def check_once(key, values):
    """ValueError for a value given twice."""
    if twice := [value for value in values if values.count(value) > 1]:
        raise ValueError(f"{key}: {twice[0]!r} is given twice")


class UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice and the aliases that no params file needs.

    And numbers that DVC, which reads YAML 1.2, takes for others: 010 is 8 here and 10 there, 1:30.5
    is 90.5 here and text there.
    """

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases (*{self.peek_event().anchor}) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.YAMLError(f"key {twice[0]!r} is given twice")
        return super().construct_mapping(node, deep)

    def construct_number(self, node):
        kind = node.tag.rpartition(":")[2]
        pattern, how = NUMBERS[kind]
        if not re.fullmatch(pattern, node.value):
            where = f"{node.value[:40]} in line {node.start_mark.line + 1}"
            raise yaml.YAMLError(f"{where}: write {how}")
        return getattr(super(), f"construct_yaml_{kind}")(node)


NUMBERS = {
    "int": ("[-+]?(0|[1-9][0-9]{0,17})", "whole numbers in plain digits, up to 18"),
    "float": ("[^:_]+", "numbers in digits and a point"),
}
for kind in NUMBERS:
    UniqueKeyLoader.add_constructor(f"tag:yaml.org,2002:{kind}", UniqueKeyLoader.construct_number)


def load(path=None):
    """Read and check a params file (default: the repository's params.yaml) into `Params`.

    Raises ValueError with a line for each fault that names the file, the key and the value.
    """
    path = Path(path or ROOT / "params.yaml")
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeyLoader)
        # As JSON, so that strict checking takes a list for a tuple and still no text for a number.
        return TypeAdapter(Params).validate_json(json.dumps(raw, default=refuse))
    except ValidationError as error:
        # A list with a wrong item is also reported as too short: the item's message is enough.
        inner = {e["loc"][:-1] for e in error.errors()}
        faults = [e for e in error.errors() if e["type"] != "too_short" or e["loc"] not in inner]
        raise ValueError("\n".join(describe(path.name, e) for e in faults)) from None
    except RecursionError:
        raise ValueError(f"{path.name}: not a valid params file: nested too deeply") from None
    except (yaml.YAMLError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path.name}: not a valid params file: {reason}") from None


def refuse(value):
    """What YAML makes of some texts has no place in JSON."""
    raise TypeError(f"{value} is a {type(value).__name__} to YAML; write it in quotes")


def describe(name, error):
    """One line on one fault that pydantic found."""
    key = ".".join(map(str, error["loc"])) or "the file"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{name}: missing key {key}; the files in profiles/ are complete"
    if error["type"] == "unexpected_keyword_argument":
        return f"{name}: unknown key {key}; the files in profiles/ show the known ones"
    if error["type"] == "value_error" and not error["loc"]:
        return f"{name}: {message}"
    hint = "; write 0.001 or 1.0e-3, not 1e-3" if error["type"] == "float_type" else ""
    value = repr(error["input"])
    value = value if len(value) <= 100 else f"{value[:97]}..."
    return f"{name}: {key}: {value}: {message}{hint}"


if __name__ == "__main__":
    try:
        load()
        for target in map(Path, sys.argv[1:]):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("params.yaml is well-formed\n", encoding="utf-8")
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
