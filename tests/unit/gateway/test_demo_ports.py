"""Ports that are chosen before a program listens on them."""

import socket
from pathlib import Path

import pytest

from gateway.demo import children
from gateway.demo.children import free_port


def test_nobody_who_asks_for_any_port_is_given_one_that_was_chosen() -> None:
    """Between the choice and the start of a program lie seconds, in which others start and connect."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    assert all(1024 < free_port() < lowest for _ in range(50))


def test_a_port_in_use_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(children, "CHOSEN_PORTS", range(port, port + 1))
        monkeypatch.setattr(children, "PORT_TRIES", 1)
        with pytest.raises(OSError, match="no free port"):
            free_port()
