"""Settings: the flags of ``cordboard serve``, the same names as ``CORDBOARD_`` variables, and cordboard.yaml.

``cordboard.yaml`` is the operator's own file (switches, trunks, limits, voices, music), not a company's: the one who
edits routing cannot change where the switch is, or what a call may cost.  It holds no secret, only the names of
files that do.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import marshmallow as ma
import phonenumbers
import yaml

from callcontrol import wire
from callcontrol.private import SettingsError as SettingsError
from callcontrol.private import read_private
from callcontrol.routing.kinds import LANGUAGE, NAME, seconds_of
from callcontrol.versions import write_whole

#: What serves when nothing else is said: the controllers' end of the dialplan that we ship.
LISTEN = "127.0.0.1:8084"
REDIS = "redis://127.0.0.1:6379/0"
PEERS = "127.0.0.0/8"
DOMAIN = "cordboard.test"
#: Where the web answers.
WEB = "127.0.0.1:8085"

#: In STATE: the text of the last cordboard.yaml that could be used.
_KEPT = "cordboard.yaml"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class SwitchAddress:
    """Where a switch's inbound Event Socket is, and its password."""

    name: str
    host: str
    port: int
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trunk:
    """A way out: a gateway of a switch's own configuration.

    ``format`` says how the carrier wants numbers: ``plus`` (+79161112233), ``plain`` (79161112233), or ``national``,
    as one dials them in ``country`` (89161112233, 810442071234567).  ``switches`` empty: every switch has it.
    ``max_calls`` bounds its calls at a time, of all companies together.
    """

    name: str
    gateway: str
    format: str = "plus"
    country: str | None = None
    switches: tuple[str, ...] = ()
    max_calls: int | None = None


@dataclass(frozen=True, slots=True)
class Voice:
    """How a language is spoken: by a voice of espeak-ng, or by a program of the operator's.

    ``espeak``: the voice's name, by default the language's; ``speed``: words a minute.  ``command`` gets the text on
    its standard input and writes a WAV file where one of its words says ``{file}``; no shell is involved.
    """

    espeak: str | None = None
    speed: int = 150
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Storage:
    """The S3 store of recordings.

    ``endpoint`` None: AWS.  ``credentials`` is the file of the keys (``read_credentials``); None: boto3's own ways
    (variables, roles).  ``verify``: ``read`` reads what is stored again and compares its SHA-256 before a local file is
    deleted; ``checksum`` is content with the store's own SHA-256.  ``multipart_above`` in bytes.
    ``checksums``: whether to send those that some stores refuse.
    """

    bucket: str
    endpoint: str | None = None
    region: str | None = None
    prefix: str = ""
    credentials: Path | None = None
    verify: str = "read"
    multipart_above: int = 64 * 2**20
    checksums: bool = False


@dataclass(frozen=True, slots=True)
class Mail:
    """The SMTP server that takes our mail.  ``security``: ``none starttls tls``; ``password`` is a file."""

    host: str
    sender: str
    port: int = 25
    security: str = "none"
    user: str | None = None
    password: Path | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """What cordboard.yaml says.  Paths are absolute.

    ``longest_call`` (seconds) ends a call to the outside. ``voices``: by language; any other is spoken by the voice
    of espeak-ng that has its name. ``music``: by the name that companies write, a sound file. ``private`` are
    networks that lookups may reach although they are not public. ``passwords`` is the file of the phones'
    passwords, ``secrets`` that of lookups' headers; neither need exist. ``storage`` None: recordings stay in the
    spool. ``mail`` None: no mail is sent. ``subscribers`` are networks that webhooks may reach although they are not
    public. ``public``: the address of the web as people and their mails know it, without a slash at its end.
    ``alarms``: the operator's own mail address.
    """

    switches: tuple[SwitchAddress, ...]
    trunks: Mapping[str, Trunk] = field(default_factory=dict)
    longest_call: float = 4 * 3600.0
    private: tuple[Network, ...] = ()
    voices: Mapping[str, Voice] = field(default_factory=dict)
    music: Mapping[str, Path] = field(default_factory=dict)
    passwords: Path = Path("passwords.yaml")
    secrets: Path = Path("secrets.yaml")
    storage: Storage | None = None
    mail: Mail | None = None
    subscribers: tuple[Network, ...] = ()
    public: str = ""
    alarms: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that ``serve`` needs.  Paths are absolute."""

    routing: Path
    listen: tuple[str, int]
    redis: str
    config: Config
    peers: tuple[Network, ...]
    state: Path
    sounds: Path
    spool: Path
    processes: int
    domain: str
    #: Seconds added to the clock that calls go by: demonstrations and tests only.
    clock_offset: float = 0.0
    #: Where ``config`` was read, to be read again by a reload.
    config_path: Path = Path("cordboard.yaml")


def address(text: str) -> tuple[str, int]:
    """``host:port``, also ``[::1]:port``.  Raises SettingsError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) < 65536:
        raise SettingsError(f"{text!r} is not host:port, such as {LISTEN}")
    return host.strip("[]"), int(port)


def networks(text: str) -> tuple[Network, ...]:
    """CIDRs separated by commas.  Raises SettingsError."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"peers: {error}; write networks such as 127.0.0.0/8,10.1.2.0/24") from None


def admits(peers: Sequence[Network], host: str) -> bool:
    """Whether a connection from ``host`` may be a switch.  An IPv4-mapped IPv6 address is read as IPv4."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return any((mapped or ip) in network for network in peers)


def switch_path(name: str, path: Path) -> None:
    """Check a directory whose files the switch shall open.  Raises SettingsError."""
    try:
        wire.SoundPath(str(path / "x"))
    except wire.Refused:
        raise SettingsError(
            f"{name}: the switch cannot be told {str(path)!r}: use letters, digits, and _ . - in the names of the "
            f"directories, or name another with CORDBOARD_{name.upper()}"
        ) from None


def domain(text: str) -> str:
    """The domain under which companies have theirs.  Raises SettingsError."""
    try:
        wire.UserEndpoint("1", f"company.{text}")
    except wire.Refused as error:
        raise SettingsError(f"domain: {error}") from None
    return text


class _Switch(ma.Schema):
    """A FreeSWITCH whose calls we serve.

    name: the switch's name, as ``cordboard_switch`` in its own configuration
    host: where its event socket is
    port: the port of its event socket
    password_file: the file with the event socket's password, readable by its owner only; beside this file
    """

    name = ma.fields.String(required=True, validate=ma.validate.Regexp(r"^[a-z][a-z0-9-]{0,30}$"))
    host = ma.fields.String(load_default="127.0.0.1")
    port = ma.fields.Integer(load_default=8021, validate=ma.validate.Range(1, 65535))
    password_file = ma.fields.String(required=True)


class _Seconds(ma.fields.Field[float]):
    """A duration as operators write it (``4h``, ``90m``); the value is seconds."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        found = seconds_of(str(value))
        if found is None or not 60 <= found <= 24 * 3600:
            raise ma.ValidationError("write a duration from 1m to 24h, such as 4h")
        return found


class _Trunk(ma.Schema):
    """A way out to the telephone network.

    name: the trunk's name, as companies write it under ``outbound``
    gateway: the gateway's name in the switch's own configuration
    format: how the carrier wants numbers: ``plus`` +79161112233, ``plain`` 79161112233, ``national`` as one dials
        them in ``country``
    country: the country whose way of dialling ``national`` is
    switches: the switches that have this gateway; without it, all
    max_calls: the most calls at a time, of all companies together
    """

    name = ma.fields.String(required=True, validate=ma.validate.Regexp(NAME.pattern + r"\Z"))
    gateway = ma.fields.String(required=True, validate=ma.validate.Regexp(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"))
    format = ma.fields.String(load_default="plus", validate=ma.validate.OneOf(("plus", "plain", "national")))
    country = ma.fields.String(load_default=None, validate=ma.validate.OneOf(sorted(phonenumbers.SUPPORTED_REGIONS)))
    switches = ma.fields.List(ma.fields.String(), load_default=list)
    max_calls = ma.fields.Integer(load_default=None, strict=True, validate=ma.validate.Range(1, 10_000))

    @ma.validates_schema
    def _national_needs_a_country(self, data: Any, **kwargs: Any) -> None:
        if data["format"] == "national" and data["country"] is None:
            raise ma.ValidationError("format: national needs the country whose way of dialling it is", "country")


class _Limits(ma.Schema):
    """longest_call: after this time a call to the outside is ended; 1m to 24h"""

    longest_call = _Seconds(load_default=4 * 3600.0)


class _Lookups(ma.Schema):
    """private: networks that lookups may ask although they are not public, such as 10.1.2.0/24"""

    private = ma.fields.List(ma.fields.String(), load_default=list)


class _Voice(ma.Schema):
    """How a language is spoken.  Without an entry it is the voice of espeak-ng that has its name.

    espeak: the name of another voice of espeak-ng, such as en-gb
    speed: words a minute
    command: a program of your own instead, as a list; it gets the text on its standard input and writes {file}
    """

    espeak = ma.fields.String(validate=ma.validate.Regexp(r"^[a-z][a-z0-9-]{1,30}(\+[a-z0-9]{1,20})?\Z"))
    speed = ma.fields.Integer(strict=True, validate=ma.validate.Range(80, 300))
    command = ma.fields.List(ma.fields.String(validate=ma.validate.Length(1, 1000)), validate=ma.validate.Length(1, 50))

    @ma.validates_schema
    def _one_or_the_other(self, data: Any, **kwargs: Any) -> None:
        command = data.get("command")
        if command is not None and len(data) > 1:
            raise ma.ValidationError("a command is a voice of its own: espeak and speed do not go with it", "command")
        if command is not None and not any("{file}" in word for word in command[1:]):
            raise ma.ValidationError("one of its words must be {file}: the WAV file to be written", "command")


_FILE = ma.validate.Regexp(r"[^\x00-\x1f\x7f]{1,1000}\Z")
_HTTP = ma.validate.Regexp(
    r"https?://[^\s/?#@]+(/[^\s?#]*)?\Z", error="write an address such as https://pbx.example.com"
)
_ADDRESS = ma.validate.Email()


class _Storage(ma.Schema):
    """The S3 store that recordings and messages go to.  Without it they stay in the spool.

    bucket: the bucket's name
    endpoint: the store's address; without it AWS
    region: the store's region
    prefix: what every key begins with, such as ``pbx/``
    credentials: the file of the keys, YAML with ``access_key`` and ``secret_key``, readable by its owner only; beside
        this file.  Without it boto3's own ways: variables, roles
    verify: before a local file is deleted, ``read`` what is stored again and compare it, or be content with the
        store's own ``checksum``
    multipart_above: files of more megabytes are sent in parts
    checksums: whether to send checksums that some stores refuse
    """

    bucket = ma.fields.String(required=True, validate=ma.validate.Regexp(r"[a-z0-9][a-z0-9.-]{1,62}\Z"))
    endpoint = ma.fields.String(load_default=None, validate=_HTTP)
    region = ma.fields.String(load_default=None, validate=ma.validate.Regexp(r"[a-z0-9-]{1,40}\Z"))
    prefix = ma.fields.String(load_default="", validate=ma.validate.Regexp(r"([A-Za-z0-9_.-]+/){0,8}\Z"))
    credentials = ma.fields.String(load_default=None, validate=_FILE)
    verify = ma.fields.String(load_default="read", validate=ma.validate.OneOf(("read", "checksum")))
    multipart_above = ma.fields.Integer(load_default=64, strict=True, validate=ma.validate.Range(5, 5000))
    checksums = ma.fields.Boolean(load_default=False)


class _Mail(ma.Schema):
    """The SMTP server that takes messages, notices of missed calls and alarms.

    host: its name
    port: its port
    sender: the address that the mail comes from
    security: ``none``, ``starttls`` or ``tls``
    user: the user's name, if it wants one
    password_file: the file with the user's password, readable by its owner only; beside this file
    """

    host = ma.fields.String(required=True, validate=ma.validate.Regexp(r"[A-Za-z0-9.:-]{1,253}\Z"))
    port = ma.fields.Integer(load_default=25, strict=True, validate=ma.validate.Range(1, 65535))
    sender = ma.fields.String(required=True, validate=_ADDRESS)
    security = ma.fields.String(load_default="none", validate=ma.validate.OneOf(("none", "starttls", "tls")))
    user = ma.fields.String(load_default=None, validate=ma.validate.Regexp(r"[\x21-\x7e]{1,200}\Z"))
    password_file = ma.fields.String(load_default=None, validate=_FILE)

    @ma.validates_schema
    def _user_and_password(self, data: Any, **kwargs: Any) -> None:
        if (data["user"] is None) != (data["password_file"] is None):
            raise ma.ValidationError("user and password_file go together", "user")


class _Webhooks(ma.Schema):
    """private: networks that webhooks may reach although they are not public, such as 10.1.2.0/24"""

    private = ma.fields.List(ma.fields.String(), load_default=list)


class _Web(ma.Schema):
    """public: the address of the web as people and their mails know it, such as https://pbx.example.com"""

    public = ma.fields.String(load_default="", validate=_HTTP)


class _Alarms(ma.Schema):
    """mail: the operator's address, which alarms are sent to"""

    mail = ma.fields.String(load_default=None, validate=_ADDRESS)


class _Config(ma.Schema):
    """The operator's own file: what no company may change.  It holds no secret, only the names of files that do.

    ```yaml
    switches:
      - {name: switch1, host: 127.0.0.1, port: 8021, password_file: esl.password}
    trunks:
      - {name: carrier-a, gateway: carrier-a, format: national, country: RU, max_calls: 30}
    limits: {longest_call: 4h}
    lookups: {private: [10.1.2.0/24]}
    voices: {en: {espeak: en-gb, speed: 140}}
    music: {moh: sounds/our-music.wav}
    storage: {bucket: recordings, endpoint: https://s3.example.com, credentials: storage.yaml}
    mail: {host: mail.example.com, sender: pbx@example.com}
    webhooks: {private: [10.1.2.0/24]}
    web: {public: https://pbx.example.com}
    alarms: {mail: ops@example.com}
    ```

    switches: the switches that bring calls
    trunks: the ways out
    limits: what no company may exceed
    lookups: what lookups may ask
    voices: by language, how speech is made
    music: sound files by the names that companies write for music, ``moh`` for what waiting callers hear when nothing
        else is said; a path begins at this file.  Whatever is not here is Cordboard's own music
    passwords: the file of the telephones' passwords; beside this file
    secrets: the file of the headers that lookups send; beside this file
    storage: where recordings and messages go
    mail: what sends mail
    webhooks: what webhooks may reach
    web: the web's own address
    alarms: whom to tell what must not go unnoticed
    """

    switches = ma.fields.List(ma.fields.Nested(_Switch), required=True, validate=ma.validate.Length(1))
    trunks = ma.fields.List(ma.fields.Nested(_Trunk), load_default=list)
    limits = ma.fields.Nested(_Limits, load_default=lambda: _Limits().load({}))
    lookups = ma.fields.Nested(_Lookups, load_default=lambda: _Lookups().load({}))
    voices = ma.fields.Dict(
        keys=ma.fields.String(validate=ma.validate.Regexp(LANGUAGE.pattern + r"\Z")),
        values=ma.fields.Nested(_Voice),
        load_default=dict,
    )
    music = ma.fields.Dict(
        keys=ma.fields.String(validate=ma.validate.Regexp(NAME.pattern + r"\Z")),
        values=ma.fields.String(validate=ma.validate.Regexp(r"[^\x00-\x1f\x7f]{1,1000}\Z")),
        load_default=dict,
    )
    passwords = ma.fields.String(load_default="passwords.yaml")
    secrets = ma.fields.String(load_default="secrets.yaml")
    storage = ma.fields.Nested(_Storage, load_default=None)
    mail = ma.fields.Nested(_Mail, load_default=None)
    webhooks = ma.fields.Nested(_Webhooks, load_default=lambda: _Webhooks().load({}))
    web = ma.fields.Nested(_Web, load_default=lambda: _Web().load({}))
    alarms = ma.fields.Nested(_Alarms, load_default=lambda: _Alarms().load({}))


def keep_config(path: Path, state: Path) -> None:
    """Keep the text of a cordboard.yaml that can be used, so that a process that starts while it is wrong can start.

    Passwords stay where they are.  What fails is not kept.
    """
    with contextlib.suppress(SettingsError, OSError, UnicodeDecodeError):
        text = path.read_text(encoding="utf-8")
        read_config(path, text)
        write_whole(state / _KEPT, text.encode())


def kept_config(path: Path, state: Path) -> Config:
    """The last cordboard.yaml that could be used.  Raises SettingsError."""
    try:
        return read_config(path, (state / _KEPT).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{state / _KEPT}: {error}") from None


def read_config(path: Path, text: str | None = None) -> Config:
    """Read cordboard.yaml and the password files that it names.  Raises SettingsError.

    ``text``: what stands in the file, if that is known.
    """
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8") if text is None else text, yaml.SafeLoader)
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: there is no such file. It names your switches:\n"
            "  switches:\n    - {name: switch1, host: 127.0.0.1, port: 8021, password_file: esl.password}"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {error}") from None
    except RecursionError:
        raise SettingsError(f"{path}: brackets or lists are nested too deeply") from None
    try:
        config: dict[str, Any] = _Config().load(loaded or {})
    except ma.ValidationError as error:
        raise SettingsError(f"{path}: {_said(error.messages)}") from None
    names = [switch["name"] for switch in config["switches"]]
    for what, found in (("switches", names), ("trunks", [trunk["name"] for trunk in config["trunks"]])):
        if len(set(found)) < len(found):
            raise SettingsError(f"{path}: two {what} have the same name")
    for trunk in config["trunks"]:
        unknown = sorted({*trunk["switches"]} - {*names})
        if unknown:
            raise SettingsError(f"{path}: the trunk {trunk['name']} names a switch that is not here: {unknown[0]}")
    reachable = {}
    for section in ("lookups", "webhooks"):
        try:
            reachable[section] = networks(",".join(config[section]["private"]))
        except SettingsError as error:
            raise SettingsError(f"{path}: {section}.private: {error}") from None
    return Config(
        switches=tuple(
            SwitchAddress(s["name"], s["host"], s["port"], _password(path.parent / s["password_file"]))
            for s in config["switches"]
        ),
        trunks={trunk["name"]: Trunk(**{**trunk, "switches": tuple(trunk["switches"])}) for trunk in config["trunks"]},
        longest_call=config["limits"]["longest_call"],
        private=reachable["lookups"],
        voices={
            language: Voice(**{**voice, "command": tuple(voice.get("command", ()))})
            for language, voice in config["voices"].items()
        },
        music={name: path.parent / file for name, file in config["music"].items()},
        passwords=path.parent / config["passwords"],
        secrets=path.parent / config["secrets"],
        storage=_storage(config["storage"], path.parent),
        mail=_mail(config["mail"], path.parent),
        subscribers=reachable["webhooks"],
        public=config["web"]["public"].rstrip("/"),
        alarms=config["alarms"]["mail"],
    )


def _storage(said: dict[str, Any] | None, beside: Path) -> Storage | None:
    if said is None:
        return None
    credentials = said["credentials"] and beside / said["credentials"]
    return Storage(**{**said, "credentials": credentials, "multipart_above": said["multipart_above"] * 2**20})


def _mail(said: dict[str, Any] | None, beside: Path) -> Mail | None:
    if said is None:
        return None
    named = said["password_file"]
    password = beside / named if named else None
    return Mail(said["host"], said["sender"], said["port"], said["security"], said["user"], password)


def _password(path: Path) -> str:
    try:
        text = read_private(path, "this password", longest=1000).decode().strip()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the switch's password cannot be read: {error}") from None
    if not text or not text.isprintable():
        raise SettingsError(f"{path}: the password must be one line of printable text")
    return text


def _said(messages: Any, where: str = "") -> str:
    if isinstance(messages, dict):
        return "; ".join(_said(inner, f"{where}.{key}" if where else str(key)) for key, inner in messages.items())
    if isinstance(messages, list):
        return "; ".join(f"{where}: {message}" for message in messages)
    return f"{where}: {messages}"
