"""Which keys of the telephone a text tells callers to press: ``For sales press 1, for service 2 or the star key.``

Words of a few languages, and no grammar.  It knows a text and its language, never a menu.

The surprise: it would rather miss a key than hear one that nobody named, since texts are full of other numbers:
opening times, prices, "press 3 times".  So a key counts only behind a word for pressing, or in a row with one that
does, and only if what follows it is a word that follows keys.  For the opposite question, whether a text might name a
key at all, :func:`mentions` takes any number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class _Language:
    """Words, each sort separated by ``|`` but ``digits``, which are those for 0 to 9.

    ``press``: for pressing.  ``the``: between that and the key.  ``rows``: between keys.  ``after``: behind a key.
    ``to``: behind a key that has no word for pressing of its own, as in "press 1 for sales, 2 for service".
    ``before``: before one at the end of its part, as in "drücken Sie für Verkauf die 1, für Service die 2".
    """

    press: str
    the: str
    digits: str
    star: str
    hash: str
    rows: str
    after: str
    to: str
    before: str = ""


_LANGUAGES: Mapping[str, _Language] = {
    "en": _Language(
        press="press|dial|push|hit|choose|select|pressing|dialling|dialing",
        the="the number|number|the|key|button|digit|a",
        digits="zero one two three four five six seven eight nine",
        star="star|asterisk",
        hash="hash|pound",
        rows="or|and",
        after="for|to|if|or|and|now|at|key|button|again|on|when|then|sign|in|as|any",
        to="for|if|to",
    ),
    "ru": _Language(
        press="нажмите|наберите|нажимайте|нажав|набрав|жмите|нажать|набрать",
        the="на|клавишу|кнопку|цифру|цифра|клавиша|кнопка|знак|номер",
        digits="ноль/нуль один/единицу/единица/одну два/двойку/двойка три/тройку четыре/четвёрку/четверку "
        "пять/пятёрку/пятерку шесть/шестёрку/шестерку семь/семёрку/семерку восемь/восьмёрку/восьмерку девять/девятку",
        star="звёздочку|звездочку|звёздочка|звездочка",
        hash="решётку|решетку|решётка|решетка",
        rows="или|и|либо",
        after="чтобы|для|если|или|и|либо|сейчас|на|при|по|когда|в|с|а|же",
        to="для|чтобы|если",
        before="—|–|-",
    ),
    "de": _Language(
        press="drücken|drücke|wählen|wähle|tippen",
        the="sie|bitte|jetzt|nun|einfach|die|auf|taste|ziffer|den|eine|der",
        digits="null eins/eine/ein zwei drei vier fünf sechs sieben acht neun",
        star="stern|sterntaste|sternchen",
        hash="raute|rautetaste",
        rows="oder|und",
        after="für|um|wenn|falls|oder|und|jetzt|taste|zum|zur|bei|an|auf",
        to="für|um",
        before="die",
    ),
    "it": _Language(
        press="premere|premi|prema|premete|digitare|digiti|digita|digitate|selezionare",
        the="il|lo|tasto|numero|la|cifra|l'",
        digits="zero uno due tre quattro cinque sei sette otto nove",
        star="asterisco",
        hash="cancelletto",
        rows="o|oppure|e|ed",
        after="per|se|o|oppure|e|ed|ora|adesso|quando|sulla|in",
        to="per",
        before="il",
    ),
    "es": _Language(
        press="pulse|presione|marque|oprima|pulsa|presiona|marca|teclee|digite",
        the="el|la|número|tecla|dígito",
        digits="cero uno dos tres cuatro cinco seis siete ocho nueve",
        star="asterisco|estrella",
        hash="almohadilla|numeral|gato",
        rows="o|u|y|e",
        after="para|si|o|u|y|e|ahora|cuando|en",
        to="para",
        before="el",
    ),
    "fr": _Language(
        press="appuyez|appuyer|tapez|taper|composez|faites|pressez",
        the="sur|la|le|touche|chiffre|numéro|l'",
        digits="zéro un deux trois quatre cinq six sept huit neuf",
        star="étoile",
        hash="dièse",
        rows="ou|et",
        after="pour|si|ou|et|maintenant|afin|lorsque|quand|sur|à",
        to="pour",
        before="le",
    ),
    "pt": _Language(
        press="pressione|prima|tecle|digite|aperte|marque|disque",
        the="a|o|tecla|número|dígito",
        digits="zero um/uma dois/duas três quatro cinco seis sete oito nove",
        star="asterisco|estrela",
        hash="cardinal|sustenido",
        rows="ou|e",
        after="para|se|ou|e|agora|quando|no",
        to="para",
    ),
}

#: One digit that stands alone, and is no part of a time, a price or a longer number.
_DIGIT = r"[0-9](?![0-9]|[.,:/-][0-9]|\s*[%€$£₽°])"


def named(text: str, language: str) -> dict[str, str]:
    """The keys that ``text`` tells callers to press, each with the words that do; none for a language not known here.

    ``language`` is a tag such as ``en`` or ``pt-BR``.  Keys are ``0`` to ``9``, ``*`` and ``#``.
    """
    words = _words(language)
    if words is None:
        return {}
    text = text.lower()
    found: dict[str, str] = {}
    for pressed in words.pressed.finditer(text):
        start, at = pressed.start(), pressed.end()
        while (key := words.key.match(text, at)) is not None:
            found.setdefault(words.meaning(key["key"]), f"{text[start:at]}{key['key']}".strip())
            after = key.end("key")
            further = words.further.match(text, after) if words.further else None
            joined = further or words.joined.match(text, after)
            if joined is None:
                break
            start = at = joined.end()
    if found:
        for key in words.elliptic.finditer(text):
            found.setdefault(words.meaning(key["key"]), key["words"])
    return found


def mentions(text: str, language: str, key: str) -> bool:
    """Whether ``text`` might name ``key`` in any way at all; True for a language not known here."""
    words = _words(language)
    return words is None or any(words.meaning(found) == key for found in words.any.findall(text.lower()))


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of a language as patterns over small letters."""

    pressed: re.Pattern[str]
    key: re.Pattern[str]
    joined: re.Pattern[str]
    further: re.Pattern[str] | None
    elliptic: re.Pattern[str]
    any: re.Pattern[str]
    keys: Mapping[str, str]

    def meaning(self, word: str) -> str:
        return self.keys.get(word, word)


@cache
def _words(language: str) -> _Words | None:
    known = _LANGUAGES.get(language.partition("-")[0])
    if known is None:
        return None
    keys = {word: str(digit) for digit, words in enumerate(known.digits.split()) for word in words.split("/")}
    keys |= dict.fromkeys(known.star.split("|"), "*") | dict.fromkeys(known.hash.split("|"), "#")
    words = "|".join(sorted(map(re.escape, keys), key=len, reverse=True))
    key = rf"(?P<key>(?<![\w.,:]){_DIGIT}|(?<!\w)(?:{words})(?!\w)|[*#])"
    key = rf"[\"'«„“”]?{key}[\"'»“”]?"
    no_number = rf"(?!\s+(?:[0-9]|(?:{words})\b))"
    ends = rf"(?=\s*(?:[,.;!?)]|$|[–—-]\s|\b(?:{known.rows})\b|\b(?:{known.after})\b{no_number}))"
    return _Words(
        pressed=re.compile(rf"(?<!\w)(?:{known.press})(?!\w)(?:\s+(?:{known.the})(?!\w)|\s+l')*\s*"),
        key=re.compile(rf"{key}{ends}"),
        joined=re.compile(rf"[\"'»“”]?\s*(?:,\s*(?:(?:{known.rows})\b)?|(?:{known.rows})\b)\s*"),
        # Nothing that ends a part, and no number, stands between; a bound, since it is tried behind every key.
        further=re.compile(rf",\s[^,.;:!?0-9]{{1,80}}?\s(?:{known.before})\s+(?={key}{ends})")
        if known.before
        else None,
        elliptic=re.compile(
            rf"(?<!\d)(?:[,;.]|\b(?:{known.rows})\b)\s+(?:(?:{known.the})\s+)*"
            rf"(?P<words>{key}\s+(?:(?:{known.to})\b|[–—-](?=\s)){no_number})"
        ),
        any=re.compile(rf"[0-9]|[*#]|(?<!\w)(?:{words})(?!\w)"),
        keys=keys,
    )
