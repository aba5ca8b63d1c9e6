"""Numbers and tables as text: levels in percent, differences in points, one decimal each."""

import re

import numpy as np

from study.scoring.metrics import METRICS


def plain(name):
    """A name of the study's files as words; the baseline's says which levels it reads."""
    words = str(name).replace("_", " ")
    if found := re.fullmatch(r"(.*(?:nearest neighbour|maximum|gaussian)) (\d(?: \d)*)", words):
        levels = found[2].split()
        return f"{found[1]}, level{'s' * (len(levels) > 1)} {listed(levels)}"
    return words


def markdown(frame):
    """A DataFrame with its index as a Markdown table."""
    return frame.reset_index().to_markdown(index=False, disable_numparse=True)


def plus_minus(mean, deviation):
    """`93.1 ± 0.4`; without spread for one seed; None where nothing was measured."""
    if np.isnan(mean):
        return None
    return f"{mean:.1f}" if np.isnan(deviation) else f"{mean:.1f} ± {deviation:.1f}"


def over_seeds(values):
    """`plus_minus` of a figure for each seed, a Series."""
    return plus_minus(values.mean(), values.std(ddof=1))


def signed(value):
    """`+0.9`, `-0.1`; a rounded zero is `0.0`, without a sign."""
    rounded = round(float(value), 1)
    return f"{rounded:+.1f}" if rounded else "0.0"


def brackets(interval):
    """`[-1.2, +0.6]` of a pair of differences; an end near zero shows its side: `+0.04`."""
    ends = (f"{x:+.1g}" if 0.0005 <= abs(x) < 0.05 else signed(x) for x in interval)
    return "[{}, {}]".format(*ends)


def level(mean, interval=None):
    """`92.9 [89.9, 95.7]`: a level in percent and its interval, if it has one."""
    return f"{mean:.1f}" + (" [{:.1f}, {:.1f}]".format(*interval) if interval else "")


def counted(number, noun):
    """`1 seed`, `3 seeds`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def listed(words):
    """`a`, `a and b`, `a, b and c`."""
    *some, last = words
    return f"{', '.join(some)} and {last}" if some else last


def lower(words):
    """Words with a small first letter."""
    return words[0].lower() + words[1:]


def upper(words):
    """Words with a capital first letter."""
    return words[0].upper() + words[1:]


def method_name(student):
    """The method in words: `the full method`, or the student that a study declares instead."""
    return "the full method" if student == "full" else f"the student `{student}`"


def spread(frame):
    """Mean and deviation over seeds in percent, a row for each benchmark, student and map."""
    groups = frame.groupby(["benchmark", "student", "map"], sort=False)[list(METRICS)]
    return groups.agg(lambda values: over_seeds(100 * values)).dropna(axis=1, how="all")
