"""Which device and precision train, on machines that are made up here."""

import os

import numpy as np
import pytest
import torch

from lib import devices
from lib.batches import to_arrays

CPUINFO = """\
processor\t: 0
vendor_id\t: Toy
model name\t: Toy CPU: fast
vmx flags\t: amx_bf16
flags\t\t: fpu sse2 {}
"""
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def cpu(tmp_path, monkeypatch):
    """A machine without GPU whose CPU has the flags that a test asks for; None: not Linux."""
    path = tmp_path / "cpuinfo"

    def machine(flags):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(devices, "Path", lambda _: path)
        path.unlink(missing_ok=True)
        if flags is not None:
            path.write_text(CPUINFO.format(flags))

    return machine


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU that has bf16 units or has not; nothing can be computed on it."""

    def machine(has_bf16):
        def supported(including_emulation=True):
            return has_bf16 or including_emulation

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Toy GPU")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)

    return machine


@pytest.mark.parametrize(
    ("flags", "pays"),
    [
        ("avx2 avx512f avx512_bf16 fma", True),
        ("avx512f amx_bf16 amx_tile", True),
        ("avx2 avx512f avx512_vnni", False),
        ("avx512_bf16x amx_bf16_not", False),  # whole words only
        ("", False),
        (None, False),
    ],
)
def test_bf16_pays_where_the_cpu_has_units_for_it(cpu, flags, pays):
    cpu(flags)
    assert devices.bf16_is_faster() is pays


def test_bf16_pays_where_the_gpu_does_not_emulate_it(gpu):
    for has_bf16 in (True, False):
        gpu(has_bf16)
        assert devices.bf16_is_faster() is has_bf16


def halves(precision):
    """Whether a product inside the context comes out in bf16."""
    with devices.autocast(precision):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.tolist() == [[2, 2], [2, 2]]
    return product.dtype == torch.bfloat16


@pytest.mark.parametrize("flags", ["avx512_bf16", "avx2", None])
def test_precision_is_as_asked_and_auto_asks_the_cpu(cpu, flags):
    cpu(flags)
    assert halves("bf16") and not halves("fp32")
    assert halves("auto") == (flags == "avx512_bf16")
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32  # outside


def test_device_and_its_name(cpu, gpu):
    cpu("avx2")
    assert devices.device().type == "cpu"
    assert devices.device_name() == f"Toy CPU: fast, {os.cpu_count()} CPU cores, no GPU"
    cpu(None)  # says what else is known
    name = devices.device_name()
    assert name.endswith(f", {os.cpu_count()} CPU cores, no GPU") and name[0] not in " ,"
    gpu(True)
    assert devices.device().type == "cuda" and devices.device_name() == "Toy GPU"


def test_only_a_gpu_is_held_to_deterministic_algorithms(cpu, gpu):
    threads = torch.get_num_threads()
    try:
        cpu("avx2")  # repeats to the bit in any case
        devices.fix_arithmetic(1, True)
        assert torch.get_num_threads() == 1
        assert not torch.are_deterministic_algorithms_enabled()
        gpu(True)
        devices.fix_arithmetic(1, True)
        assert torch.are_deterministic_algorithms_enabled()
        devices.fix_arithmetic(1, False)
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)


def test_cublas_is_told_before_its_first_product():
    """It reads this once; a GPU may multiply before anything calls `fix_arithmetic`."""
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"]


def test_images_to_the_device_and_rows_of_them_back():
    images = devices.to_device(IMAGES)
    assert images.shape == (6, 3, 8, 8) and images.dtype == torch.uint8
    assert images.device.type == devices.device().type
    assert np.array_equal(to_arrays(images), IMAGES)
    rows = torch.tensor([4, 0, 4], device=devices.device())
    taken = devices.take(images, rows)
    assert taken.device == rows.device
    assert np.array_equal(
        taken.permute(0, 2, 3, 1).cpu().numpy(), IMAGES[[4, 0, 4]] / np.float32(255)
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_does_not_fit_stays_in_host_memory(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (IMAGES.nbytes, 0))
    images = devices.to_device(IMAGES)
    assert images.is_pinned() and "stay in host memory" in capsys.readouterr().out
    rows = torch.tensor([5, 2], device=devices.device())
    taken = devices.take(images, rows)
    assert taken.device == rows.device
    assert np.allclose(taken.permute(0, 2, 3, 1).cpu().numpy(), IMAGES[[5, 2]] / 255)
