"""From a row to a mail: text and modest HTML, in the language of whoever gets it, or English.  Pure.

Whatever a caller chose as their number is hostile: it is one line that can be seen before it comes near a header, and
escaped in HTML.

Where the surprise lies:

* The same row makes the same mail, with the same Message-ID, however often it is sent, so that whoever gets it twice
  sees it once.
* Headers are encoded here and written as they are.  Python's own way of folding them (``email.policy``, 3.11.7) never
  ends for some texts, and writes an empty line amid the headers for others: a caller could choose such a number.
"""

from __future__ import annotations

import base64
import datetime as dt
import email.policy
import email.utils
import html
import re
import unicodedata
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any


class _AsGiven(email.policy.EmailPolicy):
    """Headers are written as they were given."""

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        return name, value

    def header_fetch_parse(self, name: str, value: str) -> Any:
        return value

    def fold(self, name: str, value: str) -> str:
        return f"{name}: {value}\r\n"

    def fold_binary(self, name: str, value: str) -> bytes:
        return self.fold(name, value).encode("ascii")


#: Lines end as SMTP wants them.
_POLICY = _AsGiven(linesep="\r\n")
_PLAIN = re.compile(r"[A-Za-z0-9+:.,()'-](?:[A-Za-z0-9+:.,()' -]{0,58}[A-Za-z0-9+:.,()'-])?")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9' -]{0,58}[A-Za-z0-9])?")
_ADDRESS = re.compile(r"[^\s<>()@,;:\"\\\[\]\x00-\x20\x7f-\U0010ffff]{1,64}@[A-Za-z0-9.-]{1,253}")
#: Bytes of text in an encoded word: RFC 2047 allows 75 characters for the whole.
_WORD = 42


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound of a message: ``data`` is attached; else ``link`` leads to it for ``days``; else it is in the API."""

    data: bytes | None = None
    link: str | None = None
    days: int = 0


@dataclass(frozen=True, slots=True)
class _Words:
    message: str  # subject: {caller} {length}
    missed: str  # subject: {caller}
    withheld: str
    left: str  # {caller} left a message for {name}.
    called: str  # {caller} called {name}, and nobody took the call.
    number: str
    time: str
    length: str
    attached: str
    linked: str  # {days}
    kept: str
    listen: str


_WORDS: Mapping[str, _Words] = {
    "en": _Words(
        "Message from {caller} ({length})",
        "Missed call from {caller}",
        "a withheld number",
        "{caller} left a message for {name}.",
        "{caller} called {name}, and nobody took the call.",
        "Number called",
        "Time",
        "Length",
        "The message is attached.",
        "Listen to the message here, for {days} days:",
        "The message could not be put into this mail; it is kept with the company's recordings.",
        "Listen to the message",
    ),
    "ru": _Words(
        "Сообщение от {caller} ({length})",
        "Пропущенный звонок от {caller}",
        "скрытый номер",
        "Вам оставили сообщение. Звонивший: {caller}. Кому: {name}.",
        "Вам звонили, никто не ответил. Звонивший: {caller}. Кому: {name}.",
        "Набранный номер",
        "Время",
        "Длительность",
        "Сообщение во вложении.",
        "Прослушать сообщение можно здесь в течение {days} дней:",
        "Сообщение не удалось вложить в письмо; оно хранится среди записей компании.",
        "Прослушать сообщение",
    ),
    "de": _Words(
        "Nachricht von {caller} ({length})",
        "Verpasster Anruf von {caller}",
        "Rufnummer unterdrückt",
        "Neue Nachricht für {name}. Anrufer: {caller}.",
        "Verpasster Anruf für {name}. Anrufer: {caller}.",
        "Gewählte Nummer",
        "Zeit",
        "Länge",
        "Die Nachricht ist angehängt.",
        "Die Nachricht ist hier {days} Tage lang zu hören:",
        "Die Nachricht konnte nicht angehängt werden; sie liegt bei den Aufnahmen der Firma.",
        "Nachricht anhören",
    ),
    "es": _Words(
        "Mensaje de {caller} ({length})",
        "Llamada perdida de {caller}",
        "número oculto",
        "Hay un mensaje para {name}. Llamó: {caller}.",
        "Llamada perdida para {name}. Llamó: {caller}.",
        "Número marcado",
        "Hora",
        "Duración",
        "El mensaje está adjunto.",
        "Puede escuchar el mensaje aquí durante {days} días:",
        "No se pudo adjuntar el mensaje; se guarda con las grabaciones de la empresa.",
        "Escuchar el mensaje",
    ),
    "fr": _Words(
        "Message de {caller} ({length})",
        "Appel manqué de {caller}",
        "numéro masqué",
        "Un message a été laissé pour {name}. Appelant : {caller}.",
        "Appel manqué pour {name}. Appelant : {caller}.",
        "Numéro composé",
        "Heure",
        "Durée",
        "Le message est joint.",
        "Vous pouvez écouter le message ici pendant {days} jours :",
        "Le message n'a pas pu être joint ; il est conservé avec les enregistrements de la société.",
        "Écouter le message",
    ),
    "it": _Words(
        "Messaggio da {caller} ({length})",
        "Chiamata persa da {caller}",
        "numero nascosto",
        "C'è un messaggio per {name}. Ha chiamato: {caller}.",
        "Chiamata persa per {name}. Ha chiamato: {caller}.",
        "Numero composto",
        "Ora",
        "Durata",
        "Il messaggio è allegato.",
        "Il messaggio si può ascoltare qui per {days} giorni:",
        "Il messaggio non si è potuto allegare; è conservato con le registrazioni dell'azienda.",
        "Ascolta il messaggio",
    ),
}


@dataclass(frozen=True, slots=True)
class Owed:
    """A mail as its row says it: ``kind`` is ``message``, ``missed_call`` or ``alarm``."""

    id: str
    kind: str
    recipient: str
    data: Mapping[str, Any]
    created_at: float


def compose(owed: Owed, sender: str, sound: Sound | None = None) -> EmailMessage:
    """The mail.  ``sender``: the address that it comes from; ``sound``: of a message.  Raises ValueError if an address
    is none.
    """
    data, domain = owed.data, sender.rpartition("@")[2]
    subject, lines, link = _alarm(data) if owed.kind == "alarm" else _of_call(owed.kind, data, sound)
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = _mailbox(visible(data.get("title"), 80) or "Cordboard", sender)
    mail["To"] = _mailbox(visible(data.get("name"), 80), owed.recipient)
    mail["Subject"] = encoded(subject)
    mail["Date"] = email.utils.format_datetime(dt.datetime.fromtimestamp(int(owed.created_at), dt.UTC))
    mail["Message-ID"] = f"<{owed.id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notice answers it
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content("\n".join(lines) + "\n", cte="quoted-printable")
    mail.add_alternative(_html(lines, link, data.get("language")), subtype="html", cte="quoted-printable")
    if sound is not None and sound.data is not None:
        name = f"message-{dt.datetime.fromtimestamp(_moment(data), _zone(data)):%Y-%m-%d-%H%M}.wav"
        mail.add_attachment(sound.data, maintype="audio", subtype="wav", filename=name)
    return mail


def _of_call(kind: str, data: Mapping[str, Any], sound: Sound | None) -> tuple[str, list[str], tuple[str, str] | None]:
    """Subject, lines, and the link with what to call it."""
    words = _WORDS.get(str(data.get("language")).partition("-")[0], _WORDS["en"])
    caller = visible(data.get("caller"), 64) or words.withheld
    name, called = visible(data.get("name"), 80), visible(data.get("called"), 64)
    when = f"{dt.datetime.fromtimestamp(_moment(data), _zone(data)):%Y-%m-%d %H:%M} ({_zone(data).key})"
    table = [f"{words.time}: {when}", *([f"{words.number}: {called}"] if called else [])]
    if kind != "message":
        return _filled(words.missed, caller=caller), [_filled(words.called, caller=caller, name=name), "", *table], None
    length = _length(data.get("seconds"))
    lines = [_filled(words.left, caller=caller, name=name), "", *table, f"{words.length}: {length}", ""]
    link = None
    if sound is not None and sound.data is not None:
        lines.append(words.attached)
    elif sound is not None and sound.link:
        link = (sound.link, words.listen)
        lines += [_filled(words.linked, days=str(sound.days)), sound.link]
    else:
        lines.append(words.kept)
    return _filled(words.message, caller=caller, length=length), lines, link


def _alarm(data: Mapping[str, Any]) -> tuple[str, list[str], None]:
    """In English, as the operator's logs are."""
    several = data.get("alarms")
    if isinstance(several, list):
        return _alarms(data, [one for one in several if isinstance(one, Mapping)])
    text = visible(data.get("text"), 2000) or "?"
    when = f"{dt.datetime.fromtimestamp(_moment(data), dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"Alarm: {text[:120]}", [text, "", f"Alarm: {visible(data.get('key'), 200)}", f"Raised: {when}"], None


def _alarms(data: Mapping[str, Any], several: list[Mapping[str, Any]]) -> tuple[str, list[str], None]:
    """Those that were raised together."""
    count = data.get("count")
    count = count if isinstance(count, int) else len(several)
    lines = [f"{count} alarms were raised.", ""]
    for one in several:
        when = f"{dt.datetime.fromtimestamp(_moment(one), dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
        lines += [f"{when}: {visible(one.get('text'), 300) or '?'}", f"    {visible(one.get('key'), 200)}"]
    if count > len(several):
        lines += ["", f"And {count - len(several)} more."]
    first = visible(several[0].get("text"), 100) if several else ""
    return f"{count} alarms: {first}", lines, None


def _html(lines: list[str], link: tuple[str, str] | None, language: object) -> str:
    rows = []
    for line in lines:
        if link is not None and line == link[0]:
            rows.append(f'<a href="{html.escape(link[0])}">{html.escape(link[1])}</a>')
        else:
            rows.append(html.escape(line))
    lang = html.escape(str(language)[:16] if isinstance(language, str) else "en")
    body = "<br>\n".join(rows)
    return f'<!doctype html>\n<html lang="{lang}"><meta charset="utf-8"><body><p>{body}</p></body></html>\n'


def _mailbox(name: str, address: str) -> str:
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"{address!r} is no e-mail address")
    return f"{encoded(name, _PLAIN_NAME)} <{address}>" if name else address


def encoded(text: str, plain: re.Pattern[str] = _PLAIN) -> str:
    """Text as a header may have it: as it is if that is surely harmless, else as RFC 2047 words, one a line."""
    if plain.fullmatch(text):
        return text
    words, word = [], b""
    for character in text:
        more = character.encode("utf-8", "replace")
        if len(word) + len(more) > _WORD:
            words.append(word)
            word = b""
        word += more
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(one).decode()}?=" for one in (*words, word))


def visible(value: object, most: int) -> str:
    """Text of a stranger in one line: no controls, no turned directions, nothing that a header could break on."""
    if not isinstance(value, str):
        return ""
    kept = "".join(" " if one.isspace() else one for one in value[: most * 4] if one.isspace() or _printable(one))
    return " ".join(kept.split())[:most].rstrip()


def _printable(character: str) -> bool:
    return not unicodedata.category(character).startswith("C")


def _filled(text: str, **values: str) -> str:
    """Like ``format``, but what is filled in is never looked at."""
    parts = text.replace("}", "{").split("{")
    return "".join(values[part] if index % 2 else part for index, part in enumerate(parts))


def _length(seconds: object) -> str:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e6:
        return "?"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _moment(data: Mapping[str, Any]) -> float:
    at = data.get("at")
    usable = isinstance(at, int | float) and not isinstance(at, bool) and 0 <= at < 4e9
    return float(at) if usable else 0.0  # type: ignore[arg-type]


def _zone(data: Mapping[str, Any]) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(str(data.get("timezone")))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return zoneinfo.ZoneInfo("UTC")
