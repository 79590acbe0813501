"""Unwrap what was uploaded: JSON, a compact JWT, or a picture with either baked in.

Source: 1EdTech Open Badges 3.0, section 5.3 (baking). The bytes of the credential stay as they came.
"""

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from openbadges.baking import KEYWORD, SVG_NAMESPACE
from openbadges.errors import Invalid, TooLarge
from openbadges.verification.limits import Limits

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

Carrier = Literal["json", "jwt", "png", "svg"]

_PNG = b"\x89PNG\r\n\x1a\n"
_JWT = re.compile(rb"[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class CredentialTooLarge(TooLarge):
    """Larger than any credential is."""


class NotCredential(Invalid):
    """Neither JSON, nor a JWT, nor a picture with a credential in it."""

    remedy = "Send the credential's JSON, its token, or the badge's own picture."


class NoCredentialInImage(Invalid):
    """The picture holds no credential."""

    remedy = "Send the badge's own picture as it was downloaded, or its JSON."


class SeveralCredentialsInImage(Invalid):
    """The picture holds several credentials, and nobody can say which of them counts."""

    remedy = "Send the JSON of the credential that is meant."


class DamagedImage(Invalid):
    """The picture cannot be read."""

    remedy = "Send the picture as it was downloaded, not a copy made by another program."


@dataclass(frozen=True)
class Given:
    """An unwrapped credential. `text` is JSON, or a compact JWT where `is_jwt`."""

    text: bytes
    is_jwt: bool
    carrier: Carrier


def read(raw: bytes, limits: Limits) -> Given:
    """Return the credential in what was uploaded.

    Raises CredentialTooLarge, NotCredential, DamagedImage, NoCredentialInImage, SeveralCredentialsInImage.
    """
    carrier: Carrier | None = None
    if raw.startswith(_PNG):
        carrier, raw = "png", _out_of_png(_at_most(raw, limits.image_bytes), limits)
    elif is_web_page(raw):
        raise NotCredential("this is a web page: a credential is JSON, a JWT, or a PNG or SVG picture")
    elif _looks_like_xml(raw):
        carrier, raw = "svg", _out_of_svg(_at_most(raw, limits.image_bytes))
    text = _at_most(raw.removeprefix(_BYTE_ORDER_MARK).strip(), limits.document_bytes)
    if text.startswith(b"{"):
        return Given(text, is_jwt=False, carrier=carrier or "json")
    if _JWT.fullmatch(text):
        return Given(text, is_jwt=True, carrier=carrier or "jwt")
    raise NotCredential("this is neither JSON, nor a JWT, nor a PNG or SVG picture with a credential in it")


def is_web_page(raw: bytes) -> bool:
    """Return whether this is HTML, such as a page that a browser saved."""
    return raw[:256].removeprefix(_BYTE_ORDER_MARK).lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _at_most(raw: bytes, most: int) -> bytes:
    if len(raw) > most:
        raise CredentialTooLarge(f"at most {most} bytes are read")
    return raw


def _looks_like_xml(raw: bytes) -> bool:
    return raw[:256].removeprefix(_BYTE_ORDER_MARK).lstrip().startswith(b"<")


def _out_of_png(raw: bytes, limits: Limits) -> bytes:
    """Return the text of the one chunk with our keyword, compressed or not."""
    found: list[bytes] = []
    position, ended = len(_PNG), False
    while position + 12 <= len(raw) and not ended:
        length = int.from_bytes(raw[position : position + 4], "big")
        name = raw[position + 4 : position + 8]
        data = raw[position + 8 : position + 8 + length]
        check = raw[position + 8 + length : position + 12 + length]
        if len(check) < 4 or zlib.crc32(name + data) != int.from_bytes(check, "big"):  # noqa: PLR2004 - a CRC's bytes
            raise DamagedImage("the picture is damaged")
        if name == b"iTXt" and data.startswith(KEYWORD + b"\0"):
            found.append(_text_of_chunk(data, limits))
        position += 12 + length
        ended = name == b"IEND"
    if not ended:
        raise DamagedImage("the picture is damaged")
    return _the_one(found)


def _text_of_chunk(data: bytes, limits: Limits) -> bytes:
    """Return the text of an iTXt chunk: keyword, 0, compression flag and method, language, 0, translated keyword, 0,
    text."""
    flags = data[len(KEYWORD) + 1 : len(KEYWORD) + 3]
    parts = data[len(KEYWORD) + 3 :].split(b"\0", 2)
    if len(parts) != 3 or flags not in {b"\0\0", b"\1\0"}:  # noqa: PLR2004 - language, translated keyword, text
        raise DamagedImage("the credential in the picture is damaged")
    if flags == b"\0\0":
        return parts[2]
    try:
        unpacking = zlib.decompressobj()
        # Bounded: a few kilobytes can unpack to gigabytes.
        text = unpacking.decompress(parts[2], limits.document_bytes + 1)
    except zlib.error as error:
        raise DamagedImage("the credential in the picture is damaged") from error
    return _at_most(text, limits.document_bytes)


def _out_of_svg(raw: bytes) -> bytes:
    """Return the text or `verify` of the one openbadges:credential. Neither DOCTYPE nor entities are allowed."""
    try:
        root: Element = fromstring(raw, forbid_dtd=True)
    except DefusedXmlException as error:
        raise DamagedImage("a picture with a DOCTYPE or entities of its own is not read") from error
    except (ParseError, ValueError, LookupError, RecursionError) as error:
        raise DamagedImage("the picture is damaged") from error
    nodes = list(root.iter(f"{{{SVG_NAMESPACE}}}credential"))
    said = [{text.strip() for text in (node.get("verify"), node.text) if text and text.strip()} for node in nodes]
    return _the_one([text.encode() for texts in said for text in texts or {""}])


def _the_one(found: list[bytes]) -> bytes:
    if not found:
        raise NoCredentialInImage("there is no credential in this picture")
    if len(found) > 1:
        raise SeveralCredentialsInImage("there is more than one credential in this picture")
    return found[0]
