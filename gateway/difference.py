"""What an administrator changed, as the trail keeps it: names and values that went (-) and came (+).

Only what may stand in the trail is handed in: never a secret, never a value of a person. Each part looks like an
identifier, so that the trail keeps it as it is (audit.entry); what does not, it writes as `~`.
"""

from collections.abc import Iterator, Mapping, Sequence

NONE = "none"


def difference(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[str, ...]:
    """`-name=old` and `+name=new` for each name that differs, in order; of sequences, only what went and came."""
    return tuple(
        one
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
        for one in _parted(name, before.get(name), after.get(name))
    )


def _parted(name: str, old: object, new: object) -> Iterator[str]:
    if _several(old) and _several(new):
        went, came = _texts(old), _texts(new)
        yield from (f"-{name}={one}" for one in went if one not in came)
        yield from (f"+{name}={one}" for one in came if one not in went)
        return
    yield from (f"-{name}={one}" for one in _texts(old) or [NONE])
    yield from (f"+{name}={one}" for one in _texts(new) or [NONE])


def _several(value: object) -> bool:
    return value is None or (isinstance(value, Sequence) and not isinstance(value, str))


def _texts(value: object) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [str(one) for one in value]
    return [str(value)]
