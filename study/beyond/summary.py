"""The answers beyond the paper, each computed from the tables of the run.

    python -m study.beyond.summary

Writes reports/beyond/README.md. A table that does not exist gives one sentence with the command.
"""

from study import params
from study.beyond import findings, selection
from study.beyond.comparisons import Comparison, denoising_and_decoder, seen_and_unseen
from study.beyond.ledger import FOLDER, PROFILE, load, missing
from study.files import whole
from study.tables.format import counted, signed

CORRUPTIONS = ["darken", "cutpaste", "scar", "mixed", "darken_both/method", "mixed_both/method"]
BUMPS = ["bump_1", "bump_3", "bump_10"]
CHEAP = ["noise_2/method", "noise_4/method", "hard_mining/method", "dice", "small_steps"]
AVERAGES = ["ema", "constant", "constant_ema"]
BENCHMARK = "elpv"
RESAMPLES = 4000  # of the cells of the scaling study
ABOUT = (
    "Computed by `python -m study.beyond.summary` from the tables beside this file. ELPV, "
    "monocrystalline cells, 128x128 pixels, small networks (`profiles/beyond.yaml`); "
    "differences in points with 95 % intervals; `docs/beyond.md` explains the questions."
)


def sections(folder=FOLDER):
    """(question, sentence, ...) of each section."""
    real, log = (
        Comparison(BENCHMARK, kind=kind, folder=folder) for kind in ("segmentation", "log")
    )
    drawn = Comparison(f"{BENCHMARK}_drawn", "pixel_ap", folder=folder)
    curve, tops = load("curve", folder), load("tops", folder)
    default = params.load(PROFILE).evaluation.top_pixels
    law, ladder = findings.split(load("scaling", folder))
    yield "Which corruption?", real.answer(CORRUPTIONS), denoising_and_decoder()
    yield "Do cheap changes that helped elsewhere help here?", real.answer(CHEAP, also=drawn)
    yield (
        "Does equality separation find unseen defects better?",
        *(log.answer(BUMPS), *unseen(seen_and_unseen(BUMPS, BENCHMARK, folder=folder))),
    )
    moves = selection.noise(curve, ["method", *AVERAGES], BENCHMARK)
    yield "Does averaging make the last step less noisy?", moves, *averages(real)
    yield (
        "What does selection on the test set buy?",
        *(selection.answer(curve, BENCHMARK, head=head) for head in ("method", "constant")),
        selection.answer(curve, f"{BENCHMARK}_drawn", "pixel_ap"),
        selection.tops(tops[tops["head"] == "method"], default),
    )
    yield (
        "Does a better student find defects better?",
        findings.law(law, findings.fitted(law, RESAMPLES)),
        findings.detection(law, RESAMPLES),
        findings.ladder(ladder, RESAMPLES),
    )
    heads = CORRUPTIONS + CHEAP + BUMPS + AVERAGES
    yield "Is the best variant above the nearest-neighbour search?", *target(real, heads)


def unseen(table):
    """A sentence for each bump: seen corruption, drawn and real defects, all by -log P."""
    for head, line in table.drop(columns="unseen minus seen", errors="ignore").iterrows():
        yield f"`{head}`: {'; '.join(f'{name} {text}' for name, text in line.items())}."


def averages(real):
    """What averages of weights and of maps gain at the last step."""
    for one, other in (("ema", "method"), ("constant_ema", "constant")):
        if found := real.said(one, other):
            yield f"`{one}` minus `{other}` at the last step: {found}."
    for line in real.averaged(["method"]).to_dict("records"):
        yield (
            f"The averaged maps of {line['seeds']} seeds reach {line['averaged maps']}; single "
            f"seeds reach {line['mean of the seeds']} on average."
        )


def nearest_neighbour():
    """The best row of the baseline of the study `quick` by validation: (name, percent on test)."""
    rows = load("baseline", params.ROOT / "reports/quick")
    rows = rows[(rows.benchmark == BENCHMARK) & rows.real_defects]
    means = 100 * rows.pivot_table("image_auroc", "map", "split")
    return means.validation.idxmax(), means.test[means.validation.idxmax()]


def target(real, heads):
    """The variant that validation chooses among all, against the nearest-neighbour search."""
    best, means = real.choice(["method", *heads])
    if best is None:
        yield missing("the variants")
        return
    found, (name, least) = real.values(best), nearest_neighbour()
    verdict = "above" if found.mean() > least else "below"
    yield (
        f"Among {len(means)} rows, validation chooses `{best}`: {found.mean():.1f} on test over "
        f"{counted(len(found), 'seed')}, {verdict} the nearest-neighbour search ({name}, "
        f"{least:.1f}, {signed(found.mean() - least)} points)."
    )
    for figure in real.averaged([best]).get("averaged maps", []):
        yield f"The averaged maps of its seeds reach {figure}."


def page(folder=FOLDER):
    """The whole page in Markdown."""
    parts = [f"## {question}\n\n{' '.join(texts)}" for question, *texts in sections(folder)]
    return "\n\n".join(["# Beyond the paper: answers", ABOUT, *parts]) + "\n"


if __name__ == "__main__":
    with whole(FOLDER / "README.md") as path:
        path.write_text(page(), encoding="utf-8")
