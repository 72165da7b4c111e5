"""Common Event Format, version 0 (ArcSight): seven header fields between bars, then key=value pairs."""

from importlib.metadata import version

from audit.siem.view import Severity, View

_WEIGHT = {Severity.INFORMATIONAL: 2, Severity.NOTICE: 4, Severity.WARNING: 6, Severity.ALERT: 10}
_PRODUCT = ("crmgate", "crmgate", version("crmgate"))


def render(view: View) -> bytes:
    """The entry as one line."""
    head = (*_PRODUCT, f"{view.kind}:{view.action}", view.action, str(_WEIGHT[view.severity]))
    content = view.content
    pairs = {
        "rt": str(int(view.at.timestamp() * 1000)),
        "externalId": content["id"],
        "act": view.action,
        "outcome": "failure" if view.failed else "success",
        "suid": content["actor"],
        "suser": content["actor_login"],
        "src": content["client"],
        "requestMethod": content["method"],
        "reason": content["reason"],
        "deviceExternalId": content["tenant"],
        "cs1Label": "entity", "cs1": content["entity"],
        "cs2Label": "record", "cs2": content["record"],
        "cs3Label": "policy", "cs3": content["policy"],
        "cs4Label": "exchange", "cs4": content["exchange"],
        "cs5Label": "leaf", "cs5": view.leaf.hex(),
        "cs6Label": "crmUser", "cs6": content["crm_user"],
        "cat": view.tag,
        "cn1Label": "index", "cn1": str(view.index),
        "cn2Label": "status", "cn2": str(content["status"]),
    }  # fmt: skip
    kept = {key: value for key, value in pairs.items() if value and _labelled(key, pairs)}
    extension = " ".join(f"{key}={_value(str(value))}" for key, value in kept.items())
    return ("CEF:0|" + "|".join(_head(one) for one in head) + "|" + extension).encode()


def _labelled(key: str, pairs: dict[str, str]) -> bool:
    """A label stands only beside its value."""
    return not key.endswith("Label") or bool(pairs[key.removesuffix("Label")])


def _head(text: str) -> str:
    return _one_line(text.replace("\\", "\\\\").replace("|", "\\|"))


def _value(text: str) -> str:
    return _one_line(text.replace("\\", "\\\\").replace("=", "\\="))


def _one_line(text: str) -> str:
    return "".join(" " if one.isspace() or not one.isprintable() else one for one in text)
