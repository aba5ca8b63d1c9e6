"""The page of an inspection: one file, sorted by score, nothing requested, nothing unescaped."""

import re

from bs4 import BeautifulSoup
from PIL import Image

from study.inspector import pages


def row(file, score, verdict="pass", note=""):
    return {"file": file, "score": score, "p_value": "0.5", "verdict": verdict, "regions": 1,
            "boxes": "[]", "note": note}  # fmt: skip


def write(tmp_path, most=2):
    pictures = pages.Pictures(most)
    rows = [row("a.png", "0.1"), row("<b>.png", "0.9", "alarm"), row("c.png", "0.5")]
    for one in rows:
        pictures.add(float(one["score"]), one["file"], Image.new("RGB", (500, 300)))
    rows.append(row("d.png", "", "unreadable", "d.png: broken"))
    words = {"name": "new <parts>", "summary": "1 of 3", "warnings": ["darker"], "provenance": "x"}
    pages.write(tmp_path / "index.html", rows, pictures, **words)
    return (tmp_path / "index.html").read_text("utf-8")


def test_sorted_by_score_with_unreadable_files_first(tmp_path):
    soup = BeautifulSoup(write(tmp_path), "html.parser")
    files = [item["data-file"] for item in soup.find_all("li")]
    assert files == ["d.png", "<b>.png", "c.png", "a.png"]
    assert "d.png: broken" in soup.find("li").get_text()
    assert soup.find(class_="warning").get_text() == "Warning. darker"


def test_pictures_of_the_highest_scores_are_inside_and_nothing_is_requested(tmp_path):
    text = write(tmp_path)
    soup = BeautifulSoup(text, "html.parser")
    assert [image["alt"].split()[0] for image in soup.find_all("img")] == ["<b>.png", "c.png"]
    assert all(image["src"].startswith("data:image/webp;base64,") for image in soup.find_all("img"))
    assert not soup.find_all(["link", "iframe"]) and not re.search(r"https?:", text)
    assert "The 1 images with the lowest scores" in soup.get_text()
    assert "<b>.png" not in text, "names are escaped"
