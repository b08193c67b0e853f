"""Countries: what one is called, for messages (an operator writes ``AI`` and should read Anguilla), and its holidays.

The names are those under which the public holidays are kept; nothing is decided by them.
"""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Mapping
from functools import cache, lru_cache

import holidays
from holidays.registry import COUNTRIES

#: What the names of modules cannot say.
_OTHERS = {
    "AC": "Ascension",
    "CD": "DR Congo",
    "GW": "Guinea-Bissau",
    "HK": "Hong Kong",
    "SY": "Syria",
    "TA": "Tristan da Cunha",
    "TL": "Timor-Leste",
}
_SMALL = re.compile(r"\b(And|Of|The)\b")
_WITH_THE = re.compile(
    r"(?!South)(United|Isle|Central|Dominican Republic|Netherlands|Philippines|Bahamas|Gambia|Maldives|Seychelles|DR"
    r"|.* Islands|.* Republic|.* Territor)"
)


@cache
def country_name(code: str) -> str:
    """The English name of an ISO 3166 country, as it stands behind "in"; the code itself if it is not known."""
    name = _OTHERS.get(code) or _names().get(code, code)
    return f"the {name}" if _WITH_THE.match(name) else name


@cache
def _names() -> dict[str, str]:
    named = {code: module.replace("_", " ").title() for module, (_, code, *_) in COUNTRIES.items()}
    return {code: _SMALL.sub(lambda word: word[0].lower(), name) for code, name in named.items()}


@lru_cache(maxsize=64)
def public_holidays(country: str, years: range) -> tuple[dt.date, ...] | None:
    """The public holidays of a country (ISO 3166) in these years, sorted; None if none are known."""
    if country not in holidays.list_supported_countries(include_aliases=False):
        return None
    with warnings.catch_warnings(action="ignore"):  # of some countries the library knows a part of these years
        return tuple(sorted(holidays.country_holidays(country, years=years)))


@lru_cache(maxsize=64)
def holiday_names(country: str, years: range, language: str) -> Mapping[dt.date, str]:
    """What the public holidays of a country are called in ``language``, where that is known; else in English.

    Names are for people only: the days themselves are frozen into a version, names may change with the package.
    """
    if country not in holidays.list_supported_countries(include_aliases=False):
        return {}
    known = holidays.country_holidays(country).supported_languages or ()
    wanted = language.replace("-", "_")
    ways = (wanted, f"{wanted}_{country}", f"{wanted}_US", *(one for one in known if one.partition("_")[0] == wanted))
    found = next((way for way in (*ways, "en_US", f"en_{country}") if way in known), None)
    return dict(holidays.country_holidays(country, years=years, language=found))
