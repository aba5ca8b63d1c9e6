"""Trained networks, saved and loaded."""

import io

import torch

from lib import inference
from lib.devices import device, device_name
from lib.networks import DeSTSeg, SegmentationNetwork, Student
from study import results
from study.files import whole
from study.variants import equality


def save(folder, network, settings, history):
    """Write history.csv and weights.pt: state dict, device, and the settings to rebuild it."""
    content = io.BytesIO()  # torch itself would not say why a write failed
    state = {"settings": settings, "state": network.state_dict(), "device": device_name()}
    torch.save(state, content)
    with whole(folder / "weights.pt") as path:
        path.write_bytes(content.getvalue())
    lines = ["step,loss", *(f"{step},{loss:.6g}" for step, loss in history)]
    with whole(folder / "history.csv") as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def load(folder, build):
    """Rebuild what `save` wrote, as `build(**settings)`, on the training device in eval mode.

    `trained_on` of the network names the device that trained it.
    """
    saved = torch.load(folder / "weights.pt", map_location=device(), weights_only=True)
    network = build(**saved["settings"])
    network.load_state_dict(saved["state"])
    network.trained_on = saved["device"]
    return network.to(device(), memory_format=torch.channels_last).eval()


def load_segmentation(folder, settings):
    """The module that gives the map of a trained segmentation network with these settings."""
    return equality.reader(load(folder, SegmentationNetwork), settings)


def load_model(params, category, seed):
    """The headline student's `DeSTSeg`, as the stages of the pipeline left it.

    Raises FileNotFoundError where that item was not trained yet.
    """
    item = results.item(params.headline, seed)
    phases = ("student", "segmentation")
    student, network = (results.network(phase, category, item) for phase in phases)
    if not network.is_dir():
        raise FileNotFoundError(
            f"no trained model of {category}, seed {seed}: run "
            f"`dvc repro segmentation@{category}-{item}` first"
        )
    trained = load(student, Student), load_segmentation(network, params.segmentation)
    return DeSTSeg(inference.make_teacher(params), *trained, params.segmentation.input)
