"""Character references of HTML and XML, as layers."""

import html
import re

from gateway.body.layer import Layer, unescaped
from privacy.render import Context

_TEXT = re.compile(rb"&(?:#[xX][0-9a-fA-F]{1,8};?|#[0-9]{1,8};?|[A-Za-z][A-Za-z0-9]{1,31};?)")
# In attributes a name without semicolon is not decoded before `=` or a letter (HTML, 13.2.5.73): it stays as it is.
_ATTRIBUTE = re.compile(rb"&(?:#[xX][0-9a-fA-F]{1,8};?|#[0-9]{1,8};?|[A-Za-z][A-Za-z0-9]{1,31};)")
_XML = re.compile(rb"&(?:#x[0-9a-fA-F]{1,8}|#[0-9]{1,8}|amp|lt|gt|quot|apos);")


def _decode(reference: bytes) -> bytes:
    return html.unescape(reference.decode("ascii")).encode("utf-8", "replace")


def text_layer(parent: Layer, start: int, end: int, context: Context = Context.HTML_TEXT) -> Layer:
    """Decoded text between tags."""
    return unescaped(parent, start, end, _TEXT, _decode, context)


def attribute_layer(parent: Layer, start: int, end: int, context: Context = Context.HTML_ATTRIBUTE) -> Layer:
    """Decoded value of an attribute."""
    return unescaped(parent, start, end, _ATTRIBUTE, _decode, context)


def xml_layer(parent: Layer, start: int, end: int, context: Context = Context.XML_TEXT) -> Layer:
    """Decoded text or attribute value of XML; only the predefined entities, never declared ones."""
    return unescaped(parent, start, end, _XML, _decode, context)
