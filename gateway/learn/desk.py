"""What an administrator does with learning: start, look, decide, accept, stop."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.learn.document import Document, read_document
from gateway.learn.evidence import Evidence
from gateway.learn.proposal import Proposal
from gateway.learn.propose import propose
from gateway.learn.store import LearnStore, Run

LONGEST_MINUTES = 24 * 60


class NothingLearnt(Exception):  # noqa: N818 - a state
    """No run of this tenant, or one that has seen nothing."""

    permanent = True


class AnswerUnknown(ValueError):  # noqa: N818 - says what is wrong
    """A decision, or an answer to it, that there is not; the text names what there is."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Progress:
    """A run as it stands. on: it watches now; left: time until it ends by itself."""

    run: Run
    on: bool
    left: timedelta
    evidence: Evidence


class Desk:
    """Learning of one installation."""

    def __init__(self, store: LearnStore) -> None:
        self._store = store

    async def start(self, tenant: str, run: str, now: datetime, minutes: int, by: str) -> None:
        """Begin to watch; raises RunUnderWay, StoreUnavailable."""
        await self._store.start(tenant, run, now, now + timedelta(minutes=minutes), by)

    async def stop(self, tenant: str, now: datetime) -> bool:
        """Stop watching; whether anything was watched."""
        return await self._store.stop(tenant, now)

    async def read_document(self, tenant: str, data: bytes) -> Document:
        """Take a document in; raises DocumentInvalid, NothingLearnt, StoreUnavailable."""
        document = read_document(data)
        if not await self._store.put_document(tenant, document):
            raise NothingLearnt(tenant)
        return document

    async def progress(self, tenant: str, now: datetime) -> Progress:
        """What was seen so far; raises NothingLearnt, StoreUnavailable."""
        run = await self._store.latest(tenant)
        if run is None:
            raise NothingLearnt(tenant)
        on = run.on(now)
        left = max(timedelta(), run.ends_at - now) if on else timedelta()
        return Progress(run, on, left, await self._store.evidence(tenant, run.id))

    async def proposal(self, tenant: str, name: str, now: datetime) -> Proposal:
        """The profile that follows from what was seen and decided; raises NothingLearnt, StoreUnavailable."""
        progress = await self.progress(tenant, now)
        if not progress.evidence.exchanges:
            raise NothingLearnt(tenant)
        run = progress.run
        return await asyncio.to_thread(propose, name, progress.evidence, run.document, run.answers)

    async def decide(self, tenant: str, name: str, answers: Mapping[str, str], now: datetime) -> None:
        """Keep decisions; raises AnswerUnknown, NothingLearnt, StoreUnavailable."""
        asked = {one.id: one for one in (await self.proposal(tenant, name, now)).decisions}
        for decision, answer in answers.items():
            if decision not in asked:
                raise AnswerUnknown(f"There is no decision {decision}; there are: {', '.join(asked) or 'none'}.")
            if answer not in asked[decision].options:
                raise AnswerUnknown(f"{decision} takes one of: {', '.join(asked[decision].options)}.")
        await self._store.put_answers(tenant, answers)
