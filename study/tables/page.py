"""The page of a study, reports/<study>/README.md: protocol, answers, tables, figures, links."""

import os
import platform
import shutil
from importlib.metadata import version

from dvc.utils.flatten import flatten
from ruamel.yaml import YAML

from lib.devices import bf16_is_faster, device_name
from study import results
from study.data.category import Category
from study.params import ROOT
from study.tables import alarms, claims, paper
from study.tables.ablations import answer, missing, pixel_table, table4
from study.tables.format import counted, markdown
from study.tables.revisions import differing

PACKAGES = ("torch", "timm", "numpy", "scikit-learn", "scikit-image", "dvc", "papermill")
SMOKE = (
    "**A smoke run, not a result:** it shows that every stage works; networks, steps and seeds are "
    "too few to say anything about the method. "
)
NO_RESULT = (  # keys that name things, or change no result of the method
    *("study", "categories", "headline", "arithmetic.threads", "dataset.root", "dataset.ignore"),
    *("dataset.strict", "elpv", "textures.root", "teacher.weights", "running", "claims"),
    *("baseline", "calibration", "figures"),
)
HEADLINE_STAGES = (
    *("dataset", "student", "segmentation", "maps", "evaluation", "baseline", "calibration"),
)


SCALE = {  # keys that say most about the size of a run, in words
    "dataset.image_size": "image side",
    "teacher.backbone": "teacher",
    "students.full.width": "student width",
    "students.full.steps": "student steps",
    "students.full.batch_size": "images a student step",
    "segmentation.channels": "segmentation channels",
    "segmentation.steps": "segmentation steps",
    "segmentation.batch_size": "images a segmentation step",
}


def protocol(params):
    """One paragraph: benchmark, sizes, steps, seeds, device; what is named smoke is no result."""
    student, segmentation = params.students[params.headline], params.segmentation
    if (precision := params.arithmetic.precision) == "auto":
        precision = "bf16" if bf16_is_faster() else "fp32"  # the format that trains on this device
    return (SMOKE if params.study.endswith("_smoke") else "") + (
        f"Study {params.study}: {', '.join(params.categories)} from {params.dataset.root}, "
        f"{params.dataset.image_size}x{params.dataset.image_size}, "
        f"{counted(len(params.seeds), 'seed')}, "
        f"{student.steps} student steps of {student.batch_size} images and {segmentation.steps} "
        f"segmentation steps of {segmentation.batch_size}, teacher {params.teacher.backbone}; "
        f"trained in {precision}; last step, nothing chosen on test. "
        f"Device: {device_name()}. Python {platform.python_version()}, "
        f"{', '.join(f'{name} {version(name)}' for name in PACKAGES)}."
    )


def copy_headline_notebooks(params):
    """Copy the notebooks of first category, headline student, first seed beside the study's."""
    category, seed = params.categories[0], params.seeds[0]
    target, items = results.rendered(params.study), results.rendered("items")
    target.mkdir(parents=True, exist_ok=True)
    copied = []
    for stage in HEADLINE_STAGES:
        item = category
        if stage in ("student", "segmentation"):
            item = f"{category}-{results.item(params.headline, seed)}"
        copied.append(target / f"{stage}-{item}.ipynb")
        shutil.copyfile(items / stage / f"{item}.ipynb", copied[-1])
    return [path.relative_to(results.ROOT).as_posix() for path in copied]


def differences(root=ROOT):
    """Keys of params.yaml that differ from the paper's profile: `profiles/paper.yaml`, `here`."""
    yaml, shipped = YAML(typ="safe", pure=True), "profiles/paper.yaml"
    sides = {shipped: ROOT / shipped, "this study": root / "params.yaml"}
    table = differing({k: flatten(yaml.load(path.read_text("utf-8"))) for k, path in sides.items()})
    table = table.dropna()  # keys that both have
    return table[~table.index.str.startswith(NO_RESULT)].rename_axis("key")


def scale(found):
    """One sentence on how far the settings are from the paper's; empty where they are equal.

    found: of `differences`.
    """
    rows = found.itertuples(name=None)
    if not (parts := [f"{SCALE[k]} {here} ({there})" for k, there, here in rows if k in SCALE]):
        return ""
    return (
        "This run is not the paper's protocol. Here, with the paper's value in brackets: "
        f"{', '.join(parts)}. In all, {len(found)} settings differ. So a *no* here does not refute "
        "the paper."
    )


def misleading(categories):
    """Markdown blocks: what the stage `dataset` noted on each category's images, if anything."""
    notes = {name: Category.load(results.held_out(name)).notes for name in categories}
    lines = [f"- {name}: {note}" for name, found in notes.items() for note in found]
    return ["## What could mislead", "\n".join(lines)] if lines else []


def text(params, tables, notebooks, details=()):
    """reports/<study>/README.md: headline table, questions, figures, links to every notebook.

    details: more blocks of Markdown, to stand below the headline table.
    """
    up = os.path.relpath(results.ROOT, results.reports(params.study))
    beside = paper.quotes(tables.test.benchmark)  # else these notebooks have nothing to say
    stems = ("method", "ablations", "paper") if beside else ("method", "ablations")
    named = [f"rendered/{params.study}/{name}.ipynb" for name in stems]
    for kind in ("figures", "pro") if beside else ("figures",):
        named += [f"rendered/{params.study}/{kind}-{name}.ipynb" for name in params.categories]
    links = [f"- [{os.path.basename(path)}]({up}/{path})" for path in [*named, *notebooks]]
    figures = [f"![Hits, misses and false alarms: {name}](figures/{name}-outcomes.png)"
               for name in params.categories]  # fmt: skip
    found = list(claims.answers(tables, params.claims.smallest))
    pixels = pixel_table(tables)
    note = "" if tables.test.real_defects.all() else "; `_drawn`: drawn on good images, not real"
    differing = differences().rename(index="`{}`".format)
    budget = "### Where this study's parameters differ from the paper's", markdown(differing)
    blocks = [
        f"# Study `{params.study}`",
        protocol(params),
        answer(tables, found),
        "`run.md` gives the commit, parameters and wall time, once `make record` has written it.",
        "## Image AUROC on real defects (percent, mean ± standard deviation over seeds)",
        *([markdown(table)] if len(table := table4(tables)) else []),
        *missing(tables),
        *details,
        *([f"## Pixel metrics (percent{note})", markdown(pixels)] if len(pixels) else []),
        *alarms.sections(params.categories),
        "## The paper's questions, answered here",
        claims.rule(params.claims, found),
        markdown(claims.table(found)) if found else "No question can be answered.",
        *paper.sections(tables.test, paper.answer(tables.test)),
        *(budget if len(differing) and paper.applies(tables.test) else []),
        *figures,
        "## Notebooks\n\n" + "\n".join(links),
        "The other items' notebooks lie in DVC's cache and, after `dvc repro`, "
        f"in [rendered/items]({up}/rendered/items).",
        "Tables: [ablations.csv](ablations.csv) (test), [validation.csv](validation.csv), "
        "[baseline.csv](baseline.csv), [claims.csv](claims.csv).",
    ]
    return "\n\n".join(blocks) + "\n"
