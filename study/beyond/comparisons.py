"""Rows of reports/beyond compared by the study's one rule, with intervals over seeds and images.

A difference is paired by seed and by image. It is in points. Only image AUROC on real defects has
an interval over images, as the run keeps the score of each image and not its map.
"""

from collections import Counter

import numpy as np
import pandas as pd

from study.params import ROOT
from study.scoring import metrics, resampling
from study.tables.claims import verdict
from study.tables.format import brackets, counted, listed, lower, signed
from study.tables.intervals import seeds_interval

FOLDER = ROOT / "reports/beyond"
COMMAND = "make beyond"
RESAMPLES, SMALLEST = 2000, 0.5
SEED_ROWS = ["category", "student", "head", "seed"]


def load(name, folder=FOLDER):
    """A table of the run; without rows where it does not exist."""
    path = folder / f"{name}.csv"
    if path.exists():
        return pd.read_csv(path, dtype={"seed": str})
    columns = [*SEED_ROWS, "step", "map", "split", "benchmark", "top_pixels", "teacher"]
    return pd.DataFrame(columns=[*columns, *metrics.METRICS])


def missing(what):
    """The sentence for what was not run."""
    return f"Not measured: {what}. `{COMMAND}` runs it."


def values(rows, head, metric="image_auroc", **where):
    """{(category, seed): percent} of a head of the headline student, or `student/method`."""
    student, _, kind = head.partition("/")
    found = rows[(rows.student == (student if kind else "full")) & (rows["head"] == (kind or head))]
    for column, value in where.items():
        found = found[found[column] == value]
    found = found[(found.seed != "all") & found[metric].notna()]
    columns = found.category, found.seed, 100 * found[metric]
    return {(category, seed): value for category, seed, value in zip(*columns, strict=True)}


def pairs(rows, one, other, metric="image_auroc", other_map=None, **where):
    """Differences one - other by (category, seed); the rows may differ in their map."""
    a = values(rows, one, metric, **where)
    b = values(rows, other, metric, **where | ({"map": other_map} if other_map else {}))
    return {key: a[key] - b[key] for key in a if key in b}


def by_seed(differences):
    """Mean over the categories, for the seeds that every category has: {seed: points}."""
    frame = pd.Series(differences)
    if frame.empty:
        return {}
    frame = frame.unstack(0).dropna()
    return frame.mean(axis=1).to_dict()


def over_images(one, other, category, seeds, kind="segmentation", other_kind=None, folder=FOLDER):
    """Bootstrap interval of the difference in image AUROC on real test images, in points."""
    scores = load(f"scores-{category}", folder)
    if "kind" not in scores:
        return None
    chosen = (scores.split == "test") & scores.kind.isin(["good", "real"])
    scores = scores[chosen]
    labels = scores.label.to_numpy()
    drawn = resampling.weights(labels, RESAMPLES, category)
    if drawn is None:
        return None
    total = 0
    for head, sign, map_ in ((one, 1, kind), (other, -1, other_kind or kind)):
        prefix = head if "/" in head else f"full/{head}"
        for seed in seeds:
            column = f"{prefix}/{seed}/{map_}"
            if column not in scores:
                return None
            figures = resampling.image_auroc(scores[column].to_numpy(), labels, drawn)
            total = total + sign * 100 * figures / len(seeds)
    low, high = np.quantile(total, (0.025, 0.975))
    return float(low), float(high)


def compare(rows, one, other, metric="image_auroc", folder=FOLDER, other_map=None, **where):
    """One comparison: points, both intervals, seeds and the answer; None without pairs."""
    where = {"map": "segmentation", "split": "test"} | where
    seeds = by_seed(pairs(rows, one, other, metric, other_map, **where))
    if not seeds:
        return None
    mean, interval = float(np.mean([*seeds.values()])), seeds_interval([*seeds.values()])
    images = None
    categories = rows.category.unique()
    real = not where["benchmark"].endswith(("_drawn", "_seen"))
    if metric == "image_auroc" and real and where["split"] == "test" and len(categories) == 1:
        maps = where["map"], other_map
        images = over_images(one, other, categories[0], [*seeds], *maps, folder=folder)
    answer = verdict(mean, interval, images or interval, SMALLEST)
    return {"row": one, "less": other, "metric": metrics.METRICS[metric].label, "points": mean,
            "seeds": interval, "images": images, "n": len(seeds), "answer": answer}  # fmt: skip


def said(found):
    """`+0.9 points [-0.1, +1.9] over 3 seeds, [..] over images: undetermined`."""
    seeds = f" {brackets(found['seeds'])}" if found["seeds"] else ""
    images = f", {brackets(found['images'])} over images" if found["images"] else ""
    text = f"{signed(found['points'])} points{seeds} over {counted(found['n'], 'seed')}{images}"
    return f"{text}: {lower(found['answer'])}"


def chosen_on_validation(rows, heads, benchmark, metric="image_auroc", kind="segmentation"):
    """(head, {head: mean validation figure in percent}) over the seeds that most heads have.

    A head that lacks one of them does not count.
    """
    where = {"map": kind, "split": "validation", "benchmark": benchmark}
    found = {head: values(rows, head, metric, **where) for head in heads}
    sets = Counter(frozenset(one) for one in found.values() if one)
    keys = max(sets, key=lambda one: (sets[one], len(one)), default=frozenset())
    means = {
        h: float(np.mean([v[k] for k in keys])) for h, v in found.items() if keys <= {*v} and v
    }
    return (max(means, key=means.get) if means else None), means


def table(rows, heads, benchmark, metric="image_auroc", kind="segmentation", base="method"):
    """Validation and test means of each head in percent, and the difference to `base` on test."""
    lines = []
    for head in heads:
        line = {"variant": head}
        for split in ("validation", "test"):
            where = {"map": kind, "split": split, "benchmark": benchmark}
            found = [*values(rows, head, metric, **where).values()]
            spread = f" ± {np.std(found, ddof=1):.1f}" if len(found) > 1 else ""
            line[split] = f"{np.mean(found):.1f}{spread}" if found else "not measured"
        where = {"map": kind, "benchmark": benchmark}
        found = compare(rows, head, base, metric, **where) if head != base else None
        lines.append(line | {f"test, less `{base}`": said(found) if found else "–"})
    return pd.DataFrame(lines).set_index("variant")


def answer(rows, heads, benchmark, metric="image_auroc", kind="segmentation", base="method"):
    """What validation chooses among `heads` and `base`, and what that gives on test."""
    best, means = chosen_on_validation(rows, [base, *heads], benchmark, metric, kind)
    absent = [f"`{head}`" for head in heads if head not in means]
    if best is None or len(means) < 2:
        return missing(listed(absent))
    left = f" {missing(listed(absent))}" if absent else ""
    levels = f"{means[best]:.1f} on validation against {means[base]:.1f}"
    if best == base:
        rows = counted(len(means), "row")
        return f"Validation keeps `{base}` ({means[base]:.1f}) among {rows}.{left}"
    found = compare(rows, best, base, metric, map=kind, benchmark=benchmark)
    label = metrics.METRICS[metric].label
    return f"Validation chooses `{best}` ({levels}). On test, {label}: {said(found)}.{left}"


def denoising_and_decoder(study="quick"):
    """What both parts of the student together gain in `study`, on the same images, in words."""
    path = ROOT / "reports" / study / "ablations.csv"
    if not path.exists():
        return f"Not measured: denoising and decoder, by the study `{study}`."
    rows = pd.read_csv(path, dtype={"seed": str}).query("map == 'segmentation' and real_defects")
    wide = rows.pivot_table("image_auroc", ["category", "seed"], "student") * 100
    gain = by_seed((wide.full - wide.plain).to_dict())
    mean, interval = float(np.mean([*gain.values()])), seeds_interval([*gain.values()])
    return (
        f"In the study `{study}`, denoising and decoder together change the segmentation map's "
        f"image AUROC by {signed(mean)} points {brackets(interval)} over "
        f"{counted(len(gain), 'seed')}."
    )


def seen_and_unseen(rows, heads, kind="log", base="method"):
    """Each head less `base` by seed: on seen corruption, drawn and real defects, and the gap.

    The gap is unseen less seen pixel AP: positive where the head loses less on unseen defects.
    """
    benchmarks = [b for b in rows.benchmark.unique() if not b.endswith(("_seen", "_drawn"))]
    lines = []
    for head in heads:
        for benchmark in benchmarks:
            line = {"variant": head}
            for end, metric in (("_seen", "pixel_ap"), ("_drawn", "pixel_ap"), ("", "image_auroc")):
                where = {"map": kind, "benchmark": benchmark + end}
                found = compare(rows, head, base, metric, **where)
                name = {"_seen": "seen", "_drawn": "unseen, drawn", "": "unseen, real"}[end]
                label = f"{name}: {metrics.METRICS[metric].label}"
                line[label] = said(found) if found else "not measured"
            where = {"map": kind, "split": "test"}
            parts = [
                pairs(rows, head, base, "pixel_ap", **where, benchmark=benchmark + end)
                for end in ("_drawn", "_seen")
            ]
            gap = by_seed({k: parts[0][k] - parts[1][k] for k in parts[0] if k in parts[1]})
            if gap:
                over = seeds_interval([*gap.values()])
                text = signed(np.mean([*gap.values()])) + (f" {brackets(over)}" if over else "")
                line["unseen less seen"] = text
            lines.append(line)
    return pd.DataFrame(lines).set_index("variant") if lines else pd.DataFrame(index=list(heads))


def spreads(rows, heads, benchmark, metric="image_auroc", kind="log"):
    """Standard deviation over seeds of each head on test, in points."""
    where = {"map": kind, "split": "test", "benchmark": benchmark}
    found = {head: [*values(rows, head, metric, **where).values()] for head in heads}
    return {head: float(np.std(x, ddof=1)) for head, x in found.items() if len(x) > 1}


def averaged_maps(rows, heads, benchmark, metric="image_auroc", kind="segmentation"):
    """The mean of the seeds' maps against the mean of the seeds' figures on test, in percent."""
    lines = []
    where = {"map": kind, "split": "test", "benchmark": benchmark}
    for head in heads:
        single = [*values(rows, head, metric, **where).values()]
        chosen = (rows.student == "full") & (rows["head"] == head) & (rows.seed == "all")
        for column, value in where.items():
            chosen &= rows[column] == value
        both = 100 * rows[chosen][metric]
        if len(single) > 1 and len(both):
            mean = both.mean()
            line = {"variant": head, "mean of the seeds": f"{np.mean(single):.1f}"}
            line |= {"best seed": f"{max(single):.1f}", "averaged maps": f"{mean:.1f}"}
            lines.append(line | {"gain": signed(mean - np.mean(single)), "seeds": len(single)})
    return pd.DataFrame(lines).set_index("variant") if lines else pd.DataFrame(index=list(heads))
