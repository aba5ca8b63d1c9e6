"""The quoted tables against their own means, and ours beside them on hand-made rows."""

from itertools import product

import pandas as pd
import pytest

from study.scoring.scores import COLUMNS, MAPS, METRICS
from study.tables import paper

STUDENTS = ("plain", "denoising", "encoder_decoder", "full")
TABLES = ("table1", "table2", "table3", "table4", "tables5_6", "remeasured")


def rows(categories=("bottle", "screw"), seeds=(0,), score=0.9, **more):
    """Test rows on real defects, every metric `score` (or its value for category, seed)."""
    found = []
    for category, seed, student, kind in product(categories, seeds, STUDENTS, MAPS):
        value = score(category, seed) if callable(score) else score
        found.append(
            {"benchmark": "mvtec", "category": category, "student": student, "map": kind}
            | {"denoising": True, "encoder_decoder": True, "seed": seed, "real_defects": True}
            | dict.fromkeys(METRICS, value)
            | more
        )
    return pd.DataFrame(found, columns=COLUMNS)


def head_rows(head="focal_only", categories=("bottle",), seeds=(0,), score=0.8):
    return paper.rows_of(rows(categories, seeds, score)).assign(map=f"segmentation, {head}")


@pytest.mark.parametrize("name", TABLES)
def test_quoted_files_name_their_source_and_are_percent(name):
    first = (paper.ROOT / "paper" / f"{name}.csv").read_text("utf-8").splitlines()[0]
    assert first.startswith("# Quoted: ") and "MVTec AD" in first
    figures = paper.quoted(name).select_dtypes("float")
    assert figures.stack().dropna().between(0, 100).all()


@pytest.mark.parametrize(
    ("name", "column"), [("table2", "method"), ("table3", "method"), ("remeasured", "source")]
)
def test_quoted_means_are_the_means_of_their_columns(name, column):
    table = paper.quoted(name)
    for key, group in table.groupby(column):
        if key == "BaoIAD":
            assert set(group.category) == {"mean"}
            continue
        assert set(group.category) == {*paper.CATEGORIES, "mean"} and len(group) == 16
        values = group.set_index("category").filter(items=METRICS)
        means, stated = values.drop("mean").mean(), values.loc["mean"]
        # Half a digit of rounding in the rows and half in the stated mean.
        assert ((means - stated).abs().dropna() <= 0.1).all(), key
        assert (means.isna() == stated.isna()).all(), key


def test_the_tables_agree_on_the_method_itself():
    full = paper.paper_table4().loc[paper.METHOD]
    product = paper.quoted("tables5_6").query("head == 'product'")
    for metric in ("image_auroc", "pixel_ap", "iap"):
        stated = paper.quoted_method(metric).loc["mean", "value"]
        assert full[metric] == stated and (product[metric] == stated).all() and len(product) == 2


def test_quoted_figures_of_the_method():
    found = {metric: tuple(paper.quoted_method(metric).loc["screw"]) for metric in paper.NAMES}
    assert found["pixel_auroc"] == (98.5, 0.3) and found["pixel_ap"] == (58.7, 3.7)
    assert found["iap"] == (53.6, 3.6) and found["iap90"] == (8.6, 2.3)
    value, deviation = found["image_auroc"]
    assert value == 92.3 and pd.isna(deviation)  # MambaAD's, for the authors publish none
    assert tuple(paper.quoted_method("image_auroc").loc["mean"]) == (98.6, 0.4)
    assert paper.published("PatchCore", "image_auroc").value.drop("mean").isna().all()


@pytest.mark.parametrize(
    ("score", "difference", "verdict"),
    [
        (0.661, "+7.4", "yes"),  # 58.7 ± 3.7: up to 7.45
        (0.662, "+7.5", "no"),
        (0.513, "-7.4", "yes"),
        (0.512, "-7.5", "no"),
        (0.5868, "0.0", "yes"),
    ],
)
def test_verdict_is_two_deviations_and_the_rounding(score, difference, verdict):
    row = paper.against_paper(rows(score=score), "pixel_ap").loc["screw"]
    assert row.tolist() == [f"{score * 100:.1f}", "58.7 ± 3.7", difference, verdict]


def test_a_partial_run_fills_its_rows_only():
    table = paper.against_paper(rows(), "pixel_auroc")
    assert list(table.index) == [*paper.CATEGORIES, "mean"]
    assert table.loc["bottle"].tolist() == ["90.0", "99.2 ± 0.2", "-9.2", "no"]
    assert table.loc["cable"].tolist() == ["not measured", "97.3 ± 0.4", "–", "–"]
    assert table.loc["mean"].tolist() == [
        *("not measured: 2 of 15 categories", "97.9 ± 0.3", "–", "–")
    ]


def test_image_auroc_by_category_is_not_the_authors_and_gets_no_verdict():
    table = paper.against_paper(rows(), "image_auroc")
    assert "MambaAD" in table.columns[1]
    assert table.loc["screw"].tolist() == ["90.0", "92.3", "-2.3", "–"]


def test_the_mean_is_over_categories_first_and_then_over_seeds():
    # Categories lie 20 points apart and seeds 2: only the latter is spread over seeds.
    test = rows(paper.CATEGORIES, (0, 1), lambda c, s: 0.7 + 0.2 * (c < "h") + 0.02 * s)
    table = paper.against_paper(test, "iap")
    assert table.loc["mean", "ours"] == "77.7 ± 1.4"  # 70 + 20 / 3, and 2 more with seed 1
    assert table.loc["mean", "difference"] == "+1.3"
    one_seed_short = test[(test.category != "wood") | (test.seed != 1)]
    assert paper.against_paper(one_seed_short, "iap").loc["mean", "ours"] == "76.7"
    never_whole = one_seed_short.query("category != 'tile' or seed != 0")
    found = paper.against_paper(never_whole, "iap").loc["mean", "ours"]
    assert found == "not measured: 14 of 15 categories"


def test_drawn_defects_other_maps_and_missing_masks_do_not_count():
    test = rows()
    drawn = rows(real_defects=False, score=0.1)
    other = test.assign(pixel_ap=test.pixel_ap.where(test["map"] == "segmentation", 0.2))
    for frame in (pd.concat([test, drawn]), other):
        assert paper.against_paper(frame, "pixel_ap").loc["bottle", "ours"] == "90.0"
    unmasked = paper.against_paper(test.assign(pixel_ap=None), "pixel_ap")
    assert set(unmasked.ours) == {"not measured"}
    with pytest.raises(ValueError, match="duplicate"):
        paper.against_paper(pd.concat([test, test]), "pixel_ap")


def test_pro_stands_beside_both_re_measurements():
    table = paper.pro_table(rows(paper.CATEGORIES, score=0.92))
    assert table.loc["pill"].tolist() == ["92.0", "56.6", "+35.4", "–", "–", "–"]
    assert table.loc["mean"].tolist() == ["92.0", "84.4", "+7.6", "92.8 ± 0.9", "-0.8", "yes"]


def test_methods_whole_and_in_part():
    whole = paper.methods(rows(paper.CATEGORIES))
    assert len(whole) == 8 and all("(quoted)" in name for name in whole.index[:-1])
    assert whole.loc["PatchCore (quoted)"].tolist() == ["98.5", "98.4", "61.2", "61.3", "43.5"]
    assert whole.loc["DSR (quoted)"].tolist() == ["98.2", "–", "70.2", "–", "–"]
    assert whole.loc["DeSTSeg (quoted)", "IAP@90"] == "57.8 ± 1.8"
    assert set(whole.loc["DeSTSeg, ours"]) == {"90.0"}
    assert set(paper.methods(rows()).loc["DeSTSeg, ours"]) == {"not measured: 2 of 15 categories"}
    part = paper.methods(rows(), ["bottle", "screw"])
    # PatchCore: (80.1 + 41.4) / 2, no image AUROC by category
    assert part.loc["PatchCore (quoted)", ["image AUROC", "pixel AP"]].tolist() == ["–", "60.8"]
    assert part.loc["DeSTSeg, ours"].tolist() == ["90.0"] * 5


def test_table4_is_the_mean_of_the_categories_run():
    table = paper.parts(rows(score=lambda category, _: 0.9 if category == "bottle" else 0.5))
    assert len(table) == 8 and len(table.columns) == 6
    assert table.loc[("plain", "cosine")].tolist() == [
        "70.0",
        "94.8",
        "70.0",
        "52.9",
        "70.0",
        "55.8",
    ]
    full_only = rows().query("student == 'full'")
    assert paper.parts(full_only).loc[("plain", "cosine"), "IAP ours"] == "not measured"


def test_heads_stand_beside_the_method_on_the_same_items():
    test = rows(seeds=(0, 1), score=lambda category, seed: 0.9 - 0.1 * seed)
    table = paper.heads_table(pd.concat([test, head_rows(), head_rows("bump", score=0.7)]))
    assert list(table.index) == ["product", "focal_only", "concatenated", "distance", "bump"]
    # bottle, seed 0 only, as the heads
    assert table.loc["product"].tolist()[1:] == ["90.0", "98.6", "90.0", "75.8", "90.0", "76.4"]
    assert table.loc["focal_only"].tolist()[1:] == ["80.0", "97.9", "80.0", "72.2", "80.0", "74.4"]
    assert table.loc["distance"].tolist()[1:3] == ["not measured", "98.5"]
    assert table.loc["bump"].tolist()[:3] == ["ours only", "70.0", "–"]


def test_no_heads_and_drawn_heads():
    drawn = pd.concat([rows(), head_rows().assign(real_defects=False)])
    for table in (paper.heads_table(rows()), paper.heads_table(drawn)):
        assert table.loc["product", "image AUROC ours"] == "90.0"
        assert set(table["image AUROC ours"].drop("product")) == {"not measured"}


def test_deviations_are_complete():
    table = paper.deviations()
    assert list(table.columns) == ["paper", "official code", "here", "reason"]
    assert table.notna().all(axis=None) and table.index.is_unique and len(table) >= 15


def test_answer_counts_what_was_run():
    found = paper.answer(rows(score=0.9))
    # bottle: AP 90.3 ± 1.8, IAP 90.5 ± 1.7 and IAP@90 82.5 ± 4.1, not P; screw: none of the four
    assert found.startswith("This study covers 2 of 15 categories, 1 seed; the paper covers 15")
    assert "for 8 figures measured here; 3 of these" in found and "bad luck" in found
    assert "luck" not in paper.answer(rows(seeds=(0, 1)))
    assert "nothing on MVTec AD" in paper.answer(rows(["monocrystalline"]))


def sections(frame):
    return paper.sections(frame, paper.answer(frame))


def test_sections():
    assert sections(rows(["monocrystalline"])) == []
    assert sections(rows(["bottle", "my_own"])) == []
    part = "\n\n".join(sections(rows()))
    assert "2 of 15 categories, 1 seed" in part and "(bottle, screw)" in part
    assert "nan" not in part.lower() and "None" not in part
    for title in (*paper.NAMES.values(), "PRO", "Table 4: ", "Tables 5 and 6"):
        assert f"### {title}" in part
    whole = "\n\n".join(sections(pd.concat([rows(paper.CATEGORIES), head_rows()])))
    assert "categories run (" not in whole and "15 of 15 categories" in whole
    unmasked = rows().assign(**dict.fromkeys(METRICS[1:]))
    plain = sections(unmasked[unmasked.student == "plain"])  # one student, and not the full one
    assert "not measured" in "\n\n".join(plain)


def test_the_paper_is_shown_beside_public_benchmarks_only():
    assert paper.quotes(["mvtec", "elpv_drawn"])
    assert not paper.quotes(["elpv", "parts"]) and not paper.quotes([])
