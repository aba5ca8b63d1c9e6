"""Names as labels of figures."""

import warnings

from matplotlib import pyplot as plt

from study.figures.names import readable


def test_signs_that_the_font_lacks_become_their_codes():
    assert readable("Schraube ß é\n001.png") == "Schraube ß é\n001.png"
    assert readable("螺丝.png") == "\\u87ba\\u4e1d.png"
    assert readable("a$b$.png") == r"a\$b\$.png"


def test_a_figure_draws_them_without_a_warning():
    figure = plt.figure()
    figure.text(0, 0, readable("螺丝 $x_1^$ 🔩.png"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    plt.close(figure)
