"""Which sink and which format a [siem.NAME] gets."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit.entry import AuditEntry, encode
from audit.siem.file_sink import FileSink
from audit.siem.https_sink import HttpsSink
from audit.siem.tls_sink import TlsSink
from audit.siem.view import view_of
from audit.tree import leaf_hash
from gateway.composition_siem import render_of, sink_of
from gateway.siem_config import SiemFormat, SiemSettings
from gateway.toml_tree import SettingInvalid

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
BODY = encode(AuditEntry(at=AT, fields={}, id="e1", kind="decision", tenant="demo"))
VIEW = view_of(0, AT, leaf_hash(BODY), BODY)


@pytest.mark.parametrize(
    ("to", "kind"),
    [("file:///tmp/x", FileSink), ("tls://localhost", TlsSink), ("https://localhost/in", HttpsSink)],
)
def test_the_address_names_the_way(to: str, kind: type[object]) -> None:
    assert isinstance(sink_of(SiemSettings(to=to), "siem.soc"), kind)


@pytest.mark.parametrize("form", SiemFormat)
def test_over_syslogs_tls_every_format_has_syslogs_header(form: SiemFormat) -> None:
    assert render_of(SiemSettings(to="tls://h", format=form), "gate-1")(VIEW).startswith(b"<110>1 2026-03-04T05:06:07")


@pytest.mark.parametrize(
    ("form", "start"),
    [(SiemFormat.SYSLOG, b"<110>1 "), (SiemFormat.CEF, b"CEF:0|"), (SiemFormat.OCSF, b"{"), (SiemFormat.ECS, b"{")],
)
def test_elsewhere_a_line_is_the_format_itself(form: SiemFormat, start: bytes) -> None:
    assert render_of(SiemSettings(to="https://h", format=form), "gate-1")(VIEW).startswith(start)


def test_certificates_that_cannot_be_read_are_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="certificates"):
        sink_of(SiemSettings(to="tls://h", ca=tmp_path / "none.pem"), "siem.soc")
