"""The console behind the same strict head as the data plane: its own host only, and the true client address.

A request for another host is refused before the console sees it, so that a name that merely resolves here (DNS
rebinding) cannot reach its pages.
"""

import secrets

from gateway import headers
from gateway.access.tokens import new_id
from gateway.collaborators import Application, Receive, Scope, Send
from gateway.network import Network
from gateway.refusal import HOST_UNKNOWN, Refusal
from gateway.respond import send_refusal


def make_console_plane(console: Application, host: str, network: Network, *, secure: bool) -> Application:
    """The console for one public host (as browsers send it, with the port unless it is the scheme's own)."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            head = headers.parse(scope)
            if head.host != host:
                raise Refusal(HOST_UNKNOWN)
            peer = scope["client"]
            scope["client"] = (network.client_address(peer[0], head), peer[1])
        except Refusal as refusal:
            await send_refusal(scope, send, refusal, new_id("x", secrets.token_bytes), secure=secure)
            return
        await console(scope, receive, send)

    return handle
