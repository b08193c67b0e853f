"""A directory of companies: which files there are, what is in them, and what is wrong between them.

The only routing module that reads files: companies' YAML, the rehearsals beside it, the names of sounds.  What a
text means is for ``load``.

The surprise: a directory is written to while it is read, and by strangers.  So what is no regular file is not opened,
what is too large is not read to its end, and a name that could not be shown as it is stands in no place.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from callcontrol.routing import nodes
from callcontrol.routing.codes import problem
from callcontrol.routing.kinds import did_you_mean
from callcontrol.routing.load import Beside, Loaded, LoadError, in_order, load_text
from callcontrol.routing.model import Place, Problem, Routing, on_one_line
from callcontrol.routing.nodes import quoted

#: Bytes that are read of a file: one more than it may have, so that it is seen to have too many.
MOST_BYTES = nodes.LARGEST_FILE + 1
#: Files of rehearsals that one company may have.
MOST_REHEARSAL_FILES = 500
COMPANY = re.compile(r"[a-z][a-z0-9-]{0,30}")
_FILE_OF_REHEARSALS = re.compile(r"[\w-]{1,64}")
#: Looks into the companies' sound files: (what was loaded, the directory of sounds) → what is wrong with them.
Listen = Callable[[Iterable[Routing], Path], list[Problem]]


def load_directory(path: Path | str, sounds: Path | str | None = None, *, today: dt.date | None = None) -> list[Loaded]:
    """Load every ``*.yaml`` of a directory, in the order of names; problems across files are not looked for.

    ``sounds`` has a directory of sound files for each company; by default ``<path>/sounds``.  ``today`` as
    in :func:`~.load.load_text`.  Raises LoadError if the directory cannot be listed.
    """
    directory = Path(path)
    folder = Path(sounds) if sounds is not None else directory / "sounds"
    return [_load(file, folder, today) for file in company_files(directory)]


def load_all(path: Path | str, company: str | None = None) -> list[Loaded]:
    """Load a company's file, or every one of a directory; only that of ``company`` if it is given.

    Raises LoadError, which says what there is.
    """
    return [_load(file, file.parent / "sounds", None) for file in _chosen(Path(path), company)]


def load_company(path: Path | str, company: str | None = None) -> Loaded:
    """One company: of its file, or of a directory, where ``company`` names it if there are several.

    Raises LoadError, which says what there is.
    """
    found = _chosen(Path(path), company)
    if not found:
        raise LoadError(on_one_line(f"{path}: there is no company here: no file that ends in .yaml"))
    if len(found) > 1:
        raise LoadError(on_one_line(f"{path}: several companies: name one with --company: {_listed(found)}"))
    return _load(found[0], found[0].parent / "sounds", None)


def _chosen(path: Path, company: str | None) -> list[Path]:
    """A company's file, or those of a directory; the one of ``company`` if it is given.  Raises LoadError."""
    # What is there and no directory is taken for a file: a pipe or a device is told as none when it is read.
    files = [path] if path.exists() and not path.is_dir() else company_files(path)
    found = [file for file in files if company in (None, file.stem)]
    if company is not None and not found:
        there = f"there is: {_listed(files)}" if files else "no file here ends in .yaml"
        raise LoadError(on_one_line(f"{path}: there is no company {company} here; {there}"))
    return found


def _listed(files: Iterable[Path]) -> str:
    return ", ".join(on_one_line(file.stem) for file in files)


def _load(file: Path, sounds: Path, today: dt.date | None) -> Loaded:
    """A company's file as it is now; ``sounds`` has a directory for each company."""
    raw = read_file(file)
    return raw if isinstance(raw, Loaded) else load_file(file, raw, sounds_in(sounds / file.stem), today=today)


def company_files(directory: Path) -> list[Path]:
    """The files of a directory that are companies, or want to be, sorted.  Raises LoadError."""
    try:
        return sorted(file for file in directory.iterdir() if file.suffix in (".yaml", ".yml") and file.name[0] != ".")
    except OSError as error:
        raise LoadError(on_one_line(f"the directory {directory} cannot be read: {error.strerror}")) from None


def read_file(file: Path) -> bytes | Loaded:
    """A company's file as it is, or why it is none.

    Links are followed, since that is how deployments put a new version in place of the old at once.
    """
    path, company = str(file), file.stem
    start = Place(path, 1, 1)
    found: list[Problem] = []
    if file.suffix != ".yaml":
        better = on_one_line(f"{file.stem}.yaml")
        found.append(problem("E119", start, f"a company's file ends in .yaml; rename it to {better}"))
    elif not COMPANY.fullmatch(company):
        message = "the file's name is the company's id: a small letter, then small letters, digits or -, 31 at most"
        found.append(problem("E119", start, message))
    if found:
        return Loaded(path, company, None, found)
    read = _bytes_of(file)
    return Loaded(path, company, None, [read]) if isinstance(read, Problem) else read


def load_file(
    file: Path,
    raw: bytes,
    sounds: frozenset[str],
    beside: Sequence[Beside] | None = None,
    *,
    today: dt.date | None = None,
) -> Loaded:
    """Load what :func:`read_file` gave.

    ``beside``: its rehearsals; None: those that are there now.  ``today`` as in :func:`load_text`.
    """
    text, found = nodes.decode(raw, str(file))
    if text is None:
        return Loaded(str(file), file.stem, None, found)
    beside = rehearsals_beside(file) if beside is None else beside
    return load_text(text, path=str(file), company=file.stem, sounds=sounds, beside=beside, today=today)


def _bytes_of(file: Path) -> bytes | Problem:
    """A file as far as the largest may be, or why it cannot be read."""
    start = Place(str(file), 1, 1)
    try:
        if not file.is_file():  # a pipe would keep us waiting for ever
            what = "is a link that leads nowhere" if file.is_symlink() and not file.exists() else "is no regular file"
            return problem("E118", start, what)
        with file.open("rb") as stream:
            return stream.read(MOST_BYTES)
    except OSError as error:
        return problem("E118", start, f"cannot be read: {error.strerror}")


def sounds_in(folder: Path) -> frozenset[str]:
    """The names of a company's sound files."""
    try:
        return frozenset(file.name for file in folder.iterdir() if file.is_file())
    except OSError:
        return frozenset()


def rehearsals_beside(file: Path) -> tuple[Beside, ...]:
    """The files of rehearsals of a company's file: ``rehearsals/<company>/*.yaml`` beside it, in the order of names.

    Together they are no larger than one file may be.
    """
    folder = file.parent / "rehearsals" / file.stem
    start = Place(str(folder), 1, 1)
    try:
        names = sorted(one.name for one in folder.iterdir() if one.suffix in (".yaml", ".yml") and one.name[0] != ".")
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (Beside(str(folder), problem=problem("E118", start, f"cannot be read: {error.strerror}")),)
    found: list[Beside] = []
    for name in names[:MOST_REHEARSAL_FILES]:
        one = folder / name
        refused = _misnamed(one)
        read = refused or _bytes_of(one)
        found.append(
            Beside(str(one), problem=read) if isinstance(read, Problem) else Beside(str(one), read),
        )
        if sum(len(beside.raw) for beside in found) > nodes.LARGEST_FILE:
            message = f"the rehearsals up to here have more than {nodes.LARGEST_FILE} bytes, the most for a company"
            return (*found[:-1], Beside(str(one), problem=problem("E112", Place(str(one), 1, 1), message)))
    if len(names) > MOST_REHEARSAL_FILES:
        message = f"there are {len(names)} files of rehearsals; {MOST_REHEARSAL_FILES} are the most for a company"
        found.append(Beside(str(folder), problem=problem("E112", start, message)))
    return tuple(found)


def _misnamed(file: Path) -> Problem | None:
    """What is wrong with the name of a file of rehearsals."""
    # A name that could not be shown as it is stands in no line: the place of this one is the directory.
    if not _FILE_OF_REHEARSALS.fullmatch(file.stem):
        message = f"{quoted(file.name)}: the name of a file of rehearsals has letters, digits, _ and - only, 64 at most"
        return problem("E119", Place(str(file.parent), 1, 1), message)
    if file.suffix == ".yml":
        return problem("E119", Place(str(file), 1, 1), f"files end in .yaml; rename it to {file.stem}.yaml")
    return None


def stray_rehearsals(directory: Path) -> list[Problem]:
    """What stands beside the companies' rehearsals and belongs to no company, so that nobody ever walks it."""
    folder = directory / "rehearsals"
    try:
        entries = sorted((one.name, one.is_dir()) for one in folder.iterdir() if one.name[0] != ".")
    except OSError:
        return []
    companies = {file.stem for file in company_files(directory)}
    found = []
    for name, is_directory in entries:
        if is_directory and name not in companies:
            message = f"there is no company {quoted(name)} here{did_you_mean(name, companies)}"
        elif not is_directory and name.endswith((".yaml", ".yml")):
            message = f"{quoted(name)} belongs to no company: its place is rehearsals/<company>/"
        else:
            continue
        found.append(problem("W602", Place(str(folder), 1, 1), f"{message}; its rehearsals are not walked"))
    return found


def check_directory(
    path: Path | str,
    sounds: Path | str | None = None,
    *,
    company: str | None = None,
    listen: Listen = lambda *_: [],
    today: dt.date | None = None,
) -> list[Problem]:
    """All problems of a directory, sorted; what ``cordboard check`` prints.

    A directory that cannot be read, or holds no company, is a problem as well.  ``company``: only that one's, also
    those that it has with others; LoadError if it is not there.  ``listen`` finds sound files that cannot be played;
    by default only their names are looked at.  ``today`` as in :func:`~.load.load_text`.
    """
    start = Place(str(path), 1, 1)
    only = None if company is None else _chosen(Path(path), company)[0]
    try:
        loaded = load_directory(path, sounds, today=today)
    except LoadError as error:
        return [problem("E118", start, str(error))]
    if not loaded:
        return [problem("E118", start, "there is no company here: no file that ends in .yaml")]
    heard = (entry for entry in loaded if company in (None, entry.company))
    found = _heard(heard, Path(sounds) if sounds is not None else Path(path) / "sounds", listen)
    found += check_loaded(loaded)
    if only is None:
        return in_order([*found, *stray_rehearsals(Path(path))])
    beside = Path(path) / "rehearsals" / only.stem
    return in_order(one for one in found if one.place.path == str(only) or beside in _upwards(one.place.path))


def check_file(path: Path, *, listen: Listen = lambda *_: [], today: dt.date | None = None) -> list[Problem]:
    """The problems of one company's file, sorted; its sounds are where they are for its directory."""
    sounds = path.parent / "sounds"
    loaded = [_load(path, sounds, today)]
    return in_order([*check_loaded(loaded), *_heard(loaded, sounds, listen)])


def check_bytes(raw: bytes, *, today: dt.date | None = None) -> list[Problem]:
    """The problems of a file that has no name, sorted: ``-``.  Its sounds are not looked for."""
    text, found = nodes.decode(raw, "-")
    return found if text is None else load_text(text, path="-", company="stdin", today=today).problems


def _heard(loaded: Iterable[Loaded], sounds: Path, listen: Listen) -> list[Problem]:
    return listen((entry.routing for entry in loaded if entry.routing is not None), sounds)


def _upwards(path: str) -> list[Path]:
    return [Path(path), *Path(path).parents]


def check_loaded(loaded: Iterable[Loaded]) -> list[Problem]:
    """The problems of all files, and those between them: a number that two companies claim.  Sorted.

    The number stays with the file that comes first by name; the mistake is the other's.
    """
    problems: list[Problem] = []
    owners: dict[str, Loaded] = {}
    for entry in loaded:
        problems += entry.problems
        for number, place in entry.numbers.items():
            if number in owners:
                other = owners[number].numbers[number]
                problems.append(problem("E502", place, f"{number} is owned by another company already: {other}"))
            else:
                owners[number] = entry
    return in_order(problems)
