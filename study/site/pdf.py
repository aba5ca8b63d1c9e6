"""`make pdf`: the study as a paper of a few pages, site/<study>.pdf.

Every number comes from the functions that fill the site. WeasyPrint sets the pages. It needs the
system library Pango (Debian: apt install libpango-1.0-0 libpangoft2-1.0-0).
"""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from study import params
from study.params import ROOT
from study.site import build


def page(settings, folder):
    """HTML of the paper; `folder` gets the drawings of the method."""
    site = build.Site(settings, folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    figures = site.reports / "figures"
    html = site.templates.get_template("paper-pdf.html").render(
        up="", page="pdf", **site.front(),
        outcomes=[(c, (figures / f"{c}-outcomes.png").as_uri()) for c in settings.categories[:2]],
    )  # fmt: skip
    # WeasyPrint gives a drawing inside the page no style of the page.
    strips = (build.TEMPLATES / "paper-pdf-strips.css").read_text(encoding="utf-8")
    return re.sub(r"<svg[^>]*>", lambda tag: f"{tag[0]}<style>{strips}</style>", html)


def main():
    try:
        from weasyprint import HTML
    except (ImportError, OSError) as error:  # without Pango the import raises OSError
        sys.exit(f"error: WeasyPrint does not work: {error}; Debian: apt install libpangoft2-1.0-0")
    settings = params.load()
    target = ROOT / "site" / f"{settings.study}.pdf"
    with TemporaryDirectory() as folder:
        try:
            html = page(settings, Path(folder))
        except FileNotFoundError as error:
            sys.exit(f"error: there is no {error.filename}: run make study first")
        HTML(string=html, base_url=folder).write_pdf(target)
    print(f"site/{target.name}, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
