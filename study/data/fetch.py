"""Download the files of the paper's profile that no package contains.

    python -m study.data.fetch

is `make mvtec`. It puts MVTec AD's archive, DTD and the ImageNet weights of ResNet-18 into
downloads/ and unpacks the archive to data/mvtec. It does not repeat what is already there, and it
resumes an interrupted download. It verifies the archive before it unpacks it, so you may also put
the archive there by hand. No stage of the pipeline calls this: runs contact no server.
"""

import errno
import hashlib
import os
import shutil
import socket
import sys
from pathlib import Path

import requests
from backports import tarfile
from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

from lib.backbones import import_torchvision
from study.files import whole
from study.params import ROOT

DOWNLOADS = ROOT / "downloads"
MVTEC = ROOT / "data" / "mvtec"
NAME = "mvtec_anomaly_detection.tar.xz"
SIZE = 5_264_982_680  # bytes
SHA256 = "cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d"
ADDRESSES = (
    "https://www.mydrive.ch/shares/38536/3830184030e49fe74747669442f0f282/download/"
    f"420938113-1629952094/{NAME}",
    "https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/download/"
    f"420938113-1629960298/{NAME}",
)
PAGE = "https://www.mvtec.com/research-teaching/datasets/mvtec-ad"
DTD_IMAGES = 5640  # 47 classes of 120
LICENCES = """\
By downloading you accept these licences. MVTec AD: (c) 2019 MVTec Software GmbH, CC BY-NC-SA 4.0,
no commercial use. DTD: released for research. torchvision and its weights: BSD-3-Clause.
"""


def verify(path: Path, size: int, sha256: str) -> None:
    """ValueError unless a file has this size in bytes and this SHA-256 (hexadecimal)."""
    if (found := path.stat().st_size) != size:
        raise ValueError(f"{path}: {found} bytes, expected {size}")
    print(f"checking {path.name}", file=sys.stderr, flush=True)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise ValueError(f"{path}: SHA-256 {digest}, expected {sha256}")


def progress(what: str, total: int, done: int = 0) -> tqdm:
    """A tqdm bar over `total` bytes on stderr: one line in a terminal, a few lines in a log."""
    line = "{desc}: {percentage:.0f} % of {total_fmt}B, {remaining} left\n"
    log = {} if sys.stderr.isatty() else {"mininterval": 20, "bar_format": line}
    return tqdm(desc=what, total=total, initial=done, unit="B", unit_scale=True, **log)


def make_room(path: Path, needed: int) -> None:
    """Make the folder of `path`. Raises OSError unless `needed` more bytes fit there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(path.parent).free < needed:
        raise OSError(errno.ENOSPC, f"{path}: no space for {needed / 1e9:.1f} GB; free some")


def download(addresses: tuple[str, ...], path: Path, size: int, sha256: str) -> None:
    """Download the file of `size` bytes and this SHA-256 to `path`, from the first good address.

    The download stays in `<path>.part` until it is complete and verified; another call resumes it.
    Raises ValueError if another file is already at `path`. Raises OSError if the disk is full or no
    address gives the file; the message says why and how to get it by hand.
    """
    if path.exists():
        try:
            verify(path, size, sha256)
        except ValueError as error:
            raise ValueError(f"{error}; move it away and run `make mvtec` again") from None
        return
    part, faults = path.with_name(f"{path.name}.part"), []
    if _size(part) > size:  # of another file
        part.unlink()
    make_room(path, size - _size(part))
    for address in addresses:
        try:
            _complete(address, part, size)
            verify(part, size, sha256)
            os.replace(part, path)
            return
        except (requests.RequestException, ValueError) as error:
            # urllib3's reason, where there is one: requests wraps it in three layers of text.
            faults.append(f"{address}: {getattr(next(iter(error.args), ''), 'reason', error)}")
            if _size(part) >= size:  # complete and wrong: nothing to resume
                part.unlink()
    raise OSError(
        "\n  ".join(("no address gives the archive:", *faults))
        + f"\nBy hand: open {PAGE}, accept the licence, save the archive as {path} and run "
        "`make mvtec` again, which verifies it"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _complete(address: str, part: Path, size: int) -> None:
    """Append the missing bytes to `part`; retry after an interruption if it had progressed."""
    have = -1
    while have < _size(part) < size:
        have = _size(part)
        try:
            _append(address, part, size)
        except requests.RequestException as error:
            if _size(part) <= have:
                raise
            print(f"interrupted ({error}), resuming", file=sys.stderr)


def _append(address: str, part: Path, size: int) -> None:
    """One request for the bytes after `part`, or for all if the server knows no ranges."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(address, headers=headers, stream=True, timeout=(15, 60)) as answer:
        answer.raise_for_status()
        if "html" in answer.headers.get("Content-Type", ""):
            raise ValueError("answers with a web page (a form to fill in?), not with the archive")
        start = have if answer.status_code == requests.codes.partial_content else 0
        offered = start + int(answer.headers.get("Content-Length", size - start))
        if offered != size:
            raise ValueError(f"offers {offered} bytes, expected {size}")
        with part.open("ab" if start else "wb") as file, progress(part.stem, size, start) as bar:
            for block in answer.iter_content(1 << 16):  # what is cut off costs one block
                file.write(block)
                bar.update(len(block))


def unpack(path: Path, target: Path) -> None:
    """Unpack a verified tar archive to the folder `target`: whole, or not at all.

    An existing `target` is not changed. Raises OSError if the disk is full, and tarfile's errors
    for members that would lead out of `target`.
    """
    if target.exists():
        return
    make_room(target, size := path.stat().st_size)  # its images do not shrink further
    with (
        whole(target) as partial,
        path.open("rb") as file,
        progress(f"unpacking {path.name}", size) as bar,
        tarfile.open(fileobj=CallbackIOWrapper(bar.update, file, "read"), mode="r|*") as tar,
    ):
        tar.extractall(partial, filter="data")


def mvtec() -> str:
    """Download, verify and unpack MVTec AD; returns a line that says where it is."""
    there = MVTEC.exists()
    download(ADDRESSES, DOWNLOADS / NAME, SIZE, SHA256)
    unpack(DOWNLOADS / NAME, MVTEC)
    kept = " (was there; remove it to unpack it again)" if there else ""
    return f"{DOWNLOADS / NAME} is the official archive, unpacked to {MVTEC}{kept}"


def dtd() -> str:
    """Download the Describable Textures Dataset through torchvision; returns its folder."""
    import_torchvision()
    from torchvision.datasets import DTD

    images = DOWNLOADS / "dtd" / "dtd" / "images"
    try:
        DTD(root=str(DOWNLOADS), download=True)
        if (found := len(list(images.glob("*/*.jpg")))) != DTD_IMAGES:
            raise ValueError(f"{images} holds {found} images, not {DTD_IMAGES}")
    except Exception as error:
        raise RuntimeError(
            f"{error}\nRemove {DOWNLOADS / 'dtd'} if it is there and run `make mvtec` again, or "
            f"unpack {DTD._URL} by hand so that its images lie in {images}"
        ) from error
    return str(images)


def resnet18() -> str:
    """Download torchvision's ImageNet weights of ResNet-18 (IMAGENET1K_V1); returns the file."""
    import_torchvision()
    import torch
    from torchvision.models import ResNet18_Weights

    weights = ResNet18_Weights.IMAGENET1K_V1
    path = DOWNLOADS / Path(weights.url).name
    try:
        torch.hub.load_state_dict_from_url(
            weights.url,
            model_dir=str(DOWNLOADS),
            progress=sys.stderr.isatty(),
            check_hash=True,
            weights_only=True,
        )
    except Exception as error:
        raise RuntimeError(f"{error}\nBy hand: save {weights.url} as {path}") from error
    return str(path)


def main() -> int:
    """Download all three, even if one fails; returns the exit status."""
    print(LICENCES, flush=True)
    failed = 0
    for get in (mvtec, dtd, resnet18):
        try:
            print(f"{get.__name__}: {get()}", flush=True)
        except Exception as error:  # of any kind: the others are still tried
            failed += 1
            print(f"{get.__name__}: error: {error}", file=sys.stderr, flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    socket.setdefaulttimeout(60)  # torchvision's downloads would wait for ever
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; `make mvtec` resumes from here")
