"""What params.yaml declares for one training, handed to lib/training.py as its `method`.

Without any of these keys the losses, networks and random numbers are the paper's, bit for bit.
"""

import torch

from lib.batches import Batches
from lib.losses import cosine_distance
from lib.training import Method
from study.variants import corruptions, equality

EASY = 0.1  # weight of the easy positions in the hard-mining loss


class Variant(Method):
    """The method with the settings of one training, and the parameters of its corruption."""

    def __init__(self, settings, params):
        self.settings, self.sources = settings, params.corruption.sources

    def mix(self, batches):
        """Let a stream draw from the declared sources of corruption."""
        if self.sources:
            batches.corrupt = corruptions.corrupt

    def begin(self, network, batches):
        self.mix(batches)
        if getattr(self.settings, "noise", 0):
            add_noise(network, self.settings.noise, batches.generator)
        if getattr(self.settings, "activation", "") == "bump":
            equality.start_at_normal(network, self.settings.prior, self.settings.sigma)

    def distillation_loss(self, teacher_levels, student_levels):
        if not self.settings.hard_mining:
            return super().distillation_loss(teacher_levels, student_levels)
        share = self.settings.hard_mining
        return hard_mining_loss(teacher_levels, student_levels, share)

    def segmentation_loss(self, logits, mask, settings):
        if settings.activation == "bump":
            prediction = 1 - equality.bump(logits, settings.sigma)
            loss = equality.focal_loss(logits, mask, settings.gamma, settings.sigma)
            loss = loss + settings.l1_weight * (prediction - mask).abs().mean()
        else:
            prediction, loss = None, super().segmentation_loss(logits, mask, settings)
        if settings.dice_weight:
            prediction = torch.sigmoid(logits) if prediction is None else prediction
            loss = loss + settings.dice_weight * dice_loss(prediction, mask)
        return loss


def student(params, name):
    """(method, parameters) of the training of a declared student."""
    params = params.variant(name)
    return Variant(params.students[name], params), params


def stream(images, textures, batch_size, params, name, category, seed):
    """The stream that trains a declared student, for figures."""
    method, chosen = student(params, name)
    batches = Batches(images, textures, batch_size, chosen, category, seed)
    method.mix(batches)
    return batches


def segmentation(params, student, head="method"):
    """(method, parameters) of the training of a segmentation network; `method` has its settings."""
    params = params.variant(student, head)
    return Variant(params.head(head), params), params


def add_noise(network, strength, generator):
    """Add Gaussian noise to a student's latent in training (FeatDAE, IEEE TIM 2025).

    The latent is the encoder's last output. strength: standard deviation of each channel after
    L2-normalisation of the channels.
    """

    def noisy(block, inputs, latent):
        if not block.training:
            return latent
        noise = torch.randn(latent.shape, generator=generator, device=latent.device)
        length = latent.detach().norm(dim=1, keepdim=True)
        return latent + (strength * length * noise).to(latent.dtype)

    network.encoder[-1].register_forward_hook(noisy)


def hard_mining_loss(teacher_levels, student_levels, share):
    """`cosine_distance_loss` with a tenth of the weight on the `share` of easiest positions.

    After Dinomaly's loose loss (Guo et al., CVPR 2025). The quantile is over the batch, by level.
    """
    loss = 0
    for t, s in zip(teacher_levels, student_levels, strict=True):
        distance = cosine_distance(t, s)
        easy = distance.detach() < torch.quantile(distance.detach().float(), share)
        loss = loss + (distance * torch.where(easy, EASY, 1.0)).mean(dim=(1, 2)).sum()
    return loss


def dice_loss(prediction, mask):
    """1 - 2 |P M| / (|P| + |M|) over the whole batch, with 1 added to both terms."""
    return 1 - (2 * (prediction * mask).sum() + 1) / (prediction.sum() + mask.sum() + 1)
