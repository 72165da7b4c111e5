"""One exchange while the pipeline handles it, and its entries in the audit trail.

`record` comes back once the entry is durable; until then nothing may leave. What a collaborator answers is checked.
"""

from gateway.collaborators import Gateway, Outgoing, Receive, Scope, Send
from gateway.entries import describe
from gateway.exchange import Exchange
from gateway.guesses import Reserved
from gateway.network import Tenant
from gateway.watch import Turn


class AnswerAborted(Exception):  # noqa: N818 - a state: half an answer is out and the rest will not come
    """The listener must close the connection without ending the answer properly."""

    permanent = False


class Nonsense(Exception):  # noqa: N818 - what a collaborator answered
    """A collaborator answered something that is not of its contract; never shown."""

    permanent = True


class Passage:
    """One exchange with what belongs to it while it is handled here."""

    __slots__ = (
        "asset",
        "cookies",
        "decided",
        "exchange",
        "guess",
        "gw",
        "outgoing",
        "receive",
        "scope",
        "send",
        "started",
        "tenant",
        "turn",
        "withheld",
    )

    def __init__(self, gw: Gateway, scope: Scope, receive: Receive, send: Send, exchange: Exchange, turn: Turn) -> None:
        self.gw, self.scope, self.receive, self.send = gw, scope, receive, send
        self.exchange, self.turn = exchange, turn
        self.tenant: Tenant | None = None
        self.outgoing: Outgoing | None = None
        self.cookies: list[tuple[str, str]] = []
        self.withheld: frozenset[str] = frozenset()  # cookies of the CRM that ended with an earlier session
        self.guess: Reserved | None = None  # tries that are counted and may be given back
        self.asset = False  # the answer is a static file
        self.decided = False  # the decision of a write is in the trail
        self.started = False  # the answer has begun to leave


async def record(
    passage: Passage, kind: str, reason: str, status: int, refused: tuple[str, ...] = (), release: int = 0
) -> None:
    """Put one entry into the trail and wait until it is durable; release: number of a part of an answer, from 1."""
    gw, turn = passage.gw, passage.turn
    entry = describe(passage.exchange, gw.new_id(), kind, reason, status, refused, release)
    watched = turn.stage != "refuse"
    if watched:
        turn.enter("audit", gw.limits.collaborator_s)
    index = await gw.audit.append(entry)
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise Nonsense("audit")
