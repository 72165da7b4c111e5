"""A sealed file on its way out: opened as it comes, whole or the range that was asked for, in bounded memory.

Rights and key are settled and the trail has the entry before the first byte leaves. What leaves is authentic chunk by
chunk; when the file turns out to be cut or changed further on, the connection breaks off and does not end. A CRM is
asked for the whole file also for a range: it knows nothing of where the clear bytes are.
"""

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from gateway import headers
from gateway.answer import Answer
from gateway.collaborators import Fields
from gateway.passage import Nonsense, Passage, record
from kms.stream import HEAD_BYTES, MAGIC, Head, StreamOpener

if TYPE_CHECKING:
    from gateway.delivery import _Head

OK, PARTIAL, UNSATISFIABLE = 200, 206, 416
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")
_WHOLE = (0, 2**63)


async def deliver_file(passage: Passage, answer: Answer, head: "_Head") -> bool:
    """Open and send a sealed file; False when the answer is none, then nothing was taken from it.

    Raises Refusal, StreamInvalid, KeysUnavailable, StoreUnavailable.
    """
    gw, exchange = passage.gw, passage.exchange
    if answer.status != OK or exchange.head.method != "GET" or await answer.peek(len(MAGIC)) != MAGIC:
        return False
    first = await answer.peek(HEAD_BYTES)
    turn, before = passage.turn, (passage.turn.stage, passage.turn.allowance)
    turn.enter("render", gw.limits.collaborator_s)
    opener = await gw.open_file(exchange, first)
    if opener is None:
        turn.enter(*before)
        return False
    if not isinstance(opener, StreamOpener):
        raise Nonsense("files")
    fields, _ = await gw.render_answer(exchange, answer.status, head.looked.copy(), b"")
    size = None if answer.length is None else Head.parse(first).plain_size(answer.length)
    status, (start, stop) = _window(exchange.head.first("range"), exchange.head.first("if-range"), size)

    async def begin() -> None:
        await record(passage, "outcome", "", status)
        await _begin(passage, status, fields, size, start, stop)

    if status == UNSATISFIABLE:
        answer.abandon()
        await begin()
    else:
        passage.turn.rest("upstream")
        await _send(passage, answer, opener, start, stop, begin)
    await passage.send({"type": "http.response.body", "body": b"", "more_body": False})
    return True


async def _begin(passage: Passage, status: int, fields: Fields, size: int | None, start: int, stop: int) -> None:
    out = headers.encode(fields)
    if size is not None:
        out.append((b"accept-ranges", b"bytes"))
        out.append((b"content-length", b"%d" % (0 if status == UNSATISFIABLE else min(stop, size) - start)))
    if status == PARTIAL:
        out.append((b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, size or 0)))
    elif status == UNSATISFIABLE:
        out.append((b"content-range", b"bytes */%d" % (size or 0)))
    passage.turn.rest("send")
    passage.started = True
    await passage.send({"type": "http.response.start", "status": status, "headers": out})


async def _send(
    passage: Passage,
    answer: Answer,
    opener: StreamOpener,
    start: int,
    stop: int,
    begin: Callable[[], Awaitable[None]],
) -> None:
    """The window of the clear file; `begin` comes before its first byte, so a file that opens nowhere is refused."""
    skip, at = HEAD_BYTES, 0

    async def emit(plain: bytes) -> None:
        nonlocal at
        wanted = plain[max(0, start - at) : max(0, stop - at)]
        at += len(plain)
        if wanted:
            if not passage.started:
                await begin()
            await passage.send({"type": "http.response.body", "body": wanted, "more_body": True})

    async for chunk in answer.chunks():
        sealed, skip = chunk[skip:], max(0, skip - len(chunk))
        await emit(opener.update(sealed))
    await emit(opener.finish())
    if not passage.started:
        await begin()


def _window(asked: str | None, condition: str | None, size: int | None) -> tuple[int, tuple[int, int]]:
    """Status and window of a request for one range (RFC 9110, section 14); what is not understood means the whole."""
    found = _RANGE.match(asked) if asked is not None else None
    # If-Range names a validator, and these answers have none: then the whole file is right.
    if found is None or size is None or condition is not None or found[1] + found[2] == "":
        return OK, _WHOLE
    if not found[1]:
        start, stop = max(0, size - int(found[2])), size
        satisfiable = int(found[2]) > 0 and size > 0
    else:
        start, stop = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < start:
            return OK, _WHOLE  # not a range at all
        satisfiable = start < size
    return (PARTIAL, (start, stop)) if satisfiable else (UNSATISFIABLE, (0, 0))
