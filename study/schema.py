"""What params.yaml may hold: a field is a key, with the type and range that pydantic checks.

`Params` is the whole file; its validator checks the rules about several keys. A field with a
default may be left out: the default is the method of the paper.
"""

import re
from dataclasses import MISSING, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic.functional_validators import AfterValidator

ROOT = Path(__file__).resolve().parents[1]
ELPV = "data/elpv"  # where the stage elpv exports to

Count = Annotated[int, Field(gt=0)]
Channels = Annotated[int, Field(gt=0, multiple_of=8)]  # below 8, oneDNN corrupts memory on AVX2
Number = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Batch = Annotated[int, Field(gt=0, le=4096)]
WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "na", "inf")


def is_name(text):
    """Check a name: it names a folder, fills table cells and stands on command lines."""
    return re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,63}", text) and text.lower() not in WORDS


def check_name(name):
    if not is_name(name):
        better = re.sub("[^A-Za-z0-9_]+", "_", name).strip("_")
        example = f", for example to {better}" if is_name(better) else ""
        raise ValueError(
            "a name is a letter and up to 63 letters, digits or _, and no word such as NA or yes; "
            f"rename it (for a category, the folder too){example}"
        )
    return name


def check_shares(shares):
    if shares is not None and abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"the shares add up to {sum(shares.values()):g} and not to 1")
    return shares


Name = Annotated[str, AfterValidator(check_name)]
Schedule = Literal["constant", "cosine"]
Below1 = Annotated[float, Field(ge=0, lt=1)]
Sources = dict[Literal["texture", "darken", "cutpaste", "scar"], Share] | None
Levels = Annotated[tuple[Literal[1, 2, 3], ...], Field(min_length=1, max_length=3)]
GET = "; `make mvtec` downloads the files of the paper's profile, data/README.md shows the folders"
section = dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))


@section
class Arithmetic:
    threads: Annotated[int, Field(gt=0, le=1024)]
    deterministic: bool
    precision: Literal["auto", "fp32", "bf16"]


@section
class Running:
    checkpoint_seconds: Weight
    live_log: Literal["none", "tensorboard"]


@section
class Dataset:
    root: str
    ignore: tuple[str, ...]
    strict: bool
    image_size: Annotated[int, Field(gt=0, le=4096, multiple_of=32)]  # the student's stride
    channels: Literal[1, 3]
    drawn_defects: bool
    calibration: Annotated[float, Field(ge=0, lt=1)]


@section
class Elpv:
    categories: tuple[Literal["monocrystalline", "polycrystalline"], ...]
    held_out: Annotated[float, Field(gt=0, lt=1)]
    split_seed: Number


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
    sources: Annotated[Sources, AfterValidator(check_shares)] = None


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
    noise: Weight = 0.0
    hard_mining: Below1 = 0.0
    corruption: Corruption | None = None


@section
class Segmentation:
    input: Literal["product", "concatenated", "distance"]
    channels: Channels
    prior: Annotated[float, Field(gt=0, lt=1)] | None
    steps: Count
    batch_size: Annotated[Batch, Field(gt=1)]  # one image has no batch statistics in ASPP's pooling
    learning_rate_residual: Rate
    learning_rate_head: Rate
    schedule: Schedule
    gamma: Weight
    l1_weight: Weight
    dice_weight: Weight = 0.0
    activation: Literal["sigmoid", "bump"] = "sigmoid"
    sigma: Rate = 1.0
    ema: Below1 = 0.0
    corruption: Corruption | None = None


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
class Calibration:
    alpha: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)]


@section
class Figures:
    dpi: Annotated[int, Field(ge=20, le=600)]
    examples: Count


@section
class Params:
    study: Name
    categories: Annotated[tuple[Name, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Number, ...], Field(min_length=1)]
    arithmetic: Arithmetic
    running: Running
    dataset: Dataset
    elpv: Elpv
    textures: Textures
    teacher: Teacher
    augmentation: Augmentation
    corruption: Corruption
    optimiser: Optimiser
    students: Annotated[dict[Name, Student], Field(min_length=1)]
    headline: Name
    segmentation: Segmentation
    heads: dict[Name, Segmentation]
    head_seeds: tuple[Number, ...]
    evaluation: Evaluation
    claims: Claims
    baseline: Baseline
    calibration: Calibration
    figures: Figures

    @model_validator(mode="after")
    def consistent(self):
        for key in ("categories", "seeds", "head_seeds", "baseline.levels", "calibration.alpha"):
            values = attrgetter(key)(self)
            if twice := [value for value in values if values.count(value) > 1]:
                raise ValueError(f"{key}: {twice[0]!r} is given twice")
        if self.heads and (unknown := {*self.head_seeds} - {*self.seeds}):
            raise ValueError(f"head_seeds: {min(unknown)} is not one of `seeds`")
        self.check_data()
        if (textures := self.textures).source == "folder" and not (ROOT / textures.root).is_dir():
            raise ValueError(f"textures.root: there is no folder {textures.root!r}{GET}")
        if not (ROOT / textures.root).exists():  # DVC watches it in any case
            raise ValueError(
                f"textures.root: there is no {textures.root!r}; with source skimage, "
                "write requirements.txt"
            )
        if self.headline not in self.students:
            raise ValueError(f"headline: {self.headline!r} is not one of the students")
        if taken := {"method", *self.students} & self.heads.keys():
            raise ValueError(f"heads: {min(taken)!r} names a student or the method; rename it")
        for name, student in self.students.items():
            if student.noise and not student.encoder_decoder:
                raise ValueError(f"students.{name}.noise: needs a decoder: encoder_decoder: true")
        if textures.min_side > textures.max_side:
            raise ValueError(f"textures.min_side: {textures.min_side} is above max_side")
        named = re.match("(timm|random)$|package:", self.teacher.weights)
        if not named and not (ROOT / self.teacher.weights).is_file():
            raise ValueError(f"teacher.weights: there is no file {self.teacher.weights!r}{GET}")
        return self

    def check_data(self):
        """ValueError for an image folder that does not exist and that no stage will export."""
        root = self.dataset.root
        if root.startswith("~"):  # DVC would look for a folder of this name
            raise ValueError(f"dataset.root: write {root!r} out: {Path(root).expanduser()}")
        if root != ELPV and not (ROOT / root).is_dir():
            raise ValueError(f"dataset.root: there is no folder {root!r}{GET}")

    def head(self, name: str) -> Segmentation:
        """Settings of a segmentation network: the `method`, or a declared variant."""
        if name == "method":
            return self.segmentation
        if name not in self.heads:
            raise ValueError(f"heads: no {name!r}; known: {', '.join(self.heads) or 'none'}")
        return self.heads[name]

    def variant(self, student: str, head: str = "") -> "Params":
        """These parameters with the corruption of a student, or of a network `head` on it."""
        declared = [self.head(head)] if head else []
        own = [one.corruption for one in (*declared, self.students[student]) if one.corruption]
        return replace(self, corruption=own[0]) if own else self

    def with_paper_corruption(self) -> "Params":
        """These parameters without other sources of corruption than the texture."""
        return replace(self, corruption=replace(self.corruption, sources=None))

    def variants(self) -> dict[str, dict]:
        """What decides each training, {path: keys that are set}: the stages' dependencies."""
        found = {f"student/{name}": (one, name, "") for name, one in self.students.items()}
        for name in self.students:
            found[f"segmentation/{name}"] = self.segmentation, name, "method"
        for name, one in self.heads.items():
            found[f"head/{name}"] = one, self.headline, name
        return {
            path: set_keys(one) | {"corruption": set_keys(self.variant(*names).corruption)}
            for path, (one, *names) in found.items()
        }


def set_keys(section):
    """{key: value} of a section without the optional keys at their defaults."""
    given = {field.name: field.default for field in fields(section)}
    return {k: v for k, v in vars(section).items() if given[k] is MISSING or v != given[k]}
