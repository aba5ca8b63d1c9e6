"""A killed training goes on to the same bits, and never on from anything but itself."""

import errno
import itertools
import os
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from runs import IMAGES, SHIPPED, TEXTURES, identical, network_of, state, student_of, tiny

from lib import devices, training
from lib.networks import Teacher
from study import checkpoint, sources
from study.checkpoint import Checkpoint, Keeper, fingerprint

STEPS, KILLED_AT = 6, 4
NEVER = replace(SHIPPED.running, checkpoint_seconds=1e9)
ITEM = "student nut-full-0"
LOSSES = {"student": "cosine_distance_loss", "segmentation": "focal_loss"}
AUGMENTATION = {"augmented": {"flips": True, "rotation": {"default": "right_angles"}}}
AUGMENTATION["still"] = {"flips": False, "rotation": {"default": "none"}}


class Killed(Exception):
    """What ends a training from outside."""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, plain_calls):
    """Where checkpoints lie; not there at first. Each step runs the code that is counted here."""
    folder = tmp_path / "checkpoints"
    monkeypatch.setattr(checkpoint, "FOLDER", folder)
    monkeypatch.setenv("STUDY_ITEM", ITEM)
    return folder


@pytest.fixture
def train(teacher, student, monkeypatch):
    """Train one phase, to the end or until killed in a step; notes the steps it took."""
    settings = {
        name: replace(tiny(STEPS, **rules), running=replace(NEVER, checkpoint_seconds=0.0))
        for name, rules in AUGMENTATION.items()
    }

    def train(phase="student", rules="augmented", category="nut", killed_at=0, **changed):
        loss, train.steps = getattr(training, LOSSES[phase]), 0

        def counted(*arguments):
            train.steps += 1
            if train.steps == killed_at:
                raise Killed
            return loss(*arguments)

        chosen = {"chosen": replace(settings[rules], **changed), "category": category, "kept": True}
        with monkeypatch.context() as patch:
            patch.setattr(training, LOSSES[phase], counted)
            if phase == "student":
                return student_of(teacher, **chosen)
            return network_of(teacher, student, **chosen)

    return train


def killed(train, *arguments, **options):
    with pytest.raises(Killed):
        train(*arguments, **{"killed_at": KILLED_AT} | options)


def uninterrupted(train, *arguments, **options):
    """What comes out where no checkpoint is written or read."""
    return train(*arguments, **options, running=NEVER)


def same(one, other):
    """Networks equal bit for bit, and the same losses."""
    return identical(one[0], state(other[0])) and one[1] == other[1]


def left(folder):
    """Names of the checkpoints, of any item."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# Resuming


@pytest.mark.parametrize("rules", AUGMENTATION)
@pytest.mark.parametrize("phase", LOSSES)
def test_a_killed_training_goes_on_to_the_same_bits(train, folder, phase, rules, capsys):
    whole = uninterrupted(train, phase, rules)
    assert train.steps == STEPS and left(folder) == []
    killed(train, phase, rules)
    killed(train, phase, rules, killed_at=2)  # and again, after one more step
    capsys.readouterr()
    resumed = train(phase, rules)
    assert train.steps == STEPS - KILLED_AT and same(resumed, whole)
    assert [step for step, _ in resumed[1]] == list(range(1, STEPS + 1))
    said = capsys.readouterr().err
    assert said.startswith(phase) and "resuming after step 4\n" in said
    assert os.listdir(folder) == [ITEM] and len(left(folder)) == 1  # one file, no half of one
    again = train(phase, rules)  # the notebook that trained failed later
    assert train.steps == 0 and same(again, whole)


def test_the_last_written_state_counts_and_later_steps_are_taken_again(train, monkeypatch):
    whole = uninterrupted(train)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "due", lambda _: train.steps == 2)
        killed(train)
    resumed = train(running=NEVER)  # how often is no part of what is trained
    assert train.steps == STEPS - 2 and same(resumed, whole)


def test_due_after_the_given_seconds(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[-1])
    kept, due = Checkpoint("key", 20.0), {}
    for now in (100, 119, 120, 130, 139, 140):
        clock.append(now)
        if due.setdefault(now, kept.due()):
            kept.save({})
    assert [now for now, is_due in due.items() if is_due] == [120, 140]


def test_a_clock_that_jumps_changes_nothing(train, monkeypatch, folder):
    """Someone sets the machine's clock back by years, and forth, in the middle of a training."""
    whole, days = uninterrupted(train), itertools.count()
    monkeypatch.setattr(checkpoint.time, "time", lambda: 1e9 * (-1) ** next(days))
    killed(train)
    assert len(left(folder)) == 1
    assert same(train(), whole) and train.steps == STEPS - KILLED_AT + 1
    kept = Checkpoint("key", 20.0)
    for now in (-1e9, 0.0, 1e12):
        monkeypatch.setattr(checkpoint.time, "time", lambda now=now: now)
        assert not kept.due()


def test_one_category_never_continues_another(train, folder):
    whole = uninterrupted(train, category="bolt")
    killed(train, category="nut")
    (of_nut,) = left(folder)
    assert same(train(category="bolt"), whole) and train.steps == STEPS
    assert of_nut in left(folder)  # still waits for its own
    train(category="nut")
    assert train.steps == STEPS - KILLED_AT + 1


def test_one_item_of_the_study_never_continues_another(train, monkeypatch):
    killed(train)
    monkeypatch.setenv("STUDY_ITEM", "student bolt-full-0")
    train()
    assert train.steps == STEPS
    monkeypatch.delenv("STUDY_ITEM")
    train()  # by hand
    assert train.steps == STEPS


def test_one_phase_never_continues_another(train, folder):
    killed(train, "student")
    killed(train, "segmentation")
    assert len(left(folder)) == 2


def test_states_that_take_long_to_write_are_written_less_often(monkeypatch, folder):
    clock = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(torch, "save", lambda *_: clock.append(clock.pop() + 0.5))  # takes 0.5 s
    kept = Checkpoint("key", 20.0)
    kept.save({})
    clock[0] += 49
    assert not kept.due()
    clock[0] += 1.1  # 1 % of the time
    assert kept.due()
    always = Checkpoint("key", 0.0)
    always.save({})
    assert always.due()


# Files that cannot be used or written


def damage(kind, path):
    content = path.read_bytes()
    flipped = bytes([*content[:-30], content[-30] ^ 64, *content[-29:]])
    kinds = {"empty": b"", "half": content[: len(content) // 2], "flipped bit": flipped}
    path.write_bytes(kinds[kind])


@pytest.mark.parametrize("kind", ["empty", "half", "flipped bit"])
def test_a_damaged_checkpoint_is_dropped_and_training_starts_anew(train, folder, kind, capsys):
    whole = uninterrupted(train)
    killed(train)
    (name,) = left(folder)
    damage(kind, folder / ITEM / name)
    capsys.readouterr()
    again = train(running=NEVER)
    assert f"student full: damaged {name} removed" in capsys.readouterr().err
    assert train.steps == STEPS and same(again, whole) and left(folder) == []


def full_disk(path, content):
    """As a write leaves a file where the disk is full."""
    path.write_text("half of it")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_lets_training_go_on(train, folder, monkeypatch, capsys):
    whole = uninterrupted(train)
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    assert same(train(), whole) and train.steps == STEPS and left(folder) == []
    said = capsys.readouterr().err
    assert said.count("no checkpoint written: ") == STEPS and "no space left" in said


def test_a_folder_that_cannot_be_made_lets_training_go_on(train, folder, monkeypatch, capsys):
    monkeypatch.setattr(Path, "mkdir", lambda self, **_: full_disk(folder.parent / "x", None))
    train()
    assert train.steps == STEPS and "no checkpoint written: " in capsys.readouterr().err


def test_a_write_that_fails_keeps_the_earlier_state(train, folder, monkeypatch):
    whole = uninterrupted(train)
    killed(train, killed_at=3)  # two steps are kept
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_disk)
        killed(train, killed_at=2)
    assert len(left(folder)) == 1
    assert same(train(), whole) and train.steps == STEPS - 2


def test_a_state_comes_back_as_it_was(folder):
    kept = Checkpoint("key", 0.0)
    assert kept.path == folder / ITEM / "key.pt" and kept.due() and kept.load("it") is None
    content = {"step": 3, "history": [(1, 0.1)], "parts": {"a": {"w": torch.eye(2)}}}
    kept.save(content)
    assert left(folder) == ["key.pt"] and str(Checkpoint("key", 0.0).load("it")) == str(content)
    assert Checkpoint("other", 0.0).load("it") is None


# What decides a training


@pytest.fixture(scope="module")
def key(teacher, student):
    """The name of a training, with anything about it changed."""

    def key(teacher=teacher, images=IMAGES, textures=TEXTURES, student=student, **changed):
        rest = {"settings": SHIPPED.segmentation, "category": "nut", "seed": 0}
        rest |= {name: changed.pop(name) for name in list(changed) if name in rest}
        settings, *names = rest.values()
        data = teacher, images, textures, student
        return Keeper(replace(SHIPPED, **changed), "it", *names, *data).key(settings)

    return key


def one_more(array):
    """The same array but for one pixel, by one grey level."""
    array = array.copy()
    array.flat[-1] ^= 1
    return array


ARITHMETIC = SHIPPED.arithmetic
CHANGED = {
    "seed": 1,
    "category": "bolt",
    "settings": replace(SHIPPED.segmentation, gamma=3.0),
    "threads": replace(ARITHMETIC, threads=ARITHMETIC.threads + 1),
    "deterministic": replace(ARITHMETIC, deterministic=not ARITHMETIC.deterministic),
    "precision": replace(ARITHMETIC, precision="bf16"),
    "augmentation": replace(SHIPPED.augmentation, fill=113),
    "corruption": replace(SHIPPED.corruption, threshold=0.4),
    "optimiser": replace(SHIPPED.optimiser, momentum=0.8),
    "images": one_more(IMAGES),
    "textures": one_more(TEXTURES),
}


@pytest.mark.parametrize("name", CHANGED)
def test_whatever_decides_a_training_changes_its_name(key, name):
    section = "arithmetic" if hasattr(ARITHMETIC, name) else name
    assert key() == key() and key(**{section: CHANGED[name]}) != key()


def test_other_weights_change_its_name(key, teacher):
    torch.manual_seed(1)
    assert key(teacher=Teacher("resnet10t", "random").to(devices.device())) != key()
    assert key(student=student_of(teacher, seed=1)[0]) != key()


def test_what_changes_no_result_keeps_its_name(key):
    others = {"study": "other", "running": NEVER, "seeds": (7,), "heads": {}}
    others |= {"evaluation": replace(SHIPPED.evaluation, top_pixels=1), "categories": ("a", "b")}
    assert key(**others) == key()
    plain = fingerprint(IMAGES)  # kind of container and memory layout do not count
    assert fingerprint({"a": torch.from_numpy(IMAGES)}) == plain
    assert fingerprint(np.asfortranarray(IMAGES)) == plain


def test_code_torch_and_device_change_its_name(monkeypatch):
    before = fingerprint(1)
    for patched, name in ((checkpoint, "device_name"), (torch, "__version__")):
        with monkeypatch.context() as patch:
            patch.setattr(patched, name, "other" if name == "__version__" else lambda: "other")
            assert fingerprint(1) != before
    monkeypatch.setattr(sources, "modules", lambda *_: {"lib/losses.py": "edited"})
    assert fingerprint(1) != before


def test_all_code_that_trains_is_counted():
    with mock.patch.object(sources, "modules", wraps=sources.modules) as asked:
        fingerprint(1)
    counted = sources.modules(*asked.call_args.args)
    student = {path for path in sources.used("student") if not path.endswith("__init__.py")}
    student.remove("study/trained.py")  # it saves what was trained
    assert {path for path in counted if not path.endswith("__init__.py")} == student
