"""The direction of imports, and why: the pure core can be tested in microseconds, rehearsed without a switch
and replayed from a journal only as long as it knows no socket, clock, Redis or log."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PURE_NAMES = (
    *("messages", "call", "hunt", "forwards", "dialling", "policy", "voicemail", "keypad", "phrases"),
    *("state", "view", "wire", "queueing", "queue_views", "call_views", "queue_rows", "holding", "spool"),
    *("addresses", "planning", "sentences"),
)
PURE = [
    *(ROOT / "callcontrol" / f"{name}.py" for name in PURE_NAMES),
    *sorted((ROOT / "callcontrol/steps").glob("*.py")),
    *sorted((ROOT / "callcontrol/routing").rglob("*.py")),
    *sorted(path for path in (ROOT / "callcontrol/workbench").glob("*.py") if path.stem not in ("cli", "keeping")),
]
IMPURE = {
    "gevent",
    "greenswitch",
    "redis",
    "rq",
    "time",
    "logging",
    "structlog",
    "socket",
    "threading",
    "asyncio",
}
IMPURE |= {"subprocess", "requests", "random", "secrets"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, also inside functions and under TYPE_CHECKING."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_pure_core_imports_no_socket_clock_redis_or_log(path: Path) -> None:
    assert not roots(path) & IMPURE


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_pure_core_imports_nothing_of_the_shell(path: Path) -> None:
    shell = "esl session ringing server serving supervisor switchboard facts published versions settings cli embedded "
    shell += "outcomes publishing reload lookups secrets shared speech voice directory "
    shell += "music queueboard queues caretaker desk exchange commands private asking history release running"
    assert not imports(path) & {f"callcontrol.{name}" for name in shell.split()}


def test_routing_is_read_from_files_in_one_room() -> None:
    """What reads a text can be given any; ``packing`` and ``explain`` read files of our own program only."""
    touching = {"read_text", "read_bytes", "iterdir", "rglob", "is_file", "is_dir"}
    readers = {
        path.name
        for path in modules("callcontrol/routing", "callcontrol/workbench")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in touching
    }
    assert readers == {"files.py", "packing.py", "explain.py", "cli.py"}


def test_voices_and_decoders_are_loaded_by_one_program_that_nobody_imports() -> None:
    """espeak-ng is under the GPL, and both read what strangers made: they stay in a process of their own."""
    heavy = {"numpy", "soundfile", "soxr", "espeakng_loader"}
    everything = modules("callcontrol", "freeswitch", "workers", "webhooks", "scripts")
    assert [path.name for path in everything if roots(path) & heavy] == ["music.py", "voice.py"]
    assert not [path.name for path in everything if "callcontrol.voice" in imports(path)]
    assert [path.name for path in everything if "callcontrol.music" in imports(path)] == ["voice.py"]


def test_greenswitch_is_imported_by_one_module() -> None:
    users = [
        path for path in modules("callcontrol", "freeswitch", "workers", "webhooks") if "greenswitch" in roots(path)
    ]
    assert [path.name for path in users] == ["esl.py"]


@pytest.mark.parametrize("path", modules("callcontrol"), ids=lambda path: path.stem)
def test_call_control_imports_neither_workers_nor_web(path: Path) -> None:
    assert not roots(path) & {"workers", "webhooks", "freeswitch"}


@pytest.mark.parametrize("path", modules("workers", "webhooks"), ids=str)
def test_workers_and_web_never_import_gevent(path: Path) -> None:
    assert "gevent" not in roots(path)


@pytest.mark.parametrize("path", modules("webhooks/events"), ids=lambda path: path.stem)
def test_the_public_events_are_pure_and_know_nobody(path: Path) -> None:
    """Subscribers, workers and the web all stand on them; a command that prints them may talk to people."""
    if path.name != "cli.py":
        assert not roots(path) & (IMPURE | {"sqlalchemy", "flask", "callcontrol", "workers"})
    assert not any(name.startswith("webhooks.app") for name in imports(path))


@pytest.mark.parametrize("path", modules("workers"), ids=str)
def test_workers_never_import_the_web(path: Path) -> None:
    assert "flask" not in roots(path)
    assert not any(name.startswith("webhooks.app") for name in imports(path))


@pytest.mark.parametrize("path", [*modules("workers")], ids=str)
def test_what_is_written_with_a_fact_knows_tables_only(path: Path) -> None:
    """The journal calls these in the fact's own transaction: they cannot call it, nor anybody outside, in turn."""
    if path.name in ("owing.py", "ledger.py"):
        ours = {name for name in imports(path) if name.startswith(("workers.", "webhooks.app"))}
        assert {name for name in ours if not name.startswith("workers.journal.tables")} <= set()
        assert not roots(path) & {"redis", "rq", "requests", "boto3", "smtplib", "socket"}


def test_s3_is_spoken_by_the_recordings_workers_only() -> None:
    """boto3 is slow and blocks: never in a process that carries calls."""
    users = {
        path.relative_to(ROOT).parts[:2]
        for path in modules("callcontrol", "workers", "webhooks")
        if "boto3" in roots(path)
    }
    assert users <= {("workers", "recordings")}


@pytest.mark.parametrize("path", modules("freeswitch"), ids=lambda path: path.stem)
def test_the_stand_in_switch_has_an_encoder_of_its_own(path: Path) -> None:
    assert "callcontrol" not in roots(path)


@pytest.mark.parametrize(
    "path", modules("callcontrol", "freeswitch", "workers", "webhooks"), ids=lambda path: path.stem
)
def test_no_library_module_patches_the_standard_library(path: Path) -> None:
    if path.name != "cli.py":  # the one place: a controller process, before it imports anything else
        assert "gevent.monkey" not in imports(path)
