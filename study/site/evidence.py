"""Why to trust the site, and what to take from it: checks, provenance, citation, downloads.

    python -m study.site.evidence               # `make checks`

study/site/templates/checks.csv holds a claim and its command in each row. `make checks` fills in
minutes, hardware and result, and the site shows the file: no figure in it is typed by hand.
"""

import re
import shutil
import subprocess
import sys
import time
import zipfile

import pandas as pd
from ruamel.yaml import YAML

from lib.devices import device_name
from study.files import whole
from study.params import ROOT
from study.tables import ablations
from study.tables.paper import together

CHECKS = ROOT / "study" / "site" / "templates" / "checks.csv"
CODE = ("lib", "study", "notebooks", "paper", "dvc.yaml")
DOWNLOADS = {
    "ablations.csv": "test rows: a row for each category, student, map and seed",
    "validation.csv": "the same rows on validation",
    "baseline.csv": "the teacher alone, and the combination, both splits",
    "claims.csv": "every comparison with its intervals and answer",
    "records.csv": "all rows of the three tables above in one, with study, commit and split",
    "scores.zip": "the score of every image by every student, map and seed",
}
FACTS = {  # of run.md
    "commit": r"commit `([0-9a-f]{7,40})`",
    "profile": r"parameters: `(\S+)`",
    "minutes": r"Wall time, first stage to last: ([\d.]+) minutes",
    "device": r"Device: ([^.]+)\.",
}


def run(folder):
    """(text below the title of run.md, {fact: text or None}) of a study's folder of reports.

    run.md counts only if its hash of the test rows shows that it records this run.
    """
    path = folder / "run.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    text = text if ablations.fingerprint(folder) in text else ""
    found = {key: re.search(pattern, text) for key, pattern in FACTS.items()}
    return text.partition("\n\n")[2], {key: match and match[1] for key, match in found.items()}


def code_commit():
    """(last commit that changed the code, does the checkout differ?); without git ("", False).

    Commits of results alone do not count, so that an equal run gives an equal site.
    """
    git, options = ("git", "-C", str(ROOT)), {"capture_output": True, "check": False}
    log = subprocess.run([*git, "log", "-1", "--format=%H", "--", *CODE], **options)
    diff = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *CODE], **options)
    return log.stdout.decode().strip(), diff.returncode == 1


def provenance(folder, commit):
    """Sentences: the commit of the run, whether these are its tables, and the commit of the site.

    folder: the study's reports; commit: of the run that run.md records, None if it records another.
    """
    if not (folder / "run.md").exists():
        return ["This run is not recorded: `make record` writes down its commit."]
    built, changed = code_commit()
    said = [
        f"The run is recorded at commit `{commit[:10]}`, and the tables here equal its tables."
        if commit
        else "These tables are not from the recorded run: run.md describes another one."
    ]
    if built:
        edited = ", with uncommitted changes" * changed
        said.append(f"The site was built by the code of commit `{built[:10]}`{edited}.")
    return said


def checks(facts, headline):
    """The claims that a command checks: claim, command, minutes, hardware, result.

    The first row is the study itself; the others are what `make checks` measured.
    """
    row = ["the tables and answers of this site", "make study"]
    row += [facts[key] or "not recorded" for key in ("minutes", "device")]
    table = pd.read_csv(CHECKS, dtype=str, keep_default_na=False)
    table.loc[-1] = [*row, headline or "no image AUROC on real defects"]
    return table.sort_index().set_index("claim")


def citation():
    """The paper as CITATION.cff gives it, with its authors' names and its venue."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (paper,) = YAML(typ="safe", pure=True).load(text)["references"]
    names = [f"{one['given-names']} {one['family-names']}" for one in paper["authors"]]
    return paper | {"authors": ", ".join(names), "venue": paper["conference"]["name"]}


def downloads(tables, study, commit, folder, target):
    """Write the files of DOWNLOADS to `target`; folder: the study's reports."""
    target.mkdir(parents=True, exist_ok=True)
    for name in DOWNLOADS.keys() - {"records.csv", "scores.zip"}:
        shutil.copyfile(folder / name, target / name)
    parts = tables.test.assign(split="test"), tables.validation.assign(split="validation")
    flat = together(*parts, tables.baseline).assign(study=study, commit=commit or "")
    flat = flat.set_index(["study", "commit", "split"])
    flat.to_csv(target / "records.csv", float_format="%.6f")
    with zipfile.ZipFile(target / "scores.zip", "w") as pack:
        for path in sorted((folder / "scores").glob("*.csv")):
            entry = zipfile.ZipInfo(path.name)  # of 1980: equal tables give equal bytes
            pack.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def outcome(output):
    """`34 passed, 1 skipped` of pytest's last line; `failed` if it has none."""
    found = re.search(r"((?:\d+ (?:failed|passed|skipped|error)\w*,? ?)+) in ", output)
    return found[1] if found else "failed"


def measure(table):
    """Run the command of each row, pytest and its files, and fill in the row."""
    for row, command in table.command.items():
        start = time.monotonic()
        run = [sys.executable, "-m", *command.split(), "-q", "-o", "addopts="]
        run = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
        minutes = f"{(time.monotonic() - start) / 60:.1f}"
        found = minutes, device_name(), outcome(run.stdout)
        table.loc[row, ["minutes", "hardware", "result"]] = found


def main():
    """`make checks`; the exit status tells whether a check failed."""
    table = pd.read_csv(CHECKS, dtype=str)
    measure(table)
    with whole(CHECKS) as path:
        table.to_csv(path, index=False)
    print(table.drop(columns="hardware").to_string(index=False))
    return int(table.result.str.contains("failed|error").any())


if __name__ == "__main__":
    sys.exit(main())
