"""The short way through a JSON body: values are put where nothing needs to be known but that a string is there.

A surrogate that is a whole string takes any value, escaped; an inert value may stand anywhere in a string. Clear
values that nobody declared are looked for with one scan over the undecoded body. Only the strings in which something
else stands, or where that scan stops, are decoded and walked like all strings on the long way: both give the same body.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from gateway.body.json import STRING, STRINGS, walk_string
from gateway.body.layer import Found, Inner, Layer, Net, Spot, Thorough, Walk
from privacy.glimpse import places
from privacy.render import Context, Shown

_NUMBER_BEFORE = frozenset(b" ,[\t\r\n")
_DIGITS = frozenset(b"0123456789")
# After anything else a surrogate may be in the middle of an address, where other values stand than in text. A body with
# markup or addresses is always looked into: there even a blank may stand inside an address.
_SAFE_BEFORE = frozenset(b" ,>(\t\r\n")
_ADDRESSES = (b"<", b"://", b"\\u003", b"\\/", b"&")
_BACKSLASH = 0x5C


Ready = tuple[bytes, bytes, bytes, Shown]
"""A shown surrogate prepared for many bodies: itself in quotes, what replaces it between quotes, and anywhere."""


def ready(canonical: str, shown: Shown) -> Ready:
    """What `render_json` needs of one surrogate; worth keeping as long as what is shown."""
    return b'"' + canonical.encode() + b'"', shown.quoted, shown.inert, shown


def render_json(
    data: bytes, found: Sequence[Spot], prepared: Sequence[Ready | None], net: Net | None, inner: Inner
) -> bytes | None:
    """The rendered UTF-8 body; None where it has to be walked as a whole.

    prepared: for each hit what it becomes, None where it stays.
    """
    if isinstance(net, Thorough):
        return None
    # `parts` is the body cut at its surrogates: what stands between them at even places, what they become at odd ones.
    parts: list[bytes] = []
    add = parts.append
    slow: dict[int, Shown] = {}
    plain: bool | None = None
    at = 0
    for hit, one in zip(found, prepared, strict=True):
        start, end = hit.start, hit.end
        add(data[at:start])
        at = end
        if one is not None:
            spelled, quoted, inert, shown = one
            if data[start - 1 : end + 1] == spelled and data[start - 2] != _BACKSLASH:
                add(quoted)
                continue
        raw = data[start:end]
        if one is None or raw != spelled[1:-1]:
            if b'"' in raw or b"<" in raw:
                return None  # it stands in two strings, or has tags inside
            if one is not None:
                slow[start] = shown
            add(raw)
            continue
        before = data[start - 1] if start else 0
        if plain is None:
            plain = not any(sign in data for sign in _ADDRESSES)
        if plain and inert and before in _SAFE_BEFORE and not (before in _NUMBER_BEFORE and raw[0] in _DIGITS):
            add(inert)
        else:
            slow[start] = shown
            add(raw)
    add(data[at:])
    stops = [*slow, *_places(parts[::2], found)] if net is not None else list(slow)
    if not stops:
        return b"".join(parts)
    known = {hit.canonical: slow[hit.start] for hit in found if hit.start in slow}
    walk = Walk(known.get, net, "utf-8", inner)
    walk.edits = [
        (hit.start, hit.end, new)
        for hit, new in zip(found, parts[1::2], strict=True)
        if new != data[hit.start : hit.end]
    ]
    _walk_strings(data, found, sorted(stops), walk)
    return walk.spliced(data)


def stops_of(data: bytes, found: Sequence[Spot]) -> list[int] | None:
    """Where clear values could stand outside the surrogates of a page; None where a surrogate has tags inside."""
    gaps: list[bytes] = []
    at = 0
    for hit in found:
        if b"<" in data[hit.start : hit.end]:
            return None
        gaps.append(data[at : hit.start])
        at = hit.end
    gaps.append(data[at:])
    return _places(gaps, found)


def _places(gaps: list[bytes], found: Sequence[Spot]) -> list[int]:
    """Where clear values could stand outside the surrogates, as offsets of the body."""
    here = places(b"\0".join(gaps))
    if not here:
        return here
    # Each surrogate is one byte of what was searched: how much longer the body is up to its end.
    ends: list[int] = []
    longer: list[int] = [0]
    for hit in found:
        longer.append(longer[-1] + hit.end - hit.start - 1)
        ends.append(hit.end - longer[-1])
    return [place + longer[bisect_right(ends, place)] for place in here]


def _walk_strings(data: bytes, found: Sequence[Spot], stops: list[int], walk: Walk) -> None:
    """Walks the strings in which these offsets lie; numbers and names outside strings take digits only."""
    layer = Layer(data)
    starts = [hit.start for hit in found]
    at = 0
    for place in stops:
        if place < at:
            continue
        skipped = STRINGS.match(data, at, place)
        at = skipped.end() if skipped is not None else at
        opening = data.find(b'"', at, place)
        if opening < 0:
            number = bisect_left(starts, place)
            if number < len(found) and starts[number] == place:
                hit = found[number]
                walk.number(layer, (hit.start, hit.end, Found(hit.canonical, hit.upper)))
            continue
        match = STRING.match(data, opening)
        at = match.end() if match is not None else len(data)
        first, last = opening + 1, at - 1
        mine = [
            (hit.start, hit.end, Found(hit.canonical, hit.upper, b"%" in data[hit.start : hit.end]))
            for hit in found[bisect_left(starts, first) : bisect_left(starts, last)]
            if hit.end <= last
        ]
        walk_string(layer, first, last, mine, walk, Context.JSON_STRING)
