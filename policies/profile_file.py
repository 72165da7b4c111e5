"""Compiles the YAML of a profile into a `Profile`.

Two steps: the JSON Schema beside the profiles says what may be written where, then names are resolved (fields, rule
sets, paths). Every problem is collected and told in plain words; a profile with one problem is not used at all.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from policies import credential, soap
from policies.asked_file import column_rules, join, path_searches, search_clause, with_asked
from policies.attribute import compile_attributes
from policies.carried import compile_carried
from policies.column import ColumnRule
from policies.comparison import compile_comparisons
from policies.dialect_file import Places as ArgumentPlaces
from policies.dialect_file import compile_dialects, selects
from policies.element import selected
from policies.field_file import read_field, read_shown, selector_of
from policies.graphql.answer import NEW_RECORD
from policies.graphql.mapping import SCHEMA, GraphqlMap, compile_graphql
from policies.made import MadeRule, read_made
from policies.matcher import PathTrie, TemplateInvalid
from policies.merge import compile_merges
from policies.opaque import compile_opaque, problems_of
from policies.operation import (
    Action,
    BodyRule,
    FieldSpec,
    Operation,
    SearchRule,
    ShownRule,
    StorageForm,
    UploadRule,
    Where,
)
from policies.owner import OwnerRule, read_posted, read_through
from policies.places import compile_places, with_columns
from policies.polling import compile_polling
from policies.profile import Profile, ProfileInvalid, ReadBack, Template, Whoami, label_key
from policies.query.table import compile_tables
from policies.record_id import RecordIds
from policies.rpc import RpcRules, RpcTemplate
from policies.taxonomy import Kind
from policies.unique import UniqueRule, compile_unique, unique_of
from policies.walk import compile_walk

PROFILES = Path(__file__).with_name("profiles")
_STORES_FILES = frozenset({"create", "update", "import"})  # of a JSON-RPC object
GRAPHQL = Template(SCHEMA, needs_body=True, graphql=True)
_READ_ACTIONS = frozenset({Action.READ, Action.LIST, Action.SEARCH, Action.EXPORT, Action.ASSET})


@lru_cache(maxsize=1)
def _validator() -> Draft202012Validator:
    schema = json.loads((PROFILES / "profile.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def read_source(name_or_path: str | Path) -> dict[str, Any]:
    """The parsed YAML of a shipped profile (by name) or of a file.

    Raises: OSError when it cannot be read, ProfileInvalid when it is not YAML or breaks the schema.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        path = PROFILES / f"{name_or_path}.yaml"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        source = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe loader either way
    except yaml.YAMLError as error:
        raise ProfileInvalid([f"the profile is not valid YAML: {getattr(error, 'problem', error)}"]) from error
    return validated(source)


def validated(source: Any) -> dict[str, Any]:
    """A parsed source that keeps to the schema; raises ProfileInvalid."""
    problems = [f"{_place(error.absolute_path)}: {error.message}" for error in _validator().iter_errors(source)]
    if problems:
        raise ProfileInvalid(sorted(problems)[:50])
    return dict(source)


def _place(path: Iterable[Any]) -> str:
    return ".".join(str(step) for step in path) or "top level"


def compile_profile(source: Mapping[str, Any]) -> Profile:
    """Resolve the names of a validated source.

    Raises: ProfileInvalid listing every problem.
    """
    return _Compiler(source).run()


class _Compiler:
    """Holds what is being resolved; used once."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self.source = source
        self.problems: list[str] = []
        self.fields: dict[tuple[str, str], FieldSpec] = {}
        self.labels: dict[str, FieldSpec] = {}
        self.answers: dict[str, Mapping[str, Any]] = {}
        self.made: dict[str, MadeRule] = {}
        self.tries: dict[str, PathTrie[Template]] = {}
        self.exact: dict[tuple[str, str], Template] = {}
        self.ids: dict[str, None] = {}
        self.actions: dict[str, set[Action]] = {"unmatched.read": {Action.OTHER}}
        self.arguments: ArgumentPlaces = {}
        self.by_path: dict[tuple[str, str], Template] = {}
        self.templates = 0
        self.record_ids = RecordIds(source.get("record_ids", "number"))
        self.untouched = tuple(selector_of(entry) for entry in source.get("untouched", ()))
        self.merges = compile_merges(source.get("merges", {}))

    def run(self) -> Profile:
        source = self.source
        self._fields()
        for entry in source["operations"]:
            self._operation(entry)
        if "graphql" in source:
            for method in ("GET", "POST"):
                self._paths(method, source["graphql"]["paths"], GRAPHQL, None)
        self._place()
        rpc = self._rpc(source["rpc"]) if "rpc" in source else None
        dialects = compile_dialects(source["dialects"], self._dialect_call) if "dialects" in source else {}
        graphql = self._graphql(source["graphql"]) if "graphql" in source else None
        pages: PathTrie[str] = PathTrie(self.record_ids)
        for template, entity in source.get("record_pages", {}).items():
            self._add_path(pages, template, entity)
        walk = compile_walk(source["walk"], self._field) if "walk" in source else None
        shown = tuple(rule for entry in source.get("shown", ()) for rule in self._shown(entry))
        places = with_columns(
            compile_places(source.get("places", {}), self._field), source.get("tables", {}), self._field
        )
        comparisons = compile_comparisons(source.get("comparisons", ()), self._field)
        tables, problems = compile_tables(source.get("tables", {}), lambda name, place: self._field(name, "", place))
        self.problems += problems
        carried, problems = compile_carried(
            source.get("carried", {}), frozenset(source.get("cookies", {}).get("session", ()))
        )
        self.problems += problems if "carried" in source else []
        if self.problems:
            raise ProfileInvalid(self.problems)
        owner = source.get("owner", {})
        cookies = source.get("cookies", {})
        return Profile(
            name=source["profile"],
            title=source["title"],
            version=str(source["version"]),
            protocol=source["protocol"],
            field_specs=self.fields,
            labels=self.labels,
            session_cookies=frozenset(cookies.get("session", ())),
            csrf_cookies=frozenset(cookies.get("csrf", ())),
            credential_rules=tuple(source.get("credentials", ())),
            sign_in=source.get("sign_in", {}),
            owner_source=owner.get("source", "none"),
            owner_fields=tuple(owner.get("fields", ())),
            owned_entities=frozenset(owner.get("entities", ())),
            owned_through=read_through(owner),
            made_rules=self.made,
            record_pages=pages,
            answers=self.answers,
            tries=self.tries,
            exact=self.exact,
            rpc=rpc,
            whoami=Whoami(**source["whoami"]) if "whoami" in source else None,
            read_backs={entry["entity"]: _read_back(entry, self.record_ids) for entry in source.get("read_back", ())},
            discoveries=tuple(source.get("discover", ())),
            types={},
            type_entities=frozenset(rule["entity"] for rule in source.get("discover", ())),
            operation_ids=("unmatched.read", "unmatched.write", *self.ids),
            actions={name: frozenset(actions) for name, actions in self.actions.items()},
            mask_char=source.get("mask_char", "*"),
            websocket=source.get("websocket", False),
            origin_mode=source.get("origin_mode", "C"),
            untouched=self.untouched,
            global_record_ids=source.get("global_record_ids", False),
            accept_rules=tuple(source.get("accepted", ())),
            signed_out=source.get("signed_out", {}),
            known_limits=tuple(source.get("known_limits", ())),
            template_count=self.templates,
            walk=walk,
            derived={entry["key"]: entry["region"] for entry in source.get("derived", ())},
            credential_headers=credential.header_names(source.get("credentials", ())),
            credential_bodies=credential.bodies(source.get("credentials", ())),
            carried=carried if "carried" in source else None,
            polling=compile_polling(source.get("polling", ())),
            shown_rules=shown,
            places=places,
            tables=tables,
            closed=source.get("unmatched_reads", "scan") == "deny",
            names_in_any_case=source.get("names_in_any_case", False),
            record_ids=self.record_ids,
            comparisons=comparisons,
            attributes=compile_attributes(source.get("attributes", {})),
            dialects=dialects,
            graphql=graphql,
            source=source,
        )

    # -- fields and rules ------------------------------------------------------------------------------------

    def _fields(self) -> None:
        for entity, fields in self.source["fields"].items():
            for name, entry in fields.items():
                spec, problems = read_field(entity, name, entry)
                self.problems += problems
                self.fields[(entity, name)] = spec
                for label in (*entry.get("labels", ()), *entry.get("linked", ())):
                    self._label(label, spec)

    def _shown(self, entry: Mapping[str, Any]) -> Iterable[ShownRule]:
        spec = self._field(entry["field"], "", "shown")
        if spec is not None and spec.form is StorageForm.SURROGATE:
            self.problems.append(f"shown: field {entry['field']} is a surrogate, which is found wherever it stands")
        return () if spec is None else (read_shown(entry, spec, self.record_ids),)

    def _label(self, label: str, spec: FieldSpec) -> None:
        key = label_key(label)
        known = self.labels.get(key)
        if known is not None and (known.kind is not spec.kind or known.form is not spec.form):
            self.problems.append(f"label {label!r} stands for two kinds of values")
        self.labels.setdefault(key, spec)

    def _field(self, name: str | None, entity: str, place: str) -> FieldSpec | None:
        """A field by `entity.field` or `.field` (of the operation's entity); "text" is free text."""
        if name is None or name == "text":
            return None
        owner, _, short = name.rpartition(".")
        spec = self.fields.get((owner or entity, short))
        if spec is None:
            self.problems.append(f"{place}: field {name!r} is not declared for {owner or entity}")
        return spec

    def _rules(self, names: Iterable[str], entity: str, place: str) -> tuple[BodyRule, ...]:
        found: list[BodyRule] = []
        for name in names:
            entries = self.source.get("rule_sets", {}).get(name)
            if entries is None:
                self.problems.append(f"{place}: rule set {name!r} does not exist")
                continue
            found.extend(
                self._rule({**entry, "select": list(select)}, entity, f"rule set {name}")
                for entry in map(selected, entries)
                for select in selects(entry["select"], self.arguments)
            )
        return tuple(found)

    def _rule(self, entry: Mapping[str, Any], entity: str, place: str) -> BodyRule:
        def resolve(names: Mapping[str, str]) -> dict[str, FieldSpec]:
            found = {key: self._field(name, entity, place) for key, name in names.items()}
            return {key: spec for key, spec in found.items() if spec is not None}

        column = entry.get("column")
        return BodyRule(
            selector_of(entry["select"]),
            self._field(entry.get("field"), entity, place),
            (entry["sibling"], resolve(entry["fields"])) if "sibling" in entry else None,
            (tuple(column["header"]), self._columns(column["fields"], entity, place)) if column else None,
            resolve(entry["shape"]) if "shape" in entry else None,
            entry.get("row_id", ""),
            resolve(entry["empties"]) if "empties" in entry else None,
        )

    def _columns(self, names: Mapping[str, str], entity: str, place: str) -> dict[str, FieldSpec | None]:
        """Columns of positional rows; `shape` leaves the choice to the value's shape."""
        return {key: None if name == "shape" else self._field(name, entity, place) for key, name in names.items()}

    def _searches(self, names: Iterable[str], entity: str, place: str) -> tuple[SearchRule, ...]:
        found: list[SearchRule] = []
        for name in names:
            entries = self.source.get("search_sets", {}).get(name)
            if entries is None:
                self.problems.append(f"{place}: search set {name!r} does not exist")
                continue
            for entry in self._selected(entries):
                if entry.get("order"):
                    continue
                columns = entry.get("columns")
                found.append(
                    SearchRule(
                        Where(entry["where"]),
                        selector_of(entry["select"]),
                        self._field(entry.get("field"), entity, place),
                        None
                        if columns is None
                        else {column: self._field(named, entity, place) for column, named in columns.items()},
                        frozenset(entry.get("equality", ("=", "in"))),
                        entry.get("strip", ""),
                        entry.get("compare", ""),
                        entry.get("lookup", ""),
                        _kinds(entry.get("kinds", {})),
                        _kinds(entry.get("begins", {})),
                        entry.get("beside", {}),
                        {column: tuple(names) for column, names in entry.get("spread", {}).items()},
                        {column: tuple(names) for column, names in entry.get("spread_begins", {}).items()},
                        entry.get("at_least", 0),
                        entry.get("language", ""),
                        entry.get("table", ""),
                        search_clause(entry),
                        tuple(spec for one in entry.get("among", ()) if (spec := self._field(one, entity, place))),
                    )
                )
        return tuple(found)

    def _selected(self, entries: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
        for entry in map(selected, entries):
            for select in selects(entry["select"], self.arguments):
                yield {**entry, "select": list(select)}

    def _columns_named(self, names: Iterable[str], entity: str, place: str) -> tuple[ColumnRule, ...]:
        sets = self.source.get("search_sets", {})
        entries = [entry for name in names for entry in self._selected(sets.get(name, ()))]
        return tuple(
            rule for entry in entries for rule in column_rules(entry, lambda name: self._field(name, entity, place))
        )

    # -- operations ------------------------------------------------------------------------------------------

    def _operation(self, entry: Mapping[str, Any]) -> None:
        template = self._template(entry, entry.get("entity", "record"), entry.get("rules", ()))
        if entry.get("typed"):
            by_type = {}
            for key, typed in self.source["typed"].items():
                by_type[key] = self._template(entry, typed["entity"], [*entry.get("rules", ()), *typed["rules"]])
            template = replace(template, by_type=by_type)
        methods = entry.get("methods") or (["GET"] if template.plain.action in _READ_ACTIONS else ["POST"])
        for method in methods:
            self._paths(method, entry["paths"], template, entry.get("when"))
        if entry.get("form"):
            # The page that shows the form of a write: same places, nothing written.
            shown = {"id": entry["id"] + "_form", "action": "read", "left_alone": entry.get("left_alone", False)}
            page = {**shown, **{key: entry[key] for key in ("entity", "typed", "ids_in", "paths") if key in entry}}
            self._operation(page)

    def _paths(self, method: str, paths: Iterable[str], template: Template, when: Mapping[str, Any] | None) -> None:
        for path in paths:
            self.templates += 1
            known = self.by_path.get((method, path))
            joined = join(known, template, when)
            if joined is None:
                self.problems.append(f"path template given twice: {path}")
            else:
                self.by_path[(method, path)] = joined

    def _place(self) -> None:
        """Put the templates of all paths where requests find them."""
        for (method, path), template in self.by_path.items():
            self._add_path(self.tries.setdefault(method, PathTrie(self.record_ids)), path, template)
            if "{" not in path:
                self.exact[(method, path)] = template
                self.exact[(method, path.rstrip("/") + "/")] = template

    def _template(self, entry: Mapping[str, Any], entity: str, rules: Iterable[str]) -> Template:
        name = entry["id"].replace("{entity}", entity)
        place = f"operation {name}"
        action = Action(entry["action"])
        self.actions.setdefault(name, set()).add(action)
        operation = Operation(
            id=name,
            entity=entity,
            action=action,
            rules=self._rules(rules, entity, place),
            granted_write=entry.get("granted", "refused" not in entry),
            extra={
                **entry.get("extra", {}),
                **({"refused": entry["refused"]} if "refused" in entry else {}),
                **_column_choice(entry),
                **_redirect_part(entry),
                **_asks(entry),
                **soap.extra_of(entry),
            },
            searches=self._searches(entry.get("searches", ()), entity, place),
            uploads=tuple(
                UploadRule(
                    upload["part"],
                    upload.get("data", False),
                    self._field(upload.get("seal"), entity, place),
                    upload.get("images", False),
                    tuple(upload.get("header", ())),
                )
                for upload in entry.get("uploads", ())
            ),
            left_alone=entry.get("left_alone", False),
            untouched=(*self.untouched, *(selector_of(one) for one in entry.get("untouched", ()))),
            columns=self._columns_named(entry.get("searches", ()), entity, place),
            owners=tuple(self._owners(entity, action)),
            merge=self.merges.get(entry.get("merge", "")),
            unique=self._unique(entry, entity, place),
            opaque=compile_opaque(entry, self.source),
        )
        self.problems += problems_of(entry, place)
        if "merge" in entry and operation.merge is None:
            self.problems.append(f"{place}: merge {entry['merge']!r} does not exist")
        if "merge" in entry and action not in _READ_ACTIONS:
            self.problems.append(f"{place}: only answers to reads can be merged")
        self._answer(name, entry.get("answer"))
        signs = tuple(entry.get("search_signs", ()))
        searching = None
        if signs:
            searching = replace(operation, action=Action.SEARCH)
            self.actions[name].add(Action.SEARCH)
        template = Template(
            operation,
            rpc=entry.get("rpc", False),
            needs_body=bool(entry.get("rpc") or entry.get("ids_in_body") or entry.get("answer", {}).get("unless")),
            redirect_field=entry.get("answer", {}).get("unless", ""),
            record_fields=tuple(entry.get("ids_in", ())),
            search_signs=signs,
            searching=searching,
            placed=path_searches(operation),
        )
        return with_asked(template, entry)

    def _owners(self, entity: str, action: Action) -> Iterable[OwnerRule]:
        owner = self.source.get("owner", {})
        if action not in (Action.CREATE, Action.UPDATE) or entity not in owner.get("entities", ()):
            return
        for rule in read_posted(owner):
            yield from (replace(rule, selector=one) for one in selects(rule.selector, self.arguments))

    def _unique(self, entry: Mapping[str, Any], entity: str, place: str) -> UniqueRule | None:
        rule = entry.get("unique")
        if rule is None:
            return None
        specs = [self._field(name, entity, place) for name in rule["fields"]]
        try:
            return compile_unique(rule, [(spec.entity, spec.name) for spec in specs if spec is not None])
        except ValueError as error:
            self.problems.append(f"{place}: {error}")
            return None

    def _answer(self, name: str, rule: Mapping[str, Any] | None) -> None:
        self.ids[name] = None
        rule = rule or {}
        if "newest" in rule:
            self.made[name] = read_made(rule["newest"])
        if name in self.answers and self.answers[name] != rule:
            self.problems.append(f"operation {name}: two entries with this id expect different answers")
        self.answers[name] = rule

    def _add_path(self, trie: PathTrie[Any], path: str, value: Any) -> None:
        try:
            trie.add(path, value)
        except TemplateInvalid as error:
            self.problems.append(str(error))

    def _dialect_call(
        self, entry: Mapping[str, Any], entity: str, rules: list[str], places: ArgumentPlaces
    ) -> Operation:
        self.arguments = places
        try:
            return self._template(entry, entity, rules).plain
        finally:
            self.arguments = {}

    def _graphql(self, source: Mapping[str, Any]) -> GraphqlMap:
        closed = self.source.get("unmatched_reads") == "deny"
        made = compile_graphql(source, self._field, self.problems, closed=closed)
        for operation in made.operations:
            self._answer(operation.id, NEW_RECORD)
            self.actions.setdefault(operation.id, set()).add(operation.action)
        return made

    # -- RPC -------------------------------------------------------------------------------------------------

    def _rpc(self, source: Mapping[str, Any]) -> RpcRules:
        other = source["other"]
        methods = {name: self._call(entry, {"entity": "record"}) for name, entry in source.get("calls", {}).items()}
        objects: dict[tuple[str, str, str], RpcTemplate] = {}
        verbs: dict[tuple[str, str], RpcTemplate] = {}
        for kind, table in source["verbs"].items():
            verbs.update({(kind, verb): self._call(entry, other) for verb, entry in table.items()})
        for name, declared in source["objects"].items():
            kind = declared.get("kind", "model")
            for verb, entry in {**source["verbs"][kind], **declared.get("verbs", {})}.items():
                objects[(kind, name, verb)] = self._call(entry, declared)
            if (kind, name, "on_change") in objects:
                # Verbs named after a field (on_change_name) share one template.
                objects[(kind, name, "on_change_*")] = objects[(kind, name, "on_change")]
        return RpcRules(methods, objects, verbs, frozenset(source["media_types"]))

    def _call(self, entry: Mapping[str, Any], declared: Mapping[str, Any]) -> RpcTemplate:
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
            operation["uploads"] = [*declared.get("uploads", ()), *self.source.get("rpc", {}).get("uploads", ())]
        parent = declared.get("parent")
        new_child = parent is not None and entry["action"] == "create" and "ids" not in entry
        if parent is not None and new_child:
            # A new child changes the record it hangs on, which its own body names.
            operation = {**operation, "action": "update", "answer": {}}
            entity = parent["entity"]
        template = self._template(operation, entity, rules)
        return RpcTemplate(
            template.plain,
            None if new_child else entry.get("ids"),
            entry.get("ids_step"),
            child=parent is not None,
            parent=parent["key"] if parent is not None and new_child else "",
        )


def _column_choice(entry: Mapping[str, Any]) -> dict[str, str]:
    columns = entry.get("import_columns")
    return {"column_suffix": columns["suffix"], "document_field": columns["document"]} if columns else {}


def _redirect_part(entry: Mapping[str, Any]) -> dict[str, str]:
    part = entry.get("answer", {}).get("unless_part")
    return {"redirect_part": part} if part else {}


def _asks(entry: Mapping[str, Any]) -> dict[str, str]:
    return {"newest": "yes"} if "newest" in entry.get("answer", {}) else {}


def _kinds(columns: Mapping[str, Iterable[str]]) -> dict[str, tuple[Kind, ...]]:
    return {column: tuple(map(Kind, kinds)) for column, kinds in columns.items()}


def _read_back(entry: Mapping[str, Any], record_ids: RecordIds) -> ReadBack:
    css = entry.get("owner_css")
    parent = entry.get("parent")
    return ReadBack(
        entity=entry["entity"],
        method=entry["method"],
        path=entry["path"],
        body=entry.get("body", ""),
        owner_css=(css["selector"], css["attribute"]) if css else None,
        owner_path=tuple(entry.get("owner_path", ())),
        parent=(parent["entity"], tuple(parent["path"])) if parent else None,
        siblings={key: tuple(path) for key, path in entry.get("siblings", {}).items()},
        record_ids=record_ids,
    )
