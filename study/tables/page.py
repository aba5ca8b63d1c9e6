"""The page of a study, reports/<study>/README.md: protocol, answers, tables, figures, links."""

import os
import platform
import shutil
from importlib.metadata import version

from lib.devices import device_name
from study import results
from study.tables import answers, claims, paper
from study.tables.ablations import missing, pixel_table, table4
from study.tables.format import counted, markdown

PACKAGES = ("torch", "timm", "numpy", "scikit-learn", "scikit-image", "dvc", "papermill")
SMOKE = (
    "**A smoke run, not a result:** it shows that every stage works; networks, steps and seeds are "
    "too few to say anything about the method. "
)
HEADLINE_STAGES = ("dataset", "student", "segmentation", "maps", "evaluation", "baseline")


def protocol(params):
    """One paragraph: benchmark, sizes, steps, seeds, device; what is named smoke is no result."""
    student, segmentation = params.students[params.headline], params.segmentation
    return (SMOKE if params.study.endswith("_smoke") else "") + (
        f"Study {params.study}: {', '.join(params.categories)} from {params.dataset.root}, "
        f"{params.dataset.image_size}x{params.dataset.image_size}, "
        f"{counted(len(params.seeds), 'seed')}, "
        f"{student.steps} student and {segmentation.steps} segmentation steps of "
        f"{segmentation.batch_size} images, teacher {params.teacher.backbone}; last step, nothing "
        f"chosen on test. Device: {device_name()}. Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        + "."
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


def text(params, tables, notebooks):
    """reports/<study>/README.md: headline table, questions, figures, links to every notebook."""
    up = os.path.relpath(results.ROOT, results.reports(params.study))
    named = [f"rendered/{params.study}/{name}.ipynb" for name in ("method", "ablations", "paper")]
    for kind in ("figures", "pro"):
        named += [f"rendered/{params.study}/{kind}-{name}.ipynb" for name in params.categories]
    links = [f"- [{os.path.basename(path)}]({up}/{path})" for path in [*named, *notebooks]]
    figures = [f"![Hits, misses and false alarms: {name}](figures/{name}-outcomes.png)"
               for name in params.categories]  # fmt: skip
    found = list(claims.answers(tables, params.claims.smallest))
    pixels = pixel_table(tables)
    return (
        "\n\n".join(
            [
                f"# Study `{params.study}`",
                protocol(params),
                answers.ablations(
                    found, claims.reached(tables, (tables.student, "segmentation")), tables.student
                ),
                "Commit, parameters and wall time: `run.md`, once `make record` has written it.",
                "## Image AUROC on real defects (percent, mean ± standard deviation over seeds)",
                markdown(table4(tables)),
                *missing(tables),
                *(
                    [
                        "## Pixel metrics (percent; `_drawn`: drawn on good images, not real)",
                        markdown(pixels),
                    ]
                    if len(pixels)
                    else []
                ),
                "## The paper's questions, answered here",
                claims.rule(params.claims),
                markdown(claims.table(found)) if found else "No question can be answered.",
                *paper.sections(tables.test, answers.paper_figures(tables.test)),
                *figures,
                "## Notebooks\n\n" + "\n".join(links),
                "The other items' notebooks lie in DVC's cache and, after `dvc repro`, "
                f"in [rendered/items]({up}/rendered/items).",
                "Tables: [ablations.csv](ablations.csv) (test), [validation.csv](validation.csv), "
                "[baseline.csv](baseline.csv), [claims.csv](claims.csv).",
            ]
        )
        + "\n"
    )
