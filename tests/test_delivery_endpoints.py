"""Endpoints, replays and the command: every company its own, within limits, and nothing asked twice is done twice."""

from __future__ import annotations

import base64
import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select, update

from callcontrol.cli import main
from tests.deliveries import NOW, House
from tests.subscriber import LOCAL, Names
from workers.delivery import endpoints as e
from workers.delivery import replaying
from workers.delivery.reaching import Reach
from workers.journal.database import Database
from workers.journal.tables import Delivery, Endpoint, Secret

DAY = 86400.0
LAB = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.1.2.0/24"))


@pytest.fixture
def house(sqlite: Database) -> House:
    return House(sqlite)


def secrets_of(house: House, endpoint: str) -> list[Secret]:
    with house.database.reading() as session:
        return list(session.scalars(select(Secret).where(Secret.endpoint == endpoint).order_by(Secret.id)))


# --------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "url",
    [
        *("https://crm.example.com/hooks?x=1", "https://93.184.216.34/", "https://[2606:2800:220:1::1]:8443/"),
        *(
            "http://127.0.0.1:9/",
            "http://10.1.2.3/",
            "http://lab.test/",
            "https://a_b.example.com",
            "https://x.test.:443",
        ),
    ],
)
def test_an_address_that_may_be_reached_is_taken_as_it_is(url: str) -> None:
    assert e.checked_url(url, Reach(LAB, resolve=Names(lab_test=[[LOCAL, "10.1.2.9"]]))) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://crm.test/", "write https"),
        ("http://half.test/", "write https"),
        ("http://gone.test/", "write https"),
        ("http://10.1.3.1/", "write https"),
        ("https://10.0.0.1/", "not public"),
        ("https://[::ffff:127.0.0.1]/", "not public"),
        ("https://[fe80::1%25lo]/", "plain ASCII|neither a name|not public"),
        ("https://2130706433/", "neither a name"),
        ("https://0x7f.1/", "neither a name"),
        ("https://0177.0.0.1/", "neither a name"),
        ("https://1.2.3/", "neither a name"),
        ("https://[v1.abc]/", "neither a name"),
        ("https://-a.test/", "neither a name"),
        ("https://user:secret@crm.test/", "no user"),
        ("https://user@crm.test/", "no user"),
        ("https://@crm.test/", "no user"),
        ("https://crm.test/#x", "fragment"),
        ("https://crm.test/#", "fragment"),
        ("https://crm.test:0/", "such as"),
        ("https://crm.test:99999/", "no web address"),
        ("https://[::1/", "no web address"),
        ("ftp://crm.test/", "such as"),
        ("crm.test", "such as"),
        ("https:///x", "such as"),
        ("", "such as"),
        ("https://crm.test/ä", "ASCII"),
        ("https://crm.test/\r\nHost: x", "ASCII"),
        ("https://crm.test/\tx", "ASCII"),
        ("https://crm.test\\@127.0.0.1/", "ASCII"),
        ("https://crm.test/ x", "ASCII"),
        ("https://crm.test/" + "x" * 1000, "characters"),
    ],
)
def test_an_address_that_may_not_is_refused_with_a_reason(url: str, why: str) -> None:
    names = Names(crm_test=[["93.184.216.34"]], half_test=[[LOCAL, "93.184.216.34"]])
    with pytest.raises(e.RefusedEndpoint, match=why) as info:
        e.checked_url(url, Reach(LAB, resolve=names))
    assert info.value.field == "url"


@pytest.mark.parametrize("events", [["call.nonsense"], ["nothing.*"], ["*"], ["call"], [""], ["call.started\n"]])
def test_a_filter_that_is_not_in_the_catalogue_is_refused(events: list[str]) -> None:
    with pytest.raises(e.RefusedEndpoint) as info:
        e.checked_events(events)
    assert info.value.field == "events"


def test_filters_stand_once_each() -> None:
    assert e.checked_events(["queue.*", "call.ended", "queue.*"]) == ["queue.*", "call.ended"]
    with pytest.raises(e.RefusedEndpoint):
        e.checked_events(["call.ended"] * (e.MOST_FILTERS + 1))


# --------------------------------------------------------------------------------------------------- endpoints


def test_a_secret_has_32_random_bytes() -> None:
    one, other = e.new_secret(), e.new_secret()
    assert one != other
    assert len(base64.b64decode(one.removeprefix("whsec_"), validate=True)) == 32


def test_a_company_has_so_many_endpoints_at_most(house: House) -> None:
    made = [house.endpoint(f"https://crm{n}.test/") for n in range(e.MOST_ENDPOINTS)]
    with pytest.raises(e.RefusedEndpoint, match="20 endpoints already"):
        house.endpoint()
    house.endpoint(company="beta")
    with house.database.writing() as session:
        e.delete(session, "acme", made[0], NOW)
    house.endpoint()


def test_an_endpoint_of_another_company_is_unknown(house: House) -> None:
    endpoint = house.endpoint()
    house.event()
    delivery = house.delivery().id
    everything: list[Any] = [
        lambda s: e.find(s, "beta", endpoint),
        lambda s: e.change(s, "beta", endpoint, description="x"),
        lambda s: e.pause(s, "beta", endpoint, "", NOW),
        lambda s: e.resume(s, "beta", endpoint, NOW),
        lambda s: e.delete(s, "beta", endpoint, NOW),
        lambda s: e.rotate(s, "beta", endpoint, NOW),
        lambda s: replaying.send_test(s, "beta", endpoint, NOW),
        lambda s: replaying.replay(s, "beta", endpoint, 0, NOW, NOW),
        lambda s: replaying.redeliver(s, "beta", delivery, NOW),
    ]
    for foreign in everything:
        with house.database.writing() as session, pytest.raises((e.UnknownEndpoint, replaying.UnknownDelivery)):
            foreign(session)
    with house.database.reading() as session:
        assert [one.id for one in e.listed(session, "acme")] == [endpoint]
        assert e.listed(session, "beta") == []


def test_what_comes_while_it_is_paused_waits_and_a_pause_is_told_once(house: House) -> None:
    endpoint = house.endpoint()
    for _ in range(2):
        with house.database.writing() as session:
            e.pause(session, "acme", endpoint, "maintenance", NOW)
    house.event()
    assert house.deliver(lambda _: 200) == 0
    with house.database.writing() as session:
        e.resume(session, "acme", endpoint, NOW)
    house.deliver(lambda _: 200)
    types = [one.letter.body for one in house.sent]
    assert sum('"endpoint.paused"' in body for body in types) <= 1
    assert sum('"call.started"' in body for body in types) == 1


def test_a_deleted_endpoint_is_owed_nothing_and_its_secrets_are_gone(house: House) -> None:
    endpoint = house.endpoint()
    house.event()
    with house.database.writing() as session:
        e.delete(session, "acme", endpoint, NOW)
    assert house.deliver(lambda _: 200) == 0
    assert house.delivery().state == "cancelled"
    assert secrets_of(house, endpoint) == []
    house.event()
    assert len(house.deliveries()) == 1


def test_a_new_address_gets_a_fresh_start(house: House) -> None:
    endpoint = house.endpoint()
    house.event()
    house.deliver(lambda _: 500)
    with house.database.writing() as session:
        e.change(session, "acme", endpoint, url="https://new.test/", events=["call.*"], description="new")
    changed = house.at(endpoint)
    assert (changed.url, changed.events, changed.description) == ("https://new.test/", ["call.*"], "new")
    assert (changed.failures, changed.failing_since) == (0, None)
    house.now += 60
    house.deliver(lambda _: 200)
    assert house.sent[-1].letter.url == "https://new.test/"


def test_a_rotation_overlaps_a_second_one_does_not_lengthen_it_and_there_is_a_limit(house: House) -> None:
    endpoint = house.endpoint()
    with house.database.writing() as session:
        e.rotate(session, "acme", endpoint, NOW)
        e.rotate(session, "acme", endpoint, NOW + 3600)
    old, middle, new = secrets_of(house, endpoint)
    assert (old.expires_at, middle.expires_at, new.expires_at) == (NOW + DAY, NOW + 3600 + DAY, None)
    with house.database.writing() as session:
        e.rotate(session, "acme", endpoint, NOW + 3600)
    with house.database.writing() as session, pytest.raises(e.RefusedEndpoint):
        e.rotate(session, "acme", endpoint, NOW + 3600)
    with house.database.writing() as session:
        only = e.rotate(session, "acme", endpoint, NOW + 3600, overlap=0)
    assert [one.secret for one in secrets_of(house, endpoint)] == [only]
    for overlap in (-1, 8 * DAY):
        with house.database.writing() as session, pytest.raises(e.RefusedEndpoint):
            e.rotate(session, "acme", endpoint, NOW, overlap=overlap)


# ---------------------------------------------------------------------------------------------------- replaying


def test_one_delivery_is_sent_again_under_the_same_id(house: House) -> None:
    house.endpoint()
    event = house.event()
    house.deliver(lambda _: 200)
    house.now += 10 * DAY
    for _ in range(2):
        with house.database.writing() as session:
            replaying.redeliver(session, "acme", house.delivery().id, house.now)
    assert house.deliver(lambda _: 500) == 1
    house.now += 60
    assert house.deliver(lambda _: 200) == 1  # it has three days of its own
    assert {one.letter.event for one in house.sent} == {event}
    assert (house.delivery().attempts, house.delivery().state, house.delivery().cause) == (3, "delivered", "replay")


def test_a_replay_owes_what_an_endpoint_has_not_got_in_steps_and_only_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "MOST_AT_ONCE", 3)
    early = [house.event(type_) for type_ in ("call.started", "call.ended", "queue.joined")]
    house.now += 100
    missed = [house.event(type_) for type_ in ("call.started", "call.ended") * 4]
    house.event("call.started", company="beta")
    house.now += 100
    late = house.endpoint(events=["call.*"])
    got = house.event()
    house.deliver(lambda _: 200)
    house.now += 100

    def replay(**more: Any) -> tuple[int, int]:
        owed = again = steps = 0
        after: str | None = None
        while True:
            with house.database.writing() as session:
                step = replaying.replay(session, "acme", late, NOW + 50, house.now, house.now, after=after, **more)
            owed, again, steps, after = owed + step.owed, again + step.again, steps + 1, step.next
            assert steps < 10
            if after is None:
                return owed, again

    assert replay(types=["call.ended"]) == (4, 0)
    assert replay() == (4, 0)
    assert replay() == (0, 0)
    assert replay(again=True) == (0, 1)
    while house.deliver(lambda _: 200):
        pass
    assert {one.letter.event for one in house.sent} == {*missed, got}
    assert not {one.letter.event for one in house.sent} & set(early)
    assert {one.cause for one in house.deliveries()} == {"replay"}


def test_a_replay_brings_back_what_was_given_up(house: House) -> None:
    endpoint = house.endpoint()
    house.event()
    with house.database.writing() as session:
        session.scalars(select(Delivery)).one().state = "failed"
    with house.database.writing() as session:
        step = replaying.replay(session, "acme", endpoint, NOW, NOW + 1, NOW + 5)
    assert (step.owed, step.again, step.next) == (0, 1, None)
    with house.database.writing() as session, pytest.raises(e.RefusedEndpoint):
        replaying.replay(session, "acme", endpoint, NOW, NOW + 1, NOW + 5, after="nonsense")


def test_a_test_goes_to_its_endpoint_alone_whatever_it_wants_and_one_is_enough(house: House) -> None:
    endpoint = house.endpoint(events=["queue.*"])
    house.endpoint("https://other.test/")
    with house.database.writing() as session:
        first = replaying.send_test(session, "acme", endpoint, NOW)
        second = replaying.send_test(session, "acme", endpoint, NOW)
    assert first.id == second.id
    house.deliver(lambda _: 200)
    (sent,) = house.sent
    body = json.loads(sent.letter.body)
    assert (body["type"], body["data"], body["call"], body["sequence"]) == (
        "endpoint.test",
        {"endpoint": endpoint},
        None,
        None,
    )
    with house.database.writing() as session:
        e.pause(session, "acme", endpoint, "", NOW)
    with house.database.writing() as session, pytest.raises(e.RefusedEndpoint, match="resume it first"):
        replaying.send_test(session, "acme", endpoint, NOW)


# ---------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def cordboard(house: House, tmp_path: Path) -> Any:
    """The command, on the journal of the house; what it printed, and its exit code."""
    (tmp_path / "esl.password").write_text("secret")
    (tmp_path / "esl.password").chmod(0o600)
    config = tmp_path / "cordboard.yaml"
    config.write_text("switches: [{name: switch1, password_file: esl.password}]\nwebhooks: {private: [127.0.0.0/8]}\n")
    variables = {
        "CORDBOARD_CONFIG": str(config),
        "CORDBOARD_DATABASE": house.database.url.render_as_string(),
        "CORDBOARD_STATE": str(tmp_path / "state"),
    }

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["endpoints", *words], env=variables)
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_nothing_that_is_listed_moves_the_cursor(house: House, cordboard: Any) -> None:
    """What stands in the rows came from subscribers and operators, perhaps of another version."""
    endpoint = json.loads(cordboard("add", "acme", "http://127.0.0.1:9/x", "--json"))["id"]
    house.event()
    with house.database.writing() as session:
        hostile = "\x1b[2J\r\nforged\u202e\x9b"
        session.execute(update(Endpoint).values(why=hostile, description=hostile, state="paused"))
        session.execute(update(Delivery).values(why=hostile))
    for said in (cordboard(), cordboard("deliveries", "acme", endpoint)):
        assert "\\x1b[2J\\r\\nforged\\u202e\\x9b" in said
        assert all(line.isprintable() for line in said.split("\n"))


def test_the_command_does_everything_from_making_an_endpoint_to_deleting_it(house: House, cordboard: Any) -> None:
    assert "There are no endpoints" in cordboard()
    made = json.loads(cordboard("add", "acme", "http://127.0.0.1:9/x", "--events", "call.*, endpoint.*", "--json"))
    endpoint = made["id"]
    assert made["secret"].startswith("whsec_")
    assert f"{endpoint}  acme  active  http://127.0.0.1:9/x  (call.*, endpoint.*)" in cordboard()
    cordboard("change", "acme", endpoint, "--description", "the CRM")
    assert "the CRM" in cordboard("--company", "acme")
    assert "There are no endpoints" in cordboard("--company", "beta")
    house.event()
    house.deliver(lambda _: 500)
    assert "failing since 2026-11-25T09:46:40.000Z" in cordboard()
    listed = cordboard("deliveries", "acme", endpoint)
    assert "call.started  pending (1 attempt)  it answered 500" in listed
    delivery = listed.split()[0]
    assert "sent again" in cordboard("redeliver", "acme", delivery)
    replayed = cordboard("replay", "acme", endpoint, "--since", "2026-11-25T00:00Z", "--again")
    assert "0 are sent, 0 sent again" in replayed
    assert cordboard("test", "acme", endpoint).startswith("dlv_")
    assert cordboard("rotate", "acme", endpoint).startswith("whsec_")
    assert "paused: the operator paused it" in (cordboard("pause", "acme", endpoint) and cordboard())
    assert "active" in (cordboard("resume", "acme", endpoint) and cordboard())
    assert json.loads(cordboard("deliveries", "acme", endpoint, "--only", "failed", "--json")) == []
    cordboard("delete", "acme", endpoint)
    assert "There are no endpoints" in cordboard()


def test_what_the_command_cannot_do_it_says(cordboard: Any) -> None:
    assert "cordboard: the company has no ep_1" in cordboard("pause", "acme", "ep_1", code=1)
    assert "cordboard: the company has no dlv_1" in cordboard("redeliver", "acme", "dlv_1", code=1)
    assert "cordboard: url: write https" in cordboard("add", "acme", "http://10.0.0.1/", code=1)
    assert "there is no event 'x'" in cordboard("add", "acme", "https://crm.test/", "--events", "x", code=1)
    assert "no moment" in cordboard("replay", "acme", "ep_1", "--since", "2026-11-25", code=2)
    assert "cannot be used" in cordboard("--database", "sqlite:////nowhere/x.db", code=3)
