"""The site of a small made-up study: its files, and, where there is Chromium, what it does."""

import json
import re
import shutil
from dataclasses import replace
from unittest import mock
from urllib.parse import unquote

import pytest
import yaml
from bs4 import BeautifulSoup
from test_ablations import baseline_rows, draws_of, make_tables, rows
from test_notebooks import write_notebook
from test_scores import SETTINGS, category, leave

from study import params, results
from study.scoring import thresholds
from study.scoring.scores import MAPS, Scored, save, score
from study.scoring.view import View
from study.site import build, evidence, gallery
from study.site import rows as table_rows
from study.tables import ablations, paper
from study.tables import page as page_of

TOY = replace(SETTINGS, study="toy", categories=("nut", "bolt"), seeds=(0, 1))
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    "--disable-dev-shm-usage",  # small in containers
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1200, "height": 900}


def make_study(root, settings, frame=None, nearest=None, **kind):
    """Reports, notebooks and results as a run leaves them; bolt has masks of real defects.

    kind: options of test_scores.category.
    """
    with mock.patch.object(results, "ROOT", root):
        leave_study(root, settings, frame, nearest, kind)


def leave_study(root, settings, frame, nearest, kind):
    reports = results.reports(settings.study)
    frame = rows() if frame is None else frame
    tables = make_tables(frame, nearest, student=settings.headline)
    ablations.save_tables(tables, reports, settings.claims.smallest)
    (reports / "README.md").write_text(page_of.text(settings, tables, []))
    record = f"Code: commit `{COMMIT}`; parameters: x; rows `{ablations.fingerprint(reports)}`"
    (reports / "run.md").write_text(f"# How it was run\n\n{record}\n\n| a | b |\n|---|---|\n")
    shutil.copyfile(params.ROOT / "params.yaml", root / "params.yaml")
    (results.reports(settings.study) / "scores").mkdir(exist_ok=True)
    for name in ("ablations", "figures-nut", "figures-bolt", "figures-gone", "unknown-kind"):
        write_notebook(results.rendered(settings.study) / f"{name}.ipynb", f"About {name}?")
    for name in settings.categories:
        held_out = replace(category(**{"real_masks": name == "bolt"} | kind), category=name)
        held_out.save(results.dataset(name))
        items = [
            ({"student": student, "seed": seed, "map": kind}, maps)
            for (student, seed), both in leave(settings, held_out, noise=1.4).items()
            for kind, maps in both.items()
        ]
        images = score(held_out, items, settings).images
        left = {"evaluation": frame, "baseline": tables.baseline, "calibration": frame[:0]}
        for stage, found in left.items():
            found = found[found.category == name]
            scored = Scored(found, images, draws_of(found))
            save(scored, stage, name, settings.study)


def build_site(root, settings, target):
    with mock.patch.object(results, "ROOT", root):
        build.Site(settings, target).build()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    make_study(root, TOY)
    return root


@pytest.fixture(scope="module")
def built(study):
    build_site(study, TOY, study / "site")
    return study / "site"


def pages(folder):
    return {p.relative_to(folder).as_posix(): BeautifulSoup(p.read_text(), "html.parser")
            for p in sorted(folder.rglob("*.html"))}  # fmt: skip


def bytes_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- files ---


def test_pages(built):
    assert set(pages(built)) == {
        *("index.html", "gallery.html", "run.html", "category-nut.html", "category-bolt.html"),
        *(f"notebooks/{n}.html" for n in ("ablations", "figures-nut", "figures-bolt")),
        *(f"docs/{name}.html" for name in build.GUIDES),
    }


def test_nothing_is_loaded_from_elsewhere(built):
    for name, page in pages(built).items():
        for node in page.find_all(True):
            for key in ("src", "srcset", "poster", "data", "action", "style"):
                assert "//" not in node.get(key, "").split("base64,")[0], (name, node)
            if node.name == "link":
                assert not re.match(r"(\w+:)?//", node["href"]), (name, node)
    for name in ("site.css", "site.js"):
        text = (built / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|@import|url\(\s*[\"']?//|\bfetch\(|XMLHttp", text), name


def test_every_link_resolves(built):
    found = pages(built)
    for name, page in found.items():
        for node in page.find_all(["a", "link", "script", "img"]):
            target = node.get("href") or node.get("src") or ""
            if not target or re.match(r"https?:|data:", target):
                continue
            path, _, fragment = unquote(target).partition("#")
            here = (built / name).parent / path if path else built / name
            assert here.resolve().is_file(), (name, target)
            if fragment and "=" not in fragment:  # a filter of the gallery is no place
                other = found[here.resolve().relative_to(built.resolve()).as_posix()]
                assert other.find(id=fragment), (name, target)


def test_sheets_that_the_script_asks_for_exist(built):
    for name in TOY.categories:
        for kind in ("image", "mask", *(f"{kind}-{seed}" for kind in MAPS for seed in TOY.seeds)):
            assert (built / "images" / f"{name}-{kind}-0.webp").is_file()


def test_it_is_small(built):
    """Under 5 MB for the quick study."""
    assert sum(map(len, bytes_of(built).values())) < 450_000
    quick = params.ROOT / "site" / "quick"
    assert sum(map(len, bytes_of(quick).values())) < 5e6  # 0 where it was not built


def test_a_study_of_the_papers_benchmark_stands_beside_the_paper(study, tmp_path, monkeypatch):
    """Categories of MVTec AD get a page with the quoted tables."""
    monkeypatch.setattr(results, "ROOT", study)
    frame = rows(categories=("screw", "bottle")).assign(benchmark="mvtec")
    toy = build.Site(TOY, tmp_path)
    toy.tables = make_tables(frame, baseline_rows(categories=("screw", "bottle")))
    toy.record()
    quoted = pages(tmp_path)["paper.html"]
    assert len(quoted.find_all("table")) > 5 and "not measured" in quoted.get_text()
    assert "13 of MVTec AD's 15 categories." in list(build.not_measured(TOY, toy.tables))


def own(frame):
    """Rows of somebody's own parts."""
    return frame.assign(benchmark=frame.benchmark.str.replace("elpv", "parts")).query(
        "real_defects"
    )


def test_a_site_of_own_parts_mentions_neither_paper_figures_nor_other_data(tmp_path):
    """Also where a category is called as one of MVTec AD's: `tile` is somebody's own tile."""
    tile = replace(TOY, categories=("tile", "bolt"))
    frames = (own(f).replace({"category": {"nut": "tile"}}) for f in (rows(), baseline_rows()))
    make_study(tmp_path, tile, *frames, drawn=False)
    write_notebook(tmp_path / "rendered/toy/paper.ipynb", "Beside MVTec AD?")
    build_site(tmp_path, tile, tmp_path / "site")
    found = pages(tmp_path / "site")
    assert not {"paper.html", "notebooks/paper.html"} & set(found)
    for section in found["index.html"].select("section[aria-labelledby=trust]"):
        section.decompose()  # compares with the official code, whatever the images are
    report = (tmp_path / "reports/toy/README.md").read_text()
    texts = {name: page.main.get_text() for name, page in found.items() if name != "run.html"}
    for name, text in (texts | {"report": report}).items():
        for word in ("MVTec", "quoted", "solar", "cell", "drawn", "the paper:", "as in the paper"):
            assert word not in text, (name, word)
    assert "Does denoising help here?" in report and "59.2" in report


def test_a_category_page_has_the_notes_and_the_table_by_defect(built):
    page = pages(built)["category-nut.html"].get_text()
    assert "Test images by type of defect" in page and "image AUROC, cosine" in page


def test_ids_are_unique_and_every_page_has_one_title(built):
    for name, page in pages(built).items():
        ids = [node["id"] for node in page.find_all(id=True)]
        assert len(ids) == len(set(ids)), name
        assert len(page.find_all("h1")) == 1 and page.html["lang"] == "en" and page.title, name


def test_equal_results_give_equal_bytes(study, built, tmp_path):
    build_site(study, TOY, tmp_path / "again")
    assert bytes_of(tmp_path / "again") == bytes_of(built)


def test_a_rebuilt_site_keeps_no_page_of_the_last(study, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "old.html").write_text("old")
    build_site(study, TOY, tmp_path / "site")
    assert not (tmp_path / "site" / "old.html").exists()


def test_the_first_question_is_answered_first(built):
    page = pages(built)["index.html"]
    first = page.select_one("main h3")
    assert first.get_text() == "Does denoising help here?"
    # test_ablations's rows: with a decoder +1 in every seed; pixel AP and IAP are all equal.
    words = first.find_next("p", class_="verdict").get_text()
    assert words.startswith("Yes for image AUROC; no difference beyond 0.5 points for pixel AP")
    sentence = first.find_next("p", class_="verdict").find_next("p").get_text()
    assert "Yes: +1.0 points [+1.0, +1.0] over seeds, [+1.0, +1.0] over images" in sentence
    assert "as in the paper (+0.9)" in sentence
    assert "at least 0.5 points" in page.find(id="claims").find_parent("section").get_text()
    lead = page.select_one("h1").find_next_sibling("p").get_text()
    assert lead.lstrip().startswith("Yes for all 5 questions, in image AUROC.")
    assert "The full method reaches 59.2 [59.2, 59.2] percent image AUROC" in lead
    assert "It differs from the teacher alone (nearest neighbour) by +4.2 points [" in lead
    assert len(page.select("main .claim")) == 5


def test_every_table_of_numbers_says_what_it_is(built):
    for name in ("index.html", "category-nut.html"):
        for caption in pages(built)[name].find_all("caption"):
            text = caption.get_text()
            if caption.find_parent("section")["aria-labelledby"] in ("trust", "missed"):
                continue  # no figures of the benchmark
            for words in ("Benchmark: elpv", "2 seeds (0, 1)", "Toy CPU"):
                assert words in text, (name, text)


def test_evidence_names_parameters_commit_and_notebook(built):
    for name in ("index.html", "category-nut.html", "gallery.html"):
        for line in pages(built)[name].select(".evidence"):
            targets = [link["href"] for link in line.find_all("a")]
            assert any("#params-" in target for target in targets), name
            assert "run.html#commit" in targets and targets[-1].startswith("notebooks/"), name
            assert COMMIT[:10] in line.get_text()


def test_every_parameter_is_printed_under_its_key(built):
    page = pages(built)["run.html"]
    text = (params.ROOT / "params.yaml").read_text()
    for key in yaml.safe_load(text):
        assert page.find(id=f"params-{key}").find_next("pre").get_text().startswith(f"{key}:")
    assert "\n".join(pre.get_text() for pre in page.find_all("pre")).split() == text.split()


def test_a_smoke_run_says_so_on_every_page(tmp_path):
    smoke = replace(TOY, study="toy_smoke")
    make_study(tmp_path, smoke)
    build_site(tmp_path, smoke, tmp_path / "site")
    for name, page in pages(tmp_path / "site").items():
        banner = page.main.find(True)
        assert "A smoke run, not a result" in banner.get_text(), name


def test_what_was_not_measured_is_said(built):
    text = pages(built)["index.html"].find(id="open").find_parent("section").get_text()
    for words in ("MVTec AD", "No pixel metrics on elpv: ", "tables 5 and 6"):
        assert words in text


def test_the_first_page_explains_the_method_and_why_to_trust_it(built):
    page = pages(built)["index.html"]
    assert page.find("img", src="images/architecture.svg")["alt"]
    section = page.find(id="trust").find_parent("section")
    first, *others = section.find("table").tbody.find_all("tr")
    measured = evidence.CHECKS.read_text("utf-8").splitlines()[1:]
    assert first.td.get_text() == "make study" and len(others) == len(measured)
    assert f"recorded at commit {COMMIT[:10]}" in section.get_text()
    assert len(page.select("#deviations tbody tr")) == len(paper.deviations())
    cite = page.find(id="cite").find_parent("section")
    assert cite.find("a", href="https://arxiv.org/abs/2211.11317")
    files = {link["href"] for link in cite.find_all("a", download=True)}
    assert files == {f"data/{path.name}" for path in (built / "data").iterdir()}


def test_a_notebook_page_leads_to_its_neighbours(built):
    page = pages(built)["notebooks/figures-bolt.html"]
    assert page.find("a", rel="prev")["href"] == "ablations.html"
    assert page.find("a", rel="next")["href"] == "figures-nut.html"
    assert page.find("a", download=True)["href"] == "figures-bolt.ipynb"


OPTIONAL = {
    "no masks": {"frame": lambda: rows().assign(**dict.fromkeys(PIXELS)), "real_masks": False},
    "no validation": {"frame": lambda: rows().query("split == 'test'"), "validation": False},
    "no drawn defects": {"frame": lambda: rows().query("real_defects"), "drawn": False},
    "nothing to test in bolt": {"frame": lambda: rows(categories=("nut",))},
    "nothing to test": {"frame": lambda: rows()[:0]},
    "no baseline": {"nearest": lambda: baseline_rows()[:0]},
    "one seed": {"frame": lambda: rows(seeds=(0,)), "seeds": (0,)},
    "one student": {"frame": lambda: rows().query("student == 'plain'"), "headline": "plain",
                    "students": {"plain": TOY.students["plain"]}},
}  # fmt: skip
PIXELS = ("pixel_auroc", "pixel_ap", "pro", "iap", "iap90")


@pytest.mark.parametrize("case", OPTIONAL)
def test_every_optional_input_may_be_missing(case, tmp_path):
    given = {key: value() if callable(value) else value for key, value in OPTIONAL[case].items()}
    settings = {k: given.pop(k) for k in ("seeds", "headline", "students") if k in given}
    settings = replace(TOY, **settings)
    make_study(tmp_path, settings, **given)
    build_site(tmp_path, settings, tmp_path / "site")
    found = pages(tmp_path / "site")
    assert {"index.html", "category-nut.html", "category-bolt.html"} <= set(found)
    assert "nan" not in found["index.html"].get_text().replace("nano", "")
    galleries = json.loads(found["gallery.html"].find(id="galleries").string)
    levels = [level for one in galleries for kind in one["threshold"].values() for level in kind]
    chosen = {level is None for level in levels}
    assert chosen == {case == "no validation"}


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("drawn", [True, False])
def test_masks_and_drawn_defects_are_mentioned_as_they_are(masks, drawn):
    known = dict.fromkeys(PIXELS, 0.9) if masks else {}
    frames = [
        frame if drawn else frame.query("real_defects") for frame in (rows(), baseline_rows())
    ]
    tables = make_tables(*(f.fillna({k: v for k, v in known.items() if k in f}) for f in frames))
    unknown = "No pixel metrics on elpv: not every defective test image has a mask"
    said = " ".join(build.not_measured(TOY, tables))
    assert (unknown in said) != masks and "drawn" not in said.lower()
    found = table_rows.pixel_results(tables)
    assert (found is not None) == (masks or drawn)
    assert not found or ("defects drawn on good images" in found["note"]) == drawn


def test_parameter_blocks():
    text = "# about\n# more\n\na: 1 # x\nb:\n  c: 2\n\n  d: 3\n"
    found = [("about", "# about\n# more"), ("a", "a: 1 # x"), ("b", "b:\n  c: 2\n\n  d: 3")]
    assert list(build.parameter_blocks(text)) == found


# --- behaviour, in a browser ---


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, built):
    """visit(page, size, scheme) opens it from disk; at the end nothing may have gone wrong."""
    faults, contexts = [], []

    def go(name, size=DESK, scheme="light"):
        contexts.append(chromium.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)  # a busy machine is no fault
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("requestfailed", lambda request: faults.append(request.url))
        page.on("request", lambda request: faults.append(request.url)
                if not request.url.startswith(("file:", "data:")) else None)  # fmt: skip
        page.goto(f"{built.resolve().as_uri()}/{name}")
        return page

    yield go
    for context in contexts:
        context.close()
    assert not faults


ALL = ("index.html", "category-nut.html", "gallery.html", "run.html", "notebooks/ablations.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ALL)
def test_everybody_can_read_it(visit, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = visit(name, scheme=scheme)
    for details in page.query_selector_all("details"):
        details.evaluate("node => node.open = true")
    found = axe.Axe().run(page, options={"preload": False})  # else it asks for the CSS itself
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("name", ALL)
def test_a_phone_scrolls_down_only(visit, name):
    page = visit(name, PHONE)
    for details in page.query_selector_all("details"):
        details.evaluate("node => node.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_answer_stands_on_the_first_screen(visit):
    for size in (PHONE, DESK):
        box = visit("index.html", size).locator("#denoising .verdict").bounding_box()
        assert box["y"] + box["height"] <= size["height"]


@pytest.mark.parametrize("name", ALL)
def test_it_loads_within_a_second(visit, name):
    """The best of three visits: a busy machine is no fault of the page."""
    timing = "performance.getEntriesByType('navigation')[0].loadEventEnd"
    assert min(visit(name).evaluate(timing) for _ in range(3)) < 1000


def test_paper_gets_what_is_folded_away(visit):
    page = visit("index.html")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#deviations table").is_visible()


def test_tables_sort_by_click_and_by_key(visit):
    page = visit("index.html")
    table = page.locator("table.sortable", has=page.locator("caption", has_text="on real defects."))
    head = table.locator("th", has_text="nut test")
    column = table.locator("tbody tr td:nth-child(2)")

    def numbers():
        return [float(text.split()[0]) for text in column.all_inner_texts()]

    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    assert numbers() == sorted(numbers(), reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")  # the button has the focus
    assert numbers() == sorted(numbers()) and head.get_attribute("aria-sort") == "ascending"
    paper = table.locator("th", has_text="paper")
    paper.get_by_role("button").press("Space")
    assert head.get_attribute("aria-sort") == "none"
    assert table.locator("tbody tr").last.locator("td").last.inner_text() == "–"


def test_curves_tell_their_values(visit):
    page = visit("category-nut.html")
    chart = page.locator("figure.chart").first
    assert "at false-positive rate 0.1" in chart.locator(".values").inner_text()
    chart.locator("svg").first.hover()  # its middle
    text = chart.locator(".values").inner_text()
    assert "at false-positive rate 0.1\n" not in text
    slider = chart.get_by_role("slider")
    slider.focus()
    page.keyboard.press("End")
    said = slider.get_attribute("aria-valuetext")
    assert said == "false-positive rate 1: cosine 1, segmentation 1"


def expected(study, kind, name="nut"):
    """Outcome of each real test image, by scores.py."""
    with mock.patch.object(results, "ROOT", study):
        view = View.load(name, TOY)
        scores = view.scores(0, kind)
    words = thresholds.outcomes(scores, view.held_out.labels, view.cut(scores))[view.real]
    translated = {
        "true positive": "hit",
        "false negative": "miss",
        "false positive": "false-alarm",
        "true negative": "correct-rejection",
    }
    return dict(zip(view.held_out.names[view.real], map(translated.get, words), strict=True))


def shown(page):
    items = page.locator("#images > li").all()
    return {i.get_attribute("data-name"): i.get_attribute("data-outcome") for i in items}


def test_gallery_begins_with_the_validation_threshold(visit, study):
    page = visit("gallery.html")
    assert shown(page) == expected(study, "segmentation")
    assert "from validation" in page.locator("#value").inner_text()
    page.get_by_label("Score from").select_option("cosine")
    assert shown(page) == expected(study, "cosine")


def test_threshold_changes_outcomes(visit, study):
    page = visit("gallery.html")
    slider = page.locator("#threshold")
    slider.focus()
    page.keyboard.press("Home")
    assert set(shown(page).values()) == {"hit", "false-alarm"}
    page.keyboard.press("End")
    assert set(shown(page).values()) == {"miss", "correct-rejection"}
    status = page.get_by_role("status").inner_text()
    assert "3 misses, 0 false alarms, 0 hits, 6 correct rejections" in status
    assert "3 misses" in slider.get_attribute("aria-valuetext")
    page.get_by_role("button", name="Back to the first threshold").click()
    assert shown(page) == expected(study, "segmentation")


def test_filters(visit, study):
    page = visit("gallery.html")
    page.get_by_label("Correct rejection").uncheck()
    page.get_by_label("False alarm").uncheck()
    whole = expected(study, "segmentation")
    assert shown(page) == {k: v for k, v in whole.items() if v in ("hit", "miss")}
    for box in ("Correct rejection", "False alarm"):
        page.get_by_label(box).check()
    masks = page.get_by_role("img", name="mask of")
    page.get_by_label("Defect type").select_option("drawn_crack")
    assert len(shown(page)) == masks.count() == 3, "drawn defects have masks"
    page.get_by_label("Defect type").select_option("scratch")
    assert len(shown(page)) == 3 and masks.count() == 0, "real ones have none here"
    page.get_by_label("Category").select_option("bolt")
    whole = expected(study, "segmentation", name="bolt")
    assert shown(page) == whole
    assert masks.count() == sum(word in ("hit", "miss") for word in whole.values())


def test_the_page_begins_with_misses_nearest_to_the_threshold(visit, study):
    page = visit("gallery.html")
    order = ["miss", "false-alarm", "hit", "correct-rejection"]
    places = [min(order.index(word), 2) for word in shown(page).values()]
    assert places == sorted(places)
    with mock.patch.object(results, "ROOT", study):
        view = View.load("nut", TOY)
        scores = view.scores(0, "segmentation")
        far = dict(zip(view.held_out.names, abs(scores - view.cut(scores)), strict=True))
    rest = [name for name, word in shown(page).items() if word in order[2:]]
    assert rest == sorted(rest, key=far.get)


def of_every_seed(study, name):
    """Outcomes of each real test image by seed, each seed with its own threshold."""
    with mock.patch.object(results, "ROOT", study):
        rated = thresholds.table(View.load(name, TOY).images, "full")
    return thresholds.missed(rated).index.tolist(), rated


def test_images_that_every_seed_misses_are_a_filter(visit, study):
    for name in TOY.categories:
        page = visit(f"gallery.html#category={name}&every=miss")
        missed, _ = of_every_seed(study, name)
        assert sorted(shown(page)) == sorted(missed)
        said = visit(f"category-{name}.html").locator("#missed + *").inner_text()
        many = f"No seed finds {len(missed)} of" if missed else "found by at least one seed"
        assert many in said


def test_each_seed_has_its_scores_and_maps(visit, study):
    page = visit("gallery.html")
    page.get_by_label("Seed", exact=True).select_option("1")
    with mock.patch.object(results, "ROOT", study):
        view = View.load("nut", TOY)
        scores = view.scores(1, "segmentation")
        words = thresholds.outcomes(scores, view.held_out.labels, view.cut(scores))[view.real]
    hits = [
        n for n, w in zip(view.held_out.names[view.real], words, strict=True) if w[5:] == "positive"
    ]
    alarms = [n for n, w in shown(page).items() if w in ("hit", "false-alarm")]
    assert sorted(alarms) == sorted(hits)
    style = page.locator("#images .tile").nth(2).get_attribute("style")
    assert "segmentation-1-0.webp" in style or "cosine-1-0.webp" in style


def test_the_address_keeps_the_filters(visit):
    page = visit("gallery.html")
    page.get_by_label("Category").select_option("bolt")
    page.get_by_label("Order").select_option("low")
    page.get_by_label("Correct rejection").uncheck()
    page.locator("#threshold").focus()
    page.keyboard.press("Home")
    before, name = shown(page), page.url.rpartition("/")[2]
    assert "category=bolt&order=low&outcome=miss,false-alarm,hit&threshold=0" in name
    again = visit(name)
    assert shown(again) == before and again.get_by_label("Order").input_value() == "low"


def test_a_picture_opens_larger_and_the_arrows_go_on(visit):
    page = visit("gallery.html")
    names = list(shown(page))
    page.locator("#images .pictures").first.click()
    dialog = page.get_by_role("dialog")
    assert names[0] in dialog.locator("h2").inner_text()
    assert dialog.locator("tbody tr").count() == len(TOY.seeds)
    page.keyboard.press("ArrowRight")
    assert names[1] in dialog.locator("h2").inner_text()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_images_that_tie_are_ordered_by_the_other_map(chromium, built, tmp_path):
    """Highest first: a saturated map, all scores 1, leaves the order to the cosine map."""
    shutil.copytree(built, tmp_path / "site")
    path = tmp_path / "site" / "gallery.html"
    soup = BeautifulSoup(path.read_text(), "html.parser")
    data = json.loads(soup.find(id="galleries").string)
    for image in data[0]["images"]:
        image["scores"]["segmentation"] = [1.0, 1.0]
    soup.find(id="galleries").string = json.dumps(data)
    path.write_text(str(soup))
    page = chromium.new_page()
    page.goto(f"{path.as_uri()}#order=high")
    cosine = {image["name"]: image["scores"]["cosine"][0] for image in data[0]["images"]}
    assert list(shown(page)) == sorted(shown(page), key=cosine.get, reverse=True)
    page.close()


def test_each_tile_shows_its_place_in_its_sheet(chromium, study, tmp_path, monkeypatch):
    """In sheets of 2 x 2 tiles, the script finds number, row and column."""
    monkeypatch.setattr(gallery, "COLUMNS", 2)
    monkeypatch.setattr(gallery, "ROWS", 2)
    build_site(study, TOY, tmp_path)
    page = chromium.new_page()
    page.goto(f"{tmp_path.as_uri()}/gallery.html")
    page.get_by_label("Defect type").select_option("all")
    (nut,) = (
        one
        for one in json.loads(page.locator("#galleries").text_content())
        if one["category"] == "nut"
    )
    names, last = [image["name"] for image in nut["images"]], len(nut["images"]) - 1
    for item in page.locator("#images > li").all():
        index = names.index(item.get_attribute("data-name"))
        number, here = divmod(index, 4)
        rows = 1 if number == last // 4 and last % 4 < 2 else 2
        style = item.locator(".tile").first.get_attribute("style")
        place = f"{here % 2 * 100}% {here // 2 * 100}%"
        assert f"images/nut-image-{number}.webp" in style
        assert f"200% {rows * 100}%" in style and f"position: {place}" in style
    page.close()


def test_a_link_can_ask_for_a_category_and_an_outcome(visit, study):
    page = visit("gallery.html#category=bolt&outcome=false-alarm")
    whole = expected(study, "segmentation", name="bolt")
    assert shown(page) == {k: v for k, v in whole.items() if v == "false-alarm"}


def test_the_keyboard_reaches_content_and_shows_where_it_is(visit):
    page = visit("index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert page.evaluate("document.activeElement.className") == "brand" and outline == "solid"


def test_pages_can_be_read_without_script(chromium, built):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{built.resolve().as_uri()}/index.html")
    assert page.locator("#denoising .verdict").is_visible()
    assert page.locator("table.sortable tbody tr").count() > 10
    context.close()
