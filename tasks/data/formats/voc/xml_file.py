"""An XML file that somebody else wrote, in whatever encoding it declares; entities and external parts are refused."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

import defusedxml.ElementTree as ElementTree
from defusedxml.common import DefusedXmlException

from backbone.errors import InputError
from tasks.data.files.contents import MAX_NOTE_BYTES, bom_encoding, read_bytes

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree.ElementTree import Element

DECLARATION = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["'][^>]*>""")
SLOW = frozenset({"idna", "punycode"})
"""Encodings of names of computers, whose decoders take time with the square of the length."""
REMEDY = "correct the file or remove its image from the list"


def read_xml(file: Path) -> Element:
    """The outermost element.

    Raises:
        InputError: the file cannot be read, is no XML, or is not in the encoding that it declares (UTF-8 if none).
    """
    data = read_bytes(file, REMEDY, MAX_NOTE_BYTES)
    declared = DECLARATION.match(data)
    encoding = bom_encoding(data) or (declared[1].decode("ascii") if declared else "utf-8")
    try:
        if codecs.lookup(encoding).name in SLOW:
            raise LookupError
        text = data.decode(encoding)
    except LookupError:
        raise InputError(f"{file}: declares the encoding {encoding!r}, which is none; {REMEDY}") from None
    except ValueError as error:
        said = "declared there" if declared else "expected where none is declared"
        raise InputError(
            f"{file}: is no text in {encoding.upper()}, {said} ({error}); save it as UTF-8, or say in its first line"
            ' what it is, such as <?xml version="1.0" encoding="GBK"?>'
        ) from None
    try:
        root: Element = ElementTree.fromstring(text)
        return root
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise InputError(f"{file}: broken XML ({error}); {REMEDY}") from None
