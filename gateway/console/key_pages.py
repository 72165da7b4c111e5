"""Keys: which there are and how old they are, rotations under way, and what was destroyed by whom.

No secret and no value is on these pages. Rotations are begun, and keys destroyed, on the command line: both need the
operator at the machine. Here they are watched, paused and resumed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway import rewrap, rotation
from gateway.access.page import read_form
from gateway.access.pages import message_page
from gateway.console import words
from gateway.console.pages import ConsolePages
from gateway.console.permissions import CHANGE_KEYS, KEYS
from gateway.exchange import Principal
from gateway.job import Job, State, Wanted
from gateway.job_store import JobStore
from kms.destruction import State as DestructionState
from kms.destruction_store import DestructionStore
from kms.keyring import KeyStatus

JOB_KINDS = (rotation.KIND, rewrap.KIND)
SHOWN_JOBS = 30
OLD_AFTER_S = 365 * 86400.0
"""A year: the longest a key should seal new values; no clause names a number, see kms/README.md."""
STEPS = {"pause": Wanted.PAUSE, "resume": Wanted.RUN}
REASONS = {"pause": "rotation-paused", "resume": "rotation-resumed"}


@dataclass(frozen=True, slots=True)
class Shown:
    """Keys of one scope and purpose, the newest first."""

    scope: str
    purpose: str
    keys: tuple[KeyStatus, ...]

    @property
    def newest(self) -> KeyStatus:
        """The key that is written under, or the last one that was."""
        return self.keys[0]

    @property
    def days(self) -> int:
        """Age of the newest key in whole days."""
        return int(self.newest.age_s // 86400)

    @property
    def age_part(self) -> float:
        """Age of the newest key in parts of a year, at most 1."""
        return min(1.0, self.newest.age_s / OLD_AFTER_S)

    @property
    def old(self) -> bool:
        """Whether a key in use is older than a year."""
        return self.newest.state == "current" and self.newest.age_s > OLD_AFTER_S


def arrange(keys: Sequence[KeyStatus]) -> list[Shown]:
    """Keys by scope and purpose, the newest of each first."""

    def place(key: KeyStatus) -> tuple[str, str]:
        return key.scope, key.purpose

    return [
        Shown(scope, purpose, tuple(sorted(same, key=lambda key: key.age_s)))
        for (scope, purpose), same in groupby(sorted(keys, key=place), key=place)
    ]


class KeyPages(ConsolePages):
    """Keys of the tenant."""

    async def keys(self, request: Request) -> Response:
        """Provider, keys, rotations, destructions."""
        principal = await self._person(request, KEYS)
        status = await self._deps.key_status(principal.tenant)
        values = await self._rotations(request, principal) | {
            "status": status,
            "shown": arrange(status.keys),
            "key_states": words.KEY_STATES,
            "destructions": await DestructionStore(self._deps.pool).every(principal.tenant),
            "destruction_states": words.DESTRUCTION_STATES,
        }
        return self._page(request, principal, "keys.html", values)

    async def rotations(self, request: Request) -> Response:
        """The rotations alone, for the page itself."""
        principal = await self._person(request, KEYS, active=False)
        return self._page(request, principal, "keys.html", await self._rotations(request, principal), block="rotations")

    async def steer(self, request: Request) -> Response:
        """Pause or resume a rotation."""
        principal = await self._person(request, CHANGE_KEYS, proof=True)
        step = (await read_form(request)).get("step", "")
        jobs = JobStore(self._deps.pool)
        job = await jobs.get(request.path_params["job"])
        if step not in STEPS or job is None or job.tenant != principal.tenant or job.kind not in JOB_KINDS:
            return message_page(self._deps.access, request, "not-found", 404)
        await self._note(request, principal, CHANGE_KEYS, REASONS[step], 303, target=job.id)
        steered = await jobs.ask(job.id, STEPS[step])
        return RedirectResponse(f"/keys?notice={REASONS[step] if steered else 'rotation-ended'}", 303)

    async def certificate(self, request: Request) -> Response:
        """The signed record of a destruction, as a file."""
        principal = await self._person(request, KEYS, noted=True)
        found = await DestructionStore(self._deps.pool).find(principal.tenant, request.path_params["destruction"])
        if found is None or found.state is not DestructionState.DESTROYED:
            return message_page(self._deps.access, request, "not-found", 404)
        await self._note(request, principal, KEYS, "key-certificate-viewed", 200, target=found.id)
        name = f"crmgate-destruction-{found.id}.txt"
        return Response(
            found.record,
            media_type="text/plain; charset=utf-8",
            headers={"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"},
        )

    async def _rotations(self, request: Request, principal: Principal) -> dict[str, Any]:
        jobs = await JobStore(self._deps.pool).of_tenant(principal.tenant, JOB_KINDS, SHOWN_JOBS)
        return {
            "page": "keys",
            "jobs": sorted(jobs, key=lambda job: job.state in (State.DONE, State.CANCELLED)),
            "job_states": words.JOB_STATES,
            "key_ends": words.KEY_ENDS,
            "tenant_key": rewrap.KIND,
            "part": _part,
            "may_steer": self._may(principal, CHANGE_KEYS),
            "notice": request.query_params.get("notice", ""),
        }


def _part(job: Job) -> float:
    """How much of a job is done, 0 to 1."""
    if job.state is State.DONE:
        return 1.0
    return min(1.0, job.done / job.total) if job.total else 0.0
