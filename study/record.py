"""`make record`: write down the commit, device, versions and wall time of a finished run.

Wall time differs between equal runs. As the output of a stage it would make each run look new.
"""

import subprocess
import sys

import pandas as pd

from study import grid, params, results
from study.params import ROOT
from study.tables import ablations, page
from study.tables.format import markdown


def wall_time(timings, study_items, pause=60):
    """Seconds of each stage, summed, and of the whole run, from the last run of each item.

    timings: logs/timings.csv. Items may run side by side. A gap of more than `pause` seconds does
    not count, for example before a later rerun of some stages.
    """
    last = timings.drop_duplicates("item", keep="last")
    last = last[last["item"].isin(study_items)].sort_values("start")
    start = pd.to_datetime(last.start)
    end = start + pd.to_timedelta(last.seconds, "s")
    reached = end.cummax().shift()  # by the items that began earlier
    reached = reached.where((start - reached).dt.total_seconds() <= pause, start)
    wall = (end - reached).dt.total_seconds().clip(lower=0).sum()
    return last.groupby("notebook", sort=False).seconds.agg(["count", "sum"]), wall


def profile():
    """The file of profiles/ that equals params.yaml; other parameters cannot be reproduced."""
    content = (ROOT / "params.yaml").read_bytes()
    for path in sorted((ROOT / "profiles").glob("*.yaml")):
        if path.read_bytes() == content:
            return f"profiles/{path.name}"
    raise ValueError("params.yaml equals no file of profiles/; save it there and commit it first")


def record(settings, commit, timings, fingerprint):
    """Text of reports/<study>/run.md; fingerprint: of the run's ablations.csv."""
    needed = grid.items(settings)
    if unknown := sorted(set(needed) - set(timings["item"])):
        raise ValueError(f"logs/timings.csv has no run of {unknown[0]}; run dvc repro first")
    stages, wall = wall_time(timings, needed)
    stages.columns = ["items", "seconds"]
    return "\n\n".join(
        [
            f"# How study `{settings.study}` was run",
            f"Code: commit `{commit}`; parameters: `{profile()}` of that commit; "
            f"`ablations.csv`: sha256 `{fingerprint}`...",
            page.protocol(settings),
            f"Wall time, first stage to last: {wall / 60:.1f} minutes.",
            markdown(stages.round(0).astype(int).astype(str)),
        ]
    )


def main():
    """Write run.md, unless the code or profiles differ from the commit it would name."""
    git = ("git", "-C", str(ROOT))
    code = ("lib", "study", "notebooks", "dvc.yaml", "profiles", "paper", "requirements.txt")
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *code], check=False).returncode
    if changed:
        sys.exit("error: code or profiles differ from the last commit; commit and rerun first")
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    settings = params.load()
    try:
        timings = pd.read_csv(ROOT / "logs" / "timings.csv")
        fingerprint = ablations.fingerprint(results.reports(settings.study))
        text = record(settings, head.stdout.strip(), timings, fingerprint)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"error: {error}")
    (results.reports(settings.study) / "run.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
