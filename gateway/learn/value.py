"""What is noted of the values of one place: how many, how long, of which shape and kind; never a value.

A sample is a mask by the custom of its kind, or, where no kind is known, the mere outline of the text.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from privacy import mask, recognise

SAMPLES, OUTLINE = 2, 12
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*")
_NUMBER = re.compile(r"[-+]?[\d.,\s]+%?")
_TOKEN = re.compile(r"[a-z0-9_.:/@-]{1,80}|true|false|null|True|False|[A-Z][A-Z0-9_]{1,30}")
_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-f]{24}")
_OPAQUE = re.compile(r"[A-Za-z0-9+/=_~.:-]{24,}")
_ADDRESS = re.compile(r"(?:https?:/)?/\S*|https?:\S*")
LONG = 160
NUMBER, DATE, TOKEN, OPAQUE, URL, MARKUP, WORDS, LONG_TEXT, ID = (
    "number", "date", "token", "opaque", "url", "markup", "words", "long", "id",
)  # fmt: skip


def shape_of(text: str) -> str:
    """The shape of a text: number, date, id (a UUID), token (machine word), opaque, url, markup, words or long."""
    if _NUMBER.fullmatch(text):
        return NUMBER
    if _DATE.fullmatch(text) or _MOMENT.fullmatch(text):
        return DATE
    if _ADDRESS.fullmatch(text):
        return URL
    if _ID.fullmatch(text):
        return ID
    if _TOKEN.fullmatch(text):
        return TOKEN
    if _OPAQUE.fullmatch(text):
        return OPAQUE
    if text[:1] in "<{[":
        return MARKUP
    return LONG_TEXT if len(text) > LONG or "\n" in text else WORDS


def outline(text: str) -> str:
    """A text with every letter and digit replaced, cut short: no more can be read from it than how it is built."""
    signs = []
    for sign in text[:OUTLINE]:
        if sign.isdecimal():
            signs.append("0")
        elif "\u2e80" <= sign <= "\u9fff" or sign >= "\U00020000":
            signs.append("□")
        elif sign.isalpha():
            signs.append("X" if sign.isupper() else "x")
        else:
            signs.append(sign if sign in " -.,@" else "·")
    return "".join(signs)


@dataclass(slots=True)
class Stat:
    """Counts over the values of one place.

    seen: values; empty: times without one; distinct: different values of this process; kinds: recognised or protected
    already, whole; inside: recognised within longer text; shapes, scripts: counts; longest: code points.
    """

    seen: int = 0
    empty: int = 0
    distinct: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    inside: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    han: int = 0
    characters: int = 0
    longest: int = 0
    samples: list[str] = field(default_factory=list)

    def note(self, text: str, kind: str | None, named: str) -> None:
        """Count one value. kind: what a scanner knows it to be; named: the kind that the name of its place tells."""
        text = text.strip()
        if not text:
            self.empty += 1
            return
        self.seen += 1
        self.characters += len(text)
        self.longest = max(self.longest, len(text))
        self.han += any("\u3400" <= sign <= "\u9fff" for sign in text)
        if kind is None and (found := recognise.whole(text)) is not None:
            kind = str(found.kind)
            self._sample(mask.mask(kind, text))
        if kind is not None:
            self.kinds[kind] += 1
            return
        shape = shape_of(text)
        self.shapes[shape] += 1
        if shape in (WORDS, LONG_TEXT, MARKUP):
            self.inside.update({str(one.kind) for one in recognise.find(text[:4000])})
        if shape in (WORDS, LONG_TEXT):
            self._sample(mask.mask(named, text) if named in ("name", "address") and shape == WORDS else outline(text))

    def _sample(self, masked: str) -> None:
        if len(self.samples) < SAMPLES and masked not in self.samples:
            self.samples.append(masked)

    def add(self, other: "Stat") -> None:
        """Take the counts of another process in."""
        for name in ("seen", "empty", "distinct", "han", "characters"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.longest = max(self.longest, other.longest)
        for mine, theirs in ((self.kinds, other.kinds), (self.inside, other.inside), (self.shapes, other.shapes)):
            mine.update(theirs)
        for sample in other.samples:
            self._sample(sample)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "seen": self.seen, "empty": self.empty, "distinct": self.distinct, "kinds": dict(self.kinds),
            "inside": dict(self.inside), "shapes": dict(self.shapes), "han": self.han,
            "characters": self.characters, "longest": self.longest, "samples": self.samples,
        }  # fmt: skip

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Stat":
        """From JSON."""
        counted = {name: Counter(plain[name]) for name in ("kinds", "inside", "shapes")}
        return cls(**{**plain, **counted, "samples": list(plain["samples"])})

    @property
    def main_shape(self) -> str:
        """The shape of most values that are of no kind, "" without any."""
        return max(self.shapes, key=lambda one: self.shapes[one], default="")

    @property
    def refers(self) -> bool:
        """Whether every value was the number or id of a record, and there were several."""
        return self.seen > 1 and not self.kinds and self.shapes[NUMBER] + self.shapes[ID] == self.seen

    @property
    def textual(self) -> bool:
        """Whether people may have written some of the values."""
        return bool(self.kinds or self.shapes[WORDS] or self.shapes[LONG_TEXT])
