"""OCSF 1.6 JSON in three classes: Authentication, Entity Management, Web Resources Activity.

What has no attribute there stands in `unmapped`.
"""

from importlib.metadata import version
from typing import Any

import orjson

from audit.siem.view import Severity, View, filled

SCHEMA = "1.6.0"
AUTHENTICATION, ENTITY_MANAGEMENT, WEB_RESOURCES = 3002, 3004, 6001
OTHER = 99
_LOGON, _LOGOFF = 1, 2
# Entity Management and Web Resources Activity number these four alike.
_BY_METHOD = {"POST": 1, "GET": 2, "HEAD": 2, "PUT": 3, "PATCH": 3, "DELETE": 4}
_WEIGHT = {Severity.INFORMATIONAL: 1, Severity.NOTICE: 1, Severity.WARNING: 3, Severity.ALERT: 5}
_SIGN_OUTS = frozenset({"signed-out", "session-ended", "ended-elsewhere"})


def render(view: View) -> bytes:
    """The entry as one JSON object."""
    kind = AUTHENTICATION if view.signs_in else ENTITY_MANAGEMENT if view.administers else WEB_RESOURCES
    activity = _activity(view, kind)
    content = view.content
    user = {"uid": content["actor"], "name": content["actor_login"]}
    event: dict[str, Any] = {
        "activity_id": activity,
        "category_uid": kind // 1000,
        "class_uid": kind,
        "type_uid": kind * 100 + activity,
        "time": int(view.at.timestamp() * 1000),
        "severity_id": _WEIGHT[view.severity],
        "status_id": 2 if view.failed else 1,
        "status_code": str(content["status"]),
        "status_detail": content["reason"],
        "metadata": {
            "version": SCHEMA,
            "product": {"name": "crmgate", "vendor_name": "crmgate", "version": version("crmgate")},
            "uid": content["id"],
            "event_code": view.action,
            "labels": [view.tag],
            "sequence": view.index,
            "tenant_uid": content["tenant"],
            "correlation_uid": content["exchange"],
        },
        "actor": {"user": user},
        "src_endpoint": {"ip": content["client"]},
        "unmapped": {
            "kind": view.kind, "leaf": view.leaf.hex(), "policy": content["policy"], "crm_user": content["crm_user"],
            "fields": content["fields"],
        },
    }  # fmt: skip
    thing = {"type": content["entity"] or view.kind, "uid": content["record"], "name": view.action}
    if kind == AUTHENTICATION:
        event["user"] = user
        event["service"] = {"name": "crmgate"}
    elif kind == ENTITY_MANAGEMENT:
        event["entity"] = thing
    else:
        event["web_resources"] = [thing]
    return orjson.dumps(filled(event), option=orjson.OPT_SORT_KEYS)


def _activity(view: View, kind: int) -> int:
    if kind == AUTHENTICATION:
        return _LOGOFF if view.text("reason") in _SIGN_OUTS else _LOGON
    return _BY_METHOD.get(view.text("method"), OTHER)
