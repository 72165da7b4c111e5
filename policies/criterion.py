"""What a row of a policy says of the records it is about: `where=contact.region:north`, or the scope `team`.

A criterion is true, false, or unknown, where nobody told the attribute of a record. Unknown fails closed both ways: a
row that allows does not hold then, a row that denies does.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import parse_qsl, urlencode

TEAM = "@team"
"""The fact that the scope `team` asks for: the departments of whoever owns a record."""
MY_DEPARTMENT = "@dept"
MOST = 4  # criteria of one row
Facts = Mapping[str, tuple[str, ...]]
"""Attribute (`contact.region`, TEAM) → what is known of it; what is not there is unknown."""
NOTHING: Facts = {}

_PLACE = re.compile(r"[a-z0-9_][a-z0-9_-]*\.[a-z0-9_][a-z0-9_-]*\Z")
_WORD = re.compile(r"[^\W_](?:[\w .&/()+-]{0,62}[\w.)+])?\Z")
# Two decimals at most: in "150.000" nobody knows whether the point groups thousands.
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,2})?\Z")
_BOUND = re.compile(r"(?P<sign><=|>=|<|>)(?P<number>.+)\Z")
_SIGNS = {"<": Decimal.__lt__, "<=": Decimal.__le__, ">": Decimal.__gt__, ">=": Decimal.__ge__}
_CONDITION, _AND = "?", "&"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One test of one attribute of a record.

    name: ENTITY.ATTRIBUTE; sign: "in", "not in", or one of < <= > >=; words: as `word` spells them; own: the person's
    departments stand for the words, see `of`.
    """

    name: str
    sign: str
    words: frozenset[str] = frozenset()
    bound: Decimal = Decimal(0)
    own: bool = False

    @property
    def entity(self) -> str:
        """The entity whose records it is about."""
        return self.name.partition(".")[0]

    @property
    def numeric(self) -> bool:
        """Whether it compares numbers."""
        return self.sign in _SIGNS

    def of(self, departments: Iterable[str]) -> "Criterion":
        """The same for a person in these departments."""
        return Criterion(self.name, self.sign, frozenset(map(word, departments))) if self.own else self

    def truth(self, values: Collection[str] | None) -> bool | None:
        """Whether it is true of a record with these values of the attribute; None where that is not known."""
        if values is None:
            return None
        if self.numeric:
            if len(values) != 1 or (number := number_of(next(iter(values)))) is None:
                return None
            return _SIGNS[self.sign](number, self.bound)
        found = {word(one) for one in values} - {""}
        if not found and self.name != TEAM:  # an owner may well have no department
            return None
        return found.isdisjoint(self.words) is (self.sign == "not in")

    def __str__(self) -> str:
        """As a row says it, in one spelling."""
        if self.numeric:
            return f"{self.name}:{self.sign}{self.bound}"
        return f"{self.name}:{'!' if self.sign == 'not in' else ''}" + (
            MY_DEPARTMENT if self.own else "|".join(sorted(self.words))
        )


def word(text: str) -> str:
    """A word as it is compared: without case, width and surplus spaces, so that no row that denies is missed by one."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def number_of(text: str) -> Decimal | None:
    """The number that a text is; None for what could be read in two ways, or is none."""
    return Decimal(text) if _NUMBER.match(text) else None


def read_criterion(cell: str) -> Criterion | str:
    """The criterion that follows `where=`, or what is wrong with it."""
    name, _, test = cell.partition(":")
    name, test = name.strip(), test.strip()
    if not _PLACE.match(name) or not test:
        return f"where={cell} is none of where=entity.attribute:word, …:one|two, …:!word, …:@dept, …:<100"
    bound = _BOUND.match(test)
    if bound is not None:
        number = number_of(bound["number"])
        if number is None:
            return f"where={cell} compares with something that is no plain number of at most two decimals"
        return Criterion(name, bound["sign"], bound=number)
    sign = "not in" if test.startswith("!") else "in"
    test = test.removeprefix("!").strip()
    if test == MY_DEPARTMENT:
        return Criterion(name, sign, own=True)
    words = [one.strip() for one in test.split("|")]
    if not all(_WORD.match(one) for one in words):
        return f"where={cell} has a word that is not allowed"
    return Criterion(name, sign, frozenset(map(word, words)))


# -- as Casbin is asked ------------------------------------------------------------------------------------------


def granted_scope(scope: str, criteria: Collection[Criterion]) -> str:
    """The scope of a row with its criteria, as one text for Casbin."""
    return scope + _CONDITION + urlencode([_granted(one) for one in criteria]) if criteria else scope


def asked_scope(scope: str, facts: Facts) -> str:
    """The scope of a question with what is known of the record, as one text for Casbin."""
    # An attribute that is known to have no value is one that is there.
    pairs = [(name, one) for name, values in sorted(facts.items()) for one in values or ("",)]
    return scope + _CONDITION + urlencode(pairs, errors="replace") if pairs else scope


def holds(asked: str, granted: str, effect: str) -> bool:
    """Whether the scope of a row takes in the asked one: unknown does for a row that denies, and not for another."""
    scope, _, known = asked.partition(_CONDITION)
    wanted, _, where = granted.partition(_CONDITION)
    if wanted not in ("any", scope):
        return False
    if not where:
        return True
    facts: dict[str, tuple[str, ...]] = {}
    for name, value in parse_qsl(known, keep_blank_values=True):
        facts[name] = (*facts.get(name, ()), value)
    return fulfilled(where_of(where), facts, effect)


def where_of(text: str) -> list[Criterion]:
    """The criteria of a granted scope; raises ValueError for what is none of ours."""
    found = []
    for name, value in parse_qsl(text, keep_blank_values=True, strict_parsing=True):
        sign, space, rest = value.partition(" ")
        sign = sign.replace("-", " ")
        if not space or sign not in (*_SIGNS, "in", "not in"):
            raise ValueError("no criterion")
        if sign in _SIGNS:
            found.append(Criterion(name, sign, bound=Decimal(rest)))
        else:  # a person in no department has no words
            found.append(Criterion(name, sign, frozenset(rest.split("|")) - {""}))
    return found


def _granted(one: Criterion) -> tuple[str, str]:
    operand = str(one.bound) if one.numeric else "|".join(sorted(one.words))
    return one.name, f"{one.sign.replace(' ', '-')} {operand}"


def fulfilled(criteria: Iterable[Criterion], facts: Facts, effect: str) -> bool:
    """Whether a row with these criteria holds for a record with these facts."""
    truths = [one.truth(facts.get(one.name)) for one in criteria]
    if effect == "deny":
        return False not in truths
    return all(one is True for one in truths)
