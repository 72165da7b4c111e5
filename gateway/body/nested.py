"""A decoded string whose language nobody declared: JSON, HTML, a URL, or plain text."""

import re
from collections.abc import Sequence

import orjson

from gateway.body.html import walk_html
from gateway.body.json import walk_json
from gateway.body.layer import Hit, Layer, Walk
from gateway.body.script import walk_handler
from gateway.body.url import walk_url
from privacy.render import Context

# An address in angle brackets ("Li <li@example.com>") is no markup.
_MARKUP = re.compile(
    rb"<(?:/?[A-Za-z][A-Za-z0-9:-]*+(?<!:)[\s/>]|!--|!doctype|!\[|\?)|&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});",
    re.I,
)
_URL = re.compile(rb"(?:https?:)?//\S+|(?:mailto|tel|sms|javascript):\S*|/[^\s<>]*", re.I)
MAX_DEPTH = 8  # layers; deeper strings keep their surrogates


def walk_inner(layer: Layer, hits: Sequence[Hit], walk: Walk, *, wire: bool) -> None:
    """Renders the surrogates of a string in the language it looks like."""
    data = layer.data
    if layer.depth > MAX_DEPTH:
        walk.recognise(layer, 0, len(data), hits, Context.UNCERTAIN)
        return
    if _is_json(data):
        walk_json(layer, hits, walk)
    elif _holds_markup(data, hits):
        walk_html(layer, hits, walk)
    elif _URL.fullmatch(data):
        walk_url(layer, hits, walk, walk_handler)
    else:
        walk.place(layer, 0, len(data), hits, Context.PLAIN, wire=wire)


def _holds_markup(data: bytes, hits: Sequence[Hit]) -> bool:
    """Whether a browser would see a tag or reference; a value in angle brackets is none."""
    starts = {hit[0] - 1 for hit in hits}
    return any(match.start() not in starts for match in _MARKUP.finditer(data))


def _is_json(data: bytes) -> bool:
    stripped = data.strip(b" \t\r\n")
    if stripped[:1] + stripped[-1:] not in (b"{}", b"[]") or len(stripped) < 3:
        return False
    try:
        orjson.loads(stripped)
    except orjson.JSONDecodeError:
        return False
    return True
