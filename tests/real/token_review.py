"""The one part of a Kubernetes API server that OpenBao asks at a login: TokenReview, over HTTPS on loopback.

It answers in the shape of `authentication.k8s.io/v1` TokenReview (Kubernetes API reference): a token it was told about
is authenticated as `system:serviceaccount:NAMESPACE:NAME` with its uid, any other is not. It is no Kubernetes: it
shows that login, renewal and refusal work against the documented shape, not that a cluster is set up rightly.
"""

import base64
import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.real.certificates import Pair

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
UID = "5f3a2b9c-0000-4000-8000-000000000001"


@dataclass(slots=True)
class TokenReview:
    """A running server; `valid` are the tokens it knows, `asked` counts reviews."""

    port: int
    valid: set[str] = field(default_factory=set)
    asked: int = 0

    def service_account(self, namespace: str, name: str) -> str:
        """A token of the shape Kubernetes gives to pods; nobody here checks its signature but this server."""
        about = {"namespace": namespace, "serviceaccount": {"name": name, "uid": UID}}
        claims = {
            "iss": "https://kubernetes.default.svc",
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "kubernetes.io": about,
            "exp": 4_000_000_000,
            "iat": 1,
            "nbf": 1,
        }
        parts = (_part({"alg": "RS256", "typ": "JWT"}), _part(claims), _encoded(len(self.valid).to_bytes(256)))
        token = ".".join(parts)
        self.valid.add(token)
        return token


def _part(content: dict[str, Any]) -> str:
    return _encoded(json.dumps(content).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _status(token: str, valid: bool) -> dict[str, Any]:
    if not valid:
        return {"authenticated": False, "error": "token is not valid", "user": {}}
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    account = claims["kubernetes.io"]
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{account['namespace']}", "system:authenticated"]
    return {"authenticated": True, "user": {"username": claims["sub"], "uid": UID, "groups": groups}}


@contextlib.contextmanager
def token_review(pair: Pair) -> Iterator[TokenReview]:
    """The server on a free port of 127.0.0.1 with this certificate."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            review.asked += 1
            known = asked["spec"]["token"] in review.valid
            given = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}}
            answer = json.dumps(given | {"status": _status(asked["spec"]["token"], known)}).encode()
            self.send_response(201 if self.path == PATH else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    review = TokenReview(server.server_address[1])
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield review
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
