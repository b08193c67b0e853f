"""The kinds of values that requests and answers are made of: each read once, here, from what strangers send."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import marshmallow as ma

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


class Whole(ma.validate.Regexp):
    """A pattern that the whole text has to match: ``$`` alone lets a line's end through."""

    def __call__(self, value: Any) -> Any:
        if not self.regex.fullmatch(value):
            raise ma.ValidationError(self.error or "is not of the form that is wanted")
        return value


def word(pattern: str, what: str, **more: Any) -> ma.fields.String:
    """A text of a form; ``what``: the form, for people."""
    return ma.fields.String(validate=Whole(f"^{pattern}$", error=f"must be {what}"), **more)


def extension(**more: Any) -> ma.fields.String:
    """An extension, such as 301."""
    return word(r"[0-9]{1,6}", "an extension, such as 301", **more)


class Line(ma.fields.String):
    """Some words on one line."""

    def __init__(self, longest: int = 100, **more: Any) -> None:
        super().__init__(validate=ma.validate.Length(max=longest), **more)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not text.isprintable():
            raise ma.ValidationError("must be printable text on one line")
        return text


class Moment(ma.fields.Field[float]):
    """A moment: a UTC epoch inside, RFC 3339 outside, in UTC with milliseconds."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return None if value is None else written(value)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        wrong = ma.ValidationError("must be a moment with its zone, such as 2026-03-02T09:30:00Z")
        if not isinstance(value, str) or not _MOMENT.fullmatch(value):
            raise wrong
        try:
            return dt.datetime.fromisoformat(value.upper().replace("Z", "+00:00")).timestamp()
        except (ValueError, OverflowError):
            raise wrong from None


def written(at: float) -> str:
    """A UTC epoch as RFC 3339."""
    moment = dt.datetime.fromtimestamp(round(at, 3), dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Choice(ma.fields.String):
    """One of some words."""

    def __init__(self, *words: str, **more: Any) -> None:
        super().__init__(validate=ma.validate.OneOf(words), **more)


class Flag(ma.fields.Boolean):
    """True or false, and nothing that is only like one: a body has real ones."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if value is not True and value is not False:
            raise self.make_error("invalid", input=value)
        return value
