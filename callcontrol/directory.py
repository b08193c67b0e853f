"""The phones' directory: who may register at the switch, generated out of routing and the file of passwords.

``passwords.yaml`` (0600, beside cordboard.yaml) is the operator's: ``company: {extension: password}``.  It is written
by ``cordboard passwords`` only, and read by whoever publishes.  For each live company :func:`write_directory` makes
``<state>/directory/<company>.xml``, which the switch includes; :class:`Announcer` makes a switch read it again.
People's names, numbers and rules have no business here.

The surprises, each seen on a switch (FreeSWITCH 1.11.1, ``freeswitch/QUIRKS.md``):

* A phone chooses the realm it answers for and, apart from it, the domain it registers in.  With the password of 301 of
  one company it could register as 301 of another.  So what it registers as is made here (``sip-force-extension``): a
  name that has its company in it, and only that name is ever rung.
* A registration outlives its password by an hour.  So the name also has a mark of the password in it: with a new one,
  the old registration is rung no more.
* ``reloadxml`` answers ``+OK`` when it has read nothing, too.  So the directory has a version of its own, a domain
  without users, and the switch is asked for that.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import structlog
import yaml

from callcontrol import wire
from callcontrol.private import read_private
from callcontrol.routing.files import COMPANY, load_directory
from callcontrol.routing.kinds import EXTENSION
from callcontrol.routing.load import LoadError
from callcontrol.settings import Config, SettingsError

#: Passwords that we make: no capitals and no look-alikes (0 o, 1 l i), since people type them into telephones.
ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
LENGTH = 24
#: Passwords that an operator may have brought along.  SIP has no charset for others.
PASSWORD = re.compile(r"[!-~]{8,128}")
#: Bytes of the file of passwords; a hundred thousand phones need four million.
LARGEST_FILE = 10_000_000
#: How often a switch is made to read the same directory again before it is taken to read another.
MOST_TRIES = 3
#: How long the others leave it to the one process that has a switch read the directory, seconds.
LEASE = 2.0

_HEADER = """\
# The phones' passwords, one for each extension: company, extension, password. Keep this file secret (mode 0600).
# "cordboard passwords" makes what is missing and never changes what is here; comments of your own are not kept.
# After a change publish again (SIGHUP), so that the switch learns of it.
"""
#: Begins the name of a file that is being written; the switch reads ``*.xml``, and a star finds no leading dot.
_UNBORN = ".new-"
#: Read by the switch before any company's file, and written after them.  No company's name begins with a digit.
_VERSION_FILE = "0-version.xml"
_VERSION = re.compile(r'value="([0-9a-f]{16})"')


class Passwords:
    """The passwords by company and extension, each of the shape it should have.  Never shown."""

    def __init__(self, found: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._found: dict[str, dict[str, str]] = {}
        for company, phones in (found or {}).items():
            for extension, password in phones.items():
                self.set(company, extension, password)

    def __repr__(self) -> str:
        return f"<{sum(map(len, self._found.values()))} passwords>"

    def get(self, company: str, extension: str) -> str | None:
        """The password of a phone, if it has one."""
        return self._found.get(company, {}).get(extension)

    def set(self, company: str, extension: str, password: str) -> None:
        """Give a phone its password.  Raises ValueError for a wrong shape, without showing it."""
        for what, text, shape in (
            ("company", company, COMPANY),
            ("extension", extension, EXTENSION),
            ("password", password, PASSWORD),
        ):
            if not shape.fullmatch(text):
                raise ValueError(_WANTED[what])
        self._found.setdefault(company, {})[extension] = password

    def forget(self, company: str, extension: str) -> None:
        """Remove a password."""
        self._found[company].pop(extension)
        if not self._found[company]:
            del self._found[company]

    def phones(self) -> list[tuple[str, str]]:
        """Company and extension of every password, sorted."""
        return sorted((company, extension) for company, phones in self._found.items() for extension in phones)

    def text(self) -> str:
        """The file's text; the same passwords give the same text."""
        return _HEADER + (yaml.safe_dump(self._found, default_flow_style=False) if self._found else "{}\n")


_WANTED = {
    "company": "a company is a small letter, then small letters, digits or -, 31 at most",
    "extension": "an extension is one to six digits",
    "password": "a password is 8 to 128 printable ASCII characters without spaces",
}


def make_password() -> str:
    """A password that nobody guesses (118 bits)."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


# ------------------------------------------------------------------------------------ the file of passwords


def read_passwords(path: Path) -> Passwords:
    """Read the file of passwords; one that is not there has none.

    Raises SettingsError, with the place and never with what stands there.
    """
    try:
        raw = read_private(path, "the phones' passwords", longest=LARGEST_FILE)
    except FileNotFoundError:
        return Passwords()
    try:
        return _typed(path, raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:  # its text would show the line
        raise SettingsError(f"{path}{_at(error.problem_mark)}: is not YAML: company: {{extension: password}}") from None
    except yaml.YAMLError:
        raise SettingsError(f"{path}: is not YAML: company: {{extension: password}}") from None


def _typed(path: Path, text: str) -> Passwords:
    """Walk the parser's events: loaded values would make numbers of names and lose those that are there twice, and
    brackets nested a hundred thousand deep end the process that makes nodes of them.
    """
    passwords = Passwords()
    seen: set[tuple[str, ...]] = set()
    names: list[str] = []  # of what the next value is the password, or the phones
    depth = 0
    documents = 0
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        why = ""
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            why = "one document is enough" if documents > 1 else ""
        elif getattr(event, "anchor", None) or getattr(event, "tag", None):
            why = "anchors, aliases and tags are not used here"
        elif isinstance(event, yaml.ScalarEvent) and len(names) == depth - 1:
            names.append(event.value)
            what, shape = (("company", COMPANY), ("extension", EXTENSION))[depth - 1]
            why = "" if shape.fullmatch(event.value) else _WANTED[what]
            why = why or ("this name is here already" if (*names,) in seen else "")
            seen.add((*names,))
        elif isinstance(event, yaml.ScalarEvent) and depth == 2:
            why = "" if PASSWORD.fullmatch(event.value) else _WANTED["password"]
            if not why:
                passwords.set(names[0], names.pop(), event.value)
        elif isinstance(event, yaml.MappingStartEvent) and len(names) == depth < 2:
            depth += 1
        elif isinstance(event, yaml.MappingEndEvent):
            depth -= 1
            names = []
        elif isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            why = _WANTED["password"] if depth == 2 else "here belongs a mapping: company: {extension: password}"
        if why:
            raise SettingsError(f"{path}{_at(event.start_mark)}: {why}")
    return passwords


def _at(mark: Any) -> str:
    return f":{mark.line + 1}:{mark.column + 1}" if mark else ""


@contextlib.contextmanager
def changing(path: Path) -> Iterator[Passwords]:
    """The passwords to be changed: what the block did is written at its end, if it ends well.

    Whoever changes them at the same time waits.  Raises SettingsError.
    """
    path = path.resolve()  # a link stays a link
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SettingsError(f"{path.parent}: {error.strerror}") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        passwords = read_passwords(path)
        before = passwords.text()
        yield passwords
        if passwords.text() != before:
            try:
                _write_secret(path, passwords.text().encode(), keep=True)
            except OSError as error:
                raise SettingsError(f"{path}: the passwords cannot be written: {error.strerror}") from None
            os.fsync(folder)
    finally:
        os.close(folder)


def _write_secret(path: Path, data: bytes, *, keep: bool = False) -> None:
    """Replace a file whole by one that only its owner can read, and that never was anybody else's.

    ``keep``: on return it is on disk, and belongs to whom it belonged before (root may change the server's file).
    """
    fd, unborn = tempfile.mkstemp(prefix=_UNBORN, dir=path.parent)  # 0600, O_EXCL
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            if keep:
                with contextlib.suppress(FileNotFoundError):
                    owner = path.stat()
                    if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                        os.fchown(fd, owner.st_uid, owner.st_gid)
                file.flush()
                os.fsync(fd)
        os.replace(unborn, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unborn)
        raise


# --------------------------------------------------------------------------------------- cordboard passwords


def make_passwords(routing: Path, path: Path, say: Callable[[str], None], *, forget: bool = False) -> int:
    """Make a password for every phone in ``routing`` that has none; the command's exit code.

    Those of phones that are gone are told of, and with ``forget`` removed.  A company whose file has errors is left
    alone: who is gone from it cannot be known.  Raises SettingsError.
    """
    try:
        loaded = load_directory(routing)
    except LoadError as error:
        raise SettingsError(str(error)) from None
    if not loaded:  # a disk that is not mounted: nobody is gone
        say(f"{routing}: there is no company here: no file that ends in .yaml")
        return 1
    broken = {entry.company for entry in loaded if entry.routing is None}
    wanted = {entry.company: sorted(entry.routing.people) for entry in loaded if entry.routing is not None}
    told: list[str] = []  # once it is true
    with changing(path) as passwords:
        before = passwords.text()
        for company, phones in wanted.items():
            made = [extension for extension in phones if passwords.get(company, extension) is None]
            for extension in made:
                passwords.set(company, extension, make_password())
            if made:
                told.append(f"{company}: made a password for {', '.join(made)}")
        for company, extension in passwords.phones():
            if company not in broken and extension not in wanted.get(company, ()):
                if forget:
                    passwords.forget(company, extension)
                done = "forgotten" if forget else "kept (--forget-gone removes it)"
                told.append(f"{company} {extension}: is not in routing, its password is {done}")
        changed = passwords.text() != before
    told += [f"{company}: has errors and was left alone; see: cordboard check {routing}" for company in sorted(broken)]
    if changed:
        told.append(_PUBLISH)
    for line in told or ["Every phone has a password."]:
        say(line)
    return 1 if broken else 0


def show_password(path: Path, domain: str, company: str, extension: str, say: Callable[[str], None]) -> int:
    """Say what is to be put into one telephone; the command's exit code.  Raises SettingsError."""
    password = read_passwords(path).get(company, extension)
    if password is None:
        say(_UNKNOWN.format(company, extension))
        return 2
    say(f"SIP server, domain  {company}.{domain}")
    say(f"user                {extension}")
    say(f"password            {password}")
    return 0


def renew_password(path: Path, company: str, extension: str, say: Callable[[str], None]) -> int:
    """Give one phone another password; the command's exit code.  Raises SettingsError."""
    with changing(path) as passwords:
        if passwords.get(company, extension) is None:
            say(_UNKNOWN.format(company, extension))
            return 2
        passwords.set(company, extension, make_password())
    say(f"{company} {extension}: has a new password")
    say(_PUBLISH)
    return 0


_UNKNOWN = "{} {}: has no password; make one with: cordboard passwords DIRECTORY"
_PUBLISH = "The switch learns of it when routing is published: when cordboard serve starts, or by cordboard reload."


# ------------------------------------------------------------------------------------------- the directory


def write_directory(extensions: Mapping[str, Iterable[str]], config: Config, state: Path, domain: str) -> bool:
    """Make ``<state>/directory`` that of these live companies and their extensions; whether anything changed.

    An extension without a password is left out.  Trouble is logged and leaves the directory as it is: phones go on by
    what they have.
    """
    log: Any = structlog.get_logger("directory")
    try:
        passwords = read_passwords(config.passwords)
        files: dict[str, bytes] = {}
        without: list[str] = []
        for company, phones in sorted(extensions.items()):
            known = {extension: passwords.get(company, extension) for extension in sorted(phones)}
            without += [f"{company} {extension}" for extension, password in known.items() if password is None]
            files[f"{company}.xml"] = company_xml(company, domain, {e: p for e, p in known.items() if p is not None})
        changed = _replace(state / "directory", files)
    except (SettingsError, OSError) as error:
        log.error("the phones' directory stays as it is", error=str(error))
        return False
    if without:
        shown = ", ".join(without[:5]) + (" …" if len(without) > 5 else "")
        log.warning(
            "phones without a password cannot register; run: cordboard passwords", phones=len(without), first=shown
        )
    if changed:
        log.info("the phones' directory changed", companies=len(files))
    return changed


def _replace(folder: Path, files: dict[str, bytes]) -> bool:
    """Make these the XML files of a folder.  Not synced: what a power cut spoils is written anew at the next start."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) != 0o700:
        folder.chmod(0o700)
    digest = hashlib.sha256(b"\0".join(name.encode() + b"\0" + data for name, data in sorted(files.items())))
    changed = False
    for path in folder.iterdir():
        if path.name.startswith(_UNBORN) or (path.suffix == ".xml" and path.name not in {*files, _VERSION_FILE}):
            path.unlink()
            changed = True
    # The version comes last: a switch that reads meanwhile finds the old one, and is made to read again.
    for name, data in (*files.items(), (_VERSION_FILE, _version_xml(digest.hexdigest()[:16]))):
        path = folder / name
        if not _is(path, data):
            _write_secret(path, data)
            changed = True
    return changed


def _is(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data and stat.S_IMODE(path.stat().st_mode) == 0o600
    except FileNotFoundError:
        return False


def company_xml(company: str, domain: str, phones: Mapping[str, str]) -> bytes:
    """A company's part of the switch's directory: its SIP domain, and each extension with a hash of its password."""
    realm = f"{company}.{domain}"
    root = ElementTree.Element("include")
    root.append(ElementTree.Comment(" Made by Cordboard; a change here does not last. "))
    entry = ElementTree.SubElement(root, "domain", name=realm)
    _values(entry, "param", {"allow-empty-password": "false"})
    _values(entry, "variable", {"user_context": "cordboard", "cordboard_company": company})
    users = ElementTree.SubElement(entry, "users")
    found = {extension: ElementTree.SubElement(users, "user", id=extension) for extension in phones}
    ElementTree.indent(root)  # a line for each user, and not twenty: the switch reads ten thousand of them at a time
    for extension, user in found.items():
        wire.UserEndpoint(extension, realm)  # raises for anything but digits and a domain
        a1 = hashlib.md5(f"{extension}:{realm}:{phones[extension]}".encode(), usedforsecurity=False).hexdigest()
        name = f"{extension}.{company}.{hashlib.sha256(a1.encode()).hexdigest()[:8]}"
        # A phone that answers with a redirect is unreachable: the switch would call whatever address the answer names.
        before = f"{{^^:sip_invite_domain={realm}:presence_id={extension}@{realm}:outbound_redirect_fatal=true}}"
        dial = f"{before}${{sofia_contact(internal/{name}@{realm})}}"
        _values(user, "param", {"a1-hash": a1, "sip-force-extension": name, "dial-string": dial})
        _values(user, "variable", {"cordboard_extension": extension})
    return _bytes(root)


def _version_xml(version: str) -> bytes:
    root = ElementTree.Element("include")
    # Without users, so that nobody can be one of them.
    _values(ElementTree.SubElement(root, "domain", name=wire.DIRECTORY), "variable", {"version": version})
    ElementTree.indent(root)
    return _bytes(root)


def _values(parent: ElementTree.Element, tag: str, values: Mapping[str, str]) -> None:
    group = ElementTree.SubElement(parent, f"{tag}s")
    for name, value in values.items():
        ElementTree.SubElement(group, tag, name=name, value=value)


def _bytes(root: ElementTree.Element) -> bytes:
    return ElementTree.tostring(root, encoding="unicode").encode() + b"\n"


def directory_version(state: Path) -> str | None:
    """The version of the directory that a switch should have; None: there is none."""
    try:
        found = _VERSION.search((state / "directory" / _VERSION_FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return found[1] if found else None


# --------------------------------------------------------------------------------------- telling the switch


class Line(Protocol):
    """The connection to a switch, as far as it is needed here."""

    name: str

    @property
    def connected(self) -> bool:
        """Whether commands go out at once."""

    def ask(self, command: wire.Command, timeout: float = 3.0) -> str:
        """The reply's text; raises EslError."""


class Board(Protocol):
    """What processes agree through, as far as it is needed here."""

    available: bool

    def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Whether ``owner`` holds the lease from now for ``seconds``."""


class Announcer:
    """Makes switches read the directory again, if what they have is not what it is.

    Every process compares, as often as it likes; one of them has it read again, and while Redis is away each does,
    which is harmless.  ``owner`` is this process.
    """

    def __init__(self, state: Path, board: Board, owner: str) -> None:
        self._state = state
        self._board = board
        self._owner = owner
        self._tried: dict[str, tuple[str, int]] = {}
        self._log: Any = structlog.get_logger("directory").bind(process=owner)

    def tell(self, *lines: Line) -> None:
        """Compare, and have it read again; whether it has been is seen at the next comparison.  Raises nothing."""
        wanted = directory_version(self._state)
        for line in lines:
            try:
                if wanted is not None and line.connected:
                    self._tell(line, wanted)
            except Exception as error:  # the connection was lost, or is slow: it is compared again soon
                said = f"{type(error).__name__}: {error}"
                self._log.warning("the switch could not be told of its directory", switch=line.name, error=said)

    def _tell(self, line: Line, wanted: str) -> None:
        if line.ask(wire.directory_version()).strip() == wanted:
            self._tried.pop(line.name, None)
            return
        if not self._board.lease(f"cordboard:directory:{line.name}", self._owner, LEASE) and self._board.available:
            return
        version, tries = self._tried.get(line.name, ("", 0))
        tries = tries + 1 if version == wanted else 1
        self._tried[line.name] = (wanted, tries)
        if tries <= MOST_TRIES:
            line.ask(wire.reload_xml())
            self._log.info("the switch reads its directory again", switch=line.name, version=wanted)
        elif tries == MOST_TRIES + 1:
            self._log.error(
                "the switch does not have our directory: its log says why, or its cordboard_directory is another",
                switch=line.name,
                directory=str(self._state / "directory"),
            )
