"""The drawing of the architecture: it names the parts, and every word of it can be read."""

import io
from itertools import combinations

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from lib.networks import input_channels
from study.figures.architecture import CHANNELS, architecture


@pytest.fixture(scope="module")
def figure():
    made = architecture()
    yield made
    plt.close(made)


@pytest.fixture(scope="module")
def texts(figure):
    """(words, box in pixels) of every text at 100 dots an inch."""
    figure.set_dpi(100)
    figure.canvas.draw()
    found = [text for text in figure.axes[0].texts if text.get_text()]
    return [(" ".join(text.get_text().split()), text.get_window_extent()) for text in found]


def test_it_names_the_parts_and_says_which_are_frozen(figure, texts):
    assert isinstance(figure, Figure)
    words = " | ".join(text for text, _ in texts)
    for part in (
        "Phase 1", "Phase 2", "Inference: DeSTSeg.forward", "corruption", "student, trained",
        "teacher, frozen", "student, frozen", "segmentation network, trained",
        "segmentation network, frozen", "student loss", "focal + L1", "negated product",
        "cosine map", "segmentation map", "image score",
    ):  # fmt: skip
        assert part in words, part


def test_channels_and_strides_are_those_of_the_networks(texts):
    words = [text for text, _ in texts]
    levels = [CHANNELS[stride] for stride in (4, 8, 16)]
    for stride, channels in CHANNELS.items():
        assert f"stride {stride}" in words
        rows = 3 if stride < 32 else 2  # teacher, decoder, encoder
        assert words.count(f"{channels} channels") == rows
    assert any(f"{input_channels(levels)} channels" in text for text in words)


def test_no_text_leaves_the_canvas_or_covers_another(figure, texts):
    canvas = figure.bbox
    for text, box in texts:
        assert canvas.x0 < box.x0 and box.x1 < canvas.x1, text
        assert canvas.y0 < box.y0 and box.y1 < canvas.y1, text
    for (one, first), (other, second) in combinations(texts, 2):
        assert not first.overlaps(second), (one, other)


def test_text_stays_inside_its_box(figure, texts):
    """A text whose centre lies in a box does not cross the border of the smallest such box."""
    frames = [patch.get_window_extent() for patch in figure.axes[0].patches]
    for text, box in texts:
        centre = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        around = [frame for frame in frames if frame.contains(*centre)]
        if around:
            frame = min(around, key=lambda one: one.width * one.height)
            assert frame.x0 < box.x0 and box.x1 < frame.x1, text
            assert frame.y0 < box.y0 and box.y1 < frame.y1, text


def test_it_can_be_read_at_700_pixels(figure, texts):
    assert figure.get_figwidth() == 7
    assert min(text.get_fontsize() for text in figure.axes[0].texts if text.get_text()) >= 7.5


def test_it_saves_as_svg(figure):
    content = io.StringIO()
    figure.savefig(content, format="svg")
    assert "<svg" in content.getvalue() and "nan" not in content.getvalue()
