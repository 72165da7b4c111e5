"""Surrogates inside a URL, wherever the URL stands (attribute, JSON string, script string, header).

A relative URL comes back to the CRM, which knows the surrogate and nothing else, so the surrogate stays: the link keeps
working and no personal value gets into histories and logs. Links that leave the CRM (mailto, tel, chat and map links)
get the value, percent-encoded (RFC 3986, section 2.1). `javascript:` is a program and is walked as one.
"""

import re
from collections.abc import Callable, Sequence
from urllib.parse import unquote_to_bytes

from gateway.body.layer import Hit, Layer, Walk, unescaped
from privacy.render import Context

_SCHEME = re.compile(rb"[\x00-\x20]*([A-Za-z](?:[A-Za-z0-9+.\t\n\r-])*):")
_PERCENT = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_OPAQUE = frozenset({b"mailto", b"tel", b"sms", b"smsto", b"callto", b"sip", b"sips", b"im", b"xmpp", b"skype", b"mms"})
_SCRIPT = frozenset({b"javascript", b"vbscript", b"livescript"})
_QUERY_VALUE = re.compile(rb"(?<=[=])[^&;#=]{5,400}")

ScriptWalk = Callable[[Layer, Sequence[Hit], Walk], None]


def scheme_of(data: bytes) -> bytes:
    """Scheme as a browser reads it (tabs and newlines inside are dropped), lower case; empty for a relative URL."""
    match = _SCHEME.match(data)
    return re.sub(rb"[\t\n\r]", b"", match.group(1)).lower() if match else b""


def walk_url(layer: Layer, hits: Sequence[Hit], walk: Walk, script: ScriptWalk) -> None:
    """Renders the surrogates of one whole URL."""
    data = layer.data
    scheme = scheme_of(data)
    if scheme in _SCRIPT:
        first = data.index(b":") + 1
        code = unescaped(layer, first, len(data), _PERCENT, unquote_to_bytes, Context.URL)
        script(code, code.down([hit for hit in hits if hit[0] >= first]), walk)
        return
    if scheme == b"data":
        return
    query = data.find(b"?")
    query = len(data) if query < 0 else query
    if scheme or data.lstrip().startswith(b"//"):
        for hit in hits:
            opaque = scheme in _OPAQUE and hit[0] < query
            walk.put(layer, hit, Context.URL_OPAQUE if opaque else Context.URL, wire=True)
    if walk.net is not None:
        _recognise(layer, hits, walk, len(scheme) + 1 if scheme in _OPAQUE else -1)


def _recognise(layer: Layer, hits: Sequence[Hit], walk: Walk, opaque_from: int) -> None:
    """Clear values in links: all of a mailto or tel link, else only what stands in the query as a value."""
    data = layer.data
    if opaque_from >= 0:
        spans = [(min(opaque_from, len(data)), len(data))]
    else:
        spans = [match.span() for match in _QUERY_VALUE.finditer(data, max(data.find(b"?"), 0))] if b"?" in data else []
    for start, end in spans:
        if any(first < end and last > start for first, last, _ in hits):
            continue
        plain = unescaped(layer, start, end, _PERCENT, unquote_to_bytes, Context.URL_OPAQUE)
        walk.place(plain, 0, len(plain.data), [], Context.PLAIN, wire=True)
