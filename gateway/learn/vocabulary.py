"""What names usually mean: fields, labels, columns and words of paths, in five languages, from vocabulary.yaml."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W\d_]+")
PERSONAL = ("name", "email", "phone", "address", "id_card", "bank_card", "birth_date")
UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name means. kind: a kind of the taxonomy, text, place, plain, secret or unsure; weight: 0–1 how surely."""

    kind: str
    weight: float


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in lower case: cut at signs, digits and capital letters."""
    return tuple(word.lower() for part in _CAMEL.split(name) for word in _WORD.findall(part))


class Vocabulary:
    """The words of one data file."""

    def __init__(self, source: dict[str, Any]) -> None:
        self._fields = _phrases({kind: [w for line in lines for w in line] for kind, lines in source["fields"].items()})
        self._fields |= _phrases({UNSURE: source["unsure"]})
        self._actions = _phrases(source["actions"])
        self.filler = frozenset(source["filler"])
        self.redirects = frozenset(source["redirects"])
        self.searches = frozenset(source["searches"])
        self.staff = frozenset(source["staff"])
        self.maybe_staff = frozenset(source["maybe_staff"])
        self.orders = frozenset(source["orders"])
        self._makers = _phrases({"maker": source["makers"]})
        self._owners = self._makers | _phrases({"owner": source["owners"]})
        self.records = frozenset(source["records"]) | self.staff | self.maybe_staff

    def meaning(self, name: str) -> Meaning | None:
        """What a field or label of this name holds; None when no word of it is known."""
        found = _longest(self._fields, name)
        if found is None:
            return None
        phrase, kind = found
        whole = len(phrase) == len(words_of(name)) or (phrase[0] > "\u2e80" and phrase[0] == name.strip())
        return Meaning(kind, 0.9 if whole else 0.75)

    def action(self, name: str) -> str | None:
        """What a word of a path, or the verb of a call, does."""
        found = _longest(self._actions, name)
        return found[1] if found else None

    def is_owner(self, name: str) -> bool:
        """Whether a field of this name says who is in charge of a record, or has made it."""
        return words_of(name) in self._owners

    def is_maker(self, name: str) -> bool:
        """Whether it says who has made a record; words behind the last maker (`id`) may follow."""
        words = words_of(name)
        return any(
            words[start:end] in self._makers for start in range(len(words)) for end in range(start + 1, len(words) + 1)
        )

    def is_verb(self, segment: str) -> bool:
        """Whether a segment of a path only says what is done, or nothing at all."""
        words = words_of(segment)
        return all(word in self.filler or (word,) in self._actions for word in words)


def _phrases(source: dict[str, list[str]]) -> dict[tuple[str, ...], str]:
    return {words_of(entry): kind for kind, entries in source.items() for entry in entries if words_of(entry)}


def _longest(phrases: dict[tuple[str, ...], str], name: str) -> tuple[tuple[str, ...], str] | None:
    """The longest known phrase in a name, of equally long ones the last."""
    words = words_of(name)
    for size in range(min(4, len(words)), 0, -1):
        for start in range(len(words) - size, -1, -1):
            phrase = words[start : start + size]
            if phrase in phrases:
                return phrase, phrases[phrase]
    if name.isascii():
        return None
    inside = [phrase for phrase in phrases if len(phrase) == 1 and phrase[0] > "\u2e80" and phrase[0] in name]
    best = max(inside, key=lambda phrase: (len(phrase[0]), name.rfind(phrase[0])), default=None)
    return None if best is None else (best, phrases[best])


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    """The shipped words, read once."""
    text = Path(__file__).with_name("vocabulary.yaml").read_text(encoding="utf-8")
    return Vocabulary(yaml.safe_load(text))
