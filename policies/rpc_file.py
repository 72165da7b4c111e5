"""Compiles the JSON-RPC section of a profile's source: what each verb of each object does."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from policies.rpc import RpcRules, RpcTemplate
from policies.template import Template
from policies.unique import unique_of

Compile = Callable[[Mapping[str, Any], str, Iterable[str]], Template]
_STORES_FILES = frozenset({"create", "update", "import"})


def compile_rpc(source: Mapping[str, Any], template: Compile) -> RpcRules:
    """The section `rpc`. template: compiles one operation of an entity with these sets of rules."""
    call, other = partial(_call, source.get("uploads", ()), template), source["other"]
    methods = {name: call(entry, {"entity": "record"}) for name, entry in source.get("calls", {}).items()}
    objects: dict[tuple[str, str, str], RpcTemplate] = {}
    verbs: dict[tuple[str, str], RpcTemplate] = {}
    for kind, table in source["verbs"].items():
        verbs.update({(kind, verb): call(entry, other) for verb, entry in table.items()})
    for name, declared in source["objects"].items():
        kind = declared.get("kind", "model")
        for verb, entry in {**source["verbs"][kind], **declared.get("verbs", {})}.items():
            objects[(kind, name, verb)] = call(entry, declared)
        if (kind, name, "on_change") in objects:
            # Verbs named after a field (on_change_name) share one template.
            objects[(kind, name, "on_change_*")] = objects[(kind, name, "on_change")]
    return RpcRules(methods, objects, verbs, frozenset(source["media_types"]))


def _call(
    uploads: Sequence[Any], template: Compile, entry: Mapping[str, Any], declared: Mapping[str, Any]
) -> RpcTemplate:
    entity = entry.get("entity", declared["entity"])
    searches = [*entry.get("searches", ()), *(declared.get("searches", ()) if entry.get("looks_up") else ())]
    rules = [*entry.get("rules", ())]
    if entry.get("import"):
        rules += declared.get("import_rules", ["rows"])
    rules += declared.get("rules", ())
    operation = {
        **entry,
        "id": entry["id"].replace("{entity}", entity),
        "searches": searches,
        "left_alone": entry.get("left_alone", False) or declared.get("left_alone", False),
        **unique_of(entry, declared),
    }
    if entry["action"] in _STORES_FILES:
        operation["uploads"] = [*declared.get("uploads", ()), *uploads]
    parent = declared.get("parent")
    new_child = parent is not None and entry["action"] == "create" and "ids" not in entry
    if parent is not None and new_child:
        # A new child changes the record it hangs on, which its own body names.
        operation = {**operation, "action": "update", "answer": {}}
        entity = parent["entity"]
    return RpcTemplate(
        template(operation, entity, rules).plain,
        None if new_child else entry.get("ids"),
        entry.get("ids_step"),
        child=parent is not None,
        parent=parent["key"] if parent is not None and new_child else "",
    )
