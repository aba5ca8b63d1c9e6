"""import torchvision works, and the repair is tried for the one known failure only."""

import builtins
import sys

import pytest
import torch

from lib import backbones
from lib.backbones import import_torchvision

KNOWN = "operator torchvision::nms does not exist"


def test_torchvision_works():
    torchvision = import_torchvision()
    assert import_torchvision() is torchvision
    from torchvision.transforms.v2 import functional

    flipped = functional.horizontal_flip(torch.tensor([[[1, 2]]]))
    assert flipped.tolist() == [[[2, 1]]]
    assert hasattr(torchvision.models, "resnet18")


def fail_to_import(monkeypatch, message, times):
    """Let `import torchvision` raise RuntimeError(message) so many times; returns the attempts."""
    genuine, attempts = builtins.__import__, []
    modules = [m for m in sys.modules if m.split(".")[0] == "torchvision"]
    for module in modules:  # put back afterwards: a second copy of torchvision helps nobody
        monkeypatch.setitem(sys.modules, module, sys.modules[module])
    monkeypatch.setattr(backbones, "LIBRARY_DEFINITIONS", [])

    def replacement(name, *arguments, **keywords):
        if name == "torchvision":
            attempts.append(name)
            if len(attempts) <= times:
                raise RuntimeError(message)
            return "the module"
        return genuine(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", replacement)
    return attempts


def test_missing_operators_are_declared_and_the_import_repeated(monkeypatch):
    declared = []
    define = lambda name, schema: declared.append((name, schema))  # noqa: E731
    monkeypatch.setattr(torch.library, "define", define)
    monkeypatch.setitem(sys.modules, "torchvision.half_imported", object())
    monkeypatch.setitem(sys.modules, "torchvision_other", object())
    attempts = fail_to_import(monkeypatch, KNOWN, times=1)
    assert import_torchvision() == "the module"
    assert len(attempts) == 2
    assert [name for name, _ in declared] == ["torchvision::nms", "torchvision::qnms"]
    assert {schema for _, schema in declared} == {backbones.SCHEMA}
    assert "torchvision.half_imported" not in sys.modules
    assert "torchvision_other" in sys.modules


@pytest.mark.parametrize(("message", "attempts"), [("something else", 1), (KNOWN, 2)])
def test_other_failures_are_not_hidden(monkeypatch, message, attempts):
    monkeypatch.setattr(torch.library, "define", lambda name, schema: None)
    tried = fail_to_import(monkeypatch, message, times=9)
    with pytest.raises(RuntimeError, match=message):
        import_torchvision()
    assert len(tried) == attempts
