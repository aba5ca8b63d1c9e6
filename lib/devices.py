"""The device that trains, its name in tables, and the precision that is fastest on it."""

import os
import platform
from pathlib import Path

import torch

# `deterministic` needs this. cuBLAS reads it once, at the first product.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def device():
    """The device to train on: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name():
    """The GPU's name, or the processor and the number of cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = _cpu("model name") or platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} CPU cores, no GPU"


def _cpu(key):
    """A line of Linux's /proc/cpuinfo; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith(key)), "")


def bf16_is_faster():
    """Whether the device multiplies matrices faster in bf16: tensor cores, AVX512-BF16 or AMX.

    Without such units a CPU emulates bf16 and is slower than in fp32.
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool({"avx512_bf16", "amx_bf16"} & set(_cpu("flags").split()))


def autocast(precision):
    """Context of the forward passes of training: `fp32`, `bf16`, or `auto` (bf16 if it is faster).

    Weights, losses and scored maps stay in fp32.
    """
    chosen = precision == "bf16" or (precision == "auto" and bf16_is_faster())
    return torch.autocast(device().type, torch.bfloat16, enabled=chosen)


def fix_arithmetic(threads, deterministic):
    """Fix everything that affects the last bits of a sum; call it before the first matrix product.

    threads: CPU threads; another number sums in another order. deterministic: use only
    deterministic GPU algorithms. torch raises an error that names an operation without one. All of
    ours have one: only the gradient of up-sampling uses atomic additions, and torch has a slower
    way for it. Without `deterministic`, a GPU tries which convolution is the fastest.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic and device().type == "cuda")
    torch.backends.cudnn.benchmark = not deterministic


def to_device(images):
    """uint8 array (N, S, S, C) -> tensor (N, C, S, S) on the training device.

    An array that would fill more than half of the GPU's free memory stays in pinned host memory,
    and `take` fetches each batch from there.
    """
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    if device().type == "cpu":
        return tensor
    free, _ = torch.cuda.mem_get_info()
    if tensor.nbytes > free / 2:
        print(
            f"{tensor.nbytes / 1e9:.1f} GB stay in host memory, the GPU has {free / 1e9:.1f} free"
        )
        return tensor.pin_memory()
    return tensor.to(device())


def take(images, index):
    """Images `index` of a `to_device` tensor: (B, C, S, S) in [0, 1] on the training device."""
    if images.device != index.device:
        index = index.to(images.device)
    return images[index].to(device(), non_blocking=True) / 255
