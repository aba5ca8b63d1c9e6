"""The exported model in ONNX Runtime: equal to torch, for any number and size of images."""

import json
from dataclasses import replace

import judged
import numpy as np
import pytest
from PIL import Image

from study import params, results
from study.inspector import export

onnx = pytest.importorskip("onnx", reason="needs `pip install -r requirements-export.txt`")
runtime = pytest.importorskip(
    "onnxruntime", reason="needs `pip install -r requirements-export.txt`"
)
pytest.importorskip("onnxscript", reason="needs `pip install -r requirements-export.txt`")
CATEGORY = "monocrystalline"


@pytest.fixture(scope="module")
def made():
    return judged.make(replace(judged.settings(), seeds=(0,)))


@pytest.fixture(scope="module")
def path(made, tmp_path_factory):
    root, patch = tmp_path_factory.mktemp("run"), pytest.MonkeyPatch()
    patch.setattr(results, "ROOT", root)
    judged.leave(made, root)
    yield export.export(made.settings, CATEGORY)
    patch.undo()


@pytest.fixture(scope="module")
def session(path):
    return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_equal_to_torch_for_any_batch(made, session):
    images = judged.pictures(9, seed=2)
    images[-1, 20:40, 20:40] = 255
    expected = made.judge.judge(images)
    for count in (1, 4, 9):
        found = session.run(list(export.NAMES), {"images": images[:count]})
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other[:count], atol=1e-4)
        cut = made.judge.threshold(0.05)
        assert ((found[1] > cut) == (expected[1][:count] > cut)).all()


@pytest.mark.parametrize("size", [(150, 300), (64, 64), (50, 40), (700, 500)])
def test_raw_images_are_resized_as_in_training(made, session, size):
    raw = np.random.default_rng(0).integers(0, 256, (2, *size, 1), dtype=np.uint8)
    pillow = [
        np.asarray(Image.fromarray(one[..., 0]).resize((64, 64), Image.Resampling.BILINEAR))
        for one in raw
    ]
    expected = made.judge.judge(np.stack(pillow)[..., None])
    found = session.run(list(export.NAMES), {"images": raw})
    # A few pixels are rounded to the next grey level.
    np.testing.assert_allclose(found[0], expected[0], atol=5e-3)
    np.testing.assert_allclose(found[1], expected[1], atol=2e-2)


def test_the_file_says_what_a_user_must_know(made, path, session):
    found = session.get_modelmeta().custom_metadata_map
    thresholds = json.loads(found["score_thresholds"])
    assert set(thresholds) == {f"{a:g}" for a in made.settings.calibration.alpha}
    assert thresholds["0.05"] == pytest.approx(made.judge.threshold(0.05))
    assert found["model_sha256"] == made.document["model"] and found["category"] == CATEGORY
    assert found["opset"] == str(export.OPSET) and "score > threshold" in found["rule"]
    opsets = {one.domain: one.version for one in onnx.load(path).opset_import}
    assert opsets[""] == export.OPSET
    (given,) = session.get_inputs()
    assert (given.name, given.type) == ("images", "tensor(uint8)") and given.shape[3] == 1


def test_the_command(made, path, monkeypatch, capsys):
    monkeypatch.setattr(params, "load", lambda: made.settings)
    with pytest.raises(SystemExit, match=r"error: category 'nut': not one of params\.yaml's"):
        export.main(["nut"])
    monkeypatch.setattr(export, "export", lambda settings, category: path)
    export.main([])
    assert f"exported/{CATEGORY}.onnx, " in capsys.readouterr().out


def test_missing_packages_are_named(made, path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    monkeypatch.setattr(params, "load", lambda: made.settings)
    with pytest.raises(SystemExit, match=r"pip install -r requirements-export\.txt"):
        export.main([CATEGORY])
