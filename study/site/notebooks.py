"""A rendered notebook as the body of a page: nbconvert's HTML, made fit for phones and readers.

Code folds away, tables scroll in a frame of their own, figures say what they show, and a link to
another notebook leads to its page. Equations become MathML, which browsers draw by themselves.
Nothing is loaded from elsewhere: there is no MathJax, no require.js, no mermaid.
"""

import re
import sys
from base64 import b64decode, b64encode
from html import escape, unescape
from io import BytesIO
from pathlib import PurePosixPath

# Else jsonschema compiles a grammar of IRIs, 2 to 3 s of each start; notebooks have no use for it.
sys.modules.setdefault("rfc3987_syntax", None)

import nbformat  # noqa: E402
from bs4 import BeautifulSoup  # noqa: E402
from latex2mathml import converter  # noqa: E402
from markupsafe import Markup  # noqa: E402
from nbconvert import HTMLExporter  # noqa: E402
from nbconvert.filters import markdown2html  # noqa: E402
from nbconvert.preprocessors import ClearOutputPreprocessor  # noqa: E402
from PIL import Image  # noqa: E402

from study.params import ROOT  # noqa: E402

STYLE = ROOT / "study/site/templates/site.css"
PARSER = "html.parser"
EQUATION = re.compile(r"\$\$(.+?)\$\$|\$([^$]+?)\$", re.DOTALL)


def notebook(path, known):
    """(title, HTML body, [(id, heading)]) of an executed notebook.

    known: names of notebooks that have a page.
    """
    exporter = HTMLExporter(template_name="basic", exclude_anchor_links=True)
    html, _ = exporter.from_notebook_node(nbformat.read(path, as_version=4))
    soup = BeautifulSoup(html, PARSER)
    for found in soup.select(".prompt, style, script"):
        found.decompose()
    for cell in soup.select("div.cell"):
        del cell["id"]
    for code in soup.select("div.input"):
        _fold(soup, code)
    for number, head in enumerate(soup.find_all("h2"), start=1):
        head["id"] = f"part-{number}"
    _typeset(soup)
    _describe_figures(soup)
    _tidy(soup, known)
    title = soup.find("h1")
    sections = [(head["id"], head.get_text(" ", strip=True)) for head in soup.find_all("h2")]
    return title.get_text(strip=True) if title else path.stem, Markup(soup), sections


def alone(path):
    """An executed notebook as one self-contained page, in the style of the site."""
    (title, body, _), style = notebook(path, ()), STYLE.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}"
        ".notebook { max-width: none }\n</style>\n</head>\n<body>\n"
        f'<main><div class="notebook">\n{body}\n</div></main>\n</body>\n</html>\n'
    )


def bare(path):
    """The notebook's JSON without outputs: it runs inside a clone, with the run's parameters."""
    found, _ = ClearOutputPreprocessor().preprocess(nbformat.read(path, as_version=4), {})
    return nbformat.writes(found)


def markdown(text, known=()):
    """HTML of Markdown, with the same care for tables and links."""
    soup = BeautifulSoup(markdown2html(text), PARSER)
    for anchor in soup.select("a.anchor-link"):
        anchor.decompose()
    _tidy(soup, known)
    return Markup(soup)


def _fold(soup, code):
    """Put the code of a cell under a heading that opens it."""
    code.name = "details"
    summary = soup.new_tag("summary")
    lines = len(code.get_text().strip().splitlines())
    summary.string = f"Code, {lines} line{'s' if lines > 1 else ''}"
    code.insert(0, summary)


def _typeset(soup):
    """Turn the LaTeX of Markdown cells, $...$ and $$...$$, into MathML."""
    for cell in soup.select(".text_cell_render"):
        for text in cell.find_all(string=EQUATION):
            if not text.find_parent(["code", "pre"]):
                drawn = EQUATION.sub(_mathml, escape(text, quote=False))
                text.replace_with(BeautifulSoup(drawn, PARSER))


def _mathml(found):
    block, inline = found.groups()
    display = "block" if block else "inline"
    return converter.convert(unescape(block or inline), display=display)


def _describe_figures(soup):
    """A text for each figure: the heading it stands under and the sentences below that heading."""
    for image in soup.find_all("img"):
        heading = image.find_previous(["h1", "h2", "h3"])
        words = [heading.get_text(" ", strip=True)] if heading else ["Figure"]
        words += [p.get_text(" ", strip=True) for p in heading.find_next_siblings("p")[:1]]
        image["alt"] = ". ".join(words).replace("\n", " ")
        image["src"] = _lossless(image["src"])
        image["loading"] = "lazy"


def _lossless(source):
    """The same pixels as WebP, which needs about half of PNG's bytes; source: a data URI."""
    kind, _, data = source.partition(";base64,")
    if kind != "data:image/png":
        return source
    packed = BytesIO()
    Image.open(BytesIO(b64decode(data))).save(packed, "WEBP", lossless=True, quality=50, method=2)
    return f"data:image/webp;base64,{b64encode(packed.getvalue()).decode()}"


def _tidy(soup, known):
    for number, table in enumerate(soup.find_all("table"), start=1):
        heading = table.find_previous(["h1", "h2", "h3"])
        label = f"Table {number}" + (f": {heading.get_text(' ', strip=True)}" if heading else "")
        del table["border"]
        for head in table.find_all("th"):
            if head.get_text(strip=True):
                head["scope"] = "col" if head.find_parent("thead") else "row"
            else:
                head.name = "td"  # a heading without words tells a screen reader nothing
        frame = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": label}
        table.wrap(soup.new_tag("div", attrs=frame))
    for link in soup.find_all("a"):
        target = PurePosixPath(link.get("href", ""))
        pages = [name for name in known if f"{name}-".startswith(f"{target.stem}-")]
        if target.suffix == ".ipynb" and pages:
            link["href"] = f"{pages[0]}.html"  # of several items, the first one's
        elif not link.get("href", "").startswith(("http:", "https:")):
            link.unwrap()  # to a file that is not part of the site
