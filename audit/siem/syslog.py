"""RFC 5424 messages, and the frames of RFC 5425 (section 4.3) they travel in over TLS."""

from audit.siem.view import View

FACILITY = 13  # log audit
APP_NAME = "crmgate"
# RFC 5612 reserves this enterprise number for documentation; a vendor's own number would stand here.
ELEMENT = "crmgate@32473"
_BOM = b"\xef\xbb\xbf"  # section 6.4: MSG in UTF-8 says so


def render(view: View, host: str) -> bytes:
    """The entry as one message: names as structured data, the canonical bytes as MSG. host: this node's name."""
    return wrap(view, host, _BOM + view.body, _element(view))


def wrap(view: View, host: str, message: bytes, data: str = "-") -> bytes:
    """A message of another format behind a syslog header; data: structured data, "-" for none."""
    priority = FACILITY * 8 + view.severity
    time = view.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    head = f"<{priority}>1 {time} {_name(host, 255)} {APP_NAME} - {_name(view.kind, 32)} {data} "
    return head.encode("ascii") + message


def frame(message: bytes) -> bytes:
    """A message as it stands on a TLS connection: its length in octets, a space, and itself."""
    return b"%d %b" % (len(message), message)


def _element(view: View) -> str:
    said = {
        "index": str(view.index),
        "leaf": view.leaf.hex(),
        "tenant": view.text("tenant"),
        "actor": view.text("actor"),
        "login": view.text("actor_login"),
        "client": view.text("client"),
        "operation": view.text("operation"),
        "tag": view.tag,
        "entity": view.text("entity"),
        "record": view.text("record"),
        "reason": view.text("reason"),
        "status": str(view.content["status"]),
    }
    # Logins may hold letters of any script, which parameter values may, too; the header may not, so ASCII it is.
    parts = "".join(f' {name}="{_value(value)}"' for name, value in said.items() if value)
    return f"[{ELEMENT}{parts}]"


def _value(text: str) -> str:
    plain = "".join(one if " " <= one <= "~" else "?" for one in text)
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _name(text: str, longest: int) -> str:
    """PRINTUSASCII, never empty (section 6)."""
    return "".join(one for one in text if "!" <= one <= "~")[:longest] or "-"
