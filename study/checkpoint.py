"""Resume an interrupted training, bit for bit.

A checkpoint is saved outside every stage's outputs, in .checkpoints/<item>/. Its name is a hash of
everything that decides the result. After a change of a parameter, an image or a line of code, no
checkpoint matches and training starts anew. study/notebook.py removes an item's folder once its
notebook is finished.
"""

import hashlib
import io
import os
import sys
import time
from importlib.metadata import version

import numpy as np
import torch

from lib import training
from lib.devices import device, device_name
from study import sources
from study.files import whole
from study.limits import check_memory
from study.params import ROOT
from study.progress import Steps

FOLDER = ROOT / ".checkpoints"


def fingerprint(*parts):
    """Hash of everything that decides a training: settings, arrays, states, code, device."""
    libraries = f"torch {torch.__version__}, timm {version('timm')}"
    digest = hashlib.sha256(f"{libraries}, {device_name()}".encode())
    code = sources.modules(f"import lib.training, study.variants.declared, {__name__}", __name__)
    digest.update(repr(code).encode())
    for part in parts:
        for value in part.values() if isinstance(part, dict) else [part]:
            value = value.detach().cpu().numpy() if torch.is_tensor(value) else value
            if isinstance(value, np.ndarray):
                digest.update(repr((value.dtype, value.shape)).encode())
                digest.update(np.ascontiguousarray(value).data)
            else:
                digest.update(repr(value).encode())
    return digest.hexdigest()


class Checkpoint:
    """The checkpoint file of one training.

    every: minimum seconds between two writes; 0 writes after each step. Large states are written
    less often, so that writing takes at most SHARE of the time.
    """

    SHARE = 0.01

    def __init__(self, key, every):
        folder = FOLDER / os.environ.get("STUDY_ITEM", "by hand")
        self.path, self.every, self.written = folder / f"{key}.pt", every, time.monotonic()
        self.cost = 0.0  # seconds of the last write

    def load(self, name):
        """The saved state on the CPU, or None; a damaged file is removed with a message."""
        if not self.path.exists():
            return None
        try:
            content = self.path.read_bytes()
            if hashlib.sha256(content[32:]).digest() != content[:32]:
                raise ValueError("its content is not what was written")
            state = torch.load(io.BytesIO(content[32:]), map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file can raise almost anything
            print(f"{name}: damaged {self.path.name} removed ({error})", file=sys.stderr)
            self.path.unlink(missing_ok=True)
            return None
        print(f"{name}: resuming after step {state['step']}", file=sys.stderr, flush=True)
        return state

    def due(self):
        """Whether it is time to write."""
        pause = max(self.every, self.cost / self.SHARE) if self.every else 0
        return time.monotonic() - self.written >= pause

    def save(self, state):
        """Write `state` behind its hash, because torch checks none."""
        start, content = time.monotonic(), io.BytesIO(bytes(32))
        content.seek(32)
        torch.save(state, content)
        both = content.getbuffer()
        both[:32] = hashlib.sha256(both[32:]).digest()
        try:
            with whole(self.path) as partial:
                partial.write_bytes(both)
        except OSError as error:  # training continues without one
            print(f"no checkpoint written: {error}", file=sys.stderr, flush=True)
        self.written = time.monotonic()
        self.cost = self.written - start


class Keeper(training.Keeper):
    """Resumes an interrupted training, saves it, and shows its progress.

    name: the network's name in messages. The other arguments decide the result, so their hash names
    the checkpoint. student: the frozen student of phase 2.
    """

    SECTIONS = ("arithmetic", "teacher", "augmentation", "corruption", "optimiser")

    def __init__(self, params, name, category, seed, teacher, images, textures, student=None):
        self.params, self.name = params, name
        networks = [network.state_dict() for network in (teacher, student) if network]
        self.decides = category, seed, *networks, images, textures

    def key(self, settings):
        """Hash of everything that decides a training with `settings`."""
        chosen = [getattr(self.params, section) for section in self.SECTIONS]
        return fingerprint(*chosen, settings, *self.decides)

    def expect(self, size, what):
        if device().type == "cpu":
            check_memory(size, what)

    def begin(self, settings, parts):
        self.file = Checkpoint(self.key(settings), self.params.running.checkpoint_seconds)
        step, history = 0, []
        if saved := self.file.load(self.name):
            step, history = saved["step"], saved["history"]
            for part, state in saved["parts"].items():
                parts[part].load_state_dict(state)
        live_log = self.params.running.live_log
        self.progress = Steps(self.name, settings.steps, settings.batch_size, live_log, first=step)
        return step, history

    def after(self, step, history, parts):
        if history and history[-1][0] == step:
            self.progress.say(*history[-1])
        if self.file.due():
            states = {part: value.state_dict() for part, value in parts.items()}
            self.file.save({"step": step, "history": history, "parts": states})
