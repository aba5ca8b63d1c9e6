"""The architecture of DeSTSeg as one drawing: both phases of training, and inference.

The drawing shows what figure 3 of the paper explains, with the channels of the paper's ResNet-18.
A dashed outline means frozen, a solid one trained, so a grey print reads as well as a screen.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle

WIDTH, HEIGHT = 100, 130  # of the canvas, in units of 7 px at 700 px
FILLS = {"teacher": "0.88", "student": "#cfe3f3", "segmentation": "#fce0b0", "other": "white"}
SMALL, USUAL, TITLE = 7.6, 8.2, 10  # points
COLUMNS = {4: 31, 8: 47, 16: 63, 32: 79}  # stride: centre of its column
CHANNELS = {4: 64, 8: 128, 16: 256, 32: 512}
BLOB = [(0.2, 0.55), (0.3, 0.3), (0.55, 0.38), (0.62, 0.2), (0.8, 0.3), (0.72, 0.6), (0.42, 0.75)]
CRACK = [(0.2, 0.1), (0.36, 0.38), (0.55, 0.48), (0.68, 0.86)]


def write(axis, x, y, text, size=USUAL, **options):
    """Text centred at (x, y), unless `ha` says otherwise."""
    options = {"ha": "center", "va": "center", "linespacing": 1.25, "zorder": 4} | options
    axis.text(x, y, text, fontsize=size, **options)


def box(axis, x, y, text, width, height, part="other", frozen=None, weight=1.0):
    """A box centred at (x, y); dashed if frozen, bold if trained, thin if it has no weights."""
    line, thickness = {None: ("-", 0.8), True: ("--", 1.2), False: ("-", 1.8)}[frozen]
    style = {"facecolor": FILLS[part], "edgecolor": "black", "zorder": 2}
    style |= {"linestyle": line, "linewidth": thickness * weight}
    corner, shape = (x - width / 2, y - height / 2), "round,pad=0,rounding_size=0.9"
    axis.add_patch(FancyBboxPatch(corner, width, height, boxstyle=shape, **style))
    write(axis, x, y, text)


def arrow(axis, *points, head=True):
    """A line through the points, with a head at the last one."""
    axis.plot(*zip(*points, strict=True), color="black", lw=1, solid_capstyle="butt", zorder=1)
    if head:
        style = {"arrowstyle": "-|>,head_width=0.18,head_length=0.36", "lw": 1, "shrinkA": 0}
        style |= {"shrinkB": 0, "facecolor": "black"}
        axis.annotate("", points[-1], points[-2], arrowprops=style, zorder=3)


def picture(axis, x, y, kind, label, size=9):
    """A small drawing of an image or a map, centred at (x, y), with its name below."""
    left, top = x - size / 2, y - size / 2
    dark = kind in ("mask", "found", "segmentation map", "cosine map")
    frame = Rectangle((left, top), size, size, facecolor="0.1" if dark else "0.8", edgecolor="k")
    axis.add_patch(frame)

    def line(points, **style):
        axis.plot(
            [left + size * a for a, _ in points], [top + size * b for _, b in points], **style
        )

    if not dark:
        for part in (0.2, 0.5, 0.8):
            line([(0, part), (1, part)], color="0.5", lw=2)
        for part in (0.15, 0.325, 0.5, 0.675, 0.85):
            line([(part, 0), (part, 1)], color="0.62", lw=0.6)
    if kind in ("corrupted", "mask", "found"):
        points = [(left + size * a, top + size * b) for a, b in BLOB]
        style = {"facecolor": "white", "hatch": None if dark else "xxxxx", "edgecolor": "0.15"}
        style |= {"edgecolor": "0.55", "lw": 2} if kind == "found" else {"lw": 0.8}
        axis.add_patch(Polygon(points, zorder=3, **style))
    if kind == "defect":
        line(CRACK, color="black", lw=1.4)
    if kind == "cosine map":
        for part in (0.2, 0.5, 0.8):
            line([(0.03, part), (0.97, part)], color="0.3", lw=2.5)
        line(CRACK, color="0.45", lw=7, solid_capstyle="round")
        line(CRACK, color="0.75", lw=3.5, solid_capstyle="round")
    if kind == "segmentation map":
        line(CRACK, color="0.55", lw=4.5, solid_capstyle="round")
        line(CRACK, color="white", lw=2.5, solid_capstyle="round")
    write(axis, x, y + size / 2 + 1 + 1.1 * (1 + label.count("\n")) - 0.4, label)


def heading(axis, y, phase, text):
    """The title of a panel with a line below it."""
    axis.plot([2, 98], [y + 1.9, y + 1.9], color="0.6", lw=0.8)
    write(axis, 2, y, phase, TITLE, ha="left", weight="bold")
    write(axis, 98, y, text, ha="right")


def first_phase(axis, y):
    """Student against teacher at three levels; y: the panel's top."""
    heading(axis, y, "Phase 1: train the student", "it learns to undo the corruption of features")
    for stride, x in COLUMNS.items():
        write(axis, x, y + 4.3, f"stride {stride}", SMALL)
    teacher, distance, decoder, encoder = y + 11.5, y + 20, y + 30.5, y + 39
    picture(axis, 9, teacher, "normal", "normal image")
    box(axis, 9, y + 26, "corruption:\ntexture shown\nin a Perlin mask", 15.4, 8)
    picture(axis, 9, encoder, "corrupted", "corrupted image")
    arrow(axis, (9, teacher + 7.2), (9, y + 22))
    arrow(axis, (9, y + 30), (9, encoder - 4.5))

    box(axis, 47, teacher - 0.8, "", 47, 10.4, "teacher", frozen=True)
    write(axis, 47, teacher - 4, "teacher, frozen: ResNet-18 with ImageNet weights")
    box(axis, 55, (decoder + encoder) / 2 - 0.4, "", 63, 21, "student", frozen=False)
    write(axis, 85.5, decoder - 4.4, "student, trained", ha="right", weight="bold")
    for row, name in ((decoder, "decoder: resize up, 2 residual blocks a stage"),
                      (encoder, "encoder: ResNet-18 with random weights")):  # fmt: skip
        write(axis, 47, row + 4.1, name)
        for stride, x in COLUMNS.items():
            box(axis, x, row, f"{CHANNELS[stride]} channels", 12.4, 4.6)
    arrow(axis, (13.5, encoder), (24.8, encoder))
    arrow(axis, (13.5, teacher + 0.8), (24.8, teacher + 0.8))
    arrow(axis, (79, encoder - 2.3), (79, decoder + 2.3))
    for left, right in pairwise(COLUMNS.values()):
        arrow(axis, (left + 6.2, encoder), (right - 6.2, encoder))
        arrow(axis, (right - 6.2, decoder), (left + 6.2, decoder))
    for stride, x in list(COLUMNS.items())[:3]:
        box(axis, x, teacher + 0.8, f"{CHANNELS[stride]} channels", 12.4, 4.6)
        box(axis, x, distance, "1 − cosine", 12.4, 4.2)
        arrow(axis, (x, teacher + 3.1), (x, distance - 2.1))
        arrow(axis, (x, decoder - 2.3), (x, distance + 2.1))
        if stride < 16:
            write(axis, x + 8, distance, "+", TITLE)
    box(axis, 88, distance, "student loss: sum of\nthe cosine distances", 20, 6, weight=2.2)
    arrow(axis, (69.2, distance), (78, distance))


def networks(axis, x, y, image, head=True):
    """Teacher and student, frozen, fed by the picture at the left; their lines end at x."""
    for name, row in (("teacher", y - 6), ("student", y + 6)):
        box(axis, 26, row, f"{name},\nfrozen", 13, 7, name, frozen=True)
        arrow(axis, (13.5, y), (16.5, y), (16.5, row), (19.5, row))
        arrow(axis, (32.5, row), (x, row), head=head)
    picture(axis, 9, y, *image)


def second_phase(axis, y):
    """The segmentation network against the mask of the corruption; y: the panel's top."""
    heading(axis, y, "Phase 2: train the segmentation network", "it learns where the corruption is")
    middle, last = y + 14.8, y + 33
    networks(axis, 36.5, middle, ("corrupted", "corrupted image"))
    levels = "\n".join(f"{CHANNELS[stride]} at stride {stride}" for stride in (4, 8, 16))
    box(axis, 46.5, middle, f"negated product of\nnormalised features\n\n{levels}", 20, 20)
    box(axis, 65.5, middle, "resize to\nstride 4,\nconcatenate:\n448 channels", 13, 11)
    arrow(axis, (56.5, middle), (59, middle))
    box(axis, 86.5, middle, "", 23, 23, "segmentation", frozen=False)
    write(axis, 86.5, middle - 8, "segmentation\nnetwork, trained", weight="bold")
    steps = ("2 residual blocks: 256", "ASPP: rates 6, 12, 18", "3×3, 1×1, sigmoid: 1")
    rows = [middle - 2, middle + 3.2, middle + 8.4]
    for row, text in zip(rows, steps, strict=True):
        box(axis, 86.5, row, text, 20.4, 3.6)
    arrow(axis, (72, middle), (73.6, middle), (73.6, rows[0]), (76.3, rows[0]))
    for above, below in pairwise(rows):
        arrow(axis, (86.5, above + 1.8), (86.5, below - 1.8))
    picture(axis, 86.5, last, "found", "segmentation map, stride 4")
    arrow(axis, (86.5, rows[2] + 1.8), (86.5, last - 4.5))
    picture(axis, 9, last, "mask", "mask of\nthe corruption")
    box(axis, 55, last, "segmentation loss: focal + L1", 29, 4.6, weight=2.2)
    arrow(axis, (13.5, last), (40.5, last))
    arrow(axis, (82, last), (69.5, last))
    write(axis, 26.5, last - 1.6, "resize to stride 4, cut at ½", SMALL)


def inference(axis, y):
    """Both anomaly maps and the image score; y: the panel's top."""
    heading(axis, y, "Inference: DeSTSeg.forward", "one image in, two anomaly maps out")
    middle = y + 15.2
    networks(axis, 36, middle, ("defect", "image to judge"), head=False)
    arrow(axis, (36, middle - 6), (36, middle + 6), head=False)
    paths = (
        (-7.5, "1 − cosine\nat each level", "product of\nthe 3 levels", "cosine map"),
        (7.5, "negated\nproduct", "segmentation\nnetwork, frozen", "segmentation map"),
    )
    for offset, first, second, name in paths:
        row, learned = middle + offset, {"part": "segmentation", "frozen": True}
        arrow(axis, (36, middle), (38, middle), (38, row), (40, row))
        box(axis, 47, row, first, 14, 6.4)
        box(axis, 64.5, row, second, 16, 6.4, **learned if offset > 0 else {})
        arrow(axis, (54, row), (56.5, row))
        picture(axis, 79, row, name, name, size=8)
        arrow(axis, (72.5, row), (75, row))
        arrow(axis, (83, row), (91.5, row), (91.5, middle + (5.6 if offset > 0 else -5.6)))
    box(axis, 91.5, middle, "image score:\nmean of the\nT largest\npixels", 12.6, 11.2)


def architecture() -> Figure:
    """Both training phases and inference of DeSTSeg (paper section 3); 7 inches wide."""
    figure = plt.figure(figsize=(7, 7 * HEIGHT / WIDTH), facecolor="white", layout="none")
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    axis.set_axis_off()
    first_phase(axis, 4)
    second_phase(axis, 53.5)
    inference(axis, 100.5)
    return figure
