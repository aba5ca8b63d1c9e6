"""Warnings where new images do not look like the calibration images.

The guarantee on false alarms holds for good images that are exchangeable with the calibration
images. So their p-values are uniform, which is the same as scores of one distribution on both
sides. The two-sample test of Kolmogorov and Smirnov asks that of scores and of brightness.
"""

from collections import Counter

import numpy as np
from scipy.stats import ks_2samp

UNLIKELY = 0.001  # a p-value of the test below which a warning is given


def scores(known, new, alpha, alarms):
    """Warnings on scores: known (n,) of calibration images, new (m,) with so many alarms."""
    if len(new) < 5 or (p := ks_2samp(known, new).pvalue) >= UNLIKELY:
        return []
    higher = np.median(new) > np.median(known)
    return [
        f"The scores are {'higher' if higher else 'lower'} than those of the {len(known)} "
        f"calibration images (Kolmogorov-Smirnov p = {p:.1g}): {alarms} of {len(new)} images "
        f"alarm, where {alpha:.1%} of good ones would at most. "
        + (
            "Either many parts are defective, or camera, light or parts have changed."
            if higher
            else "Are these images that the models were trained on?"
        )
    ]


def brightness(known, new):
    """Warnings on mean grey levels (0..255) of calibration images (n,) and new ones (m,)."""
    low, high = np.min(known), np.max(known)
    room = (high - low) / 2
    beyond = int(np.sum((new < low - room) | (new > high + room)))
    differs = len(new) >= 5 and ks_2samp(known, new).pvalue < UNLIKELY
    if not (differs or beyond):
        return []
    return [
        f"The brightness differs: new images have a mean grey level of {np.min(new):.0f} to "
        f"{np.max(new):.0f} (median {np.median(new):.0f}), the calibration images of {low:.0f} to "
        f"{high:.0f} (median {np.median(known):.0f}). The false-alarm rate is not guaranteed then."
    ]


def sizes(known, new):
    """Warnings on image sizes (width, height) that no calibration image has; [] without known."""
    if not known or not (others := Counter(size for size in new if size not in set(known))):
        return []
    usual, unusual = Counter(known).most_common(1)[0][0], others.most_common(1)[0][0]
    ratios = usual[0] / usual[1], unusual[0] / unusual[1]
    squeezed = abs(ratios[0] / ratios[1] - 1) > 0.02
    return [
        f"{others.total()} of {len(new)} images have another size than the calibration images, "
        f"such as {unusual[0]}x{unusual[1]} instead of {usual[0]}x{usual[1]} pixels"
        + (
            ", and another shape: resizing distorts them differently. Crop them alike."
            if squeezed
            else ". They are resized, so finer or coarser detail is left of them."
        )
    ]


def colours(channels, coloured):
    """Warnings on colour: the model's channels, and whether each new image is coloured."""
    if channels == 1 and any(coloured):
        return [
            f"{sum(coloured)} of {len(coloured)} images are coloured, but the model sees grey only "
            "(dataset.channels: 1): a defect of colour alone may be missed."
        ]
    if channels == 3 and coloured and not any(coloured):
        return [
            "All images are grey, but the model was trained on three channels. Were the training "
            "images coloured? Then these are other images."
        ]
    return []
