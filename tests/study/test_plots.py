"""Every figure on tiny inputs: how many panels, which labels, nothing left behind."""

import warnings

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from toys import category_of

from study.data.category import entry
from study.figures import plots
from study.scoring import metrics

GENERATOR = np.random.default_rng(0)
STUDENTS = ("plain", "encoder_decoder")


@pytest.fixture(autouse=True)
def _settings_untouched():
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    plt.close("all")


def texts(figure: Figure) -> str:
    """All text of the figure, drawn once so that layout errors show."""
    figure.canvas.draw()
    return "\n".join(t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text())


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def category():
    images = GENERATOR.integers(0, 256, (14, 16, 16, 3), dtype=np.uint8)
    defects = ["good"] * 9 + ["broken_large"] * 3 + ["drawn_crack"] * 2
    splits = ["train"] * 6 + ["validation", "test"] * 4
    mask = np.zeros((16, 16), bool)
    mask[4:8, 4:8] = True
    rows = []
    for number, (defect, split) in enumerate(zip(defects, splits, strict=True)):
        drawn = defect == "drawn_crack"
        known = mask if drawn else None
        rows.append(entry(images[number], known, defect, f"{number}.png", split, drawn))
    return category_of(rows)


def ablations(categories=("nut",)) -> pd.DataFrame:
    keys = ["category", "student", "map", "seed"]
    index = pd.MultiIndex.from_product([categories, STUDENTS, plots.MAPS, range(3)], names=keys)
    frame = index.to_frame(index=False)
    return frame.assign(image_auroc=GENERATOR.random(len(frame)), pro=np.nan)


def test_training_curves():
    keys = ["student", "seed", "phase", "step"]
    phases = ("student", "segmentation")
    index = pd.MultiIndex.from_product([STUDENTS, (0, 1), phases, range(30)], names=keys)
    history = index.to_frame(index=False).assign(item="nut", loss=1.0)
    history["loss"] /= history["step"] + 1
    figure = plots.training_curves(history)
    assert len(figure.axes) == 4
    assert [len(axis.lines) for axis in figure.axes] == [2] * 4
    assert legend(figure) == ["seed 0", "seed 1"]
    assert {"encoder-decoder", "segmentation loss (log)", "step"} <= set(texts(figure).split("\n"))


@pytest.mark.parametrize("channels", [1, 3])
def test_corrupted_images(channels):
    images = GENERATOR.random((2, 8, 8, channels))
    figure = plots.corrupted_images(images, images, np.ones((2, 8, 8), bool))
    assert len(figure.axes) == 6
    assert {"image", "corrupted", "mask"} <= set(texts(figure).split("\n"))


def example(outcome, mask=None):
    maps = {kind: GENERATOR.random((8, 8)) for kind in plots.MAPS}
    image = GENERATOR.integers(0, 256, (8, 8, 1), dtype=np.uint8)
    return {"outcome": outcome, "name": "7.png", "image": image, "mask": mask, "score": 0.1} | maps


def test_outcomes():
    mask = np.zeros((8, 8), bool)
    mask[2:4] = True
    figure = plots.outcomes([example("true positive"), example("true negative", mask)])
    assert len(figure.axes) == 2 * 3 + 3  # two rows, and room for the colour scales
    assert [axis.get_visible() for axis in figure.axes[6:]] == [False, True, True]
    found = texts(figure)
    assert found.index("true positive\n7.png\nscore 0.1") < found.index("true negative\n")
    outlined = [len(axis.collections) for axis in figure.axes[:6:3]]
    assert outlined == [0, 1], "only a known mask"
    scales = {axis.images[0].get_clim() for axis in (figure.axes[1], figure.axes[4])}
    assert len(scales) == 1
    long = example("true negative") | {"name": f"test/{'defect' * 3}/{'camera' * 5}.png"}
    lines = texts(plots.outcomes([long])).split("\n")
    assert f"test/{'defect' * 3}/" in lines and max(map(len, lines[:6])) <= 25


def test_curves():
    labels = np.array([0, 1, 0, 1])
    by_label = {"a": metrics.image_curves(np.arange(4.0), labels)}
    figure = plots.curves(by_label)
    assert [len(axis.lines) for axis in figure.axes] == [1, 1, 0]
    assert "not measured" in texts(figure)
    masks = GENERATOR.random((2, 8, 8)) < 0.2
    by_label["b"] = metrics.curves(GENERATOR.random((2, 8, 8)), masks)
    figure = plots.curves(by_label)
    assert [len(axis.lines) for axis in figure.axes] == [2, 2, 1]
    assert legend(figure) == ["a", "b"]
    assert "not measured" not in texts(figure)


def test_score_histograms():
    scores, labels = GENERATOR.random(20), np.arange(20) % 2
    found = texts(plots.score_histograms(scores, labels, "a title", threshold=0.5))
    for text in ("good (10)", "defective (10)", "threshold 0.5", "a title"):
        assert text in found
    assert "threshold" not in texts(plots.score_histograms(scores, labels, "a title"))


def test_ablation_points():
    frame = ablations(("nut", "bolt"))
    head = frame[(frame.student == "plain") & (frame["map"] == "cosine")]
    head = head.assign(map="segmentation, distance")
    shown = {"image_auroc": "image AUROC", "pro": "PRO"}
    figure = plots.ablation_points(
        pd.concat([frame, head]), shown, baseline=frame.assign(map="nearest_neighbour")
    )
    assert len(figure.axes) == 4
    found = texts(figure)
    for text in (
        "nut",
        "bolt",
        "image AUROC, %",
        "PRO, %",
        "encoder-decoder, segmentation",
        "plain, segmentation, distance",
    ):
        assert text in found
    assert found.count("not measured") == 2
    assert legend(figure) == ["mean of the seeds", "nearest neighbour"]
    rows = [p for p in figure.axes[0].collections if len(p.get_offsets())]
    assert len(rows) == len(STUDENTS) * len(plots.MAPS) + 1  # the head
    assert all(len(row.get_offsets()) == 3 for row in rows)
    (means, *_) = figure.axes[0].lines
    plain = frame[(frame.category == "nut") & (frame.student == "plain")]
    assert means.get_xdata()[0] == pytest.approx(plain[plain["map"] == "cosine"].image_auroc.mean())
    nothing = plots.ablation_points(frame[:0], {})
    assert "no figures on real defects" in texts(nothing)


def test_ablation_points_want_one_row_each():
    frame = ablations()
    with pytest.raises(ValueError, match="several rows for one category x student x map x seed"):
        plots.ablation_points(pd.concat([frame, frame]), {"image_auroc": "image AUROC"})


def test_category_samples():
    figure = plots.category_samples(category(), columns=4)
    assert len(figure.axes) == 3 * 4
    found = texts(figure)
    assert found.index("good\n9 images") < found.index("broken large\n3 images")
    assert "drawn crack\n2 images" in found
    assert sum(len(axis.images) for axis in figure.axes) == 4 + 3 + 2


def test_intensity_histograms():
    figure = plots.intensity_histograms(category())
    assert [axis.get_title() for axis in figure.axes] == ["train", "validation", "test"]
    assert legend(figure) == ["good", "defective", "drawn defects"]
    assert "share of the pixels" in texts(figure)


def test_colours_a_hair_above_1_are_shown_without_a_warning(caplog):
    """Rotation and blending round up to 1.0000001, which matplotlib would warn of each time."""
    image = np.full((1, 8, 8, 3), np.nextafter(np.float32(1), 2))
    texts(plots.corrupted_images(image, image, np.zeros((1, 8, 8, 1))))
    assert not caplog.records


def test_signs_that_the_font_lacks_become_their_codes():
    assert plots.readable("Schraube ß é\n001.png") == "Schraube ß é\n001.png"
    assert plots.readable("螺丝.png") == "\\u87ba\\u4e1d.png"
    assert plots.readable("a$b$.png") == r"a\$b\$.png"


def test_a_figure_draws_them_without_a_warning():
    figure = plt.figure()
    figure.text(0, 0, plots.readable("螺丝 $x_1^$ 🔩.png"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
