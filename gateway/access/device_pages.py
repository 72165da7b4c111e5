"""The device page of one host, what its script asks for, and the list of a person's own devices.

A browser that has not proved its key lately is sent to the page, whose script signs a challenge and goes back. The same
is done ahead of time by the worker (static/device-worker.js), which sees the requests of all pages of this host without
a change to any of them. Everything but a routine renewal is in the trail before its answer leaves.
"""

from collections.abc import Sequence
from urllib.parse import quote

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from gateway.access import cookies
from gateway.access.cookies import SESSION_COOKIES
from gateway.access.deps import AccessDeps, client_of
from gateway.access.device import Lack, ProofInvalid
from gateway.access.devices import DeviceRevoked, Devices, DevicesFull, Proof, Proved
from gateway.access.events import note_account
from gateway.access.next_path import safe_next
from gateway.access.page import acting, render, session_token
from gateway.access.pages import problem_answer, read_json, sign_in_address
from gateway.access.proof_pages import StepUpNeeded
from gateway.access.session_store import SessionRow
from gateway.access.sessions import AUDIENCE_CONSOLE, NoSession, SessionExpired, SessionLocked, principal_of
from gateway.access.step_up import DEVICE_PATH, LOCK_PATH, needs_proof, path_of, proof_address
from gateway.exchange import Principal

DEVICES_PATH = "/.crmgate/account/devices"
KEY_FILE, WORKER_FILE = "device-key.js", "device-worker.js"
AGAIN_FIELDS_LIMIT, AGAIN_FILES_LIMIT = 2_000, 50
_UNREADABLE = "\ufffd"  # what is no UTF-8 came out so
RENEW_EARLY = 0.8
"""Which part of a proof's life is over when the worker makes the next one."""
_REFUSED: dict[type[Exception], str] = {
    ProofInvalid: "device-proof-wrong",
    DeviceRevoked: "device-revoked",
    DevicesFull: "devices-full",
}


class DevicePages:
    """Handlers over the dependencies of one host."""

    def __init__(self, deps: AccessDeps) -> None:
        self._deps = deps

    async def page(self, request: Request) -> Response:
        """Prove the device by a script and go on."""
        deps = self._deps
        wanted = request.query_params.get("next", "")
        target = safe_next(wanted) if wanted else deps.home
        devices = deps.devices
        if devices is None or not devices.rules.on:
            return RedirectResponse(target, 303)
        try:
            await self._bearer(request)
        except (NoSession, SessionExpired):
            return RedirectResponse(sign_in_address(target), 303)
        except SessionLocked:
            return RedirectResponse(proof_address(LOCK_PATH, target), 303)
        values = {
            "next": target,
            "act": "act" in request.query_params,
            "lost": "lost" in request.query_params,
            "worker": self._worker_address() if devices.rules.bound else "",
            "approval": devices.rules.approval.value,
            "fields": None,
        }
        return render(deps, request, "device.html", values)

    async def again(self, request: Request) -> Response:
        """A form for the CRM that came too late: the same page, which sends it once more after the proof.

        What cannot be sent again as it was (files, other charsets) is not taken, and the page says so.
        """
        deps, devices = self._deps, self._deps.devices
        wanted = request.query_params.get("next", "")
        target = safe_next(wanted)
        fields: list[tuple[str, str, bool]] | None = None
        if target == wanted:
            # At most 64 KB: nothing of it reaches a disk.
            async with request.form(max_fields=AGAIN_FIELDS_LIMIT, max_files=AGAIN_FILES_LIMIT) as form:
                fields = _sendable(form.multi_items())
        if devices is None or not devices.rules.on:
            return RedirectResponse(deps.home, 303)
        values = {
            "next": target,
            "act": False,
            "lost": fields is None,
            "worker": self._worker_address() if devices.rules.bound else "",
            "approval": devices.rules.approval.value,
            "fields": fields,
            "enctype": request.headers.get("content-type", "").partition(";")[0].strip().lower(),
        }
        return render(deps, request, "device.html", values, status=401)

    async def ask(self, request: Request) -> Response:
        """A challenge for the device of this session, as JSON."""
        devices = self._deps.devices
        if devices is None or not devices.rules.on:
            return problem_answer("not-found", 404)
        try:
            row, _ = await self._bearer(request)
        except (NoSession, SessionExpired):
            return problem_answer("sign-in-required", 401)
        except SessionLocked:
            return problem_answer("session-locked", 401)
        return JSONResponse({"challenge": await devices.ask(row)})

    async def prove(self, request: Request) -> Response:
        """Check what the device signed; the session's next cookie, and how long until it should be asked again."""
        deps, devices = self._deps, self._deps.devices
        if devices is None or not devices.rules.on:
            return problem_answer("not-found", 404)
        typed = await read_json(request, ("challenge", "key", "signature"), ("act",))
        if typed is None:
            return problem_answer("body-malformed", 400)
        try:
            row, who = await self._bearer(request)
            proof = Proof(typed["challenge"], typed["key"], typed["signature"], typed.get("act") == "1")
            told = request.headers.get("user-agent", "")
            proved = await devices.prove(row, session_token(deps, request), proof, self._origin(request), told)
        except (NoSession, SessionExpired):
            return problem_answer("sign-in-required", 401)
        except SessionLocked:
            return problem_answer("session-locked", 401)
        except (ProofInvalid, DeviceRevoked, DevicesFull) as refused:
            reason = _REFUSED[type(refused)]
            await note_account(deps, request.scope, who, reason, 403, request.url.path)
            return problem_answer(reason, 403)
        await self._note_first(request, who, proved)
        renew_s = int(devices.rules.renewal.total_seconds() * RENEW_EARLY) if devices.rules.bound else 0
        state = "waiting" if proved.device.approved_at is None else "open"
        response = JSONResponse({"state": state, "renew_s": renew_s})
        cookies.set_cookie(response, SESSION_COOKIES[deps.audience], proved.token)
        return response

    async def _note_first(self, request: Request, who: Principal, proved: Proved) -> None:
        """A device that is new, and a session that is bound to one; renewals add nothing to what is known."""
        device = proved.device
        if proved.new:
            reason = "device-waits" if device.approved_at is None else "device-new"
            fields = {"detail": device.name.lower().replace(" ", "-"), "device": device.id}
            await note_account(self._deps, request.scope, who, reason, 200, request.url.path, fields)
        if proved.first:
            fields = {"device": device.id, "session": who.session_id}
            await note_account(self._deps, request.scope, who, "device-bound", 200, request.url.path, fields)

    async def worker(self, request: Request) -> Response:
        """The worker's script, which may look after the whole host."""
        static = self._deps.look.static
        body = static[KEY_FILE].body + b"\n" + static[WORKER_FILE].body
        headers = {
            "service-worker-allowed": "/",
            # What it passes on may lead to any place that the CRM's pages ask for; their own policy has judged that.
            "content-security-policy": "default-src 'none'; connect-src *",
        }
        return Response(body, media_type="text/javascript; charset=utf-8", headers=headers)

    async def devices(self, request: Request) -> Response:
        """My devices."""
        principal = await acting(self._deps, request)
        if principal is None:
            return RedirectResponse(sign_in_address(DEVICES_PATH), 303)
        devices = self._deps.devices
        if devices is None:
            return RedirectResponse("/.crmgate/account", 303)
        values = {
            "page": "account",
            "person": None,
            "path": DEVICES_PATH,
            "devices": await devices.held(principal.tenant, principal.id),
            "here": await self._here(request),
            "may_change": True,
            "may_approve": devices.rules.approval.value != "administrator",
            "notice": request.query_params.get("notice", ""),
        }
        return render(self._deps, request, "devices.html", values, principal=principal)

    async def change(self, request: Request) -> Response:
        """Let a waiting device of mine in, or shut one out; needs a fresh proof of a factor."""
        deps = self._deps
        principal = await acting(deps, request)
        if principal is None:
            return RedirectResponse(sign_in_address(DEVICES_PATH), 303)
        if needs_proof(principal, deps.proof_age, deps.clock()):
            raise StepUpNeeded
        device, action = request.path_params["device"], request.path_params["action"]
        devices = deps.devices
        if devices is None or (action == "approve" and devices.rules.approval.value == "administrator"):
            return RedirectResponse(f"{DEVICES_PATH}?notice=gone", 303)
        if not await act_on(deps, devices, request, principal, principal.id, device, action):
            return RedirectResponse(f"{DEVICES_PATH}?notice=gone", 303)
        return RedirectResponse(f"{DEVICES_PATH}?notice={action}", 303)

    async def _here(self, request: Request) -> str:
        return (await self._bearer(request))[0].device

    async def _bearer(self, request: Request) -> tuple[SessionRow, Principal]:
        """Whose session this is, whatever its device proved; raises as Sessions.bearer does, and NotAdmitted."""
        deps, now = self._deps, self._deps.clock()
        row = await deps.sessions.bearer(
            session_token(deps, request), now, tenant=deps.tenant_of(request.scope), audience=deps.audience
        )
        who = principal_of(row)
        deps.gate.check(who, deps.audience, client_of(request.scope), now)
        return row, who

    def _origin(self, request: Request) -> str:
        """The address of this host as browsers write it, from the settings alone."""
        return self._deps.public_url(self._deps.tenant_of(request.scope)).rstrip("/").lower()

    def _worker_address(self) -> str:
        at = "console" if self._deps.audience == AUDIENCE_CONSOLE else "crm"
        return f"{DEVICE_PATH}/worker.js?at={at}"


def _sendable(items: Sequence[tuple[str, object]]) -> list[tuple[str, str, bool]] | None:
    """Name, text and whether it is an empty file, of each field of a form; None where one cannot be sent again."""
    fields: list[tuple[str, str, bool]] = []
    for name, value in items:
        empty_file = isinstance(value, UploadFile) and not value.filename and not value.size
        if not (isinstance(value, str) or empty_file):
            return None
        text = value if isinstance(value, str) else ""
        if _UNREADABLE in name or _UNREADABLE in text or "\0" in text:
            return None
        fields.append((name, text, empty_file))
    return fields


async def act_on(
    deps: AccessDeps, devices: Devices, request: Request, by: Principal, owner: str, device: str, action: str
) -> bool:
    """Audit and do what somebody asks of a device; False where there is nothing to do it to."""
    held = next((one for one in await devices.held(by.tenant, owner) if one.id == device), None)
    wanted = {"approve": ("waiting",), "revoke": ("waiting", "approved")}.get(action, ())
    if held is None or held.state not in wanted:
        return False
    reason = {"approve": "device-approved", "revoke": "device-shut-out"}[action]
    fields = {"detail": f"device.{device}", "target": owner}
    await note_account(deps, request.scope, by, reason, 303, f"{DEVICES_PATH}/{{device}}/{action}", fields)
    if action == "approve":
        return await devices.approve(by.tenant, owner, device, by.id)
    return await devices.revoke(by.tenant, owner, device, by.id)


async def answer_device(deps: AccessDeps, request: Request, lack: Lack | None) -> Response:
    """Send to the device page and back; lack: None where one sensitive act needs a proof of its own."""
    path = request.url.path
    if path.startswith("/.crmgate/api/"):
        return problem_answer("device-needed" if lack else "device-proof-needed", 401)
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"hx-redirect": device_address(deps.home, act=True)})
    safe = request.method in ("GET", "HEAD")
    came_from = str(request.url) if safe else request.headers.get("referer", "")
    target = safe_next(path_of(came_from))
    # Not where nothing would use it up: it would lie about for a minute.
    used = target.startswith("/.crmgate/") or deps.audience == AUDIENCE_CONSOLE
    return RedirectResponse(device_address(target, act=used, lost=not safe), 303)


def device_address(target: str, *, act: bool = False, lost: bool = False) -> str:
    """Address of the device page that goes on to a path of this host; act: with a proof for one sensitive act."""
    return f"{DEVICE_PATH}?next={quote(target, safe='/')}" + ("&act=1" if act else "") + ("&lost=1" if lost else "")
