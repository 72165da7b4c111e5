"""One attribute of a tag: which language its decoded value is in, and whether it comes back to the CRM.

Values of inputs and data attributes may be posted back, so they take the wire form; titles and labels are for people.
A title may be put into the page as markup by a tooltip script: if it holds markup it is walked as HTML, and if it
does not, nothing that is put in can open a tag even after that.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from gateway.body.entity import attribute_layer
from gateway.body.layer import Hit, Layer, Walk
from gateway.body.script import walk_handler
from gateway.body.url import scheme_of, walk_url
from privacy.render import Context


@dataclass(frozen=True, slots=True)
class Attribute:
    """name: lower case; start, end: the raw value in the layer."""

    name: bytes
    start: int
    end: int
    quoted: bool


HtmlWalk = Callable[[Layer, Sequence[Hit], Walk], None]
_URL = frozenset(
    {
        b"href",
        b"xlink:href",
        b"action",
        b"formaction",
        b"cite",
        b"longdesc",
        b"ping",
        b"target",
        b"data-href",
        b"data-url",
    }
)
_ASSET = frozenset({b"src", b"srcset", b"poster", b"background", b"data", b"codebase", b"classid", b"archive"})
_ASSET_ELEMENTS = frozenset({b"link", b"base", b"use", b"image"})
# Attributes whose value is read as a program by wide-spread client libraries.
_PROGRAM = re.compile(rb"on[a-z]|hx-on|x-(?!on$)|ng-|data-ng-|v-|@|:|data-bind$|\(|\[|\*ng")
_SKIPPED = re.compile(
    rb"(?:id|class|name|for|style|type|rel|method|charset|lang|dir|role|tabindex|colspan|rowspan|headers|scope|width|height"
    rb"|d|x|y|r|cx|cy|viewbox|points|transform|integrity|nonce|media|sizes|enctype|http-equiv|form|list|property|itemprop"
    rb"|aria-(?:controls|labelledby|describedby|owns)|xmlns.*|data-(?:.*-)?(?:id|token|pk|uuid|csrf|nonce))"
)
_TOOLTIP = re.compile(rb"title|data-.*(?:title|content|tooltip|tip|popover|html|text|label|message).*")
_MARKUP = re.compile(rb"<[A-Za-z!/?]|&(?:#[0-9xX]|(?:lt|gt|amp|quot|apos|nbsp);)")
_SECRET_NAME = re.compile(rb".*(?:csrf|token|nonce|password|state|captcha|session).*", re.I)
_BACK = frozenset({b"value", b"content", b"min", b"max", b"pattern"})


@lru_cache(maxsize=2048)
def skipped(name: bytes) -> bool:
    """Whether an attribute of this name is never touched: identifiers, layout, and what styles."""
    return _SKIPPED.fullmatch(name) is not None


def walk_attribute(
    layer: Layer,
    element: bytes,
    attribute: Attribute,
    values: Mapping[bytes, bytes],
    hits: Sequence[Hit],
    walk: Walk,
    html: HtmlWalk,
) -> None:
    """Renders the surrogates of one attribute value; `values` are all raw values of the tag by name."""
    name = attribute.name
    if skipped(name):
        return
    context = Context.HTML_ATTRIBUTE if attribute.quoted else Context.HTML_UNQUOTED
    value = attribute_layer(layer, attribute.start, attribute.end, context)
    mine = value.down(hits)
    if name == b"srcdoc":
        html(value, mine, walk)
    elif _PROGRAM.match(name):
        walk_handler(value, mine, walk)
    elif name in _ASSET or (name in _URL and element in _ASSET_ELEMENTS):
        if scheme_of(value.data) == b"javascript":
            walk_url(value, mine, walk, walk_handler)
    elif name in _URL:
        walk_url(value, mine, walk, walk_handler)
    elif name == b"value" and _SECRET_NAME.fullmatch(values.get(b"name", b"")):
        for hit in mine:
            walk.put(value, hit, Context.PLAIN, wire=True)
    else:
        _string(value, name, mine, walk, html)


def _string(value: Layer, name: bytes, hits: Sequence[Hit], walk: Walk, html: HtmlWalk) -> None:
    back = name in _BACK or name.startswith((b"data-", b"hx-"))
    if _TOOLTIP.fullmatch(name) or not back:
        if _MARKUP.search(value.data):
            html(value, hits, walk)
            return
        if _TOOLTIP.fullmatch(name) and value.context is Context.HTML_ATTRIBUTE:
            value.context = Context.HTML_TOOLTIP
        walk.place(value, 0, len(value.data), hits, Context.PLAIN, wire=back)
    elif name in _BACK:
        walk.place(value, 0, len(value.data), hits, Context.PLAIN, wire=True)
    else:
        walk.inner(value, hits, walk, wire=True)
