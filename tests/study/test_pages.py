"""Regions in pixels of the image as given; the page is one file, sorted, nothing unescaped."""

import re

import numpy as np
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


def heat():
    """A map of 10x10 with two regions, and touching corners in one of them."""
    found = np.full((10, 10), 0.2, np.float32)
    found[1:3, 2:5] = 1.5
    found[7, 7] = found[8, 8] = 3
    found[5, 0] = 1.0  # at the threshold, not above
    return found


def test_boxes_and_areas_in_pixels_of_the_image():
    large, small = pages.regions(heat(), (200, 100))
    assert large == (40, 10, 60, 20, 1200)  # 2x3 of pixels of 20x10
    assert small == (140, 70, 40, 20, 400)
    assert pages.regions(np.zeros((10, 10)), (200, 100)) == []


def test_the_overlay_keeps_what_is_good_and_marks_what_is_not():
    picture = Image.new("RGB", (200, 100), (90, 90, 90))
    found = pages.regions(heat(), picture.size)
    shown = np.asarray(pages.overlay(picture, heat(), found))
    assert shown.shape == (100, 200, 3)
    assert (shown[35, 190] == 90).all() and (shown[10, 40] == pages.LINE).all()
    assert shown[15, 70].tolist() != [90, 90, 90]
    large = Image.new("RGB", (4000, 1000))
    assert pages.overlay(large, np.zeros((10, 10)), []).size == (640, 160)
    assert pages.HEAT.name == "inferno"
