"""study.data.fetch against a server in a thread: resumed, refused and verified downloads."""

import hashlib
import os
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml
from backports import tarfile

from lib.backbones import import_torchvision
from study.data import fetch

CONTENT = os.urandom(300_000)
SIZE, SHA256 = len(CONTENT), hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT in the way that the path says; the server notes what was asked."""

    def do_GET(self):
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted and "norange" not in self.path else 0
        self.server.asked.append((self.path, wanted and int(wanted[1])))
        if self.path == "/missing":
            return self.send_error(404)
        body, kind = CONTENT, "application/octet-stream"
        if self.path == "/form":
            body, kind, start = b"<html>Please accept the licence</html>", "text/html", 0
        elif self.path == "/wrong":
            body = bytes(SIZE)
        elif self.path == "/short":
            body = CONTENT[:1000]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", kind)
        if self.path not in ("/unsized", "/empty"):
            self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        # /cut breaks off after 100,000 bytes of each answer, /dead before the first
        share = {"/cut": 100_000, "/cut-norange": 100_000, "/dead": 0}
        share |= {"/unsized": 150_000, "/empty": 0}
        self.wfile.write(body[start:][: share.get(self.path, SIZE)])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        server.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server, path, *routes, size=SIZE, sha256=SHA256):
    fetch.download(tuple(server.address + route for route in routes), path, size, sha256)


def test_a_download_is_verified_and_not_repeated(server, tmp_path, capsys):
    path = tmp_path / "data" / "a.tar.xz"
    for _ in range(2):
        get(server, path, "/file")
        assert path.read_bytes() == CONTENT and os.listdir(path.parent) == ["a.tar.xz"]
    assert server.asked == [("/file", None)]
    lines = capsys.readouterr().err.splitlines()
    assert "a.tar.xz: 0 % of 300kB, ? left" in lines and not any("\r" in line for line in lines)


def test_another_file_in_its_place_is_kept_and_refused(server, tmp_path):
    path = tmp_path / "a.tar.xz"
    for content, message in ((b"mine", "4 bytes, expected 300000"), (bytes(SIZE), "SHA-256 ")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"a.tar.xz: {message}.*move it away"):
            get(server, path, "/file")
        assert path.read_bytes() == content and server.asked == []


def test_an_interrupted_download_goes_on(server, tmp_path, capsys):
    get(server, tmp_path / "a.tar.xz", "/cut")
    assert (tmp_path / "a.tar.xz").read_bytes() == CONTENT
    starts = [start for _, start in server.asked]
    assert starts == [None, 65_536, 131_072, 196_608, 262_144]  # whole blocks are kept
    assert capsys.readouterr().err.count("interrupted (") == 4


def test_another_call_and_another_address_go_on_too(server, tmp_path):
    path = tmp_path / "a.tar.xz"
    part = tmp_path / "a.tar.xz.part"
    part.write_bytes(CONTENT[:50_000])
    with pytest.raises(OSError, match="no address gives the archive"):
        get(server, path, "/dead", "/missing")
    assert part.read_bytes() == CONTENT[:50_000] and not path.exists()
    get(server, path, "/missing", "/file")
    assert path.read_bytes() == CONTENT and server.asked[-1] == ("/file", 50_000)
    assert not part.exists()


def test_a_complete_part_is_only_verified(server, tmp_path):
    (tmp_path / "a.tar.xz.part").write_bytes(CONTENT)
    get(server, tmp_path / "a.tar.xz", "/file")
    assert server.asked == [] and (tmp_path / "a.tar.xz").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(server, tmp_path):
    path, part = tmp_path / "a.tar.xz", tmp_path / "a.tar.xz.part"
    part.write_bytes(b"x" * 50_000)
    get(server, path, "/norange")
    assert path.read_bytes() == CONTENT and server.asked == [("/norange", 50_000)]
    path.unlink()
    with pytest.raises(OSError, match="no address gives"):  # and does not try for ever
        get(server, path, "/cut-norange")
    assert len(server.asked) == 3  # the second of these brought no more than the first


def test_a_server_that_tells_no_size(server, tmp_path):
    get(server, tmp_path / "a.tar.xz", "/unsized")
    assert (tmp_path / "a.tar.xz").read_bytes() == CONTENT
    assert server.asked == [("/unsized", None), ("/unsized", 150_000)]


def test_a_part_larger_than_the_file_is_removed(server, tmp_path):
    (tmp_path / "a.tar.xz.part").write_bytes(CONTENT + b"x")
    get(server, tmp_path / "a.tar.xz", "/file")
    assert (tmp_path / "a.tar.xz").read_bytes() == CONTENT and server.asked == [("/file", None)]


FAULTS = {
    "/wrong": f"/wrong: .*SHA-256 {hashlib.sha256(bytes(SIZE)).hexdigest()}, expected {SHA256}",
    "/form": r"/form: answers with a web page \(a form to fill in\?\)",
    "/missing": "/missing: 404 Client Error",
    "/short": "/short: offers 1000 bytes, expected 300000",
    "/dead": "/dead: .*0 bytes read, 300000 more expected",
    "/empty": r"/empty: \S*a\.tar\.xz\.part: 0 bytes, expected 300000",
}


@pytest.mark.parametrize("route", FAULTS)
def test_a_wrong_answer_says_what_to_do(route, server, tmp_path):
    path, part = tmp_path / "a.tar.xz", tmp_path / "a.tar.xz.part"
    with pytest.raises(OSError, match=FAULTS[route]) as error:
        get(server, path, route)
    message = str(error.value)
    assert f"open {fetch.PAGE}, accept the licence, save the archive as {path}" in message
    assert "make mvtec" in message and not path.exists()
    if route == "/wrong":
        assert not part.exists()
    get(server, path, route, "/file")
    assert path.read_bytes() == CONTENT


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        address = f"http://127.0.0.1:{closed.server_port}"
    with pytest.raises(OSError, match=r"Connection refused[\s\S]*By hand: open https://www.mvtec"):
        fetch.download((address,), tmp_path / "a.tar.xz", SIZE, SHA256)
    assert os.listdir(tmp_path) == []


def test_too_little_space_is_told_before_the_download(server, tmp_path):
    with pytest.raises(OSError, match=r"no space for 1000000000.0 GB; free"):
        get(server, tmp_path / "a.tar.xz", "/file", size=10**18)
    assert server.asked == []


@pytest.fixture
def packed(root, tmp_path):
    """The toy category `nut` at the top of an archive, as in the official one."""
    with tarfile.open(tmp_path / "a.tar.xz", "w:xz") as tar:
        tar.add(root / "nut", "nut")
    return tmp_path / "a.tar.xz"


def test_an_archive_is_unpacked_once(packed, root, tmp_path, capsys):
    target = tmp_path / "data" / "mvtec"
    (target.parent / ".partial-mvtec" / "bolt").mkdir(parents=True)  # of a killed run
    fetch.unpack(packed, target)
    assert os.listdir(target.parent) == ["mvtec"]
    for path in root.rglob("*.png"):
        assert (target / path.relative_to(root)).read_bytes() == path.read_bytes()
    assert "unpacking a.tar.xz: 0 %" in capsys.readouterr().err
    (target / "nut/train/good/000.png").write_bytes(b"mine")
    fetch.unpack(packed, target)
    assert (target / "nut/train/good/000.png").read_bytes() == b"mine"


def test_an_archive_that_leads_out_leaves_nothing(packed, tmp_path):
    target = tmp_path / "data" / "mvtec"
    with tarfile.open(packed, "w") as tar:
        tar.add(__file__, "nut/train/good/0.png")
        tar.add(__file__, "../../escaped.png")
    with pytest.raises(tarfile.OutsideDestinationError, match=r"escaped.png"):
        fetch.unpack(packed, target)
    assert os.listdir(target.parent) == [] and not (tmp_path / "escaped.png").exists()


def test_too_little_space_is_told_before_unpacking(packed, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=5)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"data/mvtec: no space for 0.0 GB; free some"):
        fetch.unpack(packed, tmp_path / "data" / "mvtec")
    assert os.listdir(tmp_path / "data") == []


def test_mvtec_is_verified_and_unpacked_to_where_the_profile_looks(packed, tmp_path, monkeypatch):
    profile = yaml.safe_load((fetch.ROOT / "profiles" / "paper.yaml").read_text("utf-8"))
    assert fetch.ROOT / profile["dataset"]["root"] == fetch.MVTEC
    for name, value in {
        "DOWNLOADS": tmp_path,
        "NAME": packed.name,
        "MVTEC": tmp_path / "data/mvtec",
        "SIZE": packed.stat().st_size,
        "SHA256": hashlib.sha256(packed.read_bytes()).hexdigest(),
    }.items():
        monkeypatch.setattr(fetch, name, value)
    assert fetch.mvtec().endswith(f"unpacked to {tmp_path}/data/mvtec")
    assert fetch.mvtec().endswith("(was there; remove it to unpack it again)")
    monkeypatch.setattr(fetch, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match="move it away and run `make mvtec` again"):
        fetch.mvtec()


def test_the_rest_is_tried_after_a_failure(monkeypatch, capsys):
    def mvtec():
        raise OSError("no address gives the archive")

    def dtd():
        return "downloads/dtd/dtd/images"

    for function in (mvtec, dtd):
        monkeypatch.setattr(fetch, function.__name__, function)
    monkeypatch.setattr(fetch, "resnet18", lambda: "a.pth")
    assert fetch.main() == 1
    output = capsys.readouterr()
    assert "CC BY-NC-SA 4.0" in output.out and "dtd: downloads/dtd/dtd/images" in output.out
    assert "a.pth" in output.out and output.err == "mvtec: error: no address gives the archive\n"
    monkeypatch.setattr(fetch, "mvtec", lambda: "there")
    assert fetch.main() == 0


def test_dtd_is_complete_or_says_what_to_do(tmp_path, monkeypatch):
    torchvision = import_torchvision()

    class Dtd:
        _URL = "https://example.org/dtd.tar.gz"

        def __init__(self, root, download):
            assert download
            for index in range(4):
                image = fetch.DOWNLOADS / "dtd" / "dtd" / "images" / "banded" / f"{index}.jpg"
                image.parent.mkdir(parents=True, exist_ok=True)
                image.touch()

    monkeypatch.setattr(fetch, "DOWNLOADS", tmp_path)
    monkeypatch.setattr(torchvision.datasets, "DTD", Dtd)
    monkeypatch.setattr(fetch, "DTD_IMAGES", 4)
    assert fetch.dtd() == str(tmp_path / "dtd/dtd/images")
    monkeypatch.setattr(fetch, "DTD_IMAGES", 5)
    with pytest.raises(RuntimeError, match=r"holds 4 images, not 5\nRemove \S*dtd if it is there"):
        fetch.dtd()


def test_the_weights_lie_in_downloads_or_the_message_says_where_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "DOWNLOADS", tmp_path)
    file = tmp_path / "resnet18-f37072fd.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, file)
    assert fetch.resnet18() == str(file)
    file.write_bytes(b"no weights")
    with pytest.raises(RuntimeError, match=r"By hand: save https://\S*fd.pth as \S*f37072fd.pth"):
        fetch.resnet18()


def test_the_weights_are_downloaded_with_their_hash_to_where_the_profile_looks(
    tmp_path, monkeypatch
):
    asked = []

    def download(address, path, hash_prefix, progress):
        asked.append((address.rpartition("/")[2], hash_prefix))
        torch.save({"conv1.weight": torch.zeros(1)}, path)

    monkeypatch.setattr(fetch, "DOWNLOADS", tmp_path / "downloads")
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    profile = yaml.safe_load((fetch.ROOT / "profiles" / "paper.yaml").read_text("utf-8"))
    assert Path(fetch.resnet18()) == tmp_path / profile["teacher"]["weights"]
    assert asked == [("resnet18-f37072fd.pth", "f37072fd")]


def test_data_dvc_pins_the_file_that_is_fetched():
    (pin,) = yaml.safe_load((fetch.ROOT / "data.dvc").read_text("utf-8"))["outs"]
    assert fetch.ROOT / pin["path"] == fetch.DOWNLOADS / fetch.NAME
    assert pin["size"] == fetch.SIZE and pin["md5"] == "eefca59f2cede9c3fc5b6befbfec275e"
    assert pin["cache"] is False  # no second copy of 5 GB in DVC's cache
