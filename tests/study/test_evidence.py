"""Provenance, checks, citation and downloads of the site."""

import subprocess
import zipfile
from unittest import mock

import pandas as pd
import pytest
from test_ablations import baseline_rows, make_tables, rows

from lib.devices import device_name
from study.params import ROOT
from study.site import evidence
from study.tables import ablations

COMMIT = "c0ffee" + 34 * "0"
RUN = (
    f"# How\n\nCode: commit `{COMMIT}`; parameters: `profiles/quick.yaml` of that commit\n\n"
    "Study quick: x. Device: Toy CPU, 2 cores, no GPU. Python 3.11.\n\n"
    "Wall time, first stage to last: 17.3 minutes."
)
FACTS = {
    "commit": COMMIT, "profile": "profiles/quick.yaml", "minutes": "17.3",
    "device": "Toy CPU, 2 cores, no GPU",
}  # fmt: skip


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    run = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()


def test_commits_of_results_are_not_the_code_s(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "ROOT", tmp_path)
    assert evidence.code_commit() == ("", False), "no git"
    git(tmp_path, "init", "-q")
    for name in ("lib", "reports"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("1")
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", name)
    code = git(tmp_path, "rev-parse", "HEAD~1")
    assert evidence.code_commit() == (code, False)
    (tmp_path / "lib" / "a").write_text("2")
    assert evidence.code_commit() == (code, True)


def test_provenance_says_whether_the_tables_are_the_recorded_run_s(tmp_path):
    assert "not recorded" in " ".join(evidence.provenance(tmp_path, None))
    (tmp_path / "run.md").write_text(RUN)
    with mock.patch.object(evidence, "code_commit", return_value=("f" * 40, True)):
        same = " ".join(evidence.provenance(tmp_path, COMMIT))
        other = " ".join(evidence.provenance(tmp_path, None))
    assert "commit `c0ffee0000`, and the tables here equal its tables" in same
    assert "commit `ffffffffff`, with uncommitted changes" in same
    assert "not from the recorded run" in other


def test_a_record_of_another_run_is_not_quoted(tmp_path):
    nothing = "", dict.fromkeys(FACTS)
    (tmp_path / "ablations.csv").write_text("a,b\n")
    assert evidence.run(tmp_path) == nothing
    (tmp_path / "run.md").write_text(RUN + ablations.fingerprint(tmp_path))
    text, facts = evidence.run(tmp_path)
    assert text.startswith("Code: commit") and facts == FACTS
    (tmp_path / "ablations.csv").write_text("a,b\n1,2\n")
    assert evidence.run(tmp_path) == nothing


def test_the_study_is_the_first_check():
    first = evidence.checks(FACTS, "image AUROC 92.9 %").iloc[0]
    assert first.tolist() == ["make study", "17.3", FACTS["device"], "image AUROC 92.9 %"]
    unknown = evidence.checks(dict.fromkeys(FACTS), None).iloc[0]
    assert unknown.minutes == unknown.hardware == "not recorded"
    others = evidence.checks(FACTS, None).iloc[1:]
    assert others.result.str.contains("passed").all() and others.minutes.astype(float).all()


def test_the_paper_is_cited_as_in_citation_cff():
    found = evidence.citation()
    assert found["year"] == 2023 and found["url"] == "https://arxiv.org/abs/2211.11317"
    assert found["authors"].startswith("Xuan Zhang, ") and "DeSTSeg" in found["title"]


def test_downloads_hold_every_row_once(tmp_path):
    tables, reports = make_tables(rows(), baseline_rows()), tmp_path / "reports"
    ablations.save_tables(tables, reports, 0.5)
    (reports / "scores").mkdir()
    (reports / "scores" / "nut.csv").write_text("name\n")
    for target in (tmp_path / "a", tmp_path / "b"):
        evidence.downloads(tables, "toy", "c0ffee", reports, target)
        assert {*evidence.DOWNLOADS} == {path.name for path in target.iterdir()}
    flat = pd.read_csv(tmp_path / "a" / "records.csv")
    assert len(flat) == sum(map(len, tables[:3]))
    assert set(flat.split) == {"test", "validation"} and set(flat.commit) == {"c0ffee"}
    assert zipfile.ZipFile(tmp_path / "a" / "scores.zip").namelist() == ["nut.csv"]
    packed = [(tmp_path / name / "scores.zip").read_bytes() for name in "ab"]
    assert packed[0] == packed[1]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("....\n27 passed in 0.80s\n", "27 passed"),
        ("= 33 passed, 4 skipped in 1.8s =", "33 passed, 4 skipped"),
        ("1 failed, 2 passed in 3s", "1 failed, 2 passed"),
        ("ImportError", "failed"),
    ],
)
def test_outcome(output, said):
    assert evidence.outcome(output) == said


def test_a_claim_is_measured(tmp_path):
    (tmp_path / "test_one.py").write_text("def test(): pass\n")
    table = pd.DataFrame({"claim": ["x"], "command": [f"pytest {tmp_path}/test_one.py"]})
    evidence.measure(table)
    (row,) = table.itertuples()
    assert (row.claim, row.result, row.hardware) == ("x", "1 passed", device_name())
    assert float(row.minutes) < 1


def test_the_committed_table_names_tests_that_passed():
    table = pd.read_csv(evidence.CHECKS, dtype=str)
    assert not table.result.str.contains("failed|error").any()
    for command in table.command:
        pytest_, *files = command.split()
        assert pytest_ == "pytest" and all((ROOT / name).is_file() for name in files)
