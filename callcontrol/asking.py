"""What people leave for the publisher under STATE: requests to publish or to roll back, and the answers to them.

``requests/<id>.request`` is written whole by whoever asks, ``requests/<id>.answer`` by the publisher.  The server alone
makes versions live; who may write into this directory, which is the server's own, may ask.  Knows nothing of routing.

The surprise: a request lives only as long as who asked.  One whose process is gone, or whose time is over, is refused
and never done later, when nobody expects it any more.  And it is done once: what it did is told by the outcome and by
the history (``history.py``), under its id, before the request is removed; so a publisher that dies between the two is
followed by one that only answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from callcontrol import outcomes
from callcontrol.outcomes import Moment
from callcontrol.supervisor import process_name
from callcontrol.versions import are_versions, write_whole

#: What can be asked: what publishing would do; to publish; to roll back.
VERBS = ("plan", "publish", "rollback")
#: The longest request, bytes; companies named in one, and yeses given; characters of a reason.
LARGEST = 2_000_000
MOST_NAMES = 10_000
LONGEST_TEXT = 500
#: How long anybody waits for an answer at most, and how long one is kept that nobody fetched; seconds.
LONGEST_WAIT = 86_400.0

_ID = re.compile(r"[0-9a-f]{16}")
_COMPANY = re.compile(r"[a-z][a-z0-9-]{0,30}")
_VERSION = re.compile(r"[0-9a-f]{0,16}")
_FOLDER = "requests"
_REQUEST, _ANSWER = ".request", ".answer"


class RequestError(Exception):
    """A request that is none, or is not to be done any more; ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    ``companies``: none: all.  ``version``: how the version begins that is rolled back to; "": the one before.
    ``confirmed``: what a yes was given to, as a plan names it; ``unpinned``: whose pins are to end although all
    companies are published.  ``shown``: company → version ("": none) that a person was told of, so that nothing else
    becomes of it; None: nobody was.  ``asker``: the process that waits.
    """

    id: str
    verb: str
    by: str
    why: str
    asked: Moment
    until: Moment
    asker: str
    companies: Sequence[str] = ()
    version: str = ""
    confirmed: Sequence[str] = ()
    unpinned: Sequence[str] = ()
    shown: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request.

    ``serial``: the publication that did it; 0: nothing was changed.  ``refused``: why not; ``changes``: company →
    version before and after, "" for none; ``lines``: what else is to be said, such as numbers gained and lost;
    ``needs``: what had to be asked, token → text; ``offers``: companies whose pin could end, with what is known of it;
    ``problems``: as ``check`` tells them; ``errors``: how many of them are.
    """

    serial: int = 0
    refused: str = ""
    changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    lines: Sequence[str] = ()
    needs: Mapping[str, str] = field(default_factory=dict)
    offers: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()
    errors: int = 0
    rehearsals: int = 0
    trouble: str = ""


# ------------------------------------------------------------------------------------- the side that asks


def new(verb: str, by: str, why: str, wait: float, **more: Any) -> Request:
    """A request of this process, to be answered within ``wait`` seconds."""
    asked = outcomes.now()
    until = Moment(asked.boot, asked.seconds + min(wait, LONGEST_WAIT))
    return Request(secrets.token_hex(8), verb, by[:LONGEST_TEXT], why, asked, until, process_name(), **more)


def leave(state: Path, request: Request) -> None:
    """Put a request where the publisher finds it.  Raises OSError; FileNotFoundError if no server ever ran there."""
    folder = state / _FOLDER
    owner = folder.stat()
    path = folder / f"{request.id}{_REQUEST}"
    unborn = path.with_name(f".new-{request.id}")  # nothing that the publisher takes for a request
    try:
        with open(os.open(unborn, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(json.dumps(asdict(request)).encode())
            if os.geteuid() == 0:  # the server must be able to read what root asks
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        unborn.replace(path)
    except OSError:
        unborn.unlink(missing_ok=True)
        raise


def withdraw(state: Path, request: Request) -> None:
    """Ask no more, and leave no answer about.  It may have been taken up already."""
    for ending in (_REQUEST, _ANSWER):
        with contextlib.suppress(OSError):
            (state / _FOLDER / f"{request.id}{ending}").unlink()


def answer_to(state: Path, request: Request) -> Answer | None:
    """The answer, if it is there."""
    try:
        given = json.loads((state / _FOLDER / f"{request.id}{_ANSWER}").read_bytes())
        changes = {str(company): (str(old), str(new)) for company, (old, new) in given.pop("changes").items()}
        lists: dict[str, Any] = {name: tuple(given.pop(name)) for name in ("lines", "problems")}
        return Answer(**{**given, **lists, "changes": changes})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


# -------------------------------------------------------------------------------- the publisher's side


def waiting(state: Path, refuse: Callable[[str, str], object]) -> list[Request]:
    """The requests that are to be done, in the order in which they were asked.

    Those that are not are answered, removed, and told to ``refuse`` (file, why).  Answers that nobody fetched go, too.
    """
    found: list[Request] = []
    folder = state / _FOLDER
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    for name in names:
        path = folder / name
        if not name.endswith(_REQUEST):
            _sweep(path)
            continue
        try:
            found.append(_judged(_read(path)))
        except RequestError as error:
            refuse(name, str(error))
            with contextlib.suppress(OSError):
                if _ID.fullmatch(path.stem):
                    _write_answer(state, path.stem, Answer(refused=str(error)))
                path.unlink()
    return sorted(found, key=lambda request: (request.asked.seconds, request.id))


def still_wanted(state: Path, request: Request) -> bool:
    """Whether who asked still waits: those before it may have taken long.  Whoever gives up withdraws it first."""
    try:
        return _judged(_read(state / _FOLDER / f"{request.id}{_REQUEST}")) == request
    except RequestError:
        return False


def answer(state: Path, request: Request, given: Answer) -> None:
    """Answer a request; it is over.  Raises OSError."""
    _write_answer(state, request.id, given)
    with contextlib.suppress(FileNotFoundError):
        (state / _FOLDER / f"{request.id}{_REQUEST}").unlink()


def _write_answer(state: Path, name: str, given: Answer) -> None:
    most = MOST_NAMES
    given = replace(given, lines=list(given.lines)[:most], problems=list(given.problems)[:most])
    write_whole(state / _FOLDER / f"{name}{_ANSWER}", json.dumps(asdict(given)).encode(), durable=False)


def _sweep(path: Path) -> None:
    """Remove what somebody left who died, once it is old."""
    import time

    with contextlib.suppress(OSError):
        if time.time() - path.lstat().st_mtime > LONGEST_WAIT:
            path.unlink()


def _read(path: Path) -> Request:
    """A request as it stands in its file.  Raises RequestError."""
    if not _ID.fullmatch(path.stem):
        raise RequestError("its name is none that a request can have")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with open(fd, "rb") as file:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode):
                raise RequestError("it is not a regular file")
            if about.st_uid not in (0, os.geteuid()) or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise RequestError("somebody else than the server's user and root could have written it")
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise RequestError(f"it cannot be read: {error.strerror or error}") from None
    if len(raw) > LARGEST:
        raise RequestError(f"it is longer than {LARGEST} bytes")
    try:
        given = json.loads(raw)
        request = Request(**{**given, "asked": Moment(**given["asked"]), "until": Moment(**given["until"])})
        _check(request, path.stem)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise RequestError("it is no request") from None
    return request


def _check(request: Request, name: str) -> None:
    """Raises ValueError or TypeError for whatever no command of ours writes."""
    texts = (request.by, request.why, request.asker)
    moments = (request.asked, request.until)
    fine = (
        request.id == name
        and request.verb in VERBS
        and all(isinstance(text, str) and len(text) <= LONGEST_TEXT and text.isprintable() for text in texts)
        and all(isinstance(one.boot, str) and type(one.seconds) in (int, float) for one in moments)
        and all(
            isinstance(names, list) and len(names) <= MOST_NAMES
            for names in (request.companies, request.confirmed, request.unpinned)
        )
        and all(isinstance(token, str) for token in request.confirmed)
        and all(_COMPANY.fullmatch(company) for company in (*request.companies, *request.unpinned))
        and (request.shown is None or are_versions({name: new for name, new in request.shown.items() if new != ""}))
        and _VERSION.fullmatch(request.version)
        and (request.verb != "rollback" or len(request.companies) == 1)
        and 0 <= request.until.seconds - request.asked.seconds <= LONGEST_WAIT
    )
    if not fine:
        raise ValueError(name)


def _judged(request: Request) -> Request:
    """The request, if it is still to be done.  Raises RequestError."""
    now = outcomes.now()
    if not now.follows(request.asked) or not request.until.follows(now):
        raise RequestError("its time is over; ask again")
    if not outcomes.is_running(request.asker):
        raise RequestError("who asked is gone; ask again")
    return request
