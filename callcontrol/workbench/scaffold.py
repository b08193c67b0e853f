"""The first file of a new company: small, good, and with two rehearsals that pass.

It is made of a few answers; what is not given is guessed from the telephone number.  Nothing is judged here a second
time: each answer is put into a file and that is loaded, so what is wrong is said in the words of ``check``.

The surprise: the file is for people to read and change, so it is written as text with comments, and not by a library
that writes YAML.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import holidays
import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType, shortnumberinfo
from phonenumbers import timezone as zones_of

from callcontrol.routing.countries import public_holidays
from callcontrol.routing.hours import WEEKDAYS
from callcontrol.routing.load import HOLIDAY_YEARS, load_text
from callcontrol.routing.model import Problem

#: The file beside it by which editors complete it and mark mistakes (``schema.py``).
SCHEMA = "cordboard.schema.json"
#: The extension of the first person.
EXTENSION = "301"


@dataclass(frozen=True, slots=True)
class Draft:
    """What is asked about a new company.  ``company`` is its id, ``person`` who answers first."""

    company: str
    number: str = ""
    country: str = ""
    timezone: str = ""
    language: str = ""
    title: str = ""
    person: str = ""


#: How the answers stand in the file, each in a line of its own that begins so.
_LINES = {
    "number": '  "',
    "country": "country:",
    "timezone": "timezone:",
    "language": "languages:",
    "title": "company:",
    "person": "    name:",
}
#: In what is asked: each can be guessed from those before it.
ANSWERS = ("number", "country", "timezone", "language", "title", "person")

# ------------------------------------------------------------------------------------------------- guesses

#: Countries with several time zones, and the zone of most of their people.
_ZONES = {
    "AR": "America/Argentina/Buenos_Aires",
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "CD": "Africa/Kinshasa",
    "CL": "America/Santiago",
    "CN": "Asia/Shanghai",
    "CY": "Asia/Nicosia",
    "DE": "Europe/Berlin",
    "EC": "America/Guayaquil",
    "ES": "Europe/Madrid",
    "FM": "Pacific/Pohnpei",
    "FR": "Europe/Paris",
    "GB": "Europe/London",
    "GL": "America/Nuuk",
    "ID": "Asia/Jakarta",
    "IE": "Europe/Dublin",
    "KI": "Pacific/Tarawa",
    "KZ": "Asia/Almaty",
    "MH": "Pacific/Majuro",
    "MN": "Asia/Ulaanbaatar",
    "MX": "America/Mexico_City",
    "MY": "Asia/Kuala_Lumpur",
    "NZ": "Pacific/Auckland",
    "PF": "Pacific/Tahiti",
    "PG": "Pacific/Port_Moresby",
    "PT": "Europe/Lisbon",
    "RU": "Europe/Moscow",
    "UA": "Europe/Kyiv",
    "US": "America/New_York",
    "UZ": "Asia/Tashkent",
}
#: The countries where most callers speak a language for which there are words here; English elsewhere.
_LANGUAGES = {
    "ru": "RU BY KZ KG",
    "de": "DE AT CH LI LU",
    "es": "ES AR BO CL CO CR CU DO EC SV GQ GT HN MX NI PA PY PE PR UY VE",
    "fr": "FR MC BJ BF CG CI CD GA GN ML NE SN TG GP MQ GF RE YT NC PF PM BL MF WF",
    "it": "IT SM VA",
}


def as_written(number: str, country: str) -> str:
    """A telephone number as files have it (E.164), if it can be understood, else as it is."""
    try:
        parsed = phonenumbers.parse(number, country or None)
    except phonenumbers.NumberParseException:
        return number
    return phonenumbers.format_number(parsed, PhoneNumberFormat.E164)


def guessed(draft: Draft) -> Draft:
    """The draft with everything that was not given."""
    country = draft.country or guessed_country(draft.number)
    draft = replace(draft, country=country)
    return replace(
        draft,
        timezone=draft.timezone or guessed_zone(draft.number, country),
        language=draft.language or next((one for one, where in _LANGUAGES.items() if country in where.split()), "en"),
        title=draft.title or draft.company.replace("-", " ").title(),
        person=draft.person or "Reception",
    )


def guessed_country(number: str) -> str:
    """The country of a number (ISO 3166), or nothing: it has none, as +800."""
    try:
        found = phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return ""
    return found if found in phonenumbers.SUPPORTED_REGIONS else ""


def guessed_zone(number: str, country: str) -> str:
    """The time zone of a number, where that is clear; else the one that most people of its country live in."""
    sample = sample_number(country)
    for one in (number, *([sample] if sample else [])):
        try:
            found = zones_of.time_zones_for_number(phonenumbers.parse(one))
        except phonenumbers.NumberParseException:
            continue
        found = tuple(zone for zone in found if not zone.startswith("Etc/"))
        if len(found) == 1:
            return str(found[0])
        if found:
            return _ZONES.get(country, str(found[0]))
    return _ZONES.get(country, "")


def sample_number(country: str, *, mobile: bool = False, other_than: str = "") -> str:
    """A number of a country that looks valid, in E.164, or nothing."""
    kinds = [PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE]
    for kind in reversed(kinds) if mobile else kinds:
        found = phonenumbers.example_number_for_type(country, kind)
        if found is not None and phonenumbers.is_valid_number(found):
            text = str(phonenumbers.format_number(found, PhoneNumberFormat.E164))
            if text != other_than:
                return text
    return ""


def emergency_numbers(country: str) -> tuple[str, ...]:
    """The emergency numbers of two and three digits that are known of a country."""
    numbers = [*(f"{number:02}" for number in range(100)), *(f"{number:03}" for number in range(1000))]
    return tuple(number for number in numbers if shortnumberinfo.is_emergency_number(number, country))


def working_days(country: str) -> tuple[int, ...]:
    """The days of the week on which most work, from Monday (0), in the order of a week that begins after the rest."""
    rest = {5, 6}
    if country in holidays.list_supported_countries(include_aliases=False):
        rest = set(holidays.country_holidays(country).weekend) or rest
    first = next(day for day in range(7) if day not in rest and (day - 1) % 7 in rest)
    return tuple(day % 7 for day in range(first, first + 7) if day % 7 not in rest)


def _a_working_day(country: str, today: dt.date) -> dt.date:
    """A day soon after ``today`` on which the company is open."""
    free = set(public_holidays(country, HOLIDAY_YEARS) or ())
    days = (today + dt.timedelta(days=ahead) for ahead in range(1, 60))
    open_ = working_days(country)
    return next(day for day in days if day.weekday() in open_ and day not in free)


# --------------------------------------------------------------------------------------------------- words

#: What callers hear.  The company's name stands where it can be spoken as it is.
_WORDS = {
    "en": (
        "Welcome to {title}.",
        "To speak to us, press 1. To leave a message, press 2.",
        "We are closed.",
        "Please leave a message after the tone.",
    ),
    "ru": (
        "Здравствуйте! Вы позвонили в {title}.",
        "Чтобы поговорить с нами, нажмите 1. Чтобы оставить сообщение, нажмите 2.",
        "Сейчас мы не работаем.",
        "Оставьте сообщение после сигнала.",
    ),
    "de": (
        "Willkommen bei {title}.",
        "Um mit uns zu sprechen, drücken Sie die 1. Für eine Nachricht drücken Sie die 2.",
        "Wir haben geschlossen.",
        "Bitte hinterlassen Sie eine Nachricht nach dem Ton.",
    ),
    "es": (
        "Bienvenido a {title}.",
        "Para hablar con nosotros, pulse 1. Para dejar un mensaje, pulse 2.",
        "Ahora estamos cerrados.",
        "Deje un mensaje después de la señal.",
    ),
    "fr": (
        "Bienvenue chez {title}.",
        "Pour nous parler, appuyez sur 1. Pour laisser un message, appuyez sur 2.",
        "Nous sommes fermés.",
        "Veuillez laisser un message après le signal.",
    ),
    "it": (
        "Benvenuti in {title}.",
        "Per parlare con noi, prema 1. Per lasciare un messaggio, prema 2.",
        "Adesso siamo chiusi.",
        "Lasci un messaggio dopo il segnale.",
    ),
}


def speaks(language: str) -> bool:
    """Whether there are words for a language here; else the file has English ones, to be replaced."""
    return language.partition("-")[0] in _WORDS


# --------------------------------------------------------------------------------------------------- the file


def text(draft: Draft, today: dt.date) -> str:
    """The file of a whole draft.  ``today`` is where the rehearsals look for a day on which the company is open."""
    days = working_days(draft.country)
    week = WEEKDAYS[days[0]] if len(days) == 1 else f"{WEEKDAYS[days[0]]}-{WEEKDAYS[days[-1]]}"
    free = bool(public_holidays(draft.country, HOLIDAY_YEARS))
    day = _a_working_day(draft.country, today)
    welcome, menu, closed, leave = _WORDS.get(draft.language.partition("-")[0], _WORDS["en"])
    if not re.search(r"[{}$<>\\]", draft.title):
        end = "" if draft.title[-1:] in ".!?" else "."
        menu = f"{welcome.removesuffix('.').replace('{title}', draft.title)}{end} {menu}"
    caller = sample_number(draft.country, mobile=True, other_than=draft.number) or "anonymous"
    mobile = "+12025550123" if caller == "anonymous" else caller
    emergency = ", ".join(f'"{number}"' for number in emergency_numbers(draft.country))
    translate = "" if speaks(draft.language) else f"  # write what callers hear in {draft.language}"
    number, closed_day = _scalar(draft.number, quoted=True), f"{day.year + 1}-01-02"
    lines = [
        f"# yaml-language-server: $schema={SCHEMA}",
        f"# One file is one company, and its name is the company's id: {draft.company}.",
        "# After a change: cordboard check, cordboard rehearse. What is wrong never goes live.",
        _told("cordboard: 1", "the version of this language"),
        f"company: {_scalar(draft.title)}",
        _told(f"country: {_scalar(draft.country)}", "reads local numbers" + (", public holidays" if free else "")),
        _told(f"timezone: {_scalar(draft.timezone)}", "in it every time here is meant"),
        _told(f"languages: [{_scalar(draft.language)}]", "spoken to callers; the first is the default"),
        "",
        _told("numbers:", "who answers which number"),
        f"  {number}: {{flow: reception}}",
        "",
        _told("people:", "extensions: short numbers with a person behind each"),
        f"  {EXTENSION}:",
        f"    name: {_scalar(draft.person)}",
        _told("    # email: name@example.com", "gets the messages that callers leave, with their sound"),
        _told(f'    # mobile: "{mobile}"', "rings where a forward names it; needs outbound, below"),
        "    # forward: {no_answer: {after: 20s, to: mobile}}",
        "",
        _told("hours:", "a date beats holidays, holidays beat weekdays" if free else "a date beats weekdays"),
        "  office:",
        f"    {week}: 09:00-18:00",
        *(["    holidays: closed"] if free else []),
        _told(f"    # {closed_day}: 10:00-14:00", "a single day; from..to for several"),
        "",
        "flows:",
        _told("  reception:", "a call begins at the first step"),
        _told("    clock: {hours: {office: greet}, otherwise: closed}", "the first that is on"),
        "    greet:",
        f"      menu: {_scalar(menu)}{translate}",
        "      keys: {1: desk, 2: message}",
        _told("      otherwise: desk", "nothing pressed, or a wrong key"),
        "    desk:",
        f"      dial: {EXTENSION}",
        "      ring: 25s",
        _told("      otherwise: message", "busy, no_answer, unreachable, declined, refused"),
        f"    closed: {{play: {_scalar(closed, inside=True)}, then: message}}{translate}",
        "    message:",
        f"      voicemail: [{EXTENSION}]",
        f"      greeting: {_scalar(leave)}{translate}",
        "      then: hangup",
        "",
        "# Without this no telephone can call outside, not even an emergency number:",
        "# outbound:",
        _told("#   trunk: carrier-a", "a trunk of the operator's cordboard.yaml"),
        _told(f"#   allow: [{draft.country}]", "countries; any other, and numbers that cost more, are refused"),
        *([f"#   emergency: [{emergency}]"] if emergency else []),
        "",
        _told("rehearsals:", "tests of your own: whole calls without a telephone"),
        f"  Who presses 1 talks to {EXTENSION}:",
        f'    call: {{from: {_from(caller)}, to: {number}, at: {day} 11:00, press: ["1"]}}',
        f"    given: {{phones: {{{EXTENSION}: answers}}}}",
        "    path: [clock, greet, desk]",
        f"    ends: {{talk: {EXTENSION}}}",
        "  Who calls at night may leave a message:",
        f"    call: {{from: {_from(caller)}, to: {number}, at: {day} 23:00}}",
        "    path: [clock, closed, message]",
        f"    ends: {{voicemail: [{EXTENSION}]}}",
    ]
    return "\n".join(lines) + "\n"


def mistakes(draft: Draft, today: dt.date, of: str = "") -> list[Problem]:
    """What ``check`` would say of the file, or ``of`` one of :data:`ANSWERS` only.

    What is not in the draft yet is taken to be fine.
    """
    known = guessed(replace(draft, number=draft.number or sample_number(draft.country or "GB") or "+442079460000"))
    known = replace(known, country=known.country or "GB", timezone=known.timezone or "UTC")
    written = text(known, today)
    found = load_text(written, path=f"{draft.company}.yaml", company=draft.company, sounds=frozenset()).problems
    if not of:
        return found
    lines = written.splitlines()
    return [problem for problem in found if lines[problem.place.line - 1].startswith(_LINES[of])]


def summary(draft: Draft, given: Sequence[str]) -> str:
    """What a draft became, on one line; what was not ``given`` is said to be a guess."""
    facts = {"country": draft.country, "timezone": draft.timezone, "language": draft.language}
    return ", ".join(f"{name} {value}{'' if name in given else ' (guessed)'}" for name, value in facts.items())


def _told(line: str, comment: str) -> str:
    return f"{line:<36}  # {comment}"


def _from(caller: str) -> str:
    return caller if caller == "anonymous" else f'"{caller}"'


def _scalar(text: str, *, quoted: bool = False, inside: bool = False) -> str:
    """A text as YAML has it, in quotes where it must be.  ``inside``: in braces, where a comma would end it."""
    plain = re.fullmatch(r"[^\W\d_][\w .,'’&()/+-]*", text) and not text.endswith(" ") and "  " not in text
    if plain and not quoted and not (inside and re.search(r"[,&]", text)):
        return text
    return json.dumps(text, ensure_ascii=False)
