"""Uploaded files: what they may be called and hold, checked while they stream past."""

import codecs
import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from shared.errors import DomainError, Invalid, Malformed, TooLarge, Unsupported


class BadFileName(Invalid):
    """A file has a name with an ending, e.g. report.pdf."""

    remedy = "Name the file with its ending, such as report.pdf."


class FileTypeNotAllowed(Unsupported):
    """The regulations name the kinds of file that are taken."""


class FileNotAsNamed(Unsupported):
    """The content is not what the name's ending says."""


class FileTooLarge(TooLarge):
    """The file is larger than the regulations allow."""


class FileEmpty(Invalid):
    """There is nothing in the file."""

    remedy = "Choose the file again: it came without content."


class UploadInterrupted(Malformed):
    """The connection ended before the whole file had come; nothing was kept."""


class UploadTooSlow(DomainError):
    """The file did not come whole in the time there is for it; nothing was kept."""

    status: ClassVar[int] = 408
    title: ClassVar[str] = "Request timeout"


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file: its endings, what its bytes begin with, or that it is UTF-8 text."""

    name: str
    extensions: frozenset[str]
    media_type: str
    begins_with: tuple[bytes, ...]
    text: bool


def file_kind(entry: Mapping[str, Any]) -> FileKind:  # Any: JSON
    """Return a kind of file from its entry in regulations; there `begins_with` is in hexadecimal."""
    return FileKind(
        name=entry["name"],
        extensions=frozenset(entry["extensions"]),
        media_type=entry["media_type"],
        begins_with=tuple(bytes.fromhex(prefix) for prefix in entry.get("begins_with", ())),
        text=entry.get("text", False),
    )


LONGEST_NAME = 200
_PATH = re.compile(r".*[/\\]", re.DOTALL)


def clean_name(given: str) -> str:
    """Return a file's name as it is shown again: no folders, nothing invisible. It is never used to find the file.

    Raises BadFileName: it has no ending, or is too long.
    """
    composed = unicodedata.normalize("NFC", _PATH.sub("", given))
    name = "".join(sign for sign in composed if not unicodedata.category(sign).startswith("C")).strip()
    stem, dot, ending = name.rpartition(".")
    if not (stem.strip(". ") and dot and ending) or len(name) > LONGEST_NAME:
        raise BadFileName(f"give the file a name with an ending, at most {LONGEST_NAME} characters")
    return name


def kind_of(name: str, kinds: Sequence[FileKind]) -> FileKind:
    """Return the kind of file that the name's ending says.

    Raises FileTypeNotAllowed: it is none of these kinds.
    """
    ending = name.rpartition(".")[2].casefold()
    for kind in kinds:
        if ending in kind.extensions:
            return kind
    allowed = sorted(extension for kind in kinds for extension in kind.extensions)
    raise FileTypeNotAllowed(f"send one of: {', '.join(allowed)}", allowed=allowed)


@dataclass(frozen=True, slots=True)
class Checked:
    """A whole file that passed every check. `sha256` in hexadecimal, `size` in bytes."""

    sha256: str
    size: int


class FileCheck:
    """Checks a file chunk by chunk, keeping none of it; archives are not opened, so no archive bomb goes off."""

    def __init__(self, kind: FileKind, longest: int) -> None:
        self._kind, self._longest = kind, longest
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._head = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")() if kind.text else None

    def take(self, chunk: bytes) -> None:
        """Check the next chunk; raise FileTooLarge or FileNotAsNamed as soon as it is certain."""
        self._size += len(chunk)
        if self._size > self._longest:
            raise FileTooLarge(f"a file may have {self._longest} bytes", longest_bytes=self._longest)
        self._sha256.update(chunk)
        self._look(chunk)

    def finish(self) -> Checked:
        """Return the digest and size of the whole file; raise FileEmpty or FileNotAsNamed."""
        if not self._size:
            raise FileEmpty("the file is empty")
        if self._decoder is not None:
            self._decode(b"", final=True)
        elif not self._head.startswith(self._kind.begins_with):
            raise self._not_as_named()
        return Checked(self._sha256.hexdigest(), self._size)

    def _look(self, chunk: bytes) -> None:
        if self._decoder is not None:
            if b"\0" in chunk:
                raise self._not_as_named()
            self._decode(chunk)
            return
        needed = max(map(len, self._kind.begins_with))
        if len(self._head) < needed:
            self._head += chunk[: needed - len(self._head)]
            if len(self._head) == needed and not self._head.startswith(self._kind.begins_with):
                raise self._not_as_named()

    def _decode(self, chunk: bytes, *, final: bool = False) -> None:
        try:
            if self._decoder is not None:
                self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            raise self._not_as_named() from None

    def _not_as_named(self) -> FileNotAsNamed:
        return FileNotAsNamed(f"the content is not that of a .{self._kind.name} file")


def plan_check(
    filename: str, declared_size: int | None, kinds: Sequence[FileKind], longest: int
) -> tuple[str, FileKind]:
    """Return the clean name and the kind of a file before its first byte is read; `longest` in bytes.

    Raises BadFileName, FileTypeNotAllowed or FileTooLarge.
    """
    name = clean_name(filename)
    kind = kind_of(name, kinds)
    if declared_size is not None and declared_size > longest:
        raise FileTooLarge(f"a file may have {longest} bytes", longest_bytes=longest)
    return name, kind
