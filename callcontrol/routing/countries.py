"""What a country is called, for messages: an operator writes ``AI`` and should read Anguilla.

The names are those under which the public holidays are kept; nothing is decided by them.
"""

from __future__ import annotations

import re
from functools import cache

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
