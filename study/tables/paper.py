"""The paper's tables, quoted, with ours beside them: MVTec AD, all figures in percent.

`test` is the frame of reports/<study>/ablations.csv (values 0..1); only rows on real defects count.
Quoted figures lie in paper/*.csv, each with its source. Nothing is guessed: what was not run is
"not measured", what was never published is "–".
"""

from functools import cache

import pandas as pd

from study.params import ROOT
from study.scoring.metrics import METRICS
from study.tables.format import counted, markdown, over_seeds, plus_minus, signed

CATEGORIES = (
    *("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut", "pill"),
    *("screw", "tile", "toothbrush", "transistor", "wood", "zipper"),
)
NAMES = {key: metric.label for key, metric in METRICS.items() if key != "pro"}  # the paper's
METHOD = ("full", "segmentation")  # student and map that are DeSTSeg itself
HEAD = "segmentation, "  # and the name of a declared head: its `map` in the tables
PUBLIC = ("mvtec", "elpv")  # benchmarks whose effects are compared with the paper's
ROUNDING = 0.05  # half of the last digit of a quoted figure
WITHIN = "within 2 × the paper's standard deviation + 0.05"
SETTINGS = (
    "The paper used ResNet-18, 256x256 pixels and 1,000 + 4,000 steps of 32 images. Where this "
    "study's settings differ, a difference between the figures is no evidence against the paper."
)
INSIDE = (
    "*Yes* means that our mean lies within two of the paper's standard deviations over its seeds, "
    "plus 0.05 for rounding; – means that the paper gives no deviation. The authors publish no "
    "image AUROC by category, so these figures are quoted from the run of MambaAD's authors."
)
REMEASURED = (
    "The paper gives no PRO. Two groups measured it for the same method, and their figures differ "
    "by 8 points; the notebook `pro` shows how far the way of reading a map can move the figure. "
    "Neither is firm evidence: MambaAD's is one run, and BaoIAD says that its own DeSTSeg summary "
    "is not fresh evidence. Figures that anomalib's AUPRO produced up to version 2.2 were too high "
    "(anomalib's issue 3718); the official code contains the class of version 0.4.0. We know of no "
    "published re-run of the official code with several seeds."
)
NONE, UNKNOWN = "not measured", "–"


@cache
def quoted(name):
    """The rows of paper/<name>.csv; read once, so never change them in place."""
    return pd.read_csv(ROOT / "paper" / f"{name}.csv", comment="#")


def paper_table4():
    """The paper's table 4, quoted, indexed by student and map, in percent."""
    return quoted("table4").set_index(["student", "map"])


@cache
def quoted_rows():
    """Tables 4 to 6, quoted, indexed by student and map as in ours, in percent."""
    heads = quoted("tables5_6").drop_duplicates("head").query("head != 'product'")
    heads = heads.assign(student=METHOD[0], map=HEAD + heads["head"])
    return pd.concat(
        [paper_table4(), heads.set_index(["student", "map"])[["image_auroc", "pixel_ap", "iap"]]]
    )


@cache
def quoted_figures():
    """Tables 1 to 3 and the re-runs in one, by (method or authors of a re-run, category)."""
    tables = [quoted("table1").assign(category="mean"), quoted("table2"), quoted("table3")]
    again = quoted("remeasured").rename(columns={"source": "method"})
    return pd.concat([*tables, again]).groupby(["method", "category"], sort=False).first()


def published(method, metric):
    """Quoted mean and deviation, a row for each category and `mean`; NaN: not given.

    method: of tables 1 to 3; or MambaAD or BaoIAD, who ran DeSTSeg again.
    """
    found = quoted_figures().loc[method].reindex([*CATEGORIES, "mean"])
    return found[[metric, f"{metric}_std"]].set_axis(["value", "deviation"], axis="columns")


def quoted_method(metric):
    """`published` of DeSTSeg; image AUROC by category is MambaAD's: the authors give its mean."""
    found = published("DeSTSeg", metric)
    if metric == "image_auroc":
        found["value"] = found["value"].fillna(published("MambaAD", metric)["value"])
    return found


def real(frame):
    """Rows scored on real defects; an empty frame stays one."""
    return frame[frame.real_defects.astype(bool)]


def together(*frames):
    """Frames below each other; empty ones, whose columns have no types, are left out."""
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1])


def rows_of(test, student=METHOD[0], kind=METHOD[1]):
    """Rows of one student and map on real defects."""
    return real(test[(test.student == student) & (test["map"] == kind)])


def seed_means(rows, metric, categories):
    """Percent, a Series by seed: the mean over the categories, of the seeds that ran them all.

    Raises ValueError where a category and seed occur twice.
    """
    scores = rows.pivot(index="seed", columns="category", values=metric)
    scores = scores.reindex(columns=list(categories)).astype(float)
    return scores.dropna().mean(axis=1) * 100


def ours(rows, metric, categories):
    """`93.1 ± 0.4`, mean and deviation over seeds, or "not measured" and how far it got."""
    means = seed_means(rows, metric, categories)
    if len(means):
        return over_seeds(means)
    known = rows[rows[metric].notna() & rows.category.isin(categories)]
    most = known.groupby("seed").size().max() if len(known) else 0
    return f"{NONE}: {most} of {len(categories)} categories" if most else NONE


def categories_run(rows):
    """Those of the 15 categories that have rows, in the paper's order."""
    found = set(rows.category)
    return [name for name in CATEGORIES if name in found]


def applies(test):
    """Whether these are rows of MVTec AD; a `tile` of other images is a user's own part."""
    own = test.benchmark.str.removesuffix("_drawn") != "mvtec"
    return len(test) > 0 and not own.any() and set(test.category) <= set(CATEGORIES)


def quotes(benchmarks):
    """Whether the paper's figures are shown: beside public benchmarks, not a user's own parts."""
    names = {name.removesuffix("_drawn") for name in benchmarks}
    return len(names) > 0 and names <= {*PUBLIC}


def show(value, deviation=float("nan")):
    """A quoted figure as text, `–` where there is none."""
    return plus_minus(value, deviation) or UNKNOWN


def compare(rows, metric, published):
    """Ours beside quoted figures: a row for each category and `mean`.

    published: value and deviation (NaN: not given) by category. The last column is yes where
    |ours − quoted| <= 2 × the quoted standard deviation over seeds + 0.05 (quoted figures are
    rounded), else no; – where no deviation is published. The mean needs all 15 categories.
    """
    found = {}
    for name, (value, deviation) in published.iterrows():
        members = CATEGORIES if name == "mean" else [name]
        difference = seed_means(rows, metric, members).mean() - value
        inside = "yes" if abs(difference) <= 2 * deviation + ROUNDING else "no"
        found[name] = {
            "ours": ours(rows, metric, members),
            "paper": show(value, deviation),
            "difference": UNKNOWN if pd.isna(difference) else signed(difference),
            WITHIN: UNKNOWN if pd.isna(difference + deviation) else inside,
        }
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("category")


def against_paper(test, metric):
    """`compare` of the full student's segmentation map with the paper, for a metric of NAMES."""
    table = compare(rows_of(test), metric, quoted_method(metric))
    title = "paper (quoted)"
    if metric == "image_auroc":
        title = "quoted (categories: MambaAD's re-run; mean: paper)"
    return table.rename(columns={"paper": title})


def pro_table(test):
    """PRO beside the two published re-measurements; the paper gives none.

    MambaAD's has no deviation; BaoIAD gives the mean over the categories only.
    """
    rows, inside = rows_of(test), WITHIN.replace("the paper's", "BaoIAD's")
    mamba, bao = (compare(rows, "pro", published(who, "pro")) for who in ("MambaAD", "BaoIAD"))
    left = mamba.drop(columns=WITHIN)
    left = left.set_axis(["ours", "MambaAD's re-run (quoted)", "difference from MambaAD"], axis=1)
    right = bao.drop(columns="ours")
    right = right.set_axis(["BaoIAD (quoted)", "difference from BaoIAD", inside], axis=1)
    return left.join(right)


def methods(test, categories=CATEGORIES):
    """Methods x metrics, mean of the categories: quoted from tables 1 to 3; ours in the last row.

    For fewer than 15 categories the means are of the quoted figures of these categories.
    """
    whole = len(categories) == len(CATEGORIES)
    found = {}
    for method in quoted("table1").method:
        row = found[f"{method} (quoted)"] = {}
        for metric, title in NAMES.items():
            values = published(method, metric)
            mean = values.loc["mean"] if whole else [values.value[[*categories]].mean(skipna=False)]
            row[title] = show(*mean)
    rows = rows_of(test)
    found["DeSTSeg, ours"] = {t: ours(rows, m, categories) for m, t in NAMES.items()}
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("method")


def beside(quotes, rows, categories):
    """Columns `<metric> ours`, `<metric> paper (quoted)` for every metric of `quotes`.

    rows: ours for each row of `quotes`; the figure is the mean of the categories.
    """
    columns = {}
    for metric in quotes:
        columns[f"{NAMES[metric]} ours"] = [ours(found, metric, categories) for found in rows]
        columns[f"{NAMES[metric]} paper (quoted)"] = quotes[metric].map(show)
    return pd.DataFrame(columns, index=quotes.index)


def parts(test):
    """Table 4, the eight rows of students and maps; ours is the mean of the categories run."""
    quotes, run = paper_table4(), categories_run(real(test))
    return beside(quotes, [rows_of(test, *key) for key in quotes.index], run)


def heads_table(test):
    """Tables 5 and 6: heads of the full student; `product` is the method.

    With heads measured, `product` is restricted to their categories and seeds.
    """
    heads, method = real(test[test["map"].str.startswith(HEAD)]), rows_of(test)
    heads = heads.assign(head=heads["map"].str.removeprefix(HEAD))
    if len(heads):
        method = method.merge(heads[["category", "seed"]].drop_duplicates())
    quotes = quoted("tables5_6").drop_duplicates("head").set_index("head")
    quotes = quotes.reindex(dict.fromkeys(["product", *quotes.index, *heads["head"]]))
    rows = [method, *(heads[heads["head"] == name] for name in quotes.index[1:])]
    table = beside(quotes[["image_auroc", "pixel_ap", "iap"]], rows, method.category.unique())
    table.insert(0, "variant", quotes.variant.fillna("ours only"))
    return table


def deviations():
    """Where paper, official code and this study differ, and why: a row for each point."""
    return quoted("deviations").set_index("point")


def answer(test):
    """What was run of the paper's grid, and how many figures lie within the paper's spread."""
    if not applies(test):
        return (
            "The paper's figures are for MVTec AD. This study measured nothing on MVTec AD, so "
            "there is nothing to compare."
        )
    rows, whole = rows_of(test), len(CATEGORIES)
    run, seeds = len(categories_run(rows)), rows.seed.nunique()
    said = [x for name in NAMES for x in against_paper(test, name)[WITHIN]]
    close, far = said.count("yes"), said.count("no")
    luck = " With one seed there is no spread, so a figure outside may be bad luck." * (seeds == 1)
    return (
        f"This study covers {run} of {whole} categories, {counted(seeds, 'seed')}; the paper "
        f"covers {whole} categories, 5 seeds. The paper gives a standard deviation for "
        f"{counted(close + far, 'figure')} measured here; {close} of these "
        f"{'lies' if close == 1 else 'lie'} within two standard deviations (+ 0.05 for rounding)."
    ) + luck


def sections(test, answer=""):
    """Markdown blocks with headings, `answer` and tables; an empty list off MVTec AD."""
    if not applies(test):
        return []
    run = categories_run(rows_of(test))
    blocks = [
        "## Beside the paper (MVTec AD, percent; quoted figures are marked)",
        f"{answer} {SETTINGS} {INSIDE}".strip(),
    ]
    for metric, title in NAMES.items():
        blocks += [f"### {title}", markdown(against_paper(test, metric))]
    blocks += [
        "### PRO",
        REMEASURED,
        markdown(pro_table(test)),
        "### Published methods, quoted from the paper's tables 1 to 3: mean of 15 categories",
        markdown(methods(test)),
    ]
    if 0 < len(run) < len(CATEGORIES):
        blocks += [
            f"The same for the categories run ({', '.join(run)}), from the quoted figures of each:",
            markdown(methods(test, run)),
        ]
    return [
        *blocks,
        "### Table 4: which parts matter",
        f"Our figures are means over the {len(run)} of {len(CATEGORIES)} categories that were run; "
        "the paper's are means over all.",
        markdown(parts(test)),
        "### Tables 5 and 6: loss and input of the segmentation network",
        "`product` is the method itself, on the same categories and seeds as the other heads.",
        markdown(heads_table(test)),
        *differences(),
    ]


def differences():
    """The table of deviations, under its heading."""
    return ["## Where paper, official code and this study differ", markdown(deviations())]
