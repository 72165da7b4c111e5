"""How a CRM writes dates: formats a profile lists, read and written without locale or clock.

A format has `%Y` (four digits), `%m` and `%d` (two digits), `%e` (day without a leading zero) and `%B` (name of the
month, from the list beside it), each of year, month and day once. Everything else stands for itself.
"""

import re
from dataclasses import dataclass, field
from datetime import date

_CODES = {
    "Y": r"(?P<year>[0-9]{4})",
    "m": r"(?P<month>[0-9]{2})",
    "d": r"(?P<day>[0-9]{2})",
    "e": r"(?P<day>[0-9]{1,2})",
}
_CODE = re.compile("%(.)")


class DateFormatInvalid(ValueError):  # noqa: N818 - says what is wrong
    """A format that cannot be both written and read back."""

    permanent = True


@dataclass(frozen=True)
class DateFormat:
    """One way to write a date. months: twelve names, for `%B`; raises DateFormatInvalid when it is made."""

    text: str
    months: tuple[str, ...] = ()
    source: str = field(init=False, repr=False, compare=False)
    """The pattern of such dates, to be searched for in a text."""

    def __post_init__(self) -> None:
        codes = _CODE.findall(self.text)
        units = sorted({"Y": "year", "m": "month", "B": "month", "d": "day", "e": "day"}.get(one, "?") for one in codes)
        if units != ["day", "month", "year"]:
            raise DateFormatInvalid(f"date format {self.text!r} needs year, month and day once each")
        if "B" in codes and len(set(self.months)) != 12:
            raise DateFormatInvalid(f"date format {self.text!r} needs twelve names of months")
        object.__setattr__(self, "source", self._pattern(named=False))
        object.__setattr__(self, "_whole", re.compile(self._pattern(named=True)))

    def _pattern(self, *, named: bool) -> str:
        names = "|".join(map(re.escape, sorted(self.months, key=len, reverse=True)))
        out, at = [], 0
        for code in _CODE.finditer(self.text):
            out.append(re.escape(self.text[at : code.start()]))
            part = f"(?P<name>{names})" if code[1] == "B" else _CODES[code[1]]
            out.append(part if named else re.sub(r"\?P<[a-z]+>", "?:", part))
            at = code.end()
        return "".join(out) + re.escape(self.text[at:])

    def read(self, text: str) -> date | None:
        """The date, or None when the whole text is none in this format."""
        whole: re.Pattern[str] = self.__dict__["_whole"]
        found = whole.fullmatch(text)
        if found is None:
            return None
        parts = found.groupdict()
        month = self.months.index(parts["name"]) + 1 if "name" in parts else int(parts["month"])
        try:
            return date(int(parts["year"]), month, int(parts["day"]))
        except ValueError:
            return None

    def write(self, day: date) -> str:
        """The date in this format."""
        parts = {"Y": f"{day.year:04d}", "m": f"{day.month:02d}", "d": f"{day.day:02d}", "e": str(day.day)}
        if self.months:
            parts["B"] = self.months[day.month - 1]
        return _CODE.sub(lambda code: parts[code[1]], self.text)


def read_date(formats: tuple[DateFormat, ...], text: str) -> tuple[date, DateFormat] | None:
    """A date in the first format that fits, with that format; None when none does."""
    trimmed = text.strip()
    for one in formats:
        day = one.read(trimmed)
        if day is not None:
            return day, one
    return None
