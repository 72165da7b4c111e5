"""Both network sinks against real TLS servers: who is not who they should be gets nothing, silence is not success."""

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit.siem.https_sink import HttpsSink
from audit.siem.sink import SinkUnavailable
from audit.siem.tls_sink import TlsSink
from gateway.certificate import ensure_certificate
from tests.unit.audit.siem.collector import https_collector, server_context, syslog_collector

LINES = [b"<110>1 one", "<110>1 二".encode()]


class Sides:
    """Certificates of a collector for localhost, and of an authority nobody here knows."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        own = ensure_certificate(folder / "own", ["localhost"], now)
        other = ensure_certificate(folder / "other", ["localhost"], now)
        elsewhere = ensure_certificate(folder / "elsewhere", ["elsewhere.example.org"], now)
        self.server = server_context(own.certificate, own.key)
        self.stranger = server_context(other.certificate, other.key)
        self.misnamed = server_context(elsewhere.certificate, elsewhere.key)
        self.trust = ssl.create_default_context(cafile=own.authority)
        self.trust_misnamed = ssl.create_default_context(cafile=elsewhere.authority)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    return Sides(tmp_path_factory.mktemp("siem"))


async def test_syslog_frames_arrive_whole_over_one_connection(sides: Sides) -> None:
    async with syslog_collector(sides.server) as found:
        sink = TlsSink("localhost", found.port, sides.trust)
        await sink.send(LINES)
        await sink.send(LINES)
        assert await sink.alive()
        await _arrive(found.messages, 4)
        await sink.close()
    assert found.messages == LINES * 2
    assert found.connections == 1


@pytest.mark.parametrize("wrong", ["stranger", "misnamed", "plain"])
async def test_who_cannot_show_the_right_certificate_gets_nothing(wrong: str, sides: Sides) -> None:
    context = {"stranger": sides.stranger, "misnamed": sides.misnamed, "plain": None}[wrong]
    trust = sides.trust_misnamed if wrong == "misnamed" else sides.trust
    async with syslog_collector(context) as found:
        sink = TlsSink("localhost", found.port, trust)
        if wrong == "plain":
            with pytest.raises((SinkUnavailable, TimeoutError)):
                async with asyncio.timeout(1):
                    await sink.send(LINES)
        else:
            with pytest.raises(SinkUnavailable, match="TLS"):
                await sink.send(LINES)
        assert found.messages == []
        assert not await sink.alive()
        await sink.close()


async def test_a_collector_that_does_not_read_is_not_taken_for_one_that_does(sides: Sides) -> None:
    async with syslog_collector(sides.server) as found:
        found.reads = False
        sink = TlsSink("localhost", found.port, sides.trust, taken_s=0.5)
        with pytest.raises(SinkUnavailable, match="Timeout"):
            await sink.send([b"x" * 60_000] * 400)
        assert not await sink.alive()


async def test_nobody_there_is_told(sides: Sides) -> None:
    async with syslog_collector(sides.server) as found:
        port = found.port
    with pytest.raises(SinkUnavailable):
        await TlsSink("localhost", port, sides.trust).send(LINES)


async def test_https_posts_a_line_an_entry_with_the_credential_from_its_file(sides: Sides, tmp_path: Path) -> None:
    secret = tmp_path / "authorization"
    secret.write_text("Splunk 1234\n")
    async with https_collector(sides.server) as found:
        sink = HttpsSink(f"https://localhost:{found.port}/in", sides.trust, secret, kind="application/x-ndjson")
        await sink.send([b"{}", b"{}"])
        await sink.close()
    assert found.messages == [b"{}", b"{}"]
    assert b"authorization: Splunk 1234\r\n" in found.headers[0]
    assert found.headers[0].startswith(b"POST /in HTTP/1.1\r\n")


@pytest.mark.parametrize("status", [b"302 Found\r\nlocation: /x", b"401 Unauthorized", b"503 Busy", b"100 Continue"])
async def test_every_other_answer_is_a_refusal(status: bytes, sides: Sides) -> None:
    async with https_collector(sides.server) as found:
        found.status = status
        sink = HttpsSink(f"https://localhost:{found.port}/in", sides.trust, None, kind="text/plain")
        with pytest.raises(SinkUnavailable):
            await sink.send([b"{}"])
        await sink.close()
    assert len(found.headers) == 1  # not followed, not tried again


async def test_https_to_a_stranger_sends_nothing(sides: Sides) -> None:
    async with https_collector(sides.stranger) as found:
        sink = HttpsSink(f"https://localhost:{found.port}/in", sides.trust, None, kind="text/plain")
        with pytest.raises(SinkUnavailable):
            await sink.send([b"{}"])
        await sink.close()
    assert found.messages == []


async def test_a_credential_that_cannot_be_read_sends_nothing(sides: Sides, tmp_path: Path) -> None:
    async with https_collector(sides.server) as found:
        sink = HttpsSink(f"https://localhost:{found.port}/", sides.trust, tmp_path / "none", kind="text/plain")
        with pytest.raises(SinkUnavailable, match="FileNotFound"):
            await sink.send([b"{}"])
    assert found.connections == 0


async def _arrive(messages: list[bytes], count: int) -> None:

    async with asyncio.timeout(60):
        while len(messages) < count:
            await asyncio.sleep(0.01)
