"""The spool: what lies on the disk is not what was written, and ranges are read back exactly."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.body.spool import CHUNK_BYTES, SealedFile


async def read_back(file: SealedFile, start: int, length: int) -> bytes:
    return b"".join([chunk async for chunk in file.read(start, length)])


async def test_nothing_readable_and_no_name_on_the_disk(tmp_path: Path) -> None:
    file = SealedFile(tmp_path)
    secret = b"13800138000 " * 50_000
    await file.append(secret)
    await file.flush()
    assert list(tmp_path.iterdir()) == []
    descriptor = file._descriptor
    assert os.fstat(descriptor).st_size == len(secret) == file.length
    assert b"13800138000" not in os.pread(descriptor, len(secret), 0)
    assert await read_back(file, 0, len(secret)) == secret
    file.close()
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@given(st.lists(st.binary(max_size=50), max_size=6), st.data())
async def test_any_range_is_read_back(chunks: list[bytes], data: st.DataObject) -> None:
    file = SealedFile()
    for chunk in chunks:
        await file.append(chunk)
    await file.flush()
    whole = b"".join(chunks)
    start = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, len(whole) - start))
    assert await read_back(file, start, length) == whole[start : start + length]
    file.close()


async def test_a_range_over_several_chunks_and_one_beyond_the_end() -> None:
    file = SealedFile()
    whole = bytes(range(256)) * (CHUNK_BYTES // 100)
    await file.append(whole)
    await file.flush()
    assert await read_back(file, 13, len(whole) - 20) == whole[13 : len(whole) - 7]
    with pytest.raises(OSError, match="ended early"):
        await read_back(file, 0, len(whole) + 1)
    file.close()
