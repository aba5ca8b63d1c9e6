"""Write the calibrated model of each category as ONNX: `make export`.

    python -m study.inspector.export [CATEGORY ...]

exported/<category>.onnx takes raw images, uint8 (N, H, W, C), any N, H and W; C is
`dataset.channels`. It resizes them as training did, and gives `map` (N, S, S) in units of the pixel
threshold, `score` (N,) and `p_value` (N,). An image raises an alarm if its score is above the
threshold in the metadata, which also hold alpha, the hash of the model and the versions.
"""

import json
import logging
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from study import params, results
from study.files import whole
from study.inspector import judge

OPSET = 20
NAMES = ("map", "score", "p_value")


def to_onnx(model, channels):
    """The `Judge` as an onnx.ModelProto: uint8 (N, H, W, C) in, NAMES out."""
    import onnx
    import onnxscript  # noqa: F401  torch needs it

    size = model.size
    example = torch.zeros(2, size, size, channels, dtype=torch.uint8)
    model = model.cpu().eval()
    logging.getLogger("onnxscript").setLevel(logging.ERROR)  # it logs each node that it keeps
    with torch.no_grad(), warnings.catch_warnings():
        model(example)  # fills caches with numbers, before tracing could fill them with symbols
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, (example,), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=["resized"], output_names=list(NAMES),
            dynamic_shapes={"images": {0: torch.export.Dim("N")}},
        )  # fmt: skip
    core = program.model_proto
    front = resizing(size, channels, core.ir_version)
    return onnx.compose.merge_models(front, core, io_map=[("pixels", "resized")])


def resizing(size, channels, ir_version):
    """uint8 (N, H, W, C) -> (N, size, size, C): bilinear, antialiased, with Pillow's weights.

    ONNX Runtime rounds a pixel in a few thousand one grey level away from Pillow.
    """
    from onnx import TensorProto, helper

    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.UINT8, shape)

    side = helper.make_tensor("side", TensorProto.INT64, [2], [size, size])
    options = {"mode": "linear", "antialias": 1, "exclude_outside": 1}
    nodes = [
        helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Shape", ["planes"], ["outer"], start=0, end=2),
        helper.make_node("Concat", ["outer", "side"], ["sizes"], axis=0),
        helper.make_node("Resize", ["planes", "", "", "sizes"], ["small"], **options),
        helper.make_node("Transpose", ["small"], ["pixels"], perm=[0, 2, 3, 1]),
    ]
    images = value("images", "N", "H", "W", channels)
    pixels = value("pixels", "N", size, size, channels)
    graph = helper.make_graph(nodes, "resizing", [images], [pixels], [side])
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def metadata(settings, category, document, model):
    """{key: text} of what a user of the file must know: thresholds, alpha, provenance."""
    alphas = settings.calibration.alpha
    thresholds = {f"{alpha:g}": float(np.float32(model.threshold(alpha))) for alpha in alphas}
    return {
        "category": category,
        "student": settings.headline,
        "seeds": json.dumps(settings.seeds),
        "maps": json.dumps(model.kinds),
        "input": f"uint8 (N, H, W, {settings.dataset.channels}), raw images",
        "score_thresholds": json.dumps(thresholds),
        "rule": "an image alarms where score > threshold; a pixel is anomalous where map > 1",
        "pixel_alpha": str(document["alpha"]),
        "calibration_images": str(document["n"]),
        "model_sha256": document["model"],
        "opset": str(OPSET),
        "torch": version("torch"),
        "study": settings.study,
    }


def export(settings, category):
    """Write exported/<category>.onnx; returns its path.

    Raises what `judge.read_calibration`, `judge.load` and `to_onnx` raise.
    """
    import onnx

    document, _ = judge.read_calibration(settings, category)
    model = judge.load(settings, category, document)
    made = to_onnx(model, settings.dataset.channels)
    onnx.helper.set_model_props(made, metadata(settings, category, document, model))
    made.producer_name, made.graph.name = "destseg-study", category
    onnx.checker.check_model(made)
    path = results.ROOT / "exported" / f"{category}.onnx"
    with whole(path) as partial:
        Path(partial).write_bytes(made.SerializeToString(deterministic=True))
    return path


def main(categories):
    """The command line."""
    try:
        settings = params.load()
        for category in categories or settings.categories:
            path = export(settings, category)
            print(f"{path.relative_to(results.ROOT)}, {path.stat().st_size / 1e6:.1f} MB")
    except ImportError as error:
        sys.exit(f"error: {error}: pip install -r requirements-export.txt")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
