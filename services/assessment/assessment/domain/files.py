"""Files: what may be handed in, checked while it streams past."""

import codecs
import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from assessment.domain.regulations import FileKind, Regulations
from shared.errors import Invalid, Malformed, Refusal, TooLarge, Unsupported


class BadFileName(Invalid):
    """A file has a name with an ending, e.g. report.pdf."""


class FileTypeNotAllowed(Unsupported):
    """The regulations name the kinds of file that may be handed in."""


class FileNotAsNamed(Unsupported):
    """The content is not what the name's ending says."""


class FileTooLarge(TooLarge):
    """The file is larger than the regulations allow."""


class FileEmpty(Invalid):
    """There is nothing in the file."""


class UploadInterrupted(Malformed):
    """The connection ended before the whole file had come; nothing was handed in."""


class UploadTooSlow(Refusal):
    """The file did not come whole in the time there is for it; nothing was handed in."""

    status: ClassVar[int] = 408
    title: ClassVar[str] = "Request timeout"


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """How long one upload may take, and how old a stored file that no submission names must be to be removed."""

    longest: timedelta
    orphan_age: timedelta


LONGEST_NAME = 200
_PATH = re.compile(r".*[/\\]", re.DOTALL)


def clean_name(given: str) -> str:
    """The name to show the learner again: no folders, nothing invisible. It is never used to find the file.

    Raises BadFileName.
    """
    composed = unicodedata.normalize("NFC", _PATH.sub("", given))
    name = "".join(sign for sign in composed if not unicodedata.category(sign).startswith("C")).strip()
    stem, dot, ending = name.rpartition(".")
    if not (stem.strip(". ") and dot and ending) or len(name) > LONGEST_NAME:
        raise BadFileName(f"give the file a name with an ending, at most {LONGEST_NAME} characters")
    return name


def kind_of(name: str, kinds: Sequence[FileKind]) -> FileKind:
    """What the name says the file is; raises FileTypeNotAllowed."""
    ending = name.rpartition(".")[2].casefold()
    for kind in kinds:
        if ending in kind.extensions:
            return kind
    allowed = sorted(extension for kind in kinds for extension in kind.extensions)
    raise FileTypeNotAllowed(f"hand in one of: {', '.join(allowed)}", allowed=allowed)


@dataclass(frozen=True, slots=True)
class Checked:
    """A whole file that passed every check. `sha256` in hexadecimal, `size` in bytes."""

    sha256: str
    size: int


class FileCheck:
    """Looks at a file chunk by chunk, keeping none of it. Archives are not opened: nothing here can explode."""

    def __init__(self, kind: FileKind, longest: int) -> None:
        self._kind, self._longest = kind, longest
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._head = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")() if kind.text else None

    def take(self, chunk: bytes) -> None:
        """Raises FileTooLarge or FileNotAsNamed as soon as it is certain."""
        self._size += len(chunk)
        if self._size > self._longest:
            raise FileTooLarge(f"a file may have {self._longest} bytes", longest_bytes=self._longest)
        self._sha256.update(chunk)
        self._look(chunk)

    def finish(self) -> Checked:
        """Raises FileEmpty or FileNotAsNamed."""
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


def plan_check(filename: str, declared_size: int | None, regulations: Regulations) -> tuple[str, FileKind]:
    """What can be said before the first byte: the clean name and the kind.

    Raises BadFileName, FileTypeNotAllowed or FileTooLarge.
    """
    name = clean_name(filename)
    kind = kind_of(name, regulations.file_kinds)
    if declared_size is not None and declared_size > regulations.longest_file_bytes:
        raise FileTooLarge(
            f"a file may have {regulations.longest_file_bytes} bytes",
            longest_bytes=regulations.longest_file_bytes,
        )
    return name, kind
