"""Elastic Common Schema 8 JSON; what it has no field for stands under `crmgate`."""

from importlib.metadata import version
from typing import Any

import orjson

from audit.siem.view import View, filled

SCHEMA = "8.17.0"


def render(view: View) -> bytes:
    """The entry as one JSON object."""
    content = view.content
    event: dict[str, Any] = {
        "@timestamp": view.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "ecs": {"version": SCHEMA},
        "event": {
            "id": content["id"],
            "kind": "alert" if view.kind == "alarm" else "event",
            "category": ["authentication" if view.signs_in else "iam" if view.administers else "web"],
            "type": [_type(view)],
            "action": view.action,
            "code": view.tag,
            "outcome": "failure" if view.failed else "success",
            "reason": content["reason"],
            "sequence": view.index,
            "dataset": f"crmgate.{view.kind}",
            "module": "crmgate",
        },
        "observer": {"vendor": "crmgate", "product": "crmgate", "type": "proxy", "version": version("crmgate")},
        "organization": {"id": content["tenant"]},
        "user": {"id": content["actor"], "name": content["actor_login"]},
        "source": {"ip": content["client"]},
        "http": {"request": {"method": content["method"]}, "response": {"status_code": content["status"] or None}},
        "trace": {"id": content["exchange"]},
        "crmgate": {
            "entity": content["entity"], "record": content["record"], "policy": content["policy"],
            "crm_user": content["crm_user"], "leaf": view.leaf.hex(), "fields": content["fields"],
        },
    }  # fmt: skip
    return orjson.dumps(filled(event), option=orjson.OPT_SORT_KEYS)


def _type(view: View) -> str:
    """One that is expected for the category (ECS, "allowed values" of event.category)."""
    if view.signs_in:
        return "start"
    if view.administers:
        return "admin"
    return "error" if view.failed else "access"
