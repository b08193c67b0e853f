"""Publishing: a directory of routing becomes what new calls get, in a process of its own.

Reads, checks, renders and stores; the supervisor runs it (``python -m callcontrol.publishing``) at its start and
for each reload, and never a process that has calls.  Only files that changed since the last publication are parsed:
``versions/index.json`` remembers what each file came to, by the hash of everything that it depended on.

The surprise: until the last step nothing of it counts.  Controllers follow ``published.json`` and nothing else, and
that is replaced once, at the end: whoever kills this process before changes nothing, for no company.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import structlog

from callcontrol import outcomes
from callcontrol.directory import write_directory
from callcontrol.outcomes import Outcome
from callcontrol.routing.load import (
    Beside,
    Loaded,
    LoadError,
    check_loaded,
    company_files,
    compiled,
    first_of,
    load_compiled,
    load_file,
    read_file,
    rehearsals_beside,
    sounds_in,
)
from callcontrol.routing.model import Place, Problem, Routing
from callcontrol.routing.packing import PackError, pack, program
from callcontrol.settings import Config, SettingsError, kept_config, read_config
from callcontrol.speech import Renderer, render
from callcontrol.supervisor import CANNOT_START, die_with_parent
from callcontrol.versions import VersionStore, write_whole
from callcontrol.workbench.rehearse import failing

#: How long a version is kept at least when nobody says that it is used, seconds; and longer than the longest call.
KEEP = 86_400.0
#: How much less than call processes this one is in a hurry (nice).
NICE = 10


class Rendered(Protocol):
    """What rendering gives: what went wrong, and by sound file and by language what the version shall use."""

    @property
    def problems(self) -> Sequence[Problem]: ...
    @property
    def sounds(self) -> Mapping[str, str]: ...
    @property
    def voices(self) -> Mapping[str, str]: ...


#: Renders the speech and sounds of a routing: (routing, the companies' sounds, STATE, cordboard.yaml's voices).
Render = Callable[[Routing, Path, Path, Mapping[str, Any]], Rendered]
#: Told the extensions of every live company, before anybody is told that it is published.
Announce = Callable[[Mapping[str, Sequence[str]]], object]


@dataclass(frozen=True, slots=True)
class NothingRendered:
    """No speech, and sounds as they are."""

    problems: Sequence[Problem] = ()
    sounds: Mapping[str, str] = field(default_factory=dict)
    voices: Mapping[str, str] = field(default_factory=dict)


def render_nothing(routing: Routing, sounds: Path, state: Path, voices: Mapping[str, Any]) -> Rendered:
    """The rendering of a program that has no voice."""
    return NothingRendered()


@dataclass(slots=True)
class _Entry:
    """What a file came to.  ``version`` None: it does not go live.  ``again``: not to be believed the next time."""

    key: str
    loaded: Loaded
    version: str | None = None
    again: bool = False
    people: Sequence[str] = ()


# ---------------------------------------------------------------------------------------------- publishing


def publish(
    directory: Path,
    store: VersionStore,
    sounds: Path | None = None,
    *,
    voices: Mapping[str, Any] = MappingProxyType({}),
    music: Mapping[str, Path] = MappingProxyType({}),
    keep: float = KEEP,
    trouble: str = "",
    render: Render = render_nothing,
    announce: Announce = lambda _: None,
) -> Outcome:
    """Make live what has no errors; a company whose file has some keeps the version that it has.

    ``music``: the operator's, which ``render`` knows too: a version is made anew when it changes.  ``keep``: seconds
    for which a version that is not current is kept although nobody uses it.  Raises LoadError, and changes nothing,
    for a directory that cannot be read or holds no company; OSError when the disk takes nothing.
    """
    publication = _Publication(directory, store, sounds or directory / "sounds", voices, music, render)
    return publication.run(keep, trouble, announce)


class _Publication:
    def __init__(
        self,
        directory: Path,
        store: VersionStore,
        sounds: Path,
        voices: Mapping[str, Any],
        music: Mapping[str, Path],
        render: Render,
    ) -> None:
        self._began = outcomes.now()
        self._directory = directory
        self._store = store
        self._sounds = sounds
        self._index = _read_index(store.state)
        self._voices = voices
        self._music = [f"{name} {_signature(file)}" for name, file in sorted(music.items())]
        self._render = render

    def run(self, keep: float, trouble: str, announce: Announce) -> Outcome:
        last = outcomes.read_outcome(self._store.state)
        before = dict(last.live) if last else {name: self._store.current(name) or "" for name in self._store.live()}
        files = company_files(self._directory)
        if not files:
            raise LoadError(f"{self._directory}: there is no company here: no file that ends in .yaml")
        entries = [self._entry(file) for file in files]
        problems = check_loaded(entry.loaded for entry in entries)
        broken = {found.place.path for found in problems if found.severity == "error"}
        live = {
            entry.loaded.company: before[entry.loaded.company] for entry in entries if entry.loaded.company in before
        }
        live |= {
            entry.loaded.company: entry.version
            for entry in entries
            if entry.version is not None and entry.loaded.path not in broken
        }
        for company, version in live.items():
            if self._store.current(company) != version and self._store.get(company, version) is not None:
                self._store.publish(company, version)
        for company in before.keys() - live.keys():
            self._store.withdraw(company)
        announce(self._people(entries, live))
        serial = last.serial + 1 if last else 1
        shown = tuple(first_of(problems, outcomes.MOST_PROBLEMS))
        outcome = Outcome(serial, self._began, outcomes.now(), time.time(), live, shown, trouble)
        outcomes.write_outcome(self._store.state, outcome)
        _log().info(
            "published",
            serial=serial,
            changed=len(dict(live.items() ^ before.items())),
            problems=len(problems),
            seconds=round(outcome.ended.seconds - outcome.began.seconds, 2),
        )
        self._remember(entries)
        self._store.prune({*before.items(), *live.items()}, keep, program())
        return outcome

    def _entry(self, file: Path) -> _Entry:
        raw = read_file(file)
        if isinstance(raw, Loaded):
            return _Entry("", raw)
        beside = rehearsals_beside(file)
        key = self._key(file, raw, beside)
        known = self._known(file, key)
        if known is not None:
            return known
        entry = _Entry(key, load_file(file, raw, sounds_in(self._sounds / file.stem), beside))
        if entry.loaded.routing is not None:
            self._keep(entry, entry.loaded.routing)
        return entry

    def _keep(self, entry: _Entry, routing: Routing) -> None:
        """Rehearse, render and store what has no errors of its own; another company may have its number still."""
        company = routing.company
        failed = failing(routing)
        rendered = self._render(routing, self._sounds, self._store.state, self._voices)
        entry.loaded.problems.extend((*failed, *rendered.problems))
        entry.again = bool(rendered.problems)  # a voice that was missing may be there the next time
        if any(found.severity == "error" for found in (*failed, *rendered.problems)):
            return
        entry.people = sorted(routing.people)
        whole, stored = compiled(entry.loaded, rendered.sounds, rendered.voices)
        self._store.put(company, whole.version, stored)
        try:
            self._store.derive(company, whole.version, program(), pack(whole))
        except PackError as error:  # controllers parse it, and lose time only
            _log().error("a version cannot be packed", company=company, version=whole.version, error=str(error))
        entry.version = whole.version

    def _people(self, entries: Iterable[_Entry], live: Mapping[str, str]) -> dict[str, Sequence[str]]:
        """The extensions of every live company, by the version that it has."""
        known = {(entry.loaded.company, entry.version): entry.people for entry in entries}
        found: dict[str, Sequence[str]] = {}
        for company, version in live.items():
            people = known.get((company, version))
            if people is None:  # its file has errors: it keeps an earlier version
                stored = self._store.get(company, version)
                people = sorted(load_compiled(stored).people) if stored is not None else ()
            found[company] = people
        return found

    # ----------------------------------------------------------------------------------------- remembering

    def _key(self, file: Path, raw: bytes, beside: Iterable[Beside]) -> str:
        """Everything that decides what a file comes to: bytes, rehearsals, sounds, voices, music, the program."""
        found = hashlib.sha256()
        for part in (program(), str(file), json.dumps(self._voices, sort_keys=True, default=str), *self._music):
            found.update(part.encode("utf-8", "surrogateescape") + b"\0")
        for line in sorted(_signatures(self._sounds / file.stem)):
            found.update(line.encode("utf-8", "surrogateescape") + b"\0")
        for one in beside:
            found.update(f"{one.path}\0{len(one.raw)}\0{one.problem}\0".encode("utf-8", "surrogateescape") + one.raw)
        found.update(raw)
        return found.hexdigest()

    def _known(self, file: Path, key: str) -> _Entry | None:
        """What the file came to the last time, if nothing has changed since and it is still there."""
        given = self._index.get("files", {}).get(str(file))
        try:
            if given is None or given["key"] != key:
                return None
            version = given["version"]
            if version is not None and not self._there(file.stem, version):
                return None
            problems = [Problem(Place(**found.pop("place")), **found) for found in given["problems"]]
            numbers = {number: Place(str(file), *place) for number, place in given["numbers"].items()}
            loaded = Loaded(str(file), file.stem, None, problems, numbers=numbers)
            return _Entry(key, loaded, version, people=[str(extension) for extension in given["people"]])
        except (KeyError, TypeError, AttributeError):
            return None

    def _there(self, company: str, version: str) -> bool:
        packed = self._store.derived(company, version, program())
        return packed is not None and self._store.get(company, version) is not None

    def _remember(self, entries: Iterable[_Entry]) -> None:
        files = {
            entry.loaded.path: {
                "key": entry.key,
                "version": entry.version,
                "people": list(entry.people),
                "problems": [asdict(found) for found in entry.loaded.problems],
                "numbers": {number: [at.line, at.column] for number, at in entry.loaded.numbers.items()},
            }
            for entry in entries
            if entry.key and not entry.again
        }
        text = json.dumps({"files": files}, ensure_ascii=False)
        write_whole(_index_path(self._store.state), text.encode("utf-8", "replace"), durable=False)


def _signatures(folder: Path) -> list[str]:
    """The files of a directory as far as they can be told apart without being read."""
    try:
        with os.scandir(folder) as found:
            return [
                f"{file.name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
                for file in found
                if file.is_file() and (stat := file.stat())
            ]
    except OSError:
        return []


def _signature(file: Path) -> str:
    """A file as far as it can be told from another without being read."""
    try:
        stat = file.stat()
    except OSError:
        return f"{file} -"
    return f"{file} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"


def _index_path(state: Path) -> Path:
    return state / "versions" / "index.json"


def _read_index(state: Path) -> dict[str, Any]:
    """What was remembered; nothing if it cannot be read: then everything is parsed."""
    try:
        index = json.loads(_index_path(state).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return index if isinstance(index, dict) and isinstance(index.get("files"), dict) else {}


# --------------------------------------------------------------------------------------------- the process


def command(directory: Path, sounds: Path, state: Path, config: Path, domain: str, parent: int) -> list[str]:
    """The command line of a publisher that ends with the process ``parent``."""
    return [
        sys.executable,
        "-P",  # nothing of the directory that the server happens to run in
        "-m",
        "callcontrol.publishing",
        *("--routing", str(directory)),
        *("--sounds", str(sounds)),
        *("--state", str(state)),
        *("--config", str(config)),
        *("--domain", domain),
        *("--parent", str(parent)),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish once.  Returns the exit code: 0 published (perhaps with problems), 3 nothing was changed.

    Then it says why on stdout.
    """
    from callcontrol.serving import configure_logs

    parser = argparse.ArgumentParser(prog="python -m callcontrol.publishing")
    for name in ("routing", "sounds", "state", "config"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--parent", type=int, required=True)
    given = parser.parse_args(arguments)
    die_with_parent(signal.SIGKILL)  # whatever we are at: until its last step nothing counts
    if os.getppid() != given.parent:
        return CANNOT_START
    os.nice(NICE)
    configure_logs()
    try:
        with (given.state / "publishing.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one that is being killed may not be dead yet
            config, trouble = _config(given.config, given.state)
            with Renderer() as renderer:
                publish(
                    given.routing,
                    VersionStore(given.state),
                    given.sounds,
                    voices=config.voices,
                    music=config.music,
                    keep=max(KEEP, config.longest_call + 3600.0),
                    trouble=trouble,
                    render=partial(render, renderer=renderer, music=config.music),
                    announce=partial(write_directory, config=config, state=given.state, domain=given.domain),
                )
    except (LoadError, SettingsError, OSError) as error:
        print(error, flush=True)
        return CANNOT_START
    return 0


def _config(path: Path, state: Path) -> tuple[Config, str]:
    """What cordboard.yaml says, or what it said when it was last right, and what is wrong with it."""
    try:
        return read_config(path), ""
    except SettingsError as error:
        _log().error("cordboard.yaml cannot be used; what it said before holds", why=str(error))
        return kept_config(path, state), str(error)


def _log() -> Any:
    return structlog.get_logger("publishing")


if __name__ == "__main__":
    sys.exit(main())
