"""Finding byte strings that could be a surrogate: hyperscan, or google-re2 where there is no hyperscan.

Both engines run the same patterns and give the same candidates in the same order; what a candidate is worth is
decided in `kms.scanner`. A candidate is a position, times STEP, plus its pattern: the end of the token for e-mail,
names and addresses (fixed length), the first digit for everything made of digits. Neither engine has look-arounds, so
patterns never depend on what stands beside the match.
"""

import functools
import threading
from typing import Protocol

import re2

from kms.surrogate import Shapes

try:
    import hyperscan

    HAS_HYPERSCAN = True
except ImportError:  # no wheel for this processor: google-re2 does the work
    HAS_HYPERSCAN = False

EMAIL, SHORT_TEXT, PHONE, ID_CARD, BANK_CARD, _PHONE_ESCAPED = range(6)
STEP_BITS = 3
STEP = 1 << STEP_BITS
_ENDS = frozenset({EMAIL, SHORT_TEXT})
"""Patterns whose candidate is an end; of the others it is the start."""

_DOT = rb"(?:\.|%(?:25){0,2}2e|&(?:amp;)?(?:#0{0,2}46|#x0{0,2}2e|period);|\\{1,2}u002e|\\{1,2}x2e|=2e)"
_RAW = rb"[ \-./()+\xa0\xc2\xad\xe2\x80-\x95\xaf\xe3]"
_ESCAPED = rb"(?:&[#a-z]|<[/a-z]|%[0-9a-f]|\\[ux/\\])"
_UP_TO_NINE = rb"(?:" + _RAW + rb"{0,3}[0-9]){0,9}" + _RAW + rb"{0,2}" + _ESCAPED
_WALK = 48
"""How far back the first digit of a phone can stand from its first escaped separator."""
_ESCAPE_STARTS = b"&<%\\"
_RUN = b"0123456789 -./()+" + bytes((0xA0, 0xC2, 0xAD, 0xE2, *range(0x80, 0x96), 0xAF, 0xE3))
"""Bytes that `_UP_TO_NINE` can match before its escape."""


def _spaced(digits: str) -> bytes:
    return (_RAW + rb"{0,3}").join(bytes([digit]) for digit in digits.encode())


def patterns(shapes: Shapes) -> list[tuple[int, bytes]]:
    """(pattern id, expression) pairs; case is ignored. Digits may stand apart by raw or escaped separators."""
    lead = shapes.phone_lead.encode()
    return [
        (EMAIL, rb"e" + _DOT + rb"[a-z2-7]{32}"),
        (SHORT_TEXT, rb"z[qx][a-z2-7]{14}"),
        (PHONE, lead + rb"(?:" + _RAW + rb"{0,3}[0-9]){10}"),
        (_PHONE_ESCAPED, lead + _UP_TO_NINE),
        (ID_CARD, _spaced(shapes.id_region)),
        (BANK_CARD, _spaced(shapes.card_prefix)),
    ]


class Nominator(Protocol):
    """Finds candidates; safe to share between tenants and threads."""

    def candidates(self, data: bytes) -> list[int]:
        """position * STEP + pattern, sorted, without repetition."""
        ...


class HyperscanNominator:
    """Compiled once per set of shapes; each thread has scratch space of its own."""

    def __init__(self, shapes: Shapes) -> None:
        pairs = patterns(shapes)
        base = hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_DOTALL
        # The start of the escaped phone pattern is ambiguous (several first digits for one end): it is walked back to.
        ends = _ENDS | {_PHONE_ESCAPED}
        self._lead = shapes.phone_lead.encode()
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=[expression for _, expression in pairs],
            ids=[pattern for pattern, _ in pairs],
            flags=[base if pattern in ends else base | hyperscan.HS_FLAG_SOM_LEFTMOST for pattern, _ in pairs],
        )
        self._scratch = hyperscan.Scratch(self._database)
        self._local = threading.local()

    def candidates(self, data: bytes) -> list[int]:
        """position * STEP + pattern, sorted, without repetition."""
        scratch = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = self._scratch.clone()
        found: list[int] = []
        escaped: list[int] = []
        add = found.append

        def matched(pattern: int, start: int, end: int, _flags: int, _context: object) -> None:
            if pattern <= SHORT_TEXT:
                add(end * STEP + pattern)
            elif pattern == _PHONE_ESCAPED:
                escaped.append(end)
            else:
                add(start * STEP + pattern)

        # flags, context and scratch by position: names would cost more than the call
        self._database.scan(data, matched, 0, None, scratch)
        if not escaped:
            return sorted(set(found)) if len(found) > 1 else found
        for end in escaped:
            start = max(0, end - _WALK)
            run = data[start : end - 1].rstrip(_ESCAPE_STARTS)
            first = start + len(run.rstrip(_RUN))
            at = data.rfind(self._lead, first, end)
            while at >= 0:
                add(at * STEP + PHONE)
                at = data.rfind(self._lead, first, at)
        return sorted(set(found))


class Re2Nominator:
    """The same patterns through google-re2, one search after the other."""

    def __init__(self, shapes: Shapes) -> None:
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.case_sensitive = False
        options.dot_nl = True
        options.log_errors = False
        self._patterns = [(pattern, re2.compile(expression, options)) for pattern, expression in patterns(shapes)]

    def candidates(self, data: bytes) -> list[int]:
        """position * STEP + pattern, sorted, without repetition."""
        found: set[int] = set()
        for pattern, expression in self._patterns:
            match = expression.search(data)
            while match is not None:
                start, end = match.span()
                if pattern in _ENDS:
                    found.add(end * STEP + pattern)
                else:
                    found.add(start * STEP + (PHONE if pattern == _PHONE_ESCAPED else pattern))
                match = expression.search(data, start + 1)
        return sorted(found)


@functools.cache
def nominator(shapes: Shapes) -> Nominator:
    """The fastest engine this machine has; one for all who ask with the same shapes, as compiling takes 0.1 s."""
    return HyperscanNominator(shapes) if HAS_HYPERSCAN else Re2Nominator(shapes)
