"""Why to trust the site, and what to take from it: checks, provenance, citation, downloads."""

import re
import shutil
import subprocess
import zipfile

import pandas as pd
from ruamel.yaml import YAML

from study.params import ROOT
from study.tables import paper

CHECKS = ROOT / "study" / "site" / "templates" / "checks.csv"
CODE = ("lib", "study", "notebooks", "paper", "dvc.yaml")
ABOUT = {  # of each table to download
    "ablations": "test rows: a row for each category, student, map and seed",
    "validation": "the same rows on validation",
    "baseline": "the teacher alone, and the combination, both splits",
    "claims": "every comparison with its intervals and answer",
    "records": "all rows of the three tables above in one, with study, commit and split",
}


def code_commit():
    """(the last commit that changed the code, does the checkout differ from it?), or (None, False).

    Commits of results alone do not count, so that an equal run gives an equal site.
    """
    git = ("git", "-C", str(ROOT))
    log = [*git, "log", "-1", "--format=%H", "--", *CODE]
    found = subprocess.run(log, capture_output=True, text=True, check=False)
    if found.returncode or not found.stdout.strip():
        return None, False
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *CODE], check=False)
    return found.stdout.strip(), bool(changed.returncode)


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
        else "These tables are not those of the recorded run: run.md tells of another."
    ]
    if built:
        edited = ", with uncommitted changes" * changed
        said.append(f"The site was built by the code of commit `{built[:10]}`{edited}.")
    return said


def run_facts(text):
    """{profile, minutes, device} of the text of a run.md; None for what it does not tell."""
    patterns = {
        "profile": r"parameters: `(\S+)`",
        "minutes": r"Wall time, first stage to last: ([\d.]+) minutes",
        "device": r"Device: ([^.]+)\.",
    }
    found = {key: re.search(pattern, text) for key, pattern in patterns.items()}
    return {key: match and match[1] for key, match in found.items()}


def checks(facts, headline):
    """The claims that a command checks: claim, command, minutes, hardware, result.

    The first row is the study itself; the others are what `make checks` measured.
    """
    row = ["the tables and answers of this site", "make study"]
    row += [facts[key] or "not recorded" for key in ("minutes", "device")]
    table = pd.read_csv(CHECKS, dtype=str, keep_default_na=False)
    table.loc[-1] = [*row, headline or "no image AUROC on real defects"]
    return table.sort_index().set_index("claim")


def citation(root=ROOT):
    """{title, authors, venue, year, doi, url} of the paper, as CITATION.cff gives them."""
    text = (root / "CITATION.cff").read_text(encoding="utf-8")
    (paper,) = YAML(typ="safe", pure=True).load(text)["references"]
    names = [f"{one['given-names']} {one['family-names']}" for one in paper["authors"]]
    known = {key: paper[key] for key in ("title", "year", "doi", "url")}
    return known | {"authors": ", ".join(names), "venue": paper["conference"]["name"]}


def records(tables, study, commit):
    """All rows of test, validation and baseline in one flat table."""
    frames = {"test": tables.test, "validation": tables.validation}
    parts = [frame.assign(split=split) for split, frame in frames.items()]
    flat = paper.together(*parts, tables.baseline).assign(study=study, commit=commit or "")
    first = ["study", "commit", "split"]
    return flat[first + [name for name in flat if name not in first]]


def downloads(tables, study, commit, folder, target):
    """Copy the tables of `folder` to `target`; [(file, what it holds)] for the page."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("ablations", "validation", "baseline", "claims"):
        shutil.copyfile(folder / f"{name}.csv", target / f"{name}.csv")
    flat = records(tables, study, commit)
    flat.to_csv(target / "records.csv", index=False, float_format="%.6f")
    found = [(f"{name}.csv", about) for name, about in ABOUT.items()]
    with zipfile.ZipFile(target / "scores.zip", "w", zipfile.ZIP_DEFLATED) as pack:
        for path in sorted((folder / "scores").glob("*.csv")):
            entry = zipfile.ZipInfo(path.name)  # of 1980: equal tables give equal bytes
            entry.compress_type = zipfile.ZIP_DEFLATED
            pack.writestr(entry, path.read_bytes())
    return [*found, ("scores.zip", "the score of every image by every student, map and seed")]
