"""Bake a credential into its own picture, so that sharing the picture shares the proof.

Source: 1EdTech Open Badges 3.0, section 5.3. The picture differs for each holder, so it is baked when asked for, and
never stored.
"""

import re
import zlib
from typing import Final
from xml.sax.saxutils import quoteattr

KEYWORD = b"openbadgecredential"
SVG_NAMESPACE = "https://purl.imsglobal.org/ob/v3p0"

NOT_XML: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that no XML document may hold."""

_IHDR_END = 8 + 25
"""The offset after the PNG signature and the IHDR chunk: length, name, 13 bytes, CRC."""


def into_png(picture: bytes, credential: bytes) -> bytes:
    """Return the PNG with the credential (JSON or a compact JWT, in UTF-8) in an uncompressed iTXt chunk after the
    header."""
    data = KEYWORD + b"\0\0\0\0\0" + credential
    chunk = len(data).to_bytes(4, "big") + b"iTXt" + data + zlib.crc32(b"iTXt" + data).to_bytes(4, "big")
    return picture[:_IHDR_END] + chunk + picture[_IHDR_END:]


def into_svg(picture: str, credential: str) -> str:
    """Return the SVG with the credential in the first child of `<svg>`: a JWT as its attribute, JSON as its text."""
    start, end, rest = picture.partition(">")
    if credential.startswith("{"):
        # In JSON such characters stand only within strings, where they can be escaped.
        text = NOT_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", credential).replace("]]>", "]]]]><![CDATA[>")
        element = f"<openbadges:credential><![CDATA[{text}]]></openbadges:credential>"
    else:
        element = f"<openbadges:credential verify={quoteattr(credential)}/>"
    return f"{start} xmlns:openbadges={quoteattr(SVG_NAMESPACE)}{end}{element}{rest}"
