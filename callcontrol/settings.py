"""Settings: the flags of ``cordboard serve``, the same names as ``CORDBOARD_`` variables, and cordboard.yaml.

``cordboard.yaml`` is the operator's own file (switches now; trunks and limits later), not a company's: the
one who edits routing cannot change where the switch is.  It holds no secret, only the names of files that do.
"""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import marshmallow as ma
import yaml

from callcontrol import wire

#: What serves when nothing else is said: the controllers' end of the dialplan that we ship.
LISTEN = "127.0.0.1:8084"
REDIS = "redis://127.0.0.1:6379/0"
PEERS = "127.0.0.0/8"
DOMAIN = "cordboard.test"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(Exception):
    """A setting that cannot be used; ``str()`` says which and what to do."""


@dataclass(frozen=True, slots=True)
class SwitchAddress:
    """Where a switch's inbound Event Socket is, and its password."""

    name: str
    host: str
    port: int
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that ``serve`` needs.  Paths are absolute."""

    routing: Path
    listen: tuple[str, int]
    redis: str
    switches: tuple[SwitchAddress, ...]
    peers: tuple[Network, ...]
    state: Path
    sounds: Path
    spool: Path
    processes: int
    domain: str
    #: Seconds added to the clock that calls go by: demonstrations and tests only.
    clock_offset: float = 0.0


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
    name = ma.fields.String(required=True, validate=ma.validate.Regexp(r"^[a-z][a-z0-9-]{0,30}$"))
    host = ma.fields.String(load_default="127.0.0.1")
    port = ma.fields.Integer(load_default=8021, validate=ma.validate.Range(1, 65535))
    password_file = ma.fields.String(required=True)


class _Config(ma.Schema):
    switches = ma.fields.List(ma.fields.Nested(_Switch), required=True, validate=ma.validate.Length(1))


def read_config(path: Path) -> tuple[SwitchAddress, ...]:
    """Read cordboard.yaml and the password files that it names.  Raises SettingsError."""
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    except FileNotFoundError:
        raise SettingsError(
            f"{path}: there is no such file. It names your switches:\n"
            "  switches:\n    - {name: switch1, host: 127.0.0.1, port: 8021, password_file: esl.password}"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {error}") from None
    try:
        config: dict[str, Any] = _Config().load(loaded or {})
    except ma.ValidationError as error:
        raise SettingsError(f"{path}: {_said(error.messages)}") from None
    names = [switch["name"] for switch in config["switches"]]
    if len(set(names)) < len(names):
        raise SettingsError(f"{path}: two switches have the same name")
    return tuple(
        SwitchAddress(s["name"], s["host"], s["port"], _password(path.parent / s["password_file"]))
        for s in config["switches"]
    )


def _password(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1000).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: the switch's password cannot be read: {error}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"{path}: others can read this password; run: chmod 600 {path}")
    if not text or not text.isprintable():
        raise SettingsError(f"{path}: the password must be one line of printable text")
    return text


def _said(messages: Any, where: str = "") -> str:
    if isinstance(messages, dict):
        return "; ".join(_said(inner, f"{where}.{key}" if where else str(key)) for key, inner in messages.items())
    if isinstance(messages, list):
        return "; ".join(f"{where}: {message}" for message in messages)
    return f"{where}: {messages}"
