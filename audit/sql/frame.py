"""Messages between the gateway and the process that runs a statement: a kind, a length, the bytes."""

from struct import Struct

HEAD = Struct("!cI")
JSON, ROWS = b"J", b"A"
LIMIT_BYTES = 64 * 1024 * 1024


class FrameInvalid(Exception):  # noqa: N818
    """What came is no message of the other side."""

    permanent = True


def pack(kind: bytes, content: bytes) -> bytes:
    """A message."""
    return HEAD.pack(kind, len(content)) + content


def read_head(head: bytes) -> tuple[bytes, int]:
    """Kind and length of what follows. Raises: FrameInvalid."""
    kind, length = HEAD.unpack(head)
    if kind not in (JSON, ROWS) or length > LIMIT_BYTES:
        raise FrameInvalid
    return kind, length
