"""What a request bears towards the CRM instead of what its client says of itself."""

import re
from dataclasses import dataclass, field
from functools import lru_cache

_OTHER = re.compile(r"[^a-z0-9]")


@lru_cache(maxsize=4096)
def flat(name: str) -> str:
    """A field name as servers may read it: CGI and WSGI make one sign of every other than letters and digits."""
    return _OTHER.sub("-", name.lower())


@dataclass(frozen=True, slots=True)
class Bearing:
    """lines: complete header lines; cookies: pairs that are added; drops: fields of the client that stay out, `flat`.

    number: of the carried session it is of, 0 for none.
    """

    lines: str = field(default="", repr=False)
    cookies: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    drops: frozenset[str] = frozenset()
    number: int = 0
