"""A provider made for tests, in threads of the test's own process: it answers what it is told to, right or wrong."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT = "crmgate"
# An answer: status and body (an object, or bytes as they are), or a callable that makes one from what was sent.
Said = tuple[int, Any]
Answer = Said | Callable[[dict[str, str]], Said]


@dataclass
class MadeProvider:
    """A running provider. answers: path → answer; asked: (path, what was sent, headers) of each request."""

    port: int
    key: RSAKey | ECKey
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def document(self, **other: Any) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "authorization_response_iss_parameter_supported": True,
            **other,
        }

    def count(self, path: str) -> int:
        return sum(asked == path for asked, _, _ in self.asked)

    def claims(self, for_nonce: str, now: float, **other: Any) -> dict[str, Any]:
        """Claims of a right ID token; what is None is left out."""
        made = {
            "iss": self.issuer,
            "sub": "0b6f2e",
            "aud": CLIENT,
            "iat": int(now),
            "exp": int(now) + 300,
            "nonce": for_nonce,
            **other,
        }
        return {name: value for name, value in made.items() if value is not None}

    def sign(self, claims: dict[str, Any], key: Any = None, alg: str = "RS256", **header: Any) -> str:
        told = {"alg": alg, "kid": "k1", **header}
        told = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(told, claims, key or self.key, algorithms=[alg])

    def usual(self) -> None:
        """Answers of a provider that works, but the token's."""
        self.answers = {
            "/.well-known/openid-configuration": (200, self.document()),
            "/jwks": (200, {"keys": [public(self.key)]}),
        }


def public(key: Any, kid: str = "k1", **other: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), "kid": kid, "use": "sig", **other}


@contextlib.contextmanager
def made_provider(key: RSAKey | ECKey) -> Iterator[MadeProvider]:
    """A provider on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            sent = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if "json" in self.headers.get("content-type", ""):
                sent |= json.loads(body)
            elif body:
                sent |= {name: values[0] for name, values in parse_qs(body.decode()).items()}
            provider.asked.append((parts.path, sent, {name.lower(): value for name, value in self.headers.items()}))
            answer = provider.answers.get(parts.path, (404, {"error": "not_found"}))
            status, said = answer(sent) if callable(answer) else answer
            raw = said if isinstance(said, bytes) else json.dumps(said).encode()
            with contextlib.suppress(OSError):
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("location", f"{provider.issuer}/elsewhere")
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider = MadeProvider(server.server_address[1], key)
    provider.usual()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.let_go.set()
        server.shutdown()
        server.server_close()


def hang(provider: MadeProvider) -> Callable[[dict[str, str]], Said]:
    """An answer that does not come while the test runs."""

    def wait(_: dict[str, str]) -> Said:
        provider.let_go.wait(60)
        return 200, {}

    return wait
