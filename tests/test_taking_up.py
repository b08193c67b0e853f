"""A controller takes up what was published: once more if asked meanwhile, calls going on, cordboard.yaml too."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gevent
import gevent.event
import pytest

from callcontrol import outcomes
from callcontrol.outcomes import Taken
from callcontrol.publishing import publish
from callcontrol.server import Controller
from callcontrol.settings import Settings, kept_config, read_config
from callcontrol.supervisor import process_name
from callcontrol.versions import VersionStore

ROUTING = Path(__file__).parent.parent / "routing"
NUMBER = "+74951234567"
CONFIG = "switches: [{name: switch1, port: 1, password_file: secret}]\n"


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    for name in ("state/facts", "spool"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copytree(ROUTING, tmp_path / "routing")
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("x")
    (tmp_path / "cordboard.yaml").write_text(CONFIG)
    publish(tmp_path / "routing", VersionStore(tmp_path / "state"))
    made = Controller(
        Settings(
            routing=tmp_path / "routing",
            listen=("127.0.0.1", 0),
            redis="redis://127.0.0.1:1/0",
            config=read_config(tmp_path / "cordboard.yaml"),
            peers=(),
            state=tmp_path / "state",
            sounds=tmp_path / "sounds",
            spool=tmp_path / "spool",
            processes=1,
            domain="cordboard.test",
            config_path=tmp_path / "cordboard.yaml",
        )
    )
    made.reload()
    yield made
    made.facts.close()


def publish_change(directory: Path) -> str:
    file = directory / "routing/acme.yaml"
    file.write_text(file.read_text() + f"# {time.time_ns()}\n")
    return publish(directory / "routing", VersionStore(directory / "state")).live["acme"]


def version(controller: Controller) -> str:
    return controller.routing_for(NUMBER, None)[0].version


def test_what_is_taken_up_is_acknowledged(controller: Controller, tmp_path: Path) -> None:
    assert outcomes.acknowledged(tmp_path / "state") == {process_name(): Taken(1)}
    new = publish_change(tmp_path)
    assert version(controller) != new
    controller.reload()
    assert version(controller) == new
    assert outcomes.acknowledged(tmp_path / "state") == {process_name(): Taken(2)}


def test_one_that_drains_takes_no_more_commands(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = gevent.event.Event()
    monkeypatch.setattr(controller.commands, "stop", stopped.set)
    controller.drain()
    assert stopped.wait(5)


def test_one_that_drains_takes_up_and_says_nothing_more(controller: Controller, tmp_path: Path) -> None:
    controller.drain()
    assert outcomes.acknowledged(tmp_path / "state") == {}
    publish_change(tmp_path)
    controller.reload()
    assert outcomes.acknowledged(tmp_path / "state") == {}


def test_a_reload_that_comes_while_one_is_under_way_is_done_after_it(
    controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = controller.published.load
    at_once, loads, gate = 0, 0, gevent.event.Event()

    def slow_load() -> Taken:
        nonlocal at_once, loads
        loads += 1
        at_once += 1
        assert at_once == 1
        taken = load()
        gate.wait(10)
        at_once -= 1
        return taken

    monkeypatch.setattr(controller.published, "load", slow_load)
    first = gevent.spawn(controller.reload)
    gevent.idle()
    new = publish_change(tmp_path)
    more = [gevent.spawn(controller.reload) for _ in range(3)]
    gevent.idle()
    gate.set()
    gevent.joinall([first, *more], timeout=10, raise_error=True)
    assert loads == 2
    assert version(controller) == new
    controller.reload()
    assert loads == 3


def test_calls_go_on_between_the_pieces(
    controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callcontrol.published.STRETCH", 0.0)
    controller._ready = True
    publish_change(tmp_path)
    turns = 0

    def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0)

    beside = gevent.spawn(other)
    controller.reload()
    beside.kill()
    assert turns > 20


@pytest.mark.parametrize("fails", [False, True])
def test_the_collector_works_again_afterwards(
    controller: Controller, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    if fails:
        monkeypatch.setattr(controller.published, "load", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            controller.reload()
        monkeypatch.undo()
    controller.reload()  # one that failed does not stand in the way of the next
    assert gc.isenabled()


class TestConfig:
    def test_it_is_read_again(self, controller: Controller, tmp_path: Path) -> None:
        (tmp_path / "cordboard.yaml").write_text(CONFIG + "limits: {longest_call: 1h}\n")
        controller.reload()
        assert controller.settings.config.longest_call == 3600.0

    def test_a_wrong_one_is_said_and_the_last_good_one_holds(self, controller: Controller, tmp_path: Path) -> None:
        good = controller.settings
        new = publish_change(tmp_path)
        (tmp_path / "cordboard.yaml").write_text("switches: none\n")
        controller.reload()
        assert controller.settings == good
        assert version(controller) == new  # what is wrong there keeps nothing else from going live
        (taken,) = outcomes.acknowledged(tmp_path / "state").values()
        assert "cordboard.yaml: switches" in taken.trouble
        (tmp_path / "cordboard.yaml").write_text(CONFIG)
        controller.reload()
        assert outcomes.acknowledged(tmp_path / "state") == {process_name(): replace(taken, trouble="")}

    def test_the_text_that_was_good_is_kept_for_who_starts_while_it_is_wrong(self, tmp_path: Path) -> None:
        from callcontrol.settings import SettingsError, keep_config

        path, state = tmp_path / "cordboard.yaml", tmp_path / "state"
        state.mkdir()
        (tmp_path / "secret").touch(mode=0o600)
        (tmp_path / "secret").write_text("x")
        with pytest.raises(SettingsError):
            kept_config(path, state)
        path.write_text(CONFIG)
        keep_config(path, state)
        path.write_text("switches: none\n")
        keep_config(path, state)
        path.unlink()
        keep_config(path, state)
        assert kept_config(path, state).switches[0].password == "x"
        assert "x\n" not in (state / "cordboard.yaml").read_text()  # the password stays where it is
