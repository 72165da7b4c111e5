"""What every page of the console shares: asking who it is, whether they may, and audited rendering."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.events import note
from gateway.access.page import acting, current, render
from gateway.access.pages import sign_in_address
from gateway.access.proof_pages import StepUpNeeded
from gateway.access.step_up import needs_proof
from gateway.console.deps import ConsoleDeps
from gateway.console.guard import SAFE_METHODS
from gateway.console.permissions import (
    AGREE_EMERGENCY,
    AUDIT,
    CHANGE_USER,
    ConsoleRefused,
    Right,
    SignInNeeded,
    holds,
    require,
)
from gateway.exchange import Principal


class ConsolePages:
    """Base of the page groups; holds the dependencies and nothing else."""

    def __init__(self, deps: ConsoleDeps) -> None:
        self._deps = deps

    async def _person(
        self, request: Request, right: Right, *, active: bool = True, proof: bool = False, noted: bool = False
    ) -> Principal:
        """Who asks, allowed to, and on record as looking; raises SignInNeeded, ConsoleRefused, StepUpNeeded.

        noted: whether the page writes an entry of its own. proof: whether it needs a fresh proof of a factor. Where
        sessions are bound to a device, every page uses up a proof of it; what a page asks for by itself (not `active`)
        does with the last one.
        """
        who = acting if active or request.method not in SAFE_METHODS else current
        principal = await who(self._deps.access, request, active=active)
        if principal is None:
            raise SignInNeeded
        require(self._deps.policy(principal.tenant), principal, right)
        access = self._deps.access
        if active and any(self._may(principal, one) for one in (AUDIT, CHANGE_USER, AGREE_EMERGENCY)):
            request.state.emergencies = await self._deps.emergencies.current(principal.tenant)
        if proof and needs_proof(principal, access.proof_age, access.clock()):
            raise StepUpNeeded
        if active and not noted and request.method in SAFE_METHODS and not hasattr(request.state, "viewed"):
            request.state.viewed = True
            await self._note(request, principal, right, "page-viewed", 200)
        return principal

    def _may(self, principal: Principal, right: Right) -> bool:
        """Whether to offer something on the page."""
        return holds(self._deps.policy(principal.tenant), principal, right)

    def _page(
        self,
        request: Request,
        principal: Principal,
        template: str,
        values: Mapping[str, Any],
        *,
        status: int = 200,
        block: str | None = None,
    ) -> Response:
        told = {"emergencies": getattr(request.state, "emergencies", ()), "page": ""}
        return render(
            self._deps.access, request, template, told | dict(values), principal=principal, status=status, block=block
        )

    async def _note(
        self, request: Request, principal: Principal, right: Right, reason: str, status: int, **fields: Any
    ) -> None:
        """Audit an action of the console before it is done; raises AuditUnavailable, and then it is not done."""
        await note(
            self._deps.access,
            request.scope,
            reason,
            status,
            user=principal,
            operation=right.operation,
            kind="console",
            fields=fields,
            path_shape=_shape(request),
        )


async def answer_sign_in(request: Request) -> Response:
    """Send to the sign-in page; a background request of a page is told to go there itself."""
    here = request.url.path
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"hx-redirect": sign_in_address("/")})
    return RedirectResponse(sign_in_address(here if request.method in ("GET", "HEAD") else "/"), 303)


async def answer_refused(deps: ConsoleDeps, request: Request, refused: ConsoleRefused) -> Response:
    """Audit and explain that the role does not allow a page."""
    await note(
        deps.access,
        request.scope,
        "console-refused",
        403,
        user=refused.principal,
        operation=refused.right.operation,
        kind="console",
        path_shape=_shape(request),
    )
    return render(
        deps.access, request, "message.html", {"what": "console-refused"}, principal=refused.principal, status=403
    )


def _shape(request: Request) -> str:
    """The route's template: ids in the path stay out of the trail's operation."""
    path = request.url.path
    for name, value in request.path_params.items():
        path = path.replace(str(value), "{" + name + "}", 1)
    return path
