"""The operator's secrets file: what lookups say of themselves to a company's own services.

```yaml
lookups:
  acme:
    crm.acme.test: {Authorization: "Bearer …"}
```

By company and exact host, so that no company can send another's secret, nor its own elsewhere.  The file is
the operator's, and for their eyes only (0600); routing never has a secret.

The surprise: nothing here ever says a value, not in an error about it either, and YAML's own messages quote the
line that they are about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from callcontrol.private import read_private
from callcontrol.settings import SettingsError

#: The file is no longer than this, bytes.
LONGEST_FILE = 2**20
#: A header's value is no longer than this, characters.
LONGEST_VALUE = 4096
#: Headers that the lookup itself answers for, or that would change what the connection means.
RESERVED = frozenset(
    (
        *("accept-encoding", "connection", "content-encoding", "content-length", "expect", "host", "keep-alive"),
        *("proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding"),
        "upgrade",
    )
)

_COMPANY = re.compile(r"[a-z][a-z0-9-]{0,30}")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
#: RFC 9110, sections 5.6.2 (token) and 5.5 (field-value, without what is only tolerated there).
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_VALUE = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?")

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Secrets:
    """Headers by company and host (small letters).  Never shown."""

    _headers: Mapping[tuple[str, str], Headers] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: Path) -> Secrets:
        """Read the file; none at all holds no secrets.  Raises SettingsError, which never quotes a value."""
        try:
            raw = read_private(path, "the secrets", longest=LONGEST_FILE)
        except FileNotFoundError:
            return cls()
        try:
            loaded = yaml.load(raw.decode(), yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
            raise SettingsError(f"{path}{where}: this is not YAML") from None
        except (ValueError, yaml.YAMLError, RecursionError):
            raise SettingsError(f"{path}: this is not YAML in UTF-8") from None
        try:
            return cls(dict(_read(loaded)))
        except _Wrong as error:
            raise SettingsError(f"{path}: {error}") from None

    def headers(self, company: str, host: str) -> Headers:
        """What a lookup of ``company`` says to ``host`` besides the usual."""
        return self._headers.get((company, host.lower()), ())

    def strangers(self, asked: Mapping[str, Iterable[str]]) -> list[str]:
        """A sentence for each entry that nobody uses; ``asked`` has the hosts that each company asks."""
        found = []
        for company, host in sorted(self._headers):
            if company not in asked:
                found.append(f"there is no company {company}: its secret for {host} is never used")
            elif host not in {name.lower() for name in asked[company]}:
                found.append(f"no lookup of {company} asks {host}: its secret is never used")
        return found


class _Wrong(Exception):
    """A mistake in the file; the text names places and never values."""


def _read(loaded: Any) -> Iterable[tuple[tuple[str, str], Headers]]:
    for name, companies in _items(loaded, "the file"):
        if name != "lookups":
            raise _Wrong(f"{name!r} means nothing here; the file has: lookups")
        for company, hosts in _items(companies, "lookups"):
            if not _COMPANY.fullmatch(company):
                raise _Wrong(f"lookups: {company!r} is not the name of a company")
            for written, headers in _items(hosts, f"lookups.{company}"):
                host = written.lower()
                if not _HOST.fullmatch(host):
                    raise _Wrong(f"lookups.{company}: {written!r} is not a host, such as crm.example.com")
                yield (company, host), _headers(headers, f"lookups.{company}.{host}")


def _headers(given: Any, where: str) -> Headers:
    found: dict[str, tuple[str, str]] = {}
    for name, value in _items(given, where):
        if not _NAME.fullmatch(name):
            raise _Wrong(f"{where}: {name!r} is not the name of a header")
        if name.lower() in RESERVED:
            raise _Wrong(f"{where}: the header {name} is not yours to set")
        if name.lower() in found:
            raise _Wrong(f"{where}: the header {name} stands there twice")
        if not isinstance(value, str):
            raise _Wrong(f"{where}: the value of {name} is not text; write it in quotes")
        if not _VALUE.fullmatch(value) or len(value) > LONGEST_VALUE:
            raise _Wrong(f"{where}: the value of {name} is not one line of plain characters")
        found[name.lower()] = (name, value)
    return tuple(found.values())


def _items(value: Any, where: str) -> list[tuple[str, Any]]:
    """The entries of a mapping.  Anything else may be a secret in the wrong place, so it is not quoted."""
    if value is None:
        return []
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _Wrong(f"{where} is not a mapping of names")
    return list(value.items())
