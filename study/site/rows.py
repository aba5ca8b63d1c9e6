"""The site's tables of numbers: what the macro `table` of the templates needs."""

from study.scoring import thresholds
from study.scoring.metrics import METRICS
from study.tables import ablations, defects, paper
from study.tables.format import plain


def benchmark_line(frame):
    """What a table's numbers are: benchmark, seeds, spread and device, from its rows."""
    if frame.empty:
        return "No test split has both good and defective images."
    seeds = sorted(frame.seed.unique())
    device = frame.device.unique() if "device" in frame else ["not recorded"]
    spread = "mean ± standard deviation over" if len(seeds) > 1 else "no spread:"
    return (
        f"Benchmark: {', '.join(frame.benchmark.unique())} ({', '.join(frame.category.unique())}). "
        f"Percent, {spread} {len(seeds)} seed{'s' * (len(seeds) > 1)} "
        f"({', '.join(map(str, seeds))}), last step. Device: {'; '.join(device)}."
    )


def table(frame, title, about="", last="", words=plain):
    """What the macro `table` needs: caption, headings, rows; None for a frame without rows.

    The index becomes the first column. Its levels that are equal in all rows go into the caption.
    about, last: around these in the caption; words: how names are shown.
    """
    if frame.empty:
        return None
    flat = frame.astype(object).where(frame.notna(), "not measured").replace("", "–")
    flat.columns = [METRICS[key].label if key in METRICS else words(key) for key in flat]
    levels = frame.index.to_frame(index=False).astype(str)
    constant = [key for key in levels if len(levels) > 1 and levels[key].nunique() == 1]
    same = [f"{key.capitalize()}: {words(levels[key][0])}." for key in constant]
    kept = levels.drop(columns=constant if len(constant) < len(levels.columns) else [])
    names = [", ".join(words(x) for x in row if x != "none") for row in kept.values]
    note = " ".join(filter(None, [about, *same, last]))
    columns, rows = [", ".join(kept), *flat], zip(names, flat.values.tolist(), strict=True)
    return {"title": title, "note": note, "columns": columns, "rows": [[n, *r] for n, r in rows]}


def results(tables):
    """Table 4 of these tables, with the baseline's rows."""
    tuned = "Settings were chosen on validation." if len(tables.validation) else ""
    quoted = "The paper's column is quoted." if paper.quotes(tables.test.benchmark) else ""
    note = " ".join(filter(None, ("Test is reported.", tuned, quoted)))
    about = benchmark_line(ablations.real(tables.tested))
    return table(ablations.table4(tables), "Image AUROC on real defects", about, note)


def pixel_results(tables):
    """Pixel metrics, of the test rows that have masks."""
    rows = tables.tested[tables.tested.pixel_auroc.notna()]
    drawn = "Rows _drawn are defects drawn on good images, not real ones."
    note = "" if rows.real_defects.all() else drawn
    return table(ablations.pixel_table(tables), "Pixel metrics, test", benchmark_line(rows), note)


def by_defect(tables, view):
    """How each type of defect is found, of a category."""
    found = defects.by_type(defects.load(view.settings, view.held_out.category), view.settings)
    about = benchmark_line(ablations.real(tables.test))
    return table(found, defects.TITLE, about, defects.about(view.settings))


def missed(view):
    """What every seed misses of a category: {category, many defective test images, count, table}.

    count and table are None where there is no threshold, and table where there is no such image.
    """
    rated = thresholds.table(view.images, view.settings.headline)
    many = int(((rated.split == "test") & (rated.label == 1)).sum())
    shown = {"category": view.held_out.category, "many": many, "count": None, "table": None}
    if (found := thresholds.missed(rated)) is not None:
        found = found.map(lambda x: f"{x:.3f}" if isinstance(x, float) else x)
        about = f"{len(found)} of {many} defective test images."
        missing = table(found, "Missed by every seed", about, words=str)
        shown |= {"count": len(found), "table": missing}
    return shown
