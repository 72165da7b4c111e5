"""Bodies on the move: reading a request under limits, and deciding what may flow past without being looked into.

A client sets the pace of its body only within limits: silence and size are bounded. What flows past is decided by
the bytes first and the declared type second, because types lie.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import lru_cache

from gateway.answer import Answer
from gateway.body import json
from gateway.body.coding import decode_all
from gateway.body.media import SNIFF_BYTES, Media, essence, is_xml, sniff, sniff_upload
from gateway.collaborators import Limits, Receive
from gateway.refusal import BODY_MALFORMED, BODY_TOO_LARGE, Refusal
from gateway.watch import Turn
from policies.decision import FieldView
from policies.opaque import CLOSING, Opaque

# Types whose body is always opened; no need to look at its first bytes.
_ALWAYS_OPENED = frozenset({"text/html", "application/json", "text/csv", "text/plain", "application/problem+json"})
_STATIC_TYPES = frozenset(
    {"text/css", "text/javascript", "application/javascript", "application/wasm", "image/svg+xml"}
    | {"application/font-woff", "application/vnd.ms-fontobject", "application/x-font-ttf", "application/x-javascript"}
)
_STATIC_PREFIXES = ("image/", "font/", "audio/", "video/")
# Frameworks read request bodies of these types by the type alone, whatever their first bytes look like.
_READ_AS_DECLARED = frozenset({"application/x-www-form-urlencoded", "application/json"})
_BODILESS_STATUS = frozenset({204, 304})


async def chunks(receive: Receive, turn: Turn, limit: int, pause_s: float) -> AsyncIterator[bytes]:
    """The request body as it comes; raises Refusal BODY_TOO_LARGE past `limit` bytes, BODY_MALFORMED when cut off."""
    size = 0
    while True:
        stage, allowance = turn.stage, turn.allowance
        turn.enter("body", pause_s)
        message = await receive()
        turn.enter(stage, allowance)  # whoever asked for the body goes on
        if message["type"] != "http.request":
            raise Refusal(BODY_MALFORMED, detail="cut-off")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise Refusal(BODY_TOO_LARGE)
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            return


async def read(receive: Receive, turn: Turn, limit: int, pause_s: float) -> bytes:
    """The whole request body; raises as `chunks` does."""
    parts = [chunk async for chunk in chunks(receive, turn, limit, pause_s)]
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def gather(first: bytes, rest: AsyncIterator[bytes], limit: int) -> bytes:
    """A whole body whose beginning was already looked at; raises as `chunks` does, with a limit of its own."""
    parts, size = [first], len(first)
    async for chunk in rest:
        size += len(chunk)
        if size > limit:
            break
        parts.append(chunk)
    if size > limit:
        raise Refusal(BODY_TOO_LARGE)
    return first if len(parts) == 1 else b"".join(parts)


def unpack(coding: str | None, body: bytes, limits: Limits) -> bytes:
    """A request body without its content coding, which must not hide values; the limit counts what it unpacks to.

    Raises BodyMalformed, BodyUnreadable, DecompressionLimit.
    """
    if not coding or not body:
        return body
    return decode_all(coding, body, replace(limits.bodies, inflated=limits.body))


def require_whole(content_type: str, body: bytes | None, limits: Limits) -> None:
    """Say of JSON that is none what is wrong with it, not that what it asks for is unknown; raises BodyMalformed."""
    if body is not None and essence(content_type) in ("application/json", "text/json"):
        json.open_json(body, limits.bodies)


async def prepend(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body whose beginning was already looked at."""
    if first:
        yield first
    async for chunk in rest:
        yield chunk


def is_opaque(content_type: str, first: bytes) -> bool:
    """Whether a request body beginning so holds nothing that could be looked into: pictures and binaries."""
    kind = essence(content_type)
    if kind in _READ_AS_DECLARED or kind.startswith("text/") or is_xml(kind):
        return False  # `BM=1&phone=…` begins like a picture and is read as the form it says it is
    return _is_binary(first) and sniff_upload(content_type, None, first) in (Media.IMAGE, Media.OPAQUE)


def _is_binary(first: bytes) -> bool:
    """Whether the bytes themselves say so, whatever type was declared."""
    return sniff(None, None, first) in (Media.IMAGE, Media.OPAQUE)


@lru_cache(maxsize=1024)
def is_always_opened(content_type: str) -> bool:
    """Whether a body of this declared type is opened whatever its bytes are."""
    return essence(content_type) in _ALWAYS_OPENED


async def flows_past(
    answer: Answer,
    method: str,
    content_type: str,
    coding: str,
    disposition: str,
    *,
    asset: bool,
    view: FieldView,
    most: int,
    opaque: Opaque = Opaque.DEFAULT,
) -> bool:
    """Whether the body of an answer goes on as it comes.

    So do static assets, pictures, fonts, sound and films; binaries in which nothing could be rendered go on only for
    roles that see everything or where the profile lets them, and with them archives of more than `most` bytes or of a
    size that nobody tells. opaque: what the profile says of them. Everything else is opened.
    """
    kind = essence(content_type)
    if kind in _ALWAYS_OPENED or method == "HEAD" or answer.length == 0:
        return asset and (answer.status == 304 or (method == "HEAD" and _is_static(kind)))
    if answer.status in _BODILESS_STATUS:
        return asset
    if asset and _is_static(kind):
        return True
    if coding or opaque in CLOSING:
        return False
    first = await answer.peek(SNIFF_BYTES)
    media = sniff(content_type, disposition, first)
    if media is Media.IMAGE:
        return _is_binary(first)
    large = answer.length is None or answer.length > most
    return (view.sees_everything or opaque is Opaque.PASS) and (media is Media.OPAQUE or (media is Media.ZIP and large))


def _is_static(kind: str) -> bool:
    return kind in _STATIC_TYPES or kind.startswith(_STATIC_PREFIXES)
