"""File names in Content-Disposition (RFC 6266): rendered for people, written so that every client reads the same name.

A name with surrogates is written twice: `filename` in ASCII for old clients and `filename*` in full (RFC 8187). Signs
that file systems or header parsers read as something else are replaced. All other parameters stay as they are.
"""

import re
from collections.abc import Sequence
from urllib.parse import quote, unquote

from gateway.body.layer import Show, Spot
from privacy.render import Context, encode

_PARAMETER = re.compile(r""";\s*(filename\*?)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))""", re.IGNORECASE)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f"\\/:*?<>|%]')
_NAME_CHARS = 200  # file systems allow 255 bytes


def render_disposition(value: str, found: Sequence[Spot], show: Show) -> str:
    """The field value with its file name rendered; `found` are the hits in its bytes (UTF-8, surrogateescape)."""
    matches = list(_PARAMETER.finditer(value))
    texts = {hit.canonical: show(hit.canonical) for hit in found}
    if not matches or not any(texts.values()):
        return value
    data = value.encode("utf-8", "surrogateescape")
    name = ""
    for match in matches:
        group = 2 if match.group(2) is not None else 3
        extended = match.group(1).endswith("*")
        if name and not extended:
            continue
        parts: list[str] = []
        at, end = (len(value[:edge].encode("utf-8", "surrogateescape")) for edge in match.span(group))
        for hit in found:
            shown = texts[hit.canonical]
            if hit.start < at or hit.end > end or shown is None:
                continue
            text = shown.text.upper() if hit.upper else shown.text
            parts += [_plain(data[at : hit.start], extended), _UNSAFE.sub("_", encode(text, Context.HEADER))]
            at = hit.end
        name = "".join(parts) + _plain(data[at:end], extended)
    kept = _PARAMETER.sub("", value)
    name = _shortened(name)
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    return f"{kept}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _plain(raw: bytes, extended: bool) -> str:
    text = raw.decode("utf-8", "replace")
    if extended:
        text = unquote(text.rpartition("''")[2])
    return _UNSAFE.sub("_", text)


def _shortened(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    if not dot:
        return name[:_NAME_CHARS].lstrip(". ") or "download"
    return (stem[:_NAME_CHARS].lstrip(". ") or "download") + dot + ending[:20]
