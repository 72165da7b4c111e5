"""One bounded HTTP POST for anchors: no redirect, no proxy, no cookie, an answer of limited size."""

import asyncio
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

ANSWER_LIMIT_BYTES = 200_000
TIMEOUT_S = 15.0


class PostFailed(Exception):  # noqa: N818 - an outcome
    """No usable answer came; the text holds no address."""

    permanent = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    content_type: str
    body: bytes


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


async def post(url: str, body: bytes, content_type: str, *, timeout_s: float = TIMEOUT_S) -> Answer:
    """Send and read the answer, whatever its status. Raises: PostFailed."""
    return await asyncio.to_thread(_post, url, body, content_type, timeout_s)


def _post(url: str, body: bytes, content_type: str, timeout_s: float) -> Answer:
    if not url.startswith(("https://", "http://")):
        raise PostFailed("its address is not http or https")
    headers = {"Content-Type": content_type, "User-Agent": "crmgate-audit"}
    sent = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - scheme checked above
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)
    try:
        with opener.open(sent, timeout=timeout_s) as answer:
            return _read(answer.status, answer)
    except urllib.error.HTTPError as answer:
        with answer:
            return _read(answer.code, answer)
    except (urllib.error.URLError, HTTPException, OSError, ValueError) as fault:
        raise PostFailed(f"it cannot be reached ({type(fault).__name__})") from None


def _read(status: int, answer: Any) -> Answer:
    body = answer.read(ANSWER_LIMIT_BYTES + 1)
    if len(body) > ANSWER_LIMIT_BYTES:
        raise PostFailed("its answer is too long")
    return Answer(status, answer.headers.get_content_type(), body)
