"""`make compare`: two experiments side by side, as a notebook and as a page for the browser.

    python -m study.site.comparison A B      # writes rendered/compare/<A>--<B>.ipynb and .html

A and B are what `revisions.load` takes: git's names, or DVC's of experiments. An empty name is the
working tree.
"""

import re
import sys

from study import notebook
from study.files import whole
from study.params import ROOT
from study.site import notebooks
from study.tables import compare


def main(before="", after=""):
    """Run the notebook and write both files. An error ends the program with its text."""
    name = re.sub(r"[^\w.-]+", "_", f"{before or 'working-tree'}--{after or 'working-tree'}")
    target = ROOT / "rendered" / "compare" / f"{name}.ipynb"
    parameters = {"before": before, "after": after}
    try:
        compare.both(before, after)  # reports a wrong name before a kernel starts
        notebook.run(ROOT / "notebooks" / "compare.ipynb", target, parameters)
        with whole(target.with_suffix(".html")) as path:
            path.write_text(notebooks.alone(target), encoding="utf-8")
    except (ValueError, OSError, notebook.NotebookError) as error:
        sys.exit(f"error: {error}")
    shown = target.relative_to(ROOT)
    print(f"{shown}, and to read in a browser {shown.with_suffix('.html')}")


if __name__ == "__main__":
    main(*sys.argv[1:])
