"""Finding surrogates in bytes, whatever the container did to their spelling.

`Scanner.find` promises: every surrogate made under its keys is found, in upper or lower case, with `@`, `.` and `+`
percent-, JSON-, HTML- or quoted-printable-encoded, with separators (raw, entities, tags) inside digits, with `00` or
nothing for `+`, without its country code, and as the local part of an e-mail alone; offsets are byte offsets into what
was given. A hit has passed the keyed check; only the vault proves that it stands for a value. It looks at bytes: what
is compressed, base64 or UTF-16 has to be opened first.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from kms import nominate, surrogate
from kms.nominate import Nominator
from kms.surrogate import SHAPES, Shapes

_CONFIRMED = 65_536
_PATTERN_BITS, _STEP_BITS, _SHORT_TEXT = nominate.STEP - 1, nominate.STEP_BITS, nominate.SHORT_TEXT
_hit = tuple.__new__  # a named tuple at half the cost, for the one place that makes most of them

_AMP = rb"&(?:amp;)?"
_SPACE_ENTITY = (
    rb"nbsp|thinsp|ensp|emsp|hairsp|numsp|puncsp|shy|zwnj|zwj|zerowidthspace|nobreak|hyphen|dash|lpar|rpar|sol|period"
    rb"|#0{0,2}(?:32|4[01567]|160|173|8[12][0-9]{2})|#x0{0,2}(?:20|2[89def]|a0|ad|20[0-6][0-9a-f])"
)
_BLANK = (
    rb"(?:[ \-./()\xa0]|\xc2[\xa0\xad]|\xe2\x80[\x80-\x95\xaf]|\xe2\x81[\x9f\xa0]|\xe3\x80\x80"
    rb"|" + _AMP + rb"(?:" + _SPACE_ENTITY + rb");"
    rb"|</?[a-z][^<>]{0,80}>"
    rb"|%(?:25){0,2}(?:20|2[89def]|a0|c2%(?:25){0,2}a[0d]|e2%(?:25){0,2}80%(?:25){0,2}[89a][0-9a-f])"
    rb"|\\{1,2}u(?:00(?:20|2[89def]|a0|ad)|20[0-6][0-9a-f]|3000)|\\{1,2}x(?:20|2[89def]|a0)|\\{1,2}/)"
)
_SEPARATOR = rb"(?:\+|" + _BLANK + rb")"  # `+` is a blank in a form-encoded body
_GAP = _SEPARATOR + rb"{0,4}"
_DIGIT = rb"(?:[0-9]|" + _SEPARATOR + rb"{1,4}[0-9])"  # the plain digit first: it is the common case
_PLUS = rb"(?:\+|%(?:25){0,2}2b|" + _AMP + rb"(?:#0{0,2}43|#x0{0,2}2b|plus);|\\{1,2}u002b|\\{1,2}x2b|\xef\xbc\x8b|=2b)"
_AT = rb"(?:@|%(?:25){0,2}40|" + _AMP + rb"(?:#0{0,2}64|#x0{0,2}40|commat);|\\{1,2}u0040|\\{1,2}x40|=40)"
_DOT = rb"(?:\.|%(?:25){0,2}2e|" + _AMP + rb"(?:#0{0,2}46|#x0{0,2}2e|period);|\\{1,2}u002e|\\{1,2}x2e|=2e)"
_ESCAPE_TAIL = re.compile(rb"(?:%(?:25)*[0-9a-f]{2}|\\u[0-9a-f]{4}|\\x[0-9a-f]{2})\Z", re.IGNORECASE)
_TRUNCATED = re.compile(
    rb"(?:e" + _DOT + rb"(?P<email>[a-z2-7]{8,31})|z(?P<which>[qx])(?P<text>[a-z2-7]{8,13}))"
    rb"(?:\.\.\.|\xe2\x80\xa6|" + _AMP + rb"(?:hellip|#8230|#x2026);|\\{1,2}u2026|%(?:25)?e2%(?:25)?80%(?:25)?a6)",
    re.IGNORECASE,
)


class Hit(NamedTuple):
    """A surrogate found: byte offsets, spelling as the vault stores it, kind, and whether it stood in upper case."""

    start: int
    end: int
    canonical: str
    kind: str
    upper: bool


class Truncated(NamedTuple):
    """The beginning of a surrogate before an ellipsis; `prefix` is canonical, the offsets include the ellipsis."""

    start: int
    end: int
    prefix: str
    kind: str


def _spelled(digits: str) -> bytes:
    return _GAP.join(bytes([digit]) for digit in digits.encode())


class Scanner:
    """Finds the surrogates of one tenant.

    keys: secrets of all live token keys, the current one first; share a nominator between tenants with equal shapes.
    """

    def __init__(self, keys: Sequence[bytes], shapes: Shapes = SHAPES, nominator: Nominator | None = None) -> None:
        self._keys = tuple(keys)
        self.shapes = shapes
        self._nominator = nominator or nominate.nominator(shapes)
        self._known: dict[bytes, tuple[str, str, bool] | None] = {}
        flags = re.IGNORECASE | re.DOTALL
        labels = _DOT.join(re.escape(label.encode()) for label in shapes.email_domain.split("."))
        self._domain_plain = b"@" + shapes.email_domain.encode()
        self._domain = re.compile(_AT + labels, flags)
        self._dot_before = re.compile(rb"e" + _DOT + rb"\Z", flags)
        self._separator = re.compile(_SEPARATOR, flags)
        self._phone = re.compile(_spelled(shapes.phone_lead) + _DIGIT + rb"{10}", flags)
        self._phone_size = len(shapes.phone_lead) + 10
        country = _spelled(shapes.phone_country)
        self._country_end = ord(shapes.phone_country[-1])
        self._phone_plain = b"+" + shapes.phone_country.encode()
        self._phone_before = re.compile(
            rb"(?:" + _PLUS + _BLANK + rb"{0,4}|00" + _GAP + rb")?" + country + _GAP + rb"\Z", flags
        )
        self._id_card = re.compile(_spelled(shapes.id_region) + _DIGIT + rb"{11}" + _GAP + rb"[0-9x]", flags)
        # Where a surrogate spelled as it is stored begins and ends, seen from its candidate, and what it begins with.
        self._begins = dict.fromkeys(range(nominate.STEP), b"")
        self._begins[nominate.PHONE] = self._phone_plain
        self._plain = {
            nominate.EMAIL: (-34, len(self._domain_plain)),
            nominate.SHORT_TEXT: (-16, 0),
            nominate.PHONE: (-len(self._phone_plain), self._phone_size),
            nominate.ID_CARD: (0, 18),
            nominate.BANK_CARD: (0, 19),
        }
        self._bank_card = re.compile(_spelled(shapes.card_prefix) + _DIGIT + rb"{15}", flags)

    def find(self, data: bytes) -> list[Hit]:
        """Surrogates in order, not overlapping; of two that overlap, the one that starts first and is longer."""
        hits: list[Hit] = []
        add = hits.append
        done = 0
        size = len(data)
        known, plain = self._known, self._plain
        escapes: bool | None = None
        for candidate in self._nominator.candidates(data):
            position, pattern = candidate >> _STEP_BITS, candidate & _PATTERN_BITS
            first, last = plain[pattern]
            start, end = position + first, position + last
            raw = data[start:end] if start >= 0 else b""
            seen = known.get(raw)
            hit: Hit | None
            # It does not matter what stands beside e-mail addresses and names.
            if seen is not None and (pattern <= _SHORT_TEXT or not _digits_around(data, start, end, size)):
                if start >= done:
                    add(_hit(Hit, (start, end, *seen)))
                    done = end
                    continue
                hit = Hit(start, end, seen[0], seen[1], seen[2])
            elif pattern == _SHORT_TEXT:
                if raw in known:
                    continue
                seen = self._learn(raw, self._short_text(raw))
                hit = None if seen is None else Hit(start, end, seen[0], seen[1], seen[2])
            else:
                if escapes is None:
                    escapes = b"%" in data or b"\\" in data
                if pattern == nominate.PHONE and not escapes and self._inside(data, position):
                    continue
                hit = self._spelled_hit(data, position, pattern)
                if hit is not None and (hit.start, hit.end) == (start, end) and raw.startswith(self._begins[pattern]):
                    self._learn(raw, (hit.canonical, hit.kind, hit.upper))
            if hit is None:
                continue
            if hit.start < done:
                _settle(hits, hit)
            else:
                hits.append(hit)
            done = hits[-1].end
        return hits

    def _inside(self, data: bytes, position: int) -> bool:
        """Whether a digit stands before a candidate that cannot be the end of a country code: a longer number."""
        before = data[position - 1] if position else 0
        return 0x30 <= before <= 0x39 and before != self._country_end

    def _spelled_hit(self, data: bytes, position: int, pattern: int) -> Hit | None:
        """What a candidate is, however it is written."""
        if pattern == nominate.EMAIL:
            return self._email(data, position)
        if pattern == nominate.PHONE:
            return self._phone_at(data, position)
        return self._id_card_at(data, position) if pattern == nominate.ID_CARD else self._bank_card_at(data, position)

    def find_truncated(self, data: bytes) -> list[Truncated]:
        """Beginnings of 8 or more base32 characters before an ellipsis; only one match in the vault proves them."""
        found = []
        for match in _TRUNCATED.finditer(data):
            start, end = match.span()
            if match["email"] is not None:
                found.append(Truncated(start, end, f"e.{match['email'].decode().lower()}", surrogate.EMAIL))
            else:
                kind = surrogate.NAME if match["which"] in b"qQ" else surrogate.ADDRESS
                prefix = surrogate.SHORT_TEXT[kind] + match["text"].decode().lower()
                found.append(Truncated(start, end, prefix, kind))
        return found

    def whole(self, text: str) -> str | None:
        """The canonical surrogate when the trimmed text is exactly one, else None."""
        data = text.strip().encode("utf-8", "surrogatepass")
        hits = self.find(data)
        return hits[0].canonical if len(hits) == 1 and (hits[0].start, hits[0].end) == (0, len(data)) else None

    def take_keys(self, keys: Sequence[bytes]) -> None:
        """Confirm under these keys from now on; what was confirmed or not under others is forgotten."""
        self._keys = tuple(keys)
        self._known = {}

    def phones_of_serial(self, serial: str) -> tuple[str, ...]:
        """Phone surrogates with this 7-digit serial, one for each live token key, the current key first."""
        return tuple(surrogate.make_phone(key, int(serial), self.shapes) for key in self._keys)

    def _learn(self, raw: bytes, verdict: tuple[str, str, bool] | None) -> tuple[str, str, bool] | None:
        if len(self._known) >= _CONFIRMED:
            self._known.clear()
        self._known[raw] = verdict
        return verdict

    def _short_text(self, raw: bytes) -> tuple[str, str, bool] | None:
        kind = surrogate.NAME if raw[1] in b"qQ" else surrogate.ADDRESS
        body = raw[2:].decode("ascii").lower()
        # The reserved one belongs to nobody; it stands where somebody searched for a name that they do not see.
        if body != surrogate.RESERVED_TEXT and not surrogate.confirm_short_text(self._keys, kind, body):
            return None
        return surrogate.SHORT_TEXT[kind] + body, kind, raw.isupper()

    def _email(self, data: bytes, end: int) -> Hit | None:
        token = data[end - 32 : end]
        try:
            seen = self._known[token]
        except KeyError:
            text = token.decode("ascii").lower()
            right = surrogate.confirm_email(self._keys, text)
            verdict = (f"e.{text}@{self.shapes.email_domain}", surrogate.EMAIL, token.isupper()) if right else None
            seen = self._learn(token, verdict)
        if seen is None:
            return None
        start = end - 34
        if data[start + 1] != 0x2E:
            before = self._dot_before.search(data, max(0, end - 48), end - 32)
            if before is None:
                return None
            start = before.start()
        if data.startswith(self._domain_plain, end):
            end += len(self._domain_plain)
        elif (domain := self._domain.match(data, end)) is not None:
            end = domain.end()
        return Hit(start, end, seen[0], seen[1], seen[2])

    def _phone_at(self, data: bytes, start: int) -> Hit | None:
        if start and data[start - 1] != self._country_end and _digit_before(data, start):
            return None  # inside a longer number, the country code does not stand before it: the common case
        spelled = self._digits_at(data, start, self._phone_size, self._phone)
        if spelled is None:
            return None
        raw, end = spelled
        try:
            seen = self._known[raw]
        except KeyError:
            digits = raw[-10:].decode("ascii")
            canonical = f"+{self.shapes.phone_country}{self.shapes.phone_lead}{digits}"
            right = surrogate.confirm_phone(self._keys, digits)
            seen = self._learn(raw, (canonical, surrogate.PHONE, False) if right else None)
        if seen is None:
            return None
        begin = self._begin_of_phone(data, start)
        if begin is None:
            return None
        if data[end : end + 2] == b".0" and not data[end + 2 : end + 3].isdigit():
            end += 2  # a spreadsheet made a float of it
        return Hit(begin, end, seen[0], seen[1], False)

    def _begin_of_phone(self, data: bytes, start: int) -> int | None:
        plain = start - len(self._phone_plain)
        if plain >= 0 and data.startswith(self._phone_plain, plain):
            return plain
        before = self._phone_before.search(data, max(0, start - 96), start)
        if before is not None and not _digit_before(data, before.start()):
            return before.start()
        return None if _digit_before(data, start) else start

    def _id_card_at(self, data: bytes, start: int) -> Hit | None:
        spelled = self._digits_at(data, start, 18, self._id_card)
        if spelled is None or _digit_before(data, start):
            return None
        raw, end = spelled
        try:
            seen = self._known[raw]
        except KeyError:
            text = raw.decode("ascii").upper()
            seen = self._learn(raw, (text, surrogate.ID_CARD, False) if surrogate.confirm_id_card(text) else None)
        return None if seen is None else Hit(start, end, seen[0], seen[1], False)

    def _bank_card_at(self, data: bytes, start: int) -> Hit | None:
        spelled = self._digits_at(data, start, 19, self._bank_card)
        if spelled is None or _digit_before(data, start):
            return None
        raw, end = spelled
        try:
            seen = self._known[raw]
        except KeyError:
            text = raw.decode("ascii")
            right = surrogate.confirm_bank_card(self._keys, text)
            seen = self._learn(raw, (text, surrogate.BANK_CARD, False) if right else None)
        return None if seen is None else Hit(start, end, seen[0], seen[1], False)

    def _digits_at(self, data: bytes, start: int, size: int, spelled: re.Pattern[bytes]) -> tuple[bytes, int] | None:
        """The bare digits from here and where they end, unless one more digit follows."""
        end = start + size
        raw = data[start:end]
        if not (raw.isdigit() and len(raw) == size):
            match = spelled.match(data, start)
            if match is None:
                return None
            raw, end = self._separator.sub(b"", match.group()), match.end()
        return None if data[end : end + 1].isdigit() else (raw, end)


def _digits_around(data: bytes, start: int, end: int, size: int) -> bool:
    """Whether what stands beside plain digits may change their meaning: a digit, or the decimals of a float."""
    after = data[end] if end < size else 0
    before = data[start - 1] if start else 0
    if after == before == 0x22:  # a string of its own: the common case
        return False
    return 0x30 <= after <= 0x39 or after == 0x2E or 0x30 <= before <= 0x39


def _digit_before(data: bytes, start: int) -> bool:
    """Whether a digit touches the candidate; the last digit of an escape sequence does not count."""
    if start == 0 or not 0x30 <= data[start - 1] <= 0x39:
        return False
    tail = data[max(0, start - 9) : start]
    return (b"%" not in tail and b"\\" not in tail) or _ESCAPE_TAIL.search(tail) is None


def _settle(hits: list[Hit], hit: Hit) -> None:
    """Keep the earlier and longer of hits that overlap (a phone with its country code beats an earlier part of it)."""
    while hits and hits[-1].end > hit.start:
        last = hits[-1]
        if (hit.start, -hit.end) >= (last.start, -last.end):
            return
        hits.pop()
    hits.append(hit)
