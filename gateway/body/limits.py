"""How much of a body the gateway is willing to look into; a plain value made by the settings."""

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """All sizes in bytes.

    body: a body held in memory; inflated: after content decoding or unzipping, in sum; ratio: inflated to packed,
    looked at beyond `ratio_floor`; depth: nesting of JSON; leaves: values of one body; parts, part_headers, field,
    data_file: of multipart bodies (a data file up to that size is opened, a bigger one is spooled); upload: a whole
    streamed upload; memory_file: an unopened file up to this size stays in memory; entries: of one archive.
    """

    body: int = 32 * MEBIBYTE
    inflated: int = 64 * MEBIBYTE
    ratio: int = 200
    ratio_floor: int = 8 * MEBIBYTE
    depth: int = 64
    leaves: int = 200_000
    parts: int = 1_000
    part_headers: int = 8 * 1024
    field: int = MEBIBYTE
    data_file: int = 16 * MEBIBYTE
    upload: int = 2048 * MEBIBYTE
    memory_file: int = 256 * 1024
    entries: int = 2_000
