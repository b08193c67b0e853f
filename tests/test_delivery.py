"""Deliveries: each event at least once, in good time, whatever subscribers and workers do; on SQLite and PostgreSQL."""

from __future__ import annotations

import functools
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from rq.worker import WorkerStatus
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from tests.deliveries import NOW, House, outcome
from workers import answering, stopping
from workers.delivery import claims, endpoints, jobs, settling
from workers.delivery.claims import AT_ONCE, FAILURES, LEASE, Claimed
from workers.delivery.owing import owe
from workers.delivery.sending import Outcome
from workers.journal.database import Database
from workers.journal.tables import Alarm, Attempt, Delivery, Endpoint, Event, Fact, Secret

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@pytest.fixture
def house(database: Database) -> House:
    """On both databases."""
    return House(database)


@pytest.fixture
def sqlite_house(sqlite: Database) -> House:
    """On SQLite only: for what does not depend on the database."""
    return House(sqlite)


# --------------------------------------------------------------------------------------------------- claiming


def test_a_delivery_is_claimed_by_one_worker_and_at_most_two_of_an_endpoint_are_under_way(house: House) -> None:
    """Four workers claim as fast as they can; what is sent is counted while it is under way."""
    for n in range(5):
        house.endpoint(f"https://crm{n}.test/")
    for _ in range(20):
        house.event()
    lock = threading.Lock()
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()
    wrong: list[str] = []

    def work() -> None:
        rng = random.Random()
        in_vain = 0
        while in_vain < 5:
            with house.database.writing() as session:
                found = {one.id: one.room for one in claims.due(session, NOW)}
                ours = claims.claim(session, NOW, found)
            in_vain = 0 if ours else in_vain + 1
            with lock:
                for one in ours:
                    under_way[one.endpoint] += 1
                    most[one.endpoint] = max(most[one.endpoint], under_way[one.endpoint])
                house.sent.extend(ours)
            with lock:
                for one in ours:
                    under_way[one.endpoint] -= 1
            if ours:
                with house.database.writing() as session:
                    settling.settle(session, [(one, outcome(NOW)) for one in ours], rng)

    def guarded() -> None:
        try:
            work()
        except Exception as error:
            wrong.append(repr(error))

    workers = [threading.Thread(target=guarded) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    while house.deliver(lambda _: 200):  # what a worker that gave up too early left
        pass
    assert wrong == []
    assert max(Counter(one.delivery for one in house.sent).values()) == 1
    assert len(house.sent) == 100
    assert set(most.values()) <= {1, AT_ONCE}
    assert {one.state for one in house.deliveries()} == {"delivered"}


def test_what_a_killed_worker_had_is_sent_again_under_the_same_id_when_its_lease_is_over(house: House) -> None:
    endpoint = house.endpoint()
    event = house.event()
    with house.database.writing() as session:
        (lost,) = claims.claim(session, house.now, {endpoint: 2})
    assert LEASE < 10, "until then its place is lost to its endpoint"
    house.now += LEASE - 1
    assert house.deliver(lambda _: 200) == 0
    house.now += 1
    assert house.deliver(lambda _: 200) == 1
    assert house.sent[0].letter.event == lost.letter.event == event
    assert house.delivery().state == "delivered"


def test_an_attempt_that_outlived_its_lease_is_logged_and_changes_no_schedule(house: House) -> None:
    """Somebody else has the delivery by then; a late success counts all the same."""
    endpoint = house.endpoint()
    house.event()
    with house.database.writing() as session:
        (late,) = claims.claim(session, house.now, {endpoint: 1})
    house.now += LEASE
    with house.database.writing() as session:
        (current,) = claims.claim(session, house.now, {endpoint: 1})
    with house.database.writing() as session:
        settling.settle(session, [(late, outcome(NOW, 500))], random.Random(1))
    assert (house.delivery().leased_until, house.delivery().attempts) == (current.leased_until, 1)
    with house.database.writing() as session:
        settling.settle(session, [(late, outcome(NOW, 200))], random.Random(1))
    assert house.delivery().state == "delivered"
    assert len(house.attempts()) == 2


def test_an_attempt_that_takes_longer_keeps_its_claim(house: House) -> None:
    house.endpoint()
    house.event()
    leases = []

    def answers(claimed: Claimed) -> int:
        for _ in range(3):  # nearly at the end of its lease, three times
            before = house.delivery().leased_until
            house.now = before - claims.RENEWED_AT + 0.5
            _until(functools.partial(renewed_since, before))
            leases.append(house.delivery().leased_until - house.now)
            assert claims_of_another(house) == []
        return 200

    def renewed_since(before: float) -> bool:
        return house.delivery().leased_until > before

    def claims_of_another(house: House) -> list[Claimed]:
        with house.database.writing() as session:
            return claims.claim(session, house.now, {one.endpoint: 2 for one in house.deliveries()})

    assert house.deliver(answers) == 1
    assert leases == [LEASE] * 3
    assert (house.delivery().state, house.delivery().attempts) == ("delivered", 1)
    assert house.delivery().leased_until == 0


def test_a_claim_that_another_has_by_now_or_that_is_owed_no_more_is_not_renewed(house: House) -> None:
    endpoint = house.endpoint()
    house.event()
    with house.database.writing() as session:
        (late,) = claims.claim(session, house.now, {endpoint: 1})
    house.now += LEASE
    with house.database.writing() as session:
        (current,) = claims.claim(session, house.now, {endpoint: 1})
        assert claims.renew(session, [late], house.now + 1) == []
        (held,) = claims.renew(session, [current], house.now + 1)
    assert held.leased_until == house.delivery().leased_until == house.now + 1 + LEASE
    with house.database.writing() as session:
        endpoints.delete(session, "acme", endpoint, house.now)
        assert claims.renew(session, [held], house.now + 2) == []
    assert (house.delivery().state, house.delivery().leased_until) == ("cancelled", 0)


def test_a_worker_that_is_told_to_stop_claims_nothing_more_and_writes_what_it_has_in_hand(
    sqlite_house: House,
) -> None:
    sqlite_house.endpoint()
    for _ in range(20):
        sqlite_house.event()
    stop = threading.Event()

    def answers(_: Claimed) -> int:
        stop.set()
        return 200

    worker = sqlite_house.worker(answers, stopping=stop.is_set)
    assert worker.drain() is False
    done = Counter(one.state for one in sqlite_house.deliveries())
    assert done["delivered"] == len(sqlite_house.sent) <= AT_ONCE
    assert done["pending"] == 20 - len(sqlite_house.sent)
    assert {one.leased_until for one in sqlite_house.deliveries()} == {0.0}


def test_a_worker_that_is_told_to_stop_does_not_wait_for_who_keeps_silent(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PATIENCE", 0.2)
    sqlite_house.endpoint()
    sqlite_house.event()
    stop, over = threading.Event(), threading.Event()

    def answers(_: Claimed) -> int:
        stop.set()
        over.wait(30)
        return 200

    began = time.monotonic()
    worker = sqlite_house.worker(answers, stopping=stop.is_set)
    assert worker.drain() is False
    assert time.monotonic() - began < 15
    over.set()
    assert sqlite_house.delivery().state == "pending"
    assert sqlite_house.delivery().leased_until <= sqlite_house.now + LEASE


def test_the_signal_to_stop_is_heard_by_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_told", False)
    assert not stopping.told()
    worker = answering._Worker.__new__(answering._Worker)
    monkeypatch.setattr(worker, "get_state", lambda: WorkerStatus.BUSY)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        worker.request_stop(None, None)
    finally:
        for number, handler in before.items():  # they are for who runs the tests
            signal.signal(number, handler)
    assert stopping.told()


def test_an_endpoint_gets_its_events_in_the_order_they_were_made(house: House) -> None:
    house.endpoint()
    made = []
    for _ in range(10):
        made.append(house.event())
        house.now += 0.5
    house.deliver(lambda _: 200)
    sent = [one.letter.event for one in house.sent]
    assert sorted(sent) == made
    assert all(abs(sent.index(event) - place) < AT_ONCE for place, event in enumerate(made))


def test_events_of_one_moment_are_sent_in_their_order(house: House) -> None:
    house.endpoint()
    ids = [f"evt_{n:024x}" for n in (7, 3, 9, 1, 5)]
    with house.database.writing() as session:
        events = [
            Event(id=id_, company="acme", type="call.started", occurred_at=NOW, created_at=NOW, data={}) for id_ in ids
        ]
        session.add_all(events)
        session.flush()
        assert owe(session, events, NOW) == 5
    with house.database.reading() as session:
        order = list(session.scalars(select(Delivery.event).order_by(Delivery.next_at)))
    assert order == ids
    house.deliver(lambda _: 200)
    sent = [one.letter.event for one in house.sent]
    assert all(abs(sent.index(event) - place) < AT_ONCE for place, event in enumerate(ids))


def test_the_next_of_a_hundred_thousand_is_found_without_sorting_them(sqlite_house: House) -> None:
    with sqlite_house.database.reading() as session:
        query = select(Endpoint.id, claims._oldest(1, NOW)).compile(
            session.get_bind(), compile_kwargs={"literal_binds": True}
        )
        plan = "\n".join(str(row) for row in session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {query}"))
    assert "delivery_due (endpoint=? AND state=? AND next_at<?)" in plan
    assert "TEMP B-TREE" not in plan


def test_whether_an_endpoint_has_something_due_is_read_from_the_index(sqlite_house: House) -> None:
    """Of a dead endpoint a million deliveries may be due."""
    with sqlite_house.database.reading() as session:
        plans = [
            str(row)
            for query in (
                "SELECT 1 FROM endpoint e WHERE EXISTS (SELECT 1 FROM delivery WHERE endpoint = e.id"
                " AND state = 'pending' AND next_at <= 1 AND leased_until <= 1)",
                "SELECT endpoint FROM delivery WHERE leased_until > 1",
                "SELECT id FROM delivery WHERE endpoint = 'e' AND state = 'pending' AND next_at <= 1 LIMIT 2",
            )
            for row in session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")
        ]
    text = "\n".join(plans)
    assert "delivery_due (endpoint=? AND state=? AND next_at<?)" in text
    assert "delivery_under_way (leased_until>?)" in text
    assert "SCAN delivery" not in text


# --------------------------------------------------------------------------------------------------- retrying


def test_a_failing_delivery_is_tried_again_at_growing_pauses_for_three_days_then_given_up(house: House) -> None:
    endpoint = house.endpoint()
    house.event()
    pauses = []
    while house.delivery().state == "pending":
        with house.database.writing() as session:  # the breaker has tests of its own
            endpoints._well(session.get_one(Endpoint, endpoint))
        assert house.deliver(lambda _: 500) == 1
        due = house.delivery().next_at
        pauses.append(due - house.now)
        house.now = due - 0.5
        assert house.deliver(lambda _: 500) == 0
        house.now = due
    for pause, planned in zip(pauses, settling.DELAYS, strict=False):
        assert planned * 0.85 <= pause <= planned * 1.15
    assert len(set(pauses[8:])) > 1, "there is jitter"
    assert house.delivery().state == "failed"
    assert house.delivery().why == "it answered 500"
    assert 2.5 * DAY < house.attempts()[-1].at - NOW <= 3 * DAY
    assert [attempt.number for attempt in house.attempts()] == list(range(1, len(house.attempts()) + 1))


@pytest.mark.parametrize("status", [100, 199, 300, 301, 304, 400, 404, 500, 503, 999])
def test_nothing_but_2xx_is_a_success(status: int) -> None:
    assert not outcome(NOW, status).delivered
    assert outcome(NOW, 299).delivered


def test_a_2xx_that_broke_off_is_no_success() -> None:
    assert not outcome(NOW, 200, error="the answer broke off").delivered


@pytest.mark.parametrize(("asked", "waited"), [(120.0, 120.0), (1e9, settling.LONGEST_RETRY_AFTER), (0.0, 4.0)])
def test_retry_after_is_honoured_by_the_whole_endpoint_up_to_an_hour(
    sqlite_house: House, asked: float, waited: float
) -> None:
    sqlite_house.endpoint()
    sqlite_house.event()
    sqlite_house.deliver(lambda _: outcome(sqlite_house.now, 429, retry_after=asked))
    assert sqlite_house.delivery().next_at - NOW >= waited
    assert sqlite_house.delivery().next_at - NOW <= max(waited, 6.0)
    if asked:
        sqlite_house.event()
        assert sqlite_house.deliver(lambda _: 200) == 0
        sqlite_house.now += waited
        assert sqlite_house.deliver(lambda _: 200) == 2


def test_410_disables_the_endpoint_with_an_alarm_and_a_fact(house: House) -> None:
    endpoint = house.endpoint()
    house.event()
    house.event()
    assert house.deliver(lambda _: 410) >= 1
    assert house.at(endpoint).state == "disabled"
    assert sorted({one.state for one in house.deliveries()}) in (["cancelled", "failed"], ["failed"])
    assert _alarms(house) == [(f"endpoint/{endpoint}", "endpoint.disabled", True)]
    assert _facts(house) == ["endpoint.disabled"]
    house.event()
    house.now += DAY
    assert house.deliver(lambda _: 200) == 0


def test_five_days_without_a_success_pause_the_endpoint_never_silently(house: House) -> None:
    endpoint = house.endpoint()
    while house.at(endpoint).state == "active" and house.now < NOW + 7 * DAY:
        house.event()
        house.deliver(lambda _: 500)
        house.now += 6 * HOUR
    assert 5 * DAY <= house.now - NOW <= 5.5 * DAY
    assert house.at(endpoint).state == "paused"
    assert "failed for five days, the last time because it answered 500" in (house.at(endpoint).why or "")
    assert _alarms(house) == [(f"endpoint/{endpoint}", "endpoint.paused", True)]
    assert _facts(house) == ["endpoint.paused"]
    waiting = [one for one in house.deliveries() if one.state == "pending"]
    assert waiting, "what it is owed waits"
    house.event()
    assert house.deliver(lambda _: 200) == 0
    with house.database.writing() as session:
        endpoints.resume(session, "acme", endpoint, house.now)
    house.now += DAY
    while house.deliver(lambda _: 200):
        pass
    assert {one.state for one in house.deliveries()} == {"delivered", "failed"}
    assert _alarms(house) == [(f"endpoint/{endpoint}", "endpoint.paused", False)]


def test_a_success_forgives_everything(house: House) -> None:
    endpoint = house.endpoint()
    house.event()
    house.deliver(lambda _: 500)
    assert (house.at(endpoint).failures, house.at(endpoint).failing_since) == (1, NOW)
    house.now += MINUTE
    house.deliver(lambda _: 204)
    assert (house.at(endpoint).failures, house.at(endpoint).failing_since) == (0, None)


# ---------------------------------------------------------------------------------------------------- breaker


def test_after_five_failures_an_endpoint_is_left_alone_and_then_probed_with_one(house: House) -> None:
    endpoint = house.endpoint()
    for _ in range(20):
        house.event()
    first = house.deliver(lambda _: 500)
    assert FAILURES <= first <= FAILURES + 1
    alone = []
    for _ in range(8):
        opens = house.at(endpoint).open_until or 0.0
        alone.append(opens - house.now)
        house.now = opens - 0.1
        assert house.deliver(lambda _: 500) == 0
        house.now = opens
        assert house.deliver(lambda _: 500) == 1
    assert alone == sorted(alone)
    assert alone[0] < 30
    assert alone[-1] == settling.LONGEST_ALONE
    house.now = house.at(endpoint).open_until or 0.0
    house.deliver(lambda _: 200)
    assert (house.at(endpoint).failures, house.at(endpoint).open_until) == (0, None)
    house.now += DAY
    while house.deliver(lambda _: 200):
        pass
    assert {one.state for one in house.deliveries()} == {"delivered"}


def test_endpoints_that_hang_hold_up_nobody_else(sqlite_house: House) -> None:
    """More of them than there are threads for the well; what they know by then is that they failed."""
    hanging = {sqlite_house.endpoint(f"https://slow{n}.test/", company=("beta", "gamma")[n % 2]) for n in range(30)}
    healthy = sqlite_house.endpoint()
    with sqlite_house.database.writing() as session:
        for id_ in hanging:
            session.get_one(Endpoint, id_).failures = 1
    for _ in range(3):
        sqlite_house.event(company="beta")
        sqlite_house.event(company="gamma")
    for _ in range(20):
        sqlite_house.event()
    done, over = threading.Event(), threading.Event()
    under_way: Counter[str] = Counter()
    count = 0

    def answers(claimed: Claimed) -> int:
        nonlocal count
        if claimed.endpoint in hanging:
            under_way[claimed.endpoint] += 1
            assert over.wait(30)
            return 500
        count += 1
        if count == 20:
            done.set()
        return 200

    working = threading.Thread(target=sqlite_house.worker(answers, seconds=0.5).drain)
    working.start()
    assert done.wait(20), "the healthy endpoint has all of its own"
    assert 1 <= len(under_way) <= jobs.SUSPECT_THREADS
    assert set(under_way.values()) == {1}
    # The job's time is over and the slow are still under way: what is new for the quick is sent all the same.
    time.sleep(0.6)
    done.clear()
    count = 19
    sqlite_house.event()
    assert done.wait(20)
    over.set()
    working.join(30)
    assert not working.is_alive()
    assert {one.state for one in sqlite_house.deliveries() if one.endpoint == healthy} == {"delivered"}


def test_endpoints_that_are_not_known_to_be_slow_hold_up_none_that_is_known_to_be_quick(sqlite_house: House) -> None:
    """They never failed, so the database knows nothing against them."""
    quick = sqlite_house.endpoint()
    slow = {sqlite_house.endpoint(f"https://slow{n}.test/", company=("beta", "gamma")[n % 2]) for n in range(40)}
    under_way, done, over = Counter[str](), threading.Event(), threading.Event()

    def answers(claimed: Claimed) -> int:
        under_way[claimed.endpoint] += 1
        if claimed.endpoint in slow:
            assert over.wait(30)
        elif under_way[quick] == 20:
            done.set()
        return 200

    worker = sqlite_house.worker(answers)
    sqlite_house.event()
    worker.drain()
    for _ in range(19):
        sqlite_house.event()
    for company in ("beta", "gamma"):
        sqlite_house.event(company=company)
    working = threading.Thread(target=worker.drain)
    working.start()
    assert done.wait(20)
    assert len(under_way) - 1 <= jobs.STRANGERS
    over.set()
    working.join(30)
    assert not working.is_alive()


def test_a_job_ends_when_its_time_is_over_and_says_that_more_is_left(sqlite_house: House) -> None:
    sqlite_house.endpoint()
    for _ in range(5):
        sqlite_house.event()
    assert sqlite_house.worker(lambda _: 200, seconds=0.0).drain() is True
    assert sqlite_house.worker(lambda _: 200).drain() is False
    assert {one.state for one in sqlite_house.deliveries()} == {"delivered"}


def test_the_job_rings_again_while_more_is_left(sqlite_house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[tuple[str, str]] = []

    class Settings:
        redis_url = "redis://nowhere"

    monkeypatch.setattr(jobs, "ring", lambda where, queue: rung.append((where, queue)))
    monkeypatch.setattr(jobs, "current", Settings)
    sqlite_house.endpoint()
    sqlite_house.event()
    monkeypatch.setattr(jobs, "_here", lambda: sqlite_house.worker(lambda _: 200, seconds=0.0))
    assert jobs.deliver() is True
    monkeypatch.setattr(jobs, "_here", lambda: sqlite_house.worker(lambda _: 200))
    assert jobs.deliver() is False
    assert rung == [("redis://nowhere", "delivery")]


def test_there_is_something_to_ring_for_only_if_something_can_be_sent(sqlite_house: House) -> None:
    endpoint = sqlite_house.endpoint()

    def due() -> bool:
        with sqlite_house.database.reading() as session:
            return jobs.due(session, sqlite_house.now)

    assert not due()
    sqlite_house.event()
    assert due()
    with sqlite_house.database.writing() as session:
        endpoints.pause(session, "acme", endpoint, "somebody", sqlite_house.now)
    assert not due()


# --------------------------------------------------------------------------------------------- what is written


def test_what_came_of_attempts_is_written_though_the_database_was_away(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_house.endpoint()
    sqlite_house.event()
    real, failing = settling.settle, [True, True]

    def settle(session: Any, results: Any, rng: random.Random) -> None:
        if results and failing:
            failing.pop()
            raise OperationalError("locked", {}, Exception("database is locked"))
        real(session, results, rng)

    monkeypatch.setattr(jobs, "settle", settle)
    sqlite_house.deliver(lambda _: 200)
    assert failing == []
    assert (sqlite_house.delivery().state, len(sqlite_house.attempts()), len(sqlite_house.sent)) == ("delivered", 1, 1)


def test_one_result_that_cannot_be_written_holds_up_no_other(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        sqlite_house.endpoint(f"https://crm{n}.test/")
    sqlite_house.event()
    real = settling.settle
    poisoned = sqlite_house.deliveries()[0].id

    def settle(session: Any, results: Any, rng: random.Random) -> None:
        if any(claimed.delivery == poisoned for claimed, _ in results):
            raise OperationalError("no", {}, Exception("this one cannot be stored"))
        real(session, results, rng)

    monkeypatch.setattr(jobs, "settle", settle)
    answered = threading.Barrier(3)

    def answers(claimed: Claimed) -> int:
        answered.wait(10)
        return 200

    sqlite_house.deliver(answers)
    assert Counter(one.state for one in sqlite_house.deliveries()) == {"delivered": 2, "pending": 1}


def test_an_attempt_is_logged_with_what_was_sent_and_what_came_back(house: House) -> None:
    house.endpoint()
    house.event()
    came = Outcome(
        at=NOW,
        seconds=0.25,
        url="https://crm.test/hooks",
        request_headers={"webhook-id": "evt_1"},
        request_body='{"id":"evt_1"}',
        status=500,
        response_headers={"Server": "x\N{REPLACEMENT CHARACTER}"},
        response_body="no \N{REPLACEMENT CHARACTER} here",
    )
    house.deliver(lambda _: came)
    (logged,) = house.attempts()
    assert (logged.number, logged.at, logged.seconds, logged.status, logged.error) == (1, NOW, 0.25, 500, None)
    assert logged.request_headers == {"webhook-id": "evt_1"}
    assert (logged.request_body, logged.response_body) == ('{"id":"evt_1"}', came.response_body)
    assert (logged.company, logged.url) == ("acme", "https://crm.test/hooks")


# ------------------------------------------------------------------------------------------------- forgetting


def test_what_is_over_for_thirty_days_is_forgotten_in_small_steps_and_what_is_owed_never(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.delivery.pruning.MOST", 4)
    gone = house.endpoint()
    for _ in range(10):
        house.event()
    while house.deliver(lambda _: 200):
        pass
    paused = house.endpoint("https://paused.test/")
    with house.database.writing() as session:
        session.get_one(Endpoint, paused).state = "paused"  # without the event that tells it
        endpoints.delete(session, "acme", gone, house.now)
    owed = house.event()
    assert jobs.prune(house.database, house.now + 29 * DAY) == 0
    house.now += 31 * DAY
    fresh = house.event()
    steps = []
    while count := jobs.prune(house.database, house.now):
        steps.append(count)
    assert len(steps) >= 3
    assert max(steps) <= 4 * 3 + 1
    with house.database.reading() as session:
        assert set(session.scalars(select(Event.id))) == {owed, fresh}
        assert set(session.scalars(select(Delivery.event))) == {owed, fresh}
        assert session.scalars(select(Attempt)).all() == []
        assert session.scalars(select(Endpoint.id)).all() == [paused]
        assert len(session.scalars(select(Secret)).all()) == 1


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _alarms(house: House) -> list[tuple[str, str, bool]]:
    """Key, kind, whether it lasts."""
    with house.database.reading() as session:
        return [(one.key, one.kind, one.cleared_at is None) for one in session.scalars(select(Alarm))]


def _facts(house: House) -> list[str]:
    with house.database.reading() as session:
        return list(session.scalars(select(Fact.type).order_by(Fact.id)))
