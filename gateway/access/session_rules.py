"""How long a session lasts, when it is locked, how many an account may have; pure.

Background polling does not count as activity (ASVS 7.3.1); what does is gateway.activity's to say.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

CACHE_TTL_MAX = timedelta(seconds=1)
SESSIONS_MOST = 50


class State(StrEnum):
    """What a session that was not ended is at a moment."""

    ACTIVE = "active"
    LOCKED = "locked"
    IDLE = "idle"
    ABSOLUTE = "absolute"


class WhenFull(StrEnum):
    """What happens to one sign-in more than an account may have sessions."""

    END_OLDEST = "end-oldest"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """idle, lock: without activity; absolute: since sign-in; ttl: how long a session is believed without a look.

    lock: zero where only the person locks. ttl: at most 1 s, so that an end is known everywhere within that.
    """

    idle: timedelta = timedelta(minutes=30)
    absolute: timedelta = timedelta(hours=12)
    ttl: timedelta = CACHE_TTL_MAX
    lock: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.ttl <= CACHE_TTL_MAX:
            raise ValueError("session cache ttl must be over 0 and at most 1 s")
        if not timedelta(0) < self.idle <= self.absolute:
            raise ValueError("idle timeout must be over 0 and at most the absolute one")
        if not timedelta(0) <= self.lock < self.idle:
            raise ValueError("the time until a session is locked must be shorter than the idle timeout")

    @property
    def quiet(self) -> timedelta:
        """Time without activity after which a session is not simply active any more."""
        return self.lock or self.idle

    @property
    def touch(self) -> timedelta:
        """How often activity is written down at most: a tenth of the quiet time, at most every 30 s."""
        return min(timedelta(seconds=30), self.quiet / 10)

    def state(self, now: datetime, seen_at: datetime, expires_at: datetime, locked_at: datetime | None) -> State:
        """What a session is now; ends count before locks."""
        if now >= expires_at:
            return State.ABSOLUTE
        if now - seen_at >= self.idle:
            return State.IDLE
        if locked_at is not None or (self.lock and now - seen_at >= self.lock):
            return State.LOCKED
        return State.ACTIVE


@dataclass(frozen=True, slots=True)
class Room:
    """How many live sessions one account may have, and what one more does."""

    most: int = SESSIONS_MOST
    when_full: WhenFull = WhenFull.END_OLDEST

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError("an account must be allowed a session")


class SessionsFull(Exception):  # noqa: N818 - an outcome the page explains
    """The account has as many sessions as it may have, and the installation refuses one more."""

    permanent = False
