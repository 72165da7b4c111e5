"""What an installation asks of passwords beyond what is asked of each: nothing, or what 等保 reviewers look for.

Composition and forced change make passwords weaker in practice (ASVS 6.2.5, 6.2.10), so they are off unless the
settings say otherwise. Pure.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

LEAST_CHARS = 12
CLASSES = 4  # capital letters, small letters, digits, everything else


@dataclass(frozen=True, slots=True)
class PasswordRules:
    """least: characters; classes: kinds of characters (of four) that have to be there; lifetime: None for no end; kept:
    earlier passwords, beside the one in use, that are not taken again.
    """

    least: int = LEAST_CHARS
    classes: int = 1
    lifetime: timedelta | None = None
    kept: int = 0

    def composed(self, password: str) -> bool:
        """Whether enough kinds of characters are in it."""
        return self.classes <= 1 or classes_of(password) >= self.classes

    def expired(self, changed_at: datetime | None, now: datetime) -> bool:
        """Whether a password chosen then has to be replaced; one of an unknown day has to, where any has."""
        return self.lifetime is not None and (changed_at is None or now - changed_at >= self.lifetime)


USUAL = PasswordRules()


def classes_of(password: str) -> int:
    """How many of the four kinds of characters are in a password."""
    tests = (str.isupper, str.islower, lambda one: one in "0123456789")
    return sum(any(test(one) for one in password) for test in tests) + any(
        not any(test(one) for test in tests) for one in password
    )
