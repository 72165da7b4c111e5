"""The Starlette application under /.crmgate/ of one host: routes, guard and what faults look like."""

from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from audit.log import AuditUnavailable
from gateway.access.account_pages import SET_UP_PATH, AccountPages
from gateway.access.deps import AccessDeps
from gateway.access.device_pages import DEVICES_PATH, DevicePages, answer_device
from gateway.access.events import OPERATION_ENTRY, note
from gateway.access.factor_pages import FactorPages
from gateway.access.gate import NotAdmitted
from gateway.access.page import DeviceProofNeeded
from gateway.access.pages import (
    ACCOUNT_PATH,
    CODE_PATH,
    PASSKEY_PATH,
    RECOVERY_PATH,
    RENEWAL_PATH,
    SIGN_IN_PATH,
    SignInPages,
    message_page,
)
from gateway.access.proof_pages import ProofPages, StepUpNeeded, answer_proof
from gateway.access.renewal_pages import RenewalPages
from gateway.access.sessions import DeviceNeeded, SessionLocked
from gateway.access.step_up import AGAIN_PATH, DEVICE_PATH, LOCK_PATH, STEP_UP_PATH
from gateway.console.guard import Guard
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable

BODY_LIMIT_BYTES = 64 * 1024
Handler = Callable[[Request, Exception], Awaitable[Response]]


def make_sign_in_app(deps: AccessDeps, more: Sequence[BaseRoute] = ()) -> Starlette:
    """Everything under /.crmgate/ of one host; the listener sends it nothing else. more: routes of other packages."""
    return Starlette(
        routes=[*sign_in_routes(deps), *more],
        middleware=[Middleware(Guard)],
        exception_handlers=fault_handlers(deps),
        max_body_size=BODY_LIMIT_BYTES,
    )


def sign_in_routes(deps: AccessDeps) -> list[BaseRoute]:
    """The routes, for a host that has more pages than these."""
    pages, account, factors = SignInPages(deps), AccountPages(deps), FactorPages(deps)
    renewal = RenewalPages(deps)
    return [
        Route(SIGN_IN_PATH, pages.sign_in, methods=["GET"]),
        Route(SIGN_IN_PATH, pages.check_password, methods=["POST"]),
        Route(CODE_PATH, pages.ask_code, methods=["GET"]),
        Route(CODE_PATH, pages.check_code, methods=["POST"]),
        Route(RECOVERY_PATH, pages.ask_recovery, methods=["GET"]),
        Route(RECOVERY_PATH, pages.check_recovery, methods=["POST"]),
        Route(f"{PASSKEY_PATH}/ask", pages.ask_passkey, methods=["POST"]),
        Route(PASSKEY_PATH, pages.check_passkey, methods=["POST"]),
        Route(RENEWAL_PATH, renewal.ask, methods=["GET"]),
        Route(RENEWAL_PATH, renewal.choose, methods=["POST"]),
        Route("/.crmgate/sign-out", pages.sign_out, methods=["POST"]),
        Route("/.crmgate/api/sign-in", pages.sign_in_at_once, methods=["POST"]),
        Route("/.crmgate/api/sign-out", pages.sign_out, methods=["POST"]),
        Route(ACCOUNT_PATH, account.account, methods=["GET"]),
        Route(f"{ACCOUNT_PATH}/password", account.change_password, methods=["POST"]),
        Route(f"{ACCOUNT_PATH}/end-others", account.end_others, methods=["POST"]),
        Route(f"{ACCOUNT_PATH}/language", account.choose_language, methods=["POST"]),
        Route(f"{ACCOUNT_PATH}/recovery", factors.ask_codes, methods=["GET"]),
        Route(f"{ACCOUNT_PATH}/recovery", factors.make_codes, methods=["POST"]),
        Route(f"{ACCOUNT_PATH}/passkeys/new", factors.ask_passkey, methods=["GET"]),
        Route(f"{ACCOUNT_PATH}/passkeys/new", factors.offer_passkey, methods=["POST"]),
        Route(f"{ACCOUNT_PATH}/passkeys", factors.add_passkey, methods=["POST"]),
        Route(f"{ACCOUNT_PATH}/passkeys/{{passkey}}/remove", factors.ask_removal, methods=["GET"]),
        Route(f"{ACCOUNT_PATH}/passkeys/{{passkey}}/remove", factors.remove_passkey, methods=["POST"]),
        Route(SET_UP_PATH, account.set_up, methods=["GET"]),
        Route(SET_UP_PATH, account.accept, methods=["POST"]),
        *proof_routes(deps),
        *device_routes(deps),
        Route("/.crmgate/static/{name:path}", pages.static, methods=["GET"]),
    ]


def proof_routes(deps: AccessDeps) -> list[BaseRoute]:
    """Locking, unlocking, step-up."""
    proofs = ProofPages(deps)
    return [
        Route(LOCK_PATH, proofs.lock_page, methods=["GET"]),
        Route(LOCK_PATH, proofs.lock, methods=["POST"]),
        Route(f"{LOCK_PATH}/code", proofs.unlock, methods=["POST"]),
        Route(f"{LOCK_PATH}/passkey/ask", proofs.ask_passkey, methods=["POST"]),
        Route(f"{LOCK_PATH}/passkey", proofs.unlock_by_passkey, methods=["POST"]),
        Route(STEP_UP_PATH, proofs.step_up_page, methods=["GET"]),
        Route(f"{STEP_UP_PATH}/code", proofs.step_up, methods=["POST"]),
        Route(f"{STEP_UP_PATH}/passkey/ask", proofs.ask_passkey, methods=["POST"]),
        Route(f"{STEP_UP_PATH}/passkey", proofs.step_up_by_passkey, methods=["POST"]),
        Route("/.crmgate/api/unlock", proofs.unlock_at_once, methods=["POST"]),
        Route("/.crmgate/api/step-up", proofs.step_up_at_once, methods=["POST"]),
    ]


def device_routes(deps: AccessDeps) -> list[BaseRoute]:
    """Proof of the device, the worker that makes it ahead of time, a person's own devices."""
    pages = DevicePages(deps)
    return [
        Route(DEVICE_PATH, pages.page, methods=["GET"]),
        Route(AGAIN_PATH, pages.again, methods=["POST"]),
        Route(f"{DEVICE_PATH}/ask", pages.ask, methods=["POST"]),
        Route(f"{DEVICE_PATH}/prove", pages.prove, methods=["POST"]),
        Route(f"{DEVICE_PATH}/worker.js", pages.worker, methods=["GET"]),
        Route(DEVICES_PATH, pages.devices, methods=["GET"]),
        Route(f"{DEVICES_PATH}/{{device}}/{{action}}", pages.change, methods=["POST"]),
    ]


def fault_handlers(deps: AccessDeps) -> dict[int | type[Exception], Handler]:
    """What a fault looks like: a page in the visitor's language that says whether trying again helps."""

    async def unavailable(request: Request, _fault: Exception) -> Response:
        response = message_page(deps, request, "unavailable", 503)
        response.headers["retry-after"] = "5"
        return response

    async def internal(request: Request, _fault: Exception) -> Response:
        return message_page(deps, request, "internal-fault", 500)

    async def not_admitted(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, NotAdmitted)
        reason = fault.reason
        await note(deps, request.scope, reason.id, reason.status, user=fault.who, operation=OPERATION_ENTRY)
        return message_page(deps, request, reason.id, reason.status)

    async def refused(request: Request, fault: Exception) -> Response:
        status = fault.status_code if isinstance(fault, HTTPException) else 500
        what = {404: "not-found", 405: "method-refused", 413: "body-too-large"}.get(status, "malformed-request")
        return message_page(deps, request, what, status)

    async def locked(request: Request, _fault: Exception) -> Response:
        return await answer_proof(deps, request, LOCK_PATH)

    async def unproved(request: Request, _fault: Exception) -> Response:
        return await answer_proof(deps, request, STEP_UP_PATH)

    async def unbound(request: Request, fault: Exception) -> Response:
        return await answer_device(deps, request, fault.lack if isinstance(fault, DeviceNeeded) else None)

    return {
        HTTPException: refused,
        NotAdmitted: not_admitted,
        SessionLocked: locked,
        StepUpNeeded: unproved,
        DeviceNeeded: unbound,
        DeviceProofNeeded: unbound,
        StoreUnavailable: unavailable,
        KeysUnavailable: unavailable,
        AuditUnavailable: unavailable,
        Exception: internal,
    }
