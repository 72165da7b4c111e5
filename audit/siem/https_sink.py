"""HTTPS: a batch is the body of one POST, an object a line; the answer says that it was taken."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path

import urllib3

from audit.siem.sink import SinkUnavailable

ANSWER_S = 30.0
_TAKEN = range(200, 300)


class HttpsSink:
    """url: where to post. authorization: file with the value of that header, read for each batch. kind: of the body."""

    confirms = True

    def __init__(self, url: str, context: ssl.SSLContext, authorization: Path | None, *, kind: str) -> None:
        self._url = url
        self._authorization = authorization
        self._kind = kind
        timeout = urllib3.Timeout(connect=10.0, read=ANSWER_S)
        self._pool = urllib3.PoolManager(num_pools=1, ssl_context=context, timeout=timeout, retries=False)

    async def send(self, lines: Sequence[bytes]) -> None:
        """Post; raises SinkUnavailable for every answer that is not 2xx. Redirects are not followed."""
        try:
            headers = {"content-type": self._kind, "user-agent": "crmgate"}
            if self._authorization is not None:
                headers["authorization"] = self._authorization.read_text(encoding="utf-8").strip()
            body = b"\n".join(lines) + b"\n"
            status = await asyncio.to_thread(self._post, body, headers)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as fault:
            raise SinkUnavailable(type(fault).__name__) from None
        if status not in _TAKEN:
            raise SinkUnavailable(f"status {status}")

    async def alive(self) -> bool:
        """What was answered stays answered."""
        return True

    async def close(self) -> None:
        """Let go of connections."""
        self._pool.clear()

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        answer = self._pool.request("POST", self._url, body=body, headers=headers, redirect=False)
        return int(answer.status)
