"""Names for a profile: entities from paths and calls, fields from the names a CRM gives them, paths as templates."""

import re
from collections.abc import Sequence

from gateway.learn.vocabulary import vocabulary, words_of

_SAFE_PATH = re.compile(r"/[A-Za-z0-9_./{}:-]*")
_OWN_NUMBER = re.compile(r"^\d+(?:[-_]|$)")  # an installation's own, before a word or in the place of one
_OUTER = ("outer", "outer_b", "outer_c", "outer_d", "outer_e", "outer_f")


def entity_of(template: str) -> str:
    """The kind of record a path is about: its last word that says more than what is done; "page" without one."""
    steps = (_OWN_NUMBER.sub("", step) for step in template.strip("/").split("/"))
    words = [step for step in steps if step and step[0] != "{"]
    told = [step for step in words if not vocabulary().is_verb(step)] or words
    return name_of(singular(told[-1])) if told else "page"


def entity_of_object(name: str, taken: Sequence[str]) -> str:
    """The kind of record an object of a call is: its last part, all of them where that means two things."""
    short = name_of(name.rpartition(".")[2])
    return short if sum(name_of(one.rpartition(".")[2]) == short for one in taken) < 2 else name_of(name)


def singular(word: str) -> str:
    """An English plural without its ending; other words as they are."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("ses") and len(word) > 5:
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3 else word


def name_of(text: str) -> str:
    """A name as profiles write them: lower-case ASCII, digits and underscores."""
    plain = "_".join(re.findall(r"[a-z0-9]+", text.lower()))
    return plain if plain[:1].isalpha() else f"f_{plain}" if plain else "record"


def path_of(template: str, *, names_record: bool) -> str | None:
    """A template as a profile takes it, its last id being the record's; None where a profile cannot say it."""
    steps = template.strip("/").split("/") if template != "/" else []
    ids = [at for at, step in enumerate(steps) if step in ("{n}", "{uuid}", "{hex24}", "{salesforce}")]
    record = ids[-1] if ids and names_record else None
    outer, written = iter(_OUTER), []
    for at, step in enumerate(steps):
        if at == record:
            written.append("{record}")
        elif step == "{n}":
            written.append(f"{{{next(outer, 'outer_z')}}}")
        elif step.startswith("{"):
            written.append(f"{{{next(outer, 'outer_z')}:{'word' if step == '{word}' else 'any'}}}")
        else:
            written.append(step)
    path = "/" + "/".join(written)
    return path if _SAFE_PATH.fullmatch(path) else None


def verb_of(template: str) -> str | None:
    """What the words of a path say is done, the last one that says anything."""
    for step in reversed(template.strip("/").split("/")):
        if step and step[0] != "{" and (action := vocabulary().action(step)) is not None and _is_mostly(step):
            return action
    return None


def _is_mostly(step: str) -> bool:
    """Whether a segment is a verb with little beside it (`add_related`), not a noun that holds one (`address_list`)."""
    return vocabulary().is_verb(step) or len(words_of(step)) <= 2
