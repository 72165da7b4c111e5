"""Compiles the YAML of a profile into a `Profile`.

Two steps: the JSON Schema beside the profiles says what may be written where, then names are resolved (fields, rule
sets, paths). Every problem is collected and told in plain words; a profile with one problem is not used at all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from policies import credential, soap
from policies.asked_file import join, path_searches, with_asked
from policies.attribute import compile_attributes
from policies.carried import compile_carried
from policies.comparison import compile_comparisons
from policies.dialect_file import Places as ArgumentPlaces
from policies.dialect_file import compile_dialects, selects
from policies.field_file import read_field, read_shown, selector_of
from policies.graphql.answer import NEW_RECORD
from policies.graphql.mapping import SCHEMA, GraphqlMap, compile_graphql
from policies.made import MadeRule, read_made
from policies.matcher import PathTrie, TemplateInvalid
from policies.merge import compile_merges
from policies.opaque import compile_opaque, problems_of
from policies.operation import (
    Action,
    FieldSpec,
    Operation,
    ShownRule,
    StorageForm,
    UploadRule,
)
from policies.owner import OwnerRule, read_posted, read_through
from policies.places import compile_places, with_columns
from policies.polling import compile_polling
from policies.profile import Profile, ProfileInvalid, label_key
from policies.query.table import compile_tables
from policies.read_back import Whoami, compile_read_back
from policies.record_id import RecordIds
from policies.rpc_file import compile_rpc
from policies.rule_file import RuleSets
from policies.template import Template
from policies.unique import UniqueRule, compile_unique
from policies.walk import compile_walk

GRAPHQL = Template(SCHEMA, needs_body=True, graphql=True)
_READ_ACTIONS = frozenset({Action.READ, Action.LIST, Action.SEARCH, Action.EXPORT, Action.ASSET})


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
        self.rules = RuleSets(source, self.fields, self.problems)
        self.answers: dict[str, Mapping[str, Any]] = {}
        self.made: dict[str, MadeRule] = {}
        self.tries: dict[str, PathTrie[Template]] = {}
        self.exact: dict[tuple[str, str], Template] = {}
        self.ids: dict[str, None] = {}
        self.actions: dict[str, set[Action]] = {"unmatched.read": {Action.OTHER}}
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
        rpc = compile_rpc(source["rpc"], self._template) if "rpc" in source else None
        dialects = compile_dialects(source["dialects"], self._dialect_call) if "dialects" in source else {}
        graphql = self._graphql(source["graphql"]) if "graphql" in source else None
        pages: PathTrie[str] = PathTrie(self.record_ids)
        for template, entity in source.get("record_pages", {}).items():
            self._add_path(pages, template, entity)
        walk = compile_walk(source["walk"], self.rules.field) if "walk" in source else None
        shown = tuple(rule for entry in source.get("shown", ()) for rule in self._shown(entry))
        places = with_columns(
            compile_places(source.get("places", {}), self.rules.field), source.get("tables", {}), self.rules.field
        )
        comparisons = compile_comparisons(source.get("comparisons", ()), self.rules.field)
        tables, problems = compile_tables(
            source.get("tables", {}), lambda name, place: self.rules.field(name, "", place)
        )
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
            read_backs={
                entry["entity"]: compile_read_back(entry, self.record_ids) for entry in source.get("read_back", ())
            },
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
        spec = self.rules.field(entry["field"], "", "shown")
        if spec is not None and spec.form is StorageForm.SURROGATE:
            self.problems.append(f"shown: field {entry['field']} is a surrogate, which is found wherever it stands")
        return () if spec is None else (read_shown(entry, spec, self.record_ids),)

    def _label(self, label: str, spec: FieldSpec) -> None:
        key = label_key(label)
        known = self.labels.get(key)
        if known is not None and (known.kind is not spec.kind or known.form is not spec.form):
            self.problems.append(f"label {label!r} stands for two kinds of values")
        self.labels.setdefault(key, spec)

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
            rules=self.rules.body(rules, entity, place),
            granted_write=entry.get("granted", "refused" not in entry),
            extra={
                **entry.get("extra", {}),
                **({"refused": entry["refused"]} if "refused" in entry else {}),
                **_column_choice(entry),
                **_redirect_part(entry),
                **_asks(entry),
                **soap.extra_of(entry),
            },
            searches=self.rules.searches(entry.get("searches", ()), entity, place),
            uploads=tuple(
                UploadRule(
                    upload["part"],
                    upload.get("data", False),
                    self.rules.field(upload.get("seal"), entity, place),
                    upload.get("images", False),
                    tuple(upload.get("header", ())),
                )
                for upload in entry.get("uploads", ())
            ),
            left_alone=entry.get("left_alone", False),
            untouched=(*self.untouched, *(selector_of(one) for one in entry.get("untouched", ()))),
            columns=self.rules.columns(entry.get("searches", ()), entity, place),
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
            yield from (replace(rule, selector=one) for one in selects(rule.selector, self.rules.arguments))

    def _unique(self, entry: Mapping[str, Any], entity: str, place: str) -> UniqueRule | None:
        rule = entry.get("unique")
        if rule is None:
            return None
        specs = [self.rules.field(name, entity, place) for name in rule["fields"]]
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
        self.rules.arguments = places
        try:
            return self._template(entry, entity, rules).plain
        finally:
            self.rules.arguments = {}

    def _graphql(self, source: Mapping[str, Any]) -> GraphqlMap:
        closed = self.source.get("unmatched_reads") == "deny"
        made = compile_graphql(source, self.rules.field, self.problems, closed=closed)
        for operation in made.operations:
            self._answer(operation.id, NEW_RECORD)
            self.actions.setdefault(operation.id, set()).add(operation.action)
        return made


def _column_choice(entry: Mapping[str, Any]) -> dict[str, str]:
    columns = entry.get("import_columns")
    return {"column_suffix": columns["suffix"], "document_field": columns["document"]} if columns else {}


def _redirect_part(entry: Mapping[str, Any]) -> dict[str, str]:
    part = entry.get("answer", {}).get("unless_part")
    return {"redirect_part": part} if part else {}


def _asks(entry: Mapping[str, Any]) -> dict[str, str]:
    return {"newest": "yes"} if "newest" in entry.get("answer", {}) else {}
