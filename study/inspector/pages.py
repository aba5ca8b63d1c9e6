"""The page of an inspection: one HTML file with every picture inside, which requests nothing."""

import base64
import heapq
import io
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from study.files import whole

SHOWN = 400  # pictures in the page, those of the highest scores: about 1 MB
SIDE = 224  # of a picture in the page, in pixels


class Pictures:
    """Small pictures of the images with the highest scores, and no more of them in memory."""

    def __init__(self, most=SHOWN):
        self.most, self.kept = most, []

    def add(self, score, file, picture):
        """Keep the picture, and forget that of the lowest score."""
        small, content = picture.copy(), io.BytesIO()
        small.thumbnail((SIDE, SIDE))
        small.save(content, "WEBP", quality=75)
        heapq.heappush(self.kept, (score, file, base64.b64encode(content.getvalue()).decode()))
        if len(self.kept) > self.most:
            heapq.heappop(self.kept)

    def by_file(self):
        """{file: base64 of a WebP}."""
        return {file: picture for _, file, picture in self.kept}


def write(path, rows, pictures, **words):
    """Write the page. rows: dicts of a row of scores.csv; words: name, summary, warnings and more.

    Unreadable files come first, then the highest score.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    shown = pictures.by_file()
    ordered = sorted(rows, key=lambda row: (-float(row["score"] or "inf"), row["file"]))
    ordered = [row | {"picture": shown.get(row["file"])} for row in ordered]
    scored = sum(row["verdict"] != "unreadable" for row in rows)
    with whole(path) as partial:
        page = templates.get_template("inspected.html")
        text = page.render(rows=ordered, without=scored - len(shown), **words)
        partial.write_text(text, encoding="utf-8")
