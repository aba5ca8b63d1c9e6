"""An archive in MVTec AD layout, read once and kept at the study's image size only.

    python -m lib.archive [FOLDER]

is the pipeline's stage between `check` and `dataset`. Where dataset.source is archive, it compares
the file dataset.archive with its pinned size and SHA-256, then streams through it and leaves the
wanted categories in FOLDER (results/archive), resized, for lib/folder.py to read. The full archive
never lies unpacked on the disk: MVTec AD's 5 GB become some hundred MB at 256x256. For any other
source FOLDER only holds a marker, always the same bytes.
"""

import hashlib
import io
import os
import shutil
import sys
import tarfile
import zlib
from gzip import BadGzipFile
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from lib import params
from lib.folder import (
    EXTENSIONS,
    UNPACKED,
    check_mask_size,
    images_and_masks,
    is_hidden,
    read_image,
    read_mask,
    resize,
)
from lib.interruption import FULL, alone, end_with_parent

PARTS = ("train", "test", "ground_truth")  # of a category's folder
# What a broken archive raises, beside what is read as its end.
DAMAGED = (tarfile.TarError, EOFError, BadGzipFile, LZMAError, zlib.error, MemoryError, IndexError)
LARGEST = 1 << 30  # bytes of one image, compressed or not: more than Pillow would decode
PINS = "dataset.archive_size and dataset.archive_sha256"
HINT = f"get it again (`make mvtec`) or, if it is meant, set {PINS} to its own"


def unpack(dataset, categories: tuple[str, ...], target: Path) -> None:
    """Leave the resized images and masks of `categories` below `target`, all of them or nothing.

    `dataset` is that section of params.yaml. An existing `target` is replaced. Raises
    FileNotFoundError for a missing archive, ValueError for one with other content than pinned, cut
    off, with members that are no plain files in folders, or without a wanted category, and OSError
    where the disk is full.
    """
    path = params.ROOT / dataset.archive
    if dataset.archive_size < 1 or not dataset.archive_sha256:
        raise ValueError(
            f"{PINS} are {dataset.archive_size} and {dataset.archive_sha256!r}: an archive is only "
            f"read when it is the pinned one; set them to what `wc -c` and `sha256sum` say of "
            f"{path} (profiles/paper.yaml has MVTec AD's)"
        )
    try:
        verify(path, dataset.archive_size, dataset.archive_sha256)
    except ValueError as error:
        raise ValueError(f"{error}; {HINT}") from None
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        sizes = _extract(path, dataset, categories, partial)
        _check_pairs(path, partial, categories, sizes)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    except OSError as error:
        if error.errno not in FULL:
            raise
        message = f"no space left to unpack {path} into {target}; free some and run again"
        raise OSError(error.errno, message) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def verify(path: Path, size: int, sha256: str) -> None:
    """Compare a file with its size in bytes, then with its SHA-256 (hexadecimal).

    Raises FileNotFoundError, or ValueError that names the file, what was expected and found.
    """
    if not path.is_file():
        kind = "a folder, not an archive" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: {kind}; `make mvtec` fetches MVTec AD's archive")
    if (found := path.stat().st_size) != size:
        raise ValueError(f"{path}: {found} bytes, expected {size}")
    digest = hashlib.sha256()
    with path.open("rb") as file, progress(f"checking {path.name}", size) as bar:
        while block := file.read(1 << 20):
            digest.update(block)
            bar.update(len(block))
    if digest.hexdigest() != sha256.lower():
        raise ValueError(f"{path}: SHA-256 {digest.hexdigest()}, expected {sha256.lower()}")


def progress(what: str, total: int, done: int = 0) -> tqdm:
    """A tqdm bar over `total` bytes on stderr: one line kept up to date, in a log some lines."""
    bar = {"desc": what, "total": total, "initial": done, "unit": "B", "unit_scale": True}
    if sys.stderr.isatty():
        return tqdm(**bar, dynamic_ncols=True)
    layout = "{desc}: {percentage:.0f} % of {total_fmt}B, {remaining} left"
    return tqdm(**bar, file=_Lines(), mininterval=20, bar_format=layout)


class _Lines(io.TextIOBase):
    """Makes a line of each of tqdm's updates, which begin with a carriage return."""

    def write(self, text: str) -> None:
        if text.strip():
            print(text.strip(), file=sys.stderr, flush=True)


def _extract(path: Path, dataset, categories: tuple, partial: Path) -> dict[Path, tuple[int, int]]:
    """Write what is wanted of the archive below `partial`; {file: (width, height) it had}."""
    sizes, found = {}, {}
    try:
        # Not "r|*", which takes a compressed file that was cut off for one that ended; read in
        # order, this mode never seeks back either.
        with (
            path.open("rb") as file,
            tarfile.open(fileobj=file, mode="r:*") as tar,
            progress(f"reading {path.name}", path.stat().st_size) as bar,
        ):
            for member, top, inner in _images(tar):
                bar.update(file.tell() - bar.n)
                category = top[-1]
                if found.setdefault(category, top) != top:
                    raise ValueError(
                        f"{member.name}: a second folder {category}, beside "
                        f"{'/'.join(found[category])}; an archive holds a category once"
                    )
                if category not in categories:
                    continue
                image = _read(tar, member, inner[0], path, dataset)
                target = partial.joinpath(category, *inner)
                sizes[target] = image.size
                _save(resize(image, dataset.image_size), target)
            _read_to_the_end(tar)
            bar.update(file.tell() - bar.n)
    except ValueError as error:  # about a member
        raise ValueError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    except DAMAGED as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
        raise ValueError(f"{path}: cut off, damaged or no archive ({reason}); {HINT}") from error
    if missing := [category for category in categories if category not in found]:
        raise ValueError(
            f"{path}: no category {', '.join(missing)}; found: {', '.join(sorted(found)) or 'none'}"
        )
    return sizes


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo, part: str, path: Path, dataset):
    """One image or mask, as in lib/folder.py."""
    content, name = io.BytesIO(tar.extractfile(member).read()), f"{path}: {member.name}"
    if part == "ground_truth":
        return read_mask(content, name)
    return read_image(content, dataset.channels, name)


def _images(tar: tarfile.TarFile):
    """Each image with its category's folder and its path in there, both as names: (member, (...,
    category), (part, defect, file)). All members are checked, what the layout has no place for is
    left out: as lib/folder.py does.
    """
    seen, unused = set(), set()
    for member in tar:
        if "\0" in member.name:
            raise ValueError(f"{member.name!r}: no file can have this name; rename it")
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{member.name}: leads out of the archive; use paths inside it")
        if member.isdir():
            continue
        if not member.isfile():
            raise ValueError(f"{member.name}: a link or device; pack plain files and folders only")
        if (length := max(len(os.fsencode(part)) for part in path.parts)) > 255:
            raise ValueError(
                f"{member.name}: a name of {length} bytes; rename it, folders take 255"
            )
        if member.size > LARGEST:
            raise ValueError(f"{member.name}: {member.size} bytes are no image's; leave it out")
        if path in seen:
            raise ValueError(f"{member.name}: twice in the archive; pack each file once")
        seen.add(path)
        depths = [i for i, name in enumerate(path.parts) if i and name in PARTS]
        if not depths or any(map(is_hidden, path.parts)):
            continue
        top, inner = path.parts[: depths[0]], path.parts[depths[0] :]
        if inner[0] == "train" and inner[1:2] != ("good",):
            unused.add(str(PurePosixPath(*top, *inner[:2])))
            continue
        if len(inner) != 3 or path.suffix.lower() not in EXTENSIONS:
            raise ValueError(f"{member.name}: not an image in a defect's folder; leave it out")
        yield member, top, inner
    if unused:
        print(f"note: not used, beside train/good: {', '.join(sorted(unused))}", file=sys.stderr)


def _read_to_the_end(tar: tarfile.TarFile) -> None:
    """Tell an archive that ended from one that stopped: tarfile takes either for the end.

    A tar file ends with two empty blocks, the first of which tarfile has read; behind them come the
    checksums of the compression, which raise when they are read.
    """
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("no end-of-archive mark")
    while tar.fileobj.read(1 << 20):
        pass


def _save(image, target: Path) -> None:
    """As PNG whatever the name says: it is lossless, and readers go by the content."""
    content = io.BytesIO()  # Pillow itself would not say why a write failed
    image.save(content, "PNG")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        file.write(content.getvalue())


def _check_pairs(path: Path, partial: Path, categories: tuple, sizes: dict) -> None:
    """What only the original images tell: every mask belongs to one and has its size."""
    try:
        for category in categories:
            for image, mask in images_and_masks(partial / category):
                if mask is not None:
                    check_mask_size(mask, sizes[mask], image, sizes[image])
    except ValueError as error:  # about the archive, not about a folder that is about to go
        raise ValueError(str(error).replace(f"{partial}{os.sep}", f"{path}: ")) from None


def main(arguments: list[str]) -> int:
    """The stage; returns the exit status."""
    target = Path(arguments[0]) if arguments else UNPACKED
    try:
        settings = params.load()
        if settings.dataset.source == "archive":
            with alone(params.ROOT / ".checkpoints" / "archive.lock", "archive"):
                unpack(settings.dataset, settings.categories, target)
        else:
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True, exist_ok=True)
            (target / "unused").write_text("dataset.source is not archive\n", encoding="utf-8")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(sys.argv[1:]))
