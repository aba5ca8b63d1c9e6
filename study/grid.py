"""The declared grid: its items, in chains that can train side by side, and its cost.

python -m study.grid run JOBS     train the chains, JOBS of them side by side, for `make study`
python -m study.grid list         one shell line a chain, for any scheduler (docs/cluster.md)
python -m study.grid cost         trainings and steps of the grid
"""

import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from study import params
from study.progress import Study
from study.results import item

# Without the option, DVC waits three seconds for its repository's lock and then gives up. It takes
# the lock at its start and after each stage. One of many other chains may hold it for longer.
DVC = ("-m", "dvc", "--wait-for-lock")


def items(settings):
    """Names of all items, as in logs/timings.csv."""
    names, seeds = settings.categories, settings.seeds
    runs = [f"{c}-{s}-{seed}" for c in names for s in settings.students for seed in seeds]
    found = [f"{stage} {run}" for stage in ("student", "segmentation") for run in runs]
    heads = [f"{c}-{h}-{n}" for c in names for h in settings.heads for n in settings.head_seeds]
    found += [f"segmentation {head}" for head in heads]
    stages = ("dataset", "maps", "evaluation", "baseline", "calibration")
    found += [f"{stage} {c}" for stage in stages for c in names]
    found += [f"{stage}-{c}" for stage in ("pro", "figures") for c in names]
    return [*found, "textures", "method", "ablations", "paper", "explore"]


def networks(settings):
    """(item, student's item, head) of every trained segmentation network of a category."""
    for student in settings.students:
        for head in ("method", *(settings.heads if student == settings.headline else ())):
            for seed in settings.seeds if head == "method" else settings.head_seeds:
                yield item(student, seed, head), item(student, seed), head


def chains(settings):
    """Lists of stage names. A stage waits for those before it in its list, and for no others.

    One chain is one `dvc` process, because DVC starts slowly. While an item of one chain loads its
    libraries, the items of the other chains keep the device busy. The longest begin first, so that
    no worker waits long for the last one.
    """
    found = []
    for category in settings.categories:
        for student in settings.students:
            stages = ["student", "segmentation"]
            chain = [f"{s}@{category}-{student}-{seed}" for s in stages for seed in settings.seeds]
            heads = settings.heads if student == settings.headline else ()
            chain += [f"heads@{category}-{h}-{n}" for h in heads for n in settings.head_seeds]
            found.append(chain)
    return sorted(found, key=len, reverse=True)


def command(chain):
    """Arguments of python that run a chain in a clone of its own (docs/cluster.md).

    DVC pulls the inputs, and what another machine has finished. A failing item stops only the items
    that need it.
    """
    return [*DVC, "repro", "--pull", "--allow-missing", "--keep-going", *chain]


def scoring(settings):
    """Chains, as in `chains`, of the baseline and of the stages that need trained networks."""
    for category in settings.categories:
        yield [f"baseline@{category}"]
        yield [f"{stage}@{category}" for stage in ("maps", "evaluation", "pro", "figures")]


def cost(settings):
    """{phase: (trainings, steps of each)} of the whole grid."""
    count, students = len(settings.categories), settings.students
    runs, again = count * len(settings.seeds), count * len(settings.head_seeds)
    found = {f"student {name}": (runs, student.steps) for name, student in students.items()}
    found["segmentation"] = runs * len(students), settings.segmentation.steps
    return found | {f"head {name}": (again, head.steps) for name, head in settings.heads.items()}


def reproduce(chain, study):
    """`dvc repro` of one chain; the final `dvc repro` reports what failed here again."""
    command, running = [sys.executable, *DVC, "repro", "-s", *chain], None
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, **pipes, text=True, errors="replace") as run:
        for line in run.stdout:
            running = study.line(line, running)
    study.ends(running)


def main(arguments):
    """The command line."""
    try:
        settings = params.load()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if arguments[:1] == ["run"]:
        jobs, trained, scored = int(arguments[1]), chains(settings), list(scoring(settings))
        study = Study([stage for chain in trained + scored for stage in chain], jobs)
        with ThreadPoolExecutor(jobs) as pool:
            for phase in (trained, scored):  # all of one end before the next begins
                list(pool.map(partial(reproduce, study=study), phase))
    elif arguments[:1] == ["list"]:
        for chain in chains(settings):
            print(shlex.join(["python", *command(chain)]))
    else:
        for phase, (trainings, steps) in cost(settings).items():
            print(f"{phase}: {trainings} trainings of {steps} steps, {trainings * steps} steps")


if __name__ == "__main__":
    main(sys.argv[1:])
