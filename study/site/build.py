"""The study as a static site, to be opened from disk: no server, no network, no clock.

    python -m study.site.build                  # the stage `site`: writes site/<study>/

Numbers come from the tables in reports/<study>/ and from the maps in results/, through the same
functions as the notebooks; study/site/templates/ holds the pages' words and looks. The commit of
the run comes from run.md. Beside it stands the last commit of the code that built the site; git
is called only if there is a run.md, so the bytes of an unrecorded run depend on its results only.
"""

import re
import shutil
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from study import leftovers, params, results
from study.params import ROOT
from study.scoring.view import View
from study.site import evidence, gallery, rows
from study.site.notebooks import bare, markdown, notebook
from study.tables import ablations, claims, page, paper
from study.tables.format import brackets, level, method_name, plain, signed, upper

TEMPLATES = ROOT / "study" / "site" / "templates"
ABOUT_PAPER = ("paper", "pro")  # not shown beside a user's own parts
GUIDES = {  # pages of the repository, not shown there either
    "rerun": ROOT / "docs/rerun.md",
    "log": ROOT / "docs/log.md",
    "beyond": ROOT / "reports/beyond/README.md",
}
CHECKED = (
    "The machine did other work as well, so the minutes are upper bounds. Without the official "
    "code's reference cases, the tests that need them are skipped."
)
DEVIATIONS = "Paper, official code and this study"


def code(sentence):
    """A sentence whose `names` are set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))


def headline(tables, answers):
    """What the first sentences say: the verdict, the method's image AUROC, its gain on the teacher.

    None where the method has no rows on real defects.
    """
    if (found := claims.reached(tables)) is None:
        return None
    baseline = [one for claim in answers if claim["key"] == "baseline" for one in claim["first"]]
    return {
        "verdict": claims.overall(answers),
        "name": upper(method_name(tables.student)),
        "level": level(*found),
        "interval": found[1] is not None,
        "baseline": next((one for one in baseline if one.metric == "image_auroc"), None),
    }


def not_measured(settings, tables):
    """Sentences on what this study leaves open."""
    test, run = tables.test, len(paper.categories_run(paper.rows_of(tables.test)))
    public = paper.quotes(test.benchmark)
    if public and not paper.applies(test):
        yield (
            "The paper's benchmark, MVTec AD. The paper's figures are quoted beside ours to "
            "compare effects, not levels."
        )
    elif public and run < len(paper.CATEGORIES):
        yield f"{len(paper.CATEGORIES) - run} of MVTec AD's {len(paper.CATEGORIES)} categories."
    yield from ablations.missing(tables)
    if public and not settings.heads:
        yield "The paper's tables 5 and 6: other losses and inputs of the segmentation network."
    if len(settings.seeds) == 1:
        yield "The spread over seeds, because there is one seed."
    if "device" in test and test.device.str.contains("no GPU").all():
        yield "Results on a GPU, because everything ran on the CPU."


def beyond():
    """(question, answer) of the page that study/beyond/summary.py writes."""
    sections = GUIDES["beyond"].read_text(encoding="utf-8").split("\n## ")[1:]
    pairs = (section.split("\n\n", 1) for section in sections)
    return [(question, markdown(answer)) for question, answer in pairs]


def parameter_blocks(text):
    """(key, lines) of each top-level key of a params file; comments go with what they precede."""
    blocks = re.split(r"^(?=\w+:)", text, flags=re.MULTILINE)
    yield "about", blocks[0].strip()
    for block in blocks[1:]:
        yield block.partition(":")[0], block.rstrip()


def notebooks(folder, categories):
    """Rendered notebooks to show: (name, path, its question), as notebooks/README.md lists them.

    Those of other categories are leftovers.
    """
    listed = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    for kind, question in re.findall(r"\[(\w+)\]\(\w+\.ipynb\): (.+)", listed):
        for path in sorted(folder.glob(f"{kind}*.ipynb")):
            named, category, *_ = f"{path.stem}-".split("-")
            if named == kind and category in ("", *categories):
                yield path.stem, path, question


class Site:
    """Pages of one study."""

    def __init__(self, settings, target):
        self.settings, self.target = settings, target
        self.tables, self.missed, self.notes = ablations.collect(settings), [], []
        self.notebooks = list(notebooks(results.rendered(settings.study), settings.categories))
        if not (public := paper.quotes(self.tables.test.benchmark)):
            self.notebooks = [one for one in self.notebooks if not one[0].startswith(ABOUT_PAPER)]
        self.reports = results.reports(settings.study)
        self.run, self.facts = evidence.run(self.reports)
        protocol = (self.reports / "README.md").read_text(encoding="utf-8").split("\n\n")[1]
        self.templates = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        compact = {"separators": (",", ":"), "allow_nan": False}  # of the filter tojson
        self.templates.policies["json.dumps_kwargs"] = compact
        filters = (signed, brackets, plain, code)
        self.templates.filters |= {one.__name__: one for one in filters}
        self.templates.globals |= {
            "settings": settings,
            "smoke": protocol.startswith(page.SMOKE),
            "protocol": protocol.removeprefix(page.SMOKE),
            "commit": self.facts["commit"],
            "provenance": evidence.provenance(self.reports, self.facts["commit"]),
            "notebooks": [(name, about) for name, _, about in self.notebooks],
            "beside_paper": paper.applies(self.tables.test),
            "quotes_paper": public,
            "guides": GUIDES if public else {},
            "beyond": beyond() if public else [],
        }

    def write(self, name, template, /, **content):
        path = self.target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        filled = self.templates.get_template(template)
        up = "../" * name.count("/")
        path.write_text(filled.render(up=up, page=name, **content), encoding="utf-8")

    def build(self):
        """Write the whole site."""
        shutil.rmtree(self.target, ignore_errors=True)
        self.target.mkdir(parents=True)
        for name in ("site.css", "site.js"):
            shutil.copyfile(TEMPLATES / name, self.target / name)
        galleries = [*map(self.category, self.settings.categories)]
        scale = gallery.colours()
        self.write("gallery.html", "gallery.html", galleries=galleries, scale=scale)
        self.record()
        self.guides()
        self.notebook_pages()
        self.index()

    def guides(self):
        """The repository's guides that the first page links to."""
        for name, path in self.templates.globals["guides"].items():
            text = path.read_text(encoding="utf-8")
            title, _, text = text.removeprefix("# ").partition("\n")
            self.write(f"docs/{name}.html", "text.html", title=title, body=markdown(text))

    def notebook_pages(self):
        """A page for each rendered notebook, and the notebook without outputs to download."""
        known = [name for name, _, _ in self.notebooks]
        for place, (name, path, _) in enumerate(self.notebooks):
            title, body, contents = notebook(path, known)
            before, _, after = [None, *known, None][place : place + 3]
            self.write(
                f"notebooks/{name}.html", "notebook.html", name=name, title=title,
                body=body, contents=contents, previous=before, following=after,
            )  # fmt: skip
            (self.target / "notebooks" / f"{name}.ipynb").write_text(bare(path), encoding="utf-8")

    def method(self):
        """Copy both figures of the method; returns whether `explore` left the one with images."""
        figures = ROOT / "docs" / "architecture.svg", self.reports / "figures" / "overview.png"
        for path in filter(Path.exists, figures):
            shutil.copyfile(path, self.target / "images" / path.name)
        return figures[1].exists()

    def numbers(self, tables):
        """The rows of a study or a category: answers, the rule, tables, and what they describe."""
        found = list(claims.answers(tables, self.settings.claims.smallest))
        return {
            "answers": found,
            "rule": markdown(claims.rule(self.settings.claims, found)),
            "about": rows.benchmark_line(ablations.real(tables.test)),
            "results": rows.results(tables),
            "pixels": rows.pixel_results(tables),
        }

    def front(self):
        """What the first page and the PDF tell."""
        numbers = self.numbers(self.tables)
        found = headline(self.tables, numbers["answers"])
        checks = evidence.checks(self.facts, found and f"image AUROC {found['level']} %")
        return numbers | {
            "headline": found,
            "overview": self.method(),
            "open": list(not_measured(self.settings, self.tables)),
            "checks": rows.table(checks, "What a command checks", CHECKED, words=str),
            "deviations": rows.table(paper.deviations(), DEVIATIONS, words=str),
            "citation": evidence.citation(),
        }

    def index(self):
        tables, study, commit = self.tables, self.settings.study, self.facts["commit"]
        evidence.downloads(tables, study, commit, self.reports, self.target / "data")
        differing = page.differences(results.ROOT)
        if not self.templates.globals["quotes_paper"]:
            differing = differing[:0]  # nothing to be compared with
        self.write(
            "index.html", "index.html", **self.front(),
            scale=markdown(page.scale(differing)),
            differing=rows.table(differing, "Settings that differ", words=str),
            drawn=not tables.test.real_defects.all(),
            notes=[f"{one}: {note}" for one, note in self.notes],
            missed=self.missed, downloads=evidence.DOWNLOADS, facts=self.facts,
        )  # fmt: skip

    def category(self, name):
        """A category's page and sheets; returns what the gallery needs of it."""
        tables, view = self.tables.only(name), View.load(name, self.settings)
        self.missed.append(rows.missed(view))
        self.notes += [(name, note) for note in view.held_out.notes]
        gallery.save_sheets(view, self.target / "images")
        self.write(
            f"category-{name}.html", "category.html", name=name, **self.numbers(tables),
            notes=view.held_out.notes, missing=list(ablations.missing(tables)),
            defects=rows.by_defect(tables, view), missed=self.missed[-1],
            charts=list(gallery.charts(view, self.settings.seeds[0])),
        )  # fmt: skip
        return gallery.facts(view)

    def record(self):
        """Parameters, commit and protocol; beside the paper's figures where they are comparable."""
        text = (results.ROOT / "params.yaml").read_text(encoding="utf-8")
        blocks = list(parameter_blocks(text))
        self.write("run.html", "run.html", blocks=blocks, run=markdown(self.run))
        if blocks := paper.sections(self.tables.test, paper.answer(self.tables.test)):
            body = markdown("\n\n".join(blocks))
            self.write("paper.html", "text.html", title="Beside the paper", body=body)


def main():
    settings = params.load()
    target = ROOT / "site" / settings.study
    of_study = [f"{name}/{settings.study}" for name in ("metrics", "rendered", "reports")]
    stages = [f"results/{name}" for name in ("dataset", "student", "segmentation", "maps")]
    leftovers.remove([*of_study, "rendered/items", *stages])
    Site(settings, target).build()
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"site/{settings.study}/index.html, {size / 1e6:.1f} MB in all")


if __name__ == "__main__":
    main()
