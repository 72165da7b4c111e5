"""The browsers of one person: who looks after people lets a new one in or shuts one out, never their own.

Audited before it is done; what is shut out ends its sessions on every node.
"""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.pages import message_page
from gateway.console.pages import ConsolePages
from gateway.console.permissions import CHANGE_USER
from gateway.exchange import Principal

_REASONS = {"approve": "device-approved", "revoke": "device-shut-out"}
_STATES = {"approve": ("waiting",), "revoke": ("waiting", "approved")}


class DevicePages(ConsolePages):
    """The list and the two acts on it."""

    async def show(self, request: Request) -> Response:
        """The person's browsers."""
        principal = await self._person(request, CHANGE_USER)
        return await self._list(request, principal, request.query_params.get("notice", ""))

    async def change(self, request: Request) -> Response:
        """Let one in or shut one out."""
        principal = await self._person(request, CHANGE_USER, proof=True)
        owner, device, action = (request.path_params[name] for name in ("user", "device", "action"))
        devices = self._deps.access.devices
        if devices is None or action not in _REASONS:
            return message_page(self._deps.access, request, "not-found", 404)
        place = f"/users/{owner}/devices"
        if owner == principal.id and action == "approve":
            return RedirectResponse(f"{place}?notice=own", 303)
        held = await devices.held(principal.tenant, owner)
        if not any(one.id == device and one.state in _STATES[action] for one in held):
            return RedirectResponse(f"{place}?notice=gone", 303)
        await self._note(
            request, principal, CHANGE_USER, _REASONS[action], 303, target=owner, detail=f"device.{device}"
        )
        act = devices.approve if action == "approve" else devices.revoke
        done = await act(principal.tenant, owner, device, principal.id)
        return RedirectResponse(f"{place}?notice={action if done else 'gone'}", 303)

    async def _list(self, request: Request, principal: Principal, notice: str) -> Response:
        deps = self._deps.access
        user = await deps.users.get(principal.tenant, request.path_params["user"])
        if user is None or deps.devices is None:
            return message_page(deps, request, "not-found", 404)
        values = {
            "page": "users",
            "person": user,
            "path": f"/users/{user.id}/devices",
            "devices": await deps.devices.held(principal.tenant, user.id),
            "here": "",
            "may_change": True,
            "may_approve": user.id != principal.id,
            "notice": notice,
        }
        return self._page(request, principal, "devices.html", values)
