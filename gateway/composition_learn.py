"""Composition of learning: the one object that looks at exchanges which have ended."""

import secrets
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from gateway.access.tokens import new_id
from gateway.accounts import utc_now
from gateway.database import Pool
from gateway.installation import Installation
from gateway.learn.learner import Learner
from gateway.learn.standin import standin_of
from gateway.learn.store import LearnStore
from kms.scanner import Scanner


async def learner_of(
    stack: AsyncExitStack, database: Pool, scanners: Mapping[str, Scanner], installations: Mapping[str, Installation]
) -> Learner:
    """A learner that runs until the stack is closed."""

    def protected(tenant: str) -> Callable[[str], str | None]:
        return standin_of(scanners[tenant].shapes)

    learner = Learner(
        LearnStore(database),
        protected,
        lambda tenant: installations[tenant].current,
        utc_now,
        new_id("p", secrets.token_bytes),
    )
    await learner.start()
    stack.push_async_callback(learner.close)
    return learner
