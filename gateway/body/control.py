"""What a control of an HTML form adds to what a browser sends."""

from typing import Any

UNSENT = frozenset({"submit", "button", "image", "reset", "file"})


def successful(control: Any) -> list[tuple[str, str]]:
    """What a control adds to its form (HTML, 4.10.21.4); buttons only count when clicked, so never here."""
    attributes = control.attributes
    name = attributes.get("name")
    if not name or "disabled" in attributes or control.tag == "button":
        return []
    if control.tag == "textarea":
        # The parser of HTML dropped the one line break that may stand at the beginning (13.2.6.4.7).
        return [(name, control.text(deep=True) or "")]
    if control.tag == "select":
        options = control.css("option")
        chosen = [option for option in options if "selected" in option.attributes]
        if not chosen and "multiple" not in attributes:
            chosen = options[:1]
        return [(name, option_value(option)) for option in chosen]
    kind = (attributes.get("type") or "text").lower()
    if kind in UNSENT:
        return []
    if kind in ("checkbox", "radio"):
        return [(name, attributes.get("value") or "on")] if "checked" in attributes else []
    return [(name, attributes.get("value") or "")]


def option_value(option: Any) -> str:
    """What a choice of a select is sent as."""
    value = option.attributes.get("value")
    return str(value if value is not None else option.text(deep=True).strip())
