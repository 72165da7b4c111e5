"""Bytes that certainly hold no place where a personal value could be: one hyperscan pass, several times as fast.

The sieve is coarser than `privacy.glimpse`: it looks at bytes, takes every at sign, `&`, `%` and every digit that is
not ASCII for a place, and never says where. What it lets through has to be looked at; where it finds nothing there is
nothing. Without hyperscan everything has to be looked at.
"""

import threading

import re2

from privacy.recognise import AT, PLUS

try:
    import hyperscan

    HAS_HYPERSCAN = True
except ImportError:  # no wheel for this processor: google-re2 does the work
    HAS_HYPERSCAN = False


# Whatever may stand between digits: ASCII separators, and every byte of the others.
_BETWEEN = r"[ ().\-\x80-\xff]*"


def _foreign_digits() -> str:
    """Every decimal digit that is not ASCII, as google-re2 knows them."""
    # Planes 2 to 13 hold ideographs or nothing, 15 and 16 what everybody makes of them.
    planes = ((0x80, 0xD800), (0xE000, 0x20000), (0xE0000, 0xF0000))
    everything = "".join(chr(code) for first, last in planes for code in range(first, last)).encode()
    return b"".join(re2.findall(rb"\p{Nd}+", everything)).decode()


def _one_of(characters: str) -> str:
    """An expression over bytes for one of these characters beyond ASCII."""
    # Those that share all but the last byte become one alternative.
    tails: dict[bytes, list[int]] = {}
    for raw in (one.encode() for one in characters):
        tails.setdefault(raw[:-1], []).append(raw[-1])
    return "(?:" + "|".join(f"{_spelled(lead)}[{_spelled(bytes(sorted(last)))}]" for lead, last in tails.items()) + ")"


def _spelled(raw: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in raw)


class Sieve:
    """Looks for shapes of values and for this escape (an expression over bytes); safe to share between threads."""

    def __init__(self, escape: str) -> None:
        expression = "|".join(
            [
                "[@&%]",
                _one_of(AT.replace("@", "") + _foreign_digits()),
                rf"(?:\+|{_one_of(PLUS.replace('+', ''))}){_BETWEEN}(?:[0-9]{_BETWEEN}){{6}}[0-9]",
                rf"(?:[0-9]{_BETWEEN}){{10}}[0-9]",
                escape,
            ]
        )
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=[expression.encode()],
            ids=[0],
            flags=[hyperscan.HS_FLAG_DOTALL | hyperscan.HS_FLAG_SINGLEMATCH],
        )
        self._scratch = hyperscan.Scratch(self._database)
        self._local = threading.local()

    def holds(self, data: bytes) -> bool:
        """Whether a place may be somewhere in these bytes."""
        scratch = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = self._scratch.clone()
        found: list[int] = []

        def matched(pattern: int, _start: int, _end: int, _flags: int, _context: object) -> None:
            found.append(pattern)

        # flags, context and scratch by position: names would cost more than the call
        self._database.scan(data, matched, 0, None, scratch)
        return bool(found)
