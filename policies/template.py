"""An operation of a profile as it stands at a path, with what is left for a request to tell."""

from collections.abc import Mapping
from dataclasses import dataclass

from policies.condition import Condition
from policies.operation import Operation


@dataclass(frozen=True, slots=True)
class Template:
    """One operation of a profile, compiled; `plain` is the ready answer for requests that name no record."""

    plain: Operation
    by_type: Mapping[str, "Template"] | None = None
    rpc: bool = False
    needs_body: bool = False
    record_fields: tuple[str, ...] = ()
    redirect_field: str = ""
    search_signs: tuple[str, ...] = ()
    searching: Operation | None = None
    choices: tuple[tuple[Condition, "Template"], ...] = ()
    """What query and body choose between, the first that holds; the rest of this template is that of the first."""
    ids_at: tuple[tuple[str, ...], ...] = ()
    """Places of record ids in a JSON body."""
    ids_at_elements: tuple[tuple[str, ...], ...] = ()
    """The same in an XML body."""
    placed: tuple[str, ...] = ()
    """Parameters of the path that are searched for."""
    dialect: str = ""
    graphql: bool = False
