"""Turns tables of a TOML file into frozen dataclasses, with errors for people.

A dataclass field made by `setting` is one key: its default, one line of help, its least value. The types understood
are str, int, float, bool, Path, Address, Network, a StrEnum, tuples of those, and each of them or None.
"""

import dataclasses
import difflib
import ipaddress
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T")


class SettingInvalid(Exception):  # noqa: N818 - the term people read
    """A setting cannot be used; `name` is its dotted name, the text says what fits."""

    permanent = True

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}" if name else problem)
        self.name = name
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; written "127.0.0.1:8443" or "[::1]:8443"."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def setting(default: Any, text: str, *, least: float | None = None) -> Any:
    """A field of a section: `default` (... means it must be given), one line of help, the least number that fits."""
    about = {"help": text, "least": least}
    if default is ...:
        return dataclasses.field(metadata=about)
    return dataclasses.field(default=default, metadata=about)


def read_section(kind: type[T], raw: object, name: str, folder: Path, siblings: Iterable[str] = ()) -> T:
    """An instance of `kind` from a TOML table; `siblings` are section names that count when guessing what was meant."""
    if not isinstance(raw, Mapping):
        raise SettingInvalid(name, f"must be a section: write [{name}]")
    known = {item.name: item for item in dataclasses.fields(typing.cast("type[Any]", kind))}
    for key in raw:
        if key not in known:
            raise SettingInvalid(_dotted(name, key), _unknown(key, [*known, *siblings]))
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, item in known.items():
        if key in raw:
            value = _convert(hints[key], raw[key], _dotted(name, key), folder)
            least = item.metadata.get("least")
            if least is not None and value < least:
                raise SettingInvalid(_dotted(name, key), f"must be at least {least:g}")
            values[key] = value
        elif item.default is dataclasses.MISSING:
            raise SettingInvalid(_dotted(name, key), f"is missing: {item.metadata['help']}")
    return kind(**values)


def _dotted(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


def _unknown(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    meant = f"did you mean {close[0]}?" if close else f"known here: {', '.join(sorted(known))}"
    return f"there is no such setting; {meant}"


def _convert(hint: Any, value: Any, name: str, folder: Path) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint == Network:
        return _network(value, name)
    if origin is types.UnionType and types.NoneType in inner:
        return _convert(next(part for part in inner if part is not types.NoneType), value, name, folder)
    if origin is tuple:
        if not isinstance(value, list):
            raise SettingInvalid(name, 'must be a list: ["…", "…"]')
        return tuple(_convert(inner[0], item, name, folder) for item in value)
    if hint is Address:
        return _address(value, name)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        if value not in [str(member) for member in hint]:
            raise SettingInvalid(name, f"must be one of {', '.join(hint)}, not {value!r}")
        return hint(value)
    if hint is Path:
        return folder / Path(_typed(value, str, name)).expanduser()
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _typed(value, hint, name)


def _typed(value: Any, wanted: type[T], name: str) -> T:
    words = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise SettingInvalid(name, f"must be {words.get(wanted, wanted.__name__)}, not {value!r}")
    return value


def _address(value: Any, name: str) -> Address:
    host, colon, port = _typed(value, str, name).rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise SettingInvalid(name, f"must be address and port, for example 127.0.0.1:8443, not {value!r}")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def _network(value: Any, name: str) -> Network:
    try:
        return ipaddress.ip_network(_typed(value, str, name))
    except ValueError as fault:
        raise SettingInvalid(name, f"must be a network such as 10.1.0.0/16 or an address, not {value!r}") from fault
