"""The short form of `make torture`: kills at chosen moments of a tiny grid."""

import torture
from clones import copy_of_repository, make_tiny

ITEM = "monocrystalline-full-0"


def test_a_killed_run_goes_on_to_the_same_bytes(finished, tmp_path, monkeypatch):
    monkeypatch.delenv("SHELL", raising=False)  # then DVC takes /bin/sh, which need not give way
    clone = copy_of_repository(tmp_path / "study")
    make_tiny(clone)
    # The kernel that the second kill leaves behind trains on for a second, who knows how far.
    schedule = ["full step 20/200", "full step 40/200", "full: resuming after step", 3.0]
    kills, _ = torture.torture(clone, [f"segmentation@{ITEM}"], schedule)
    assert [kill.victim for kill in kills] == ["kernel", "papermill", "dvc", "kernel"]
    assert {kill.stage for kill in kills[:3]} == {f"student@{ITEM}"}
    assert not [kill.faults for kill in kills if kill.faults]
    for kill in kills[:3]:
        assert kill.then.startswith("resumed after step "), kill.then
    compared = torture.compare(clone, finished)
    assert compared[0] > 8 and compared[2] == []
    assert f"survived {len(kills)} of {len(kills)}" in torture.report(kills, compared, 0)
