"""One place where `import torchvision` is made to work beside a CPU build of torch.

The package index serves torchvision built against CUDA torch. Beside a CPU build of torch its
import fails with "operator torchvision::nms does not exist", because it registers fake kernels
for operators that its C++ library could not declare (pytorch/vision issues 9077, 9085). Declaring
the two schemas is enough: models, datasets and transforms never call them.
"""

import sys
import warnings

import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
warnings.filterwarnings("ignore", message="IProgress not found")  # timm's hub client uses tqdm
LIBRARY_DEFINITIONS = []  # torch.library forgets what is not kept alive


def import_torchvision():
    """Return the torchvision module, declaring its missing operators only when its import fails."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        for name in ("torchvision::nms", "torchvision::qnms"):
            LIBRARY_DEFINITIONS.append(torch.library.define(name, SCHEMA))
        for module in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
            del sys.modules[module]  # half-imported
        import torchvision
    return torchvision
