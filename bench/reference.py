"""DeSTSeg's mathematics the obvious way: what lib is compared with, and timed against.

Plain torch.nn modules in fp32, training steps that do all the work of the official ones,
corruption of one image at a time, metrics as loops over regions and thresholds. Written from the
paper (Zhang et al., CVPR 2023, arXiv 2211.11317) and the design; the study uses nothing of it.

The networks have lib.networks' parameter names. Copy weights in with `load_state_dict`, because
these networks are not initialised as in the paper. Tensors are (N, C, H, W); levels are lists of
feature maps at strides 4, 8 and 16, finest first.
"""

from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn

from lib.backbones import import_torchvision

import_torchvision()  # timm imports torchvision
import timm  # noqa: E402

OPTIMISER = {"momentum": 0.9, "weight_decay": 1e-4}


def layer(inputs, outputs, kernel, **options):
    """Convolution, batch-norm and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, bias=False, **options)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()


class ResidualBlock(nn.Module):
    """ResNet's basic block (He et al. 2016)."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return torch.relu(y + self.shortcut(x))


def two_blocks(inputs, outputs, stride=1):
    """Two residual blocks, the first of which changes channels and size."""
    return nn.Sequential(ResidualBlock(inputs, outputs, stride), ResidualBlock(outputs, outputs))


class Teacher(nn.Module):
    """timm's frozen backbone with its batch-norms, `features`: levels at strides 4, 8, 16.

    timm names ResNet's weights, random here, as torchvision does. Normalisation is ImageNet's.
    """

    def __init__(self, backbone="resnet18"):
        super().__init__()
        self.features = timm.create_model(backbone, features_only=True, out_indices=(1, 2, 3))
        self.channels = self.features.feature_info.channels()
        for name, value in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def normalise(self, images):
        """Images (N, 1 or 3, H, W) in [0, 1] -> (N, 3, H, W) as the networks see them."""
        return (images - self.mean) / self.std

    def forward(self, normalised):
        return self.features(normalised)


class Student(nn.Module):
    """ResNet-18 encoder and mirrored decoder; the arguments of lib.networks.Student."""

    def __init__(self, teacher_channels, encoder_decoder=True, width=64):
        super().__init__()
        a, b, c, d = width, 2 * width, 4 * width, 8 * width
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stem = nn.Sequential(*layer(3, a, 7, stride=2, padding=3), pool)
        stages = [two_blocks(a, a), two_blocks(a, b, 2), two_blocks(b, c, 2), two_blocks(c, d, 2)]
        self.encoder = nn.ModuleList(stages if encoder_decoder else stages[:3])
        stages = two_blocks(d, d), two_blocks(d, c), two_blocks(c, b), two_blocks(b, a)
        self.decoder = nn.ModuleList(stages if encoder_decoder else [])
        self.match = nn.ModuleList()
        for own, wanted in zip((a, b, c), teacher_channels, strict=True):
            same = own == wanted
            self.match.append(nn.Identity() if same else nn.Conv2d(own, wanted, 1, bias=False))

    def forward(self, normalised):
        x = self.stem(normalised)
        encoded = []
        for stage in self.encoder:
            encoded.append(x := stage(x))
        levels = encoded
        if len(self.decoder):
            x = self.decoder[0](x)
            levels = []
            for stage, level in zip(self.decoder[1:], encoded[2::-1], strict=True):
                levels.insert(0, x := stage(upsample(x, level.shape[-2:])))
        return [match(level) for match, level in zip(self.match, levels, strict=True)]


def upsample(x, size):
    """Bilinear resizing to `size`."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: global mean, 3x3 views with dilation 6, 12, 18, fusion."""

    def __init__(self, channels):
        super().__init__()
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), *layer(channels, channels, 1))
        views = [layer(channels, channels, 3, padding=d, dilation=d) for d in (6, 12, 18)]
        self.views = nn.ModuleList(nn.Sequential(*view) for view in views)
        self.fuse = nn.Sequential(*layer(4 * channels, channels, 3, padding=1))

    def forward(self, x):
        pooled = self.pool(x).expand_as(x)
        return self.fuse(torch.cat([pooled] + [view(x) for view in self.views], dim=1))


class SegmentationNetwork(nn.Module):
    """Up-samples the levels' products to stride 4, concatenates: probability (N, 1, H/4, W/4)."""

    def __init__(self, inputs, channels=256):
        super().__init__()
        last = *layer(channels, channels, 3, padding=1), nn.Conv2d(channels, 1, 1)
        self.residual = two_blocks(inputs, channels)
        self.head = nn.Sequential(ASPP(channels), *last)

    def forward(self, products):
        size = products[0].shape[-2:]
        x = torch.cat([upsample(level, size) for level in products], dim=1)
        return torch.sigmoid(self.head(self.residual(x)))


def level_products(teacher_levels, student_levels):
    """Negated product of L2-normalised features, each level at its own resolution."""
    pairs = zip(teacher_levels, student_levels, strict=True)
    return [-F.normalize(t, dim=1) * F.normalize(s, dim=1) for t, s in pairs]


def cosine_distance_loss(teacher_levels, student_levels):
    """1 - <t, s> of L2-normalised features: mean over positions, sum over levels and batch."""
    loss = 0
    for t, s in zip(teacher_levels, student_levels, strict=True):
        cosine = (F.normalize(t, dim=1) * F.normalize(s, dim=1)).sum(dim=1)
        loss = loss + (1 - cosine).mean(dim=(1, 2)).sum()
    return loss


def segmentation_loss(prediction, mask, gamma=4.0, l1_weight=1.0):
    """Focal plus L1 loss of probabilities (N, 1, h, w) against masks (N, 1, H, W) of 0 and 1."""
    target = (upsample(mask, prediction.shape[-2:]) >= 0.5).to(prediction)
    true = target * prediction + (1 - target) * (1 - prediction)
    entropy = F.binary_cross_entropy(prediction, target, reduction="none")
    return ((1 - true) ** gamma * entropy).mean() + l1_weight * F.l1_loss(prediction, target)


def forward_everything(teacher, student, network, normal, corrupted):
    """All that the official model computes in either phase, whether it is needed or not.

    Returns the teacher's levels (clean images), the student's and the prediction (corrupted ones).
    """
    seen = teacher.normalise(corrupted)
    levels = student(seen)
    prediction = network(level_products(teacher(seen), levels))
    return teacher(teacher.normalise(normal)), levels, prediction


def student_step(teacher, student, network, rate=0.4, denoising=True):
    """Phase 1 with all the official work: returns `step(normal, corrupted, mask) -> loss`.

    The teacher sees the clean and the corrupted image, and the segmentation network makes a
    prediction that is thrown away; without denoising the student sees the clean image as well, and
    learns from that. Images are (N, 1 or 3, S, S) in [0, 1], masks (N, 1, S, S).
    """
    sgd = torch.optim.SGD(student.parameters(), rate, **OPTIMISER)

    def step(normal, corrupted, mask):
        student.train()
        network.eval()
        target, levels, _ = forward_everything(teacher, student, network, normal, corrupted)
        if not denoising:
            levels = student(teacher.normalise(normal))
        loss = cosine_distance_loss(target, levels)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        return loss.item()

    return step


def segmentation_step(teacher, student, network, rates=(0.1, 0.01), gamma=4.0):
    """Phase 2 with all the official work: returns `step(normal, corrupted, mask) -> loss`.

    The teacher also sees the clean image, and the loss is propagated back into the student, whose
    parameters get gradients that are never used; its batch-norm is in eval mode. rates: of the
    residual blocks and of the head.
    """
    parts = zip((network.residual, network.head), rates, strict=True)
    groups = [{"params": part.parameters(), "lr": rate} for part, rate in parts]
    sgd = torch.optim.SGD(groups, **OPTIMISER)

    def step(normal, corrupted, mask):
        student.eval()
        network.train()
        _, _, prediction = forward_everything(teacher, student, network, normal, corrupted)
        loss = segmentation_loss(prediction, mask, gamma)
        sgd.zero_grad()
        student.zero_grad()
        loss.backward()
        sgd.step()
        return loss.item()

    return step


def perlin_mask(size, rng, threshold=0.5, max_log2_frequency=5, rotation=90.0):
    """Where a rotated Perlin field exceeds `threshold`, bool (size, size); rng: a numpy Generator.

    One image at a time, as a data loader's worker makes it (paper section 3.1).
    """
    rows, columns = 2 ** rng.integers(0, max_log2_frequency + 1, 2)
    angle = rng.uniform(0, 2 * np.pi, (rows + 1, columns + 1))
    gradient_y, gradient_x = np.cos(angle), np.sin(angle)
    y, x = np.mgrid[:size, :size] / size * np.array([rows, columns]).reshape(2, 1, 1)  # in cells
    row, column = y.astype(int), x.astype(int)
    y, x = y - row, x - column
    fade_y, fade_x = (t * t * t * (t * (t * 6 - 15) + 10) for t in (y, x))  # Perlin's curve
    noise = np.zeros((size, size))
    for dy, dx in product((0, 1), (0, 1)):  # the four corners of each pixel's cell
        corner = row + dy, column + dx
        weight = (fade_y if dy else 1 - fade_y) * (fade_x if dx else 1 - fade_x)
        noise += weight * ((y - dy) * gradient_y[corner] + (x - dx) * gradient_x[corner])
    options = {"reshape": False, "order": 1, "mode": "grid-constant"}  # bilinear, 0 outside
    noise = ndimage.rotate(noise, rng.uniform(-rotation, rotation), **options)
    return np.sqrt(2) * noise > threshold


def corrupt(image, texture, rng, max_beta=0.8, **mask_settings):
    """Let `texture` show through a Perlin mask: (corrupted (S, S, C), mask bool (S, S)).

    image: float (S, S, C) in [0, 1]; texture: uint8 (S, S, C).
    """
    mask = perlin_mask(len(image), rng, **mask_settings)
    beta = rng.uniform(0, max_beta)
    blended = beta * image + (1 - beta) * texture / 255
    return np.where(mask[..., None], blended, image), mask


def corrupted_batch(images, textures, rng):
    """uint8 (N, S, S, C) images and (M, S, S, C) textures -> tensors (normal, corrupted, mask)."""
    pairs = [corrupt(image / 255, textures[rng.integers(len(textures))], rng) for image in images]
    corrupted, masks = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
    batch = (torch.from_numpy(x).float() for x in (images / 255, corrupted, masks[..., None]))
    return tuple(x.permute(0, 3, 1, 2).contiguous() for x in batch)


def regions_of(masks):
    """[(image, bool (H, W))]: the 8-connected regions of masks bool (N, H, W)."""
    regions = []
    for image, mask in enumerate(masks):
        labelled, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [(image, labelled == k) for k in range(1, count + 1)]
    return regions


def pro(maps, masks, fpr_limit=0.3, thresholds=None):
    """Mean covered share of the regions up to the false-positive rate `fpr_limit`.

    thresholds: None takes every distinct score, which is exact and for small maps only; a number
    takes as many evenly spaced ones, as is common, which is not exact.
    """
    cuts = np.unique(maps)[::-1]
    if thresholds:
        cuts = np.linspace(cuts[0], cuts[-1], thresholds)
    regions, fpr, overlap = regions_of(masks), [0.0], [0.0]
    for cut in cuts:
        found = maps >= cut
        fpr.append(found[~masks].mean())
        overlap.append(np.mean([found[image][region].mean() for image, region in regions]))
    inside = np.searchsorted(fpr, fpr_limit, side="right")
    y = [*overlap[:inside], np.interp(fpr_limit, fpr, overlap)]
    return np.trapezoid(y, [*fpr[:inside], fpr_limit]) / fpr_limit


def iap(maps, masks, recall=0.9):
    """Instance average precision, and the precision at the lowest recall of at least `recall`."""
    middle = [np.sort(maps[i][r])[::-1][int(0.5 * r.sum())] for i, r in regions_of(masks)]
    best, precision, at_recall = 0.0, [], 0.0
    for cut in sorted(middle):
        found = maps >= cut
        best = max(best, (found & masks).sum() / found.sum())
        precision.append(best)
        if np.mean(np.array(middle) >= cut) >= recall - 1e-9:
            at_recall = best
    return np.mean(precision), at_recall


def evaluate(maps, masks, scores, labels, fpr_limit=0.3, recall=0.9, thresholds=None):
    """The six figures of study.scoring.metrics.evaluate, each on its own; masks bool (N, H, W)."""
    average, at_recall = iap(maps, masks, recall)
    return {
        "image_auroc": roc_auc_score(labels, scores),
        "pixel_auroc": roc_auc_score(masks.ravel(), maps.ravel()),
        "pixel_ap": average_precision_score(masks.ravel(), maps.ravel()),
        "pro": pro(maps, masks, fpr_limit, thresholds),
        "iap": average,
        "iap90": at_recall,
    }
