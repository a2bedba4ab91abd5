"""Find files and open them: folders, patterns, compression, encodings. Every failure is a `DataError`."""

from __future__ import annotations

import codecs
import glob
import io
import os
import re
import sys
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa

from metatoken.bounds import memory
from metatoken.config import expanded
from metatoken.errors import ArgumentError, DataError

CHUNK = 1 << 24  # bytes that are decompressed at a time
COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # as Hive, Spark and Arrow name a folder of rows without a value
MANY = 100_000  # files of a folder: so many are no log, but a disk
BYTE_ORDER_MARK = codecs.BOM_UTF8
# First bytes of files that people rename by accident.
MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "Parquet",
    b"PK\x03\x04": "a zip archive or spreadsheet",
    b"BZh": "bzip2",
    b"SQLite format 3": "a SQLite database, which is read with uri and query",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}


def suffix_of(path: Path) -> str:
    """The suffix of a file in lower case, that of its compression aside."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix


def find_files(path: str | Path, suffixes: Collection[str]) -> list[Path]:
    """The files that a path names, in the order of their names.

    Args:
        path: A file, a pattern (`*`, `?`, `[...]`, `**`), or a folder, of which all files count, those in folders
            inside too; names that begin with a dot or an underscore are left out there.
        suffixes: Of the files of a folder that count; without any, all do.

    Raises:
        DataError: There is no such file, or a folder cannot be looked into.
        ArgumentError: The path is an address, as of a database.
    """
    path = expanded(path)
    try:
        return _found(path, suffixes)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", error.filename or path) from error


def _found(path: Path, suffixes: Collection[str]) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [one for one in _inside(path) if not suffixes or suffix_of(one) in suffixes]
        if not found:
            kinds = f" that ends in {' '.join(suffixes)}" if suffixes else ""
            raise DataError(f"is a folder without a file{kinds}", path)
        return found
    if any(mark in str(path) for mark in "*?["):
        found = [Path(one) for one in sorted(glob.glob(str(path), recursive=True)) if Path(one).is_file()]  # noqa: PTH207
        if not found:
            raise DataError("no file fits this pattern; check the path", path)
        return found
    if scheme := re.match(r"([A-Za-z][\w+.-]+):/", str(path)):  # what follows may hold a password
        said = "a database is named by uri, beside query (--uri and --query); a file elsewhere is copied here first"
        raise ArgumentError("path", f"expected a file or folder, got the address {scheme[1]}:...; {said}")
    raise DataError("no such file; check the path", path)


def _inside(path: Path) -> list[Path]:
    """The files of a folder; what begins with a dot or an underscore is not even looked into."""
    found: list[Path] = []
    for folder, inner, names in os.walk(path, onerror=_refuse):
        inner[:] = [name for name in inner if name[0] not in "._"]
        found += [one for name in names if name[0] not in "._" and (one := Path(folder, name)).is_file()]
        if len(found) > MANY:
            raise DataError(f"holds more than {MANY:,} files; name those of the table by a pattern", path)
    return sorted(found)


def _refuse(error: OSError) -> None:
    """A folder that cannot be looked into would only make a table shorter."""
    raise error


def partition_of(file: Path, path: str | Path) -> dict[str, str | None]:
    """Columns and values that folders between a path and a file of it name, such as `day=2024-05-31`; None is none."""
    root = len(Path(path).parts) if Path(path).is_dir() else 0
    pairs = (part.split("=", 1) for part in file.parts[root:-1] if "=" in part)
    return {name: None if value == NO_VALUE else unquote(value) for name, value in pairs if name and value}


def read_bytes(path: Path) -> bytes:
    """The content of a file, decompressed where its name says so; never empty."""
    kind = COMPRESSED.get(path.suffix.lower())
    try:
        data: bytes = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path) from error
    if kind is not None and data:
        skipped = kind == "zstd" and data[1:4] == b"\x2a\x4d\x18"  # a frame that says something about the others
        if not skipped and not any(data.startswith(one) for one, name in MAGIC.items() if name.startswith(kind[:2])):
            said = f"the name ends in {path.suffix}, but the content is not {kind}; rename or compress it"
            raise DataError(said, path)
        try:
            data = _unpacked(path, data, kind)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"damaged {kind} file ({error}); copy or download it again", path) from error
    if not data.strip():
        raise DataError("the file is empty", path)
    return data


def _unpacked(path: Path, data: bytes, kind: str) -> bytes:
    """The decompressed content; a small file may hold more than the memory, of which the table takes the other half."""
    most, found = memory() // 2 or sys.maxsize, io.BytesIO()
    with pa.CompressedInputStream(pa.BufferReader(data), kind) as stream:
        while part := stream.read(CHUNK):
            found.write(part)
            if found.tell() > most:
                raise DataError(f"holds more than {most / 1e9:,.1f} GB when it is decompressed; read it in parts", path)
    return found.getvalue()


def check_text(path: Path, data: bytes, encoding: str) -> None:
    """Refuses what is no text in this encoding by its first bytes, or by a byte that no text has."""
    for magic, kind in MAGIC.items():
        if data.startswith(magic):
            raise DataError(f"the content is {kind}, not the text that its name promises; rename or convert it", path)
    if b"\0" in data and not encoding.lower().startswith(("utf-16", "utf-32", "utf_16", "utf_32", "utf16", "utf32")):
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise DataError("the content is binary or UTF-16; convert it, or say encoding: utf-16", path, line)


def decode(path: Path, data: bytes, encoding: str = "utf-8") -> str:
    """Bytes as text without a byte order mark."""
    check_text(path, data, encoding)
    try:
        return data.decode(encoding).lstrip("\ufeff").replace("\n\ufeff", "\n")
    except LookupError as error:
        raise DataError(f"unknown encoding {encoding[:40]!r}; say one such as utf-8 or latin-1", path) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        said = f"byte 0x{data[error.start]:02x} is not {encoding.upper()}; save the file with UTF-8 encoding, or say "
        raise DataError(f"{said}encoding: with the name of its own, such as latin-1", path, line) from error
    except UnicodeError as error:  # of codecs that are no encodings of files
        raise DataError(f"is not {encoding.upper()}: {str(error)[:80]}; say the encoding of its own", path) from error


def without_marks(data: bytes) -> bytes:
    """Text in UTF-8 without byte order marks: one stands before each of several files that were put together, too."""
    while data.startswith(BYTE_ORDER_MARK):
        data = data.removeprefix(BYTE_ORDER_MARK)
    return data.replace(b"\n" + BYTE_ORDER_MARK, b"\n") if BYTE_ORDER_MARK in data else data
