"""From bytes to messages: every transcript, in any pieces, and everything that is no Event Socket."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callcontrol.esl import EslEvent, Limits, Message, Notice, Parser, Reply
from callcontrol.wire import CONTROL

TRACES = sorted((Path(__file__).parent / "traces").glob("*.jsonl"))
SMALL = Limits(header=200, body=300)
USUAL = Limits()


def streams(trace: Path) -> list[list[bytes]]:
    """The messages of each connection of a transcript, as the switch sent them."""
    found: dict[str, list[bytes]] = defaultdict(list)
    with trace.open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record["dir"] == "from_switch":
                found[record["conn"]].append(record["data"].encode())
    return list(found.values())


def parsed(*pieces: bytes, limits: Limits = USUAL) -> tuple[list[Message], str | None, bool]:
    """The messages, why it stopped, and whether a message has begun and not ended."""
    parser = Parser(limits)
    messages: list[Message] = []
    for piece in pieces:
        parser.feed(piece, messages.append)
    return messages, str(parser.error) if parser.error else None, parser.partial


def bytewise(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(at % (len(data) + 1) for at in cuts), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


def event_of(*messages: bytes) -> EslEvent:
    [message], error, partial = parsed(*messages)
    assert isinstance(message, EslEvent)
    assert error is None
    assert not partial
    return message


def wrapped(event: bytes) -> bytes:
    """An event as it comes over the wire."""
    return b"Content-Length: %d\nContent-Type: text/event-plain\n\n%s" % (len(event), event)


# ---------------------------------------------------------------------------------------- transcripts


def test_there_are_transcripts() -> None:
    assert len(TRACES) >= 49


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_each_message_of_a_transcript_is_found_with_its_content(trace: Path) -> None:
    for raws in streams(trace):
        messages, error, partial = parsed(b"".join(raws))
        assert (error, partial) == (None, False)
        assert len(messages) == len(raws)
        for message, raw in zip(messages, raws, strict=True):
            head, _, body = raw.partition(b"\n\n")
            if b"Content-Type: text/event-plain" in head:
                assert message == EslEvent(body)
            elif b"Content-Type: command/reply" in head:
                assert isinstance(message, Reply)
                assert message.event() == EslEvent(head)
            elif b"Content-Type: api/response" in head:
                assert message == Reply(head, body.decode().removesuffix("\n"))
            else:
                assert isinstance(message, Notice)
                assert (message.head, message.body) == (head, body)


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_a_transcript_byte_by_byte_gives_the_same_messages(trace: Path) -> None:
    for raws in streams(trace):
        data = b"".join(raws)
        assert parsed(*bytewise(data)) == parsed(data)


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 10**6), max_size=60))
def test_a_transcript_in_any_pieces_gives_the_same_messages(trace: Path, cuts: list[int]) -> None:
    for raws in streams(trace):
        data = b"".join(raws)
        assert parsed(*cut(data, cuts)) == parsed(data)


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_one_header_at_a_time_says_what_all_headers_together_say(trace: Path) -> None:
    for raws in streams(trace):
        for message in parsed(b"".join(raws))[0]:
            event = message.event() if isinstance(message, Reply) else message
            if isinstance(event, EslEvent):
                together = event.headers()
                fresh = EslEvent(event._raw)
                assert {header: fresh.get(header) for header in together} == together
                assert fresh.name == together.get("Event-Name", "")


def transcript(name: str) -> list[Message]:
    [path] = [trace for trace in TRACES if trace.stem == name]
    return [message for raws in streams(path) for message in parsed(*raws)[0]]


# -------------------------------------------------------------------------------------------- replies


def test_the_reply_to_connect_is_one_flat_block_with_the_whole_channel() -> None:
    reply = transcript("digits_pressed")[0]
    assert isinstance(reply, Reply)
    assert (reply.text, reply.ok) == ("+OK", True)
    event = reply.event()
    assert event.name == "CHANNEL_DATA"
    assert event.get("Caller-Caller-ID-Name") == "Ivan Petrov"
    assert event.get("Caller-Caller-ID-Number") == "+74955550101"
    assert event.get("Unique-ID") == event.get("variable_uuid")
    assert event.get("Control") == "full"


def test_a_refusal_is_told_from_a_consent() -> None:
    texts = {m.text: m.ok for m in transcript("command_errors") if isinstance(m, Reply)}
    assert texts["+OK will linger 5 seconds"] is True
    assert texts["-ERR command not found"] is False
    assert texts["-ERR no_such_command Command not found!"] is False
    [reply], _, _ = parsed(b"Content-Type: api/response\nContent-Length: 7\n\n-ERROR\n")
    assert isinstance(reply, Reply)
    assert not reply.ok


def test_the_job_that_a_command_began_is_known_from_its_reply() -> None:
    jobs = {m.get("Job-UUID") for m in transcript("inbound_connection_auth_and_events") if isinstance(m, Reply)}
    results = {
        m.get("Job-UUID"): m.body
        for m in transcript("inbound_connection_auth_and_events")
        if isinstance(m, EslEvent) and m.name == "BACKGROUND_JOB"
    }
    assert set(results) <= jobs
    assert all(body.startswith("+OK ") for body in results.values())


def test_a_notice_of_lingering_is_told_from_the_end() -> None:
    notices = [m.lingers for m in transcript("answer_then_caller_hangs_up") if isinstance(m, Notice)]
    assert notices == [True, False]
    notices = [
        m.lingers
        for m in transcript("inbound_connection_auth_and_events")
        if isinstance(m, Notice) and m.kind == "text/disconnect-notice"
    ]
    assert notices == [False, False]


def test_blank_lines_between_messages_are_skipped() -> None:
    reply = b"Content-Type: command/reply\nReply-Text: +OK\n\n"
    assert parsed(reply + b"\n\n" + reply + b"\n")[0] == parsed(reply, reply)[0]


# ------------------------------------------------------------------------------------- hostile values


def test_a_display_name_never_becomes_a_header() -> None:
    named = transcript("caller_id_with_percent_encoded_newline")
    events = [m if isinstance(m, EslEvent) else m.event() for m in named if not isinstance(m, Notice)]
    names = {event.get("Caller-Caller-ID-Name") for event in events} - {None}
    assert names == {"Bobvariable_tenant: victim"}
    assert all(event.get("variable_tenant") is None for event in events)
    assert all("variable_tenant" not in event.headers() for event in events)


@given(name=st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
@example(name="Bob\nvariable_tenant: victim")
@example(name="Bob\r\nvariable_tenant: victim\n\n")
@example(name="Bob\u2028variable_tenant: victim\u0085x\x00")
def test_no_value_changes_another_header(name: str) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in name.encode("utf-8", "surrogatepass")).encode()
    event = event_of(wrapped(b"Event-Name: X\nCaller-Caller-ID-Name: " + encoded + b"\nUnique-ID: u\n\n"))
    assert set(event.headers()) == {"Event-Name", "Caller-Caller-ID-Name", "Unique-ID"}
    assert event.get("Unique-ID") == "u"
    shown = event.get("Caller-Caller-ID-Name")
    assert shown is not None
    assert len(shown.splitlines()) <= 1
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)


def test_what_is_no_utf_8_is_replaced() -> None:
    event = event_of(wrapped(b"Event-Name: X\nA: caf\xe9\nB: caf%E9%20x\n\n"))
    assert event.get("A") == "caf\ufffd"
    assert event.get("B") == "caf\ufffd x"


def test_malformed_percent_signs_stay_as_they_are() -> None:
    event = event_of(wrapped(b"Event-Name: X\nA: 100%\nB: %zz%4\nC: %25%30\n\n"))
    assert [event.get(header) for header in "ABC"] == ["100%", "%zz%4", "%0"]


def test_of_a_header_that_occurs_twice_the_first_counts() -> None:
    event = event_of(wrapped(b"Event-Name: X\nUnique-ID: mine\nUnique-ID: forged\nEvent-Name: Y\n\n"))
    assert event.get("Unique-ID") == "mine"
    assert event.headers()["Unique-ID"] == "mine"
    assert event.get("Event-Name") == event.name == event.headers()["Event-Name"] == "X"


@pytest.mark.parametrize("name", [b"BACKGROUND_JOB", b"CUSTOM", b"CHANNEL_HANGUP_COMPLETE"])
def test_the_body_of_an_event_is_never_taken_for_headers(name: bytes) -> None:
    body = b"+OK\nvariable_tenant: victim\nUnique-ID: forged"
    event = event_of(wrapped(b"Event-Name: %s\nContent-Length: %d\n\n%s" % (name, len(body), body)))
    assert event.get("variable_tenant") is None
    assert event.get("Unique-ID") is None
    assert event.get("Content-Length") == str(len(body))
    assert event.body == body.decode()


def test_a_body_that_ends_with_blank_lines_is_none_the_less_a_body() -> None:
    event = event_of(wrapped(b"Event-Name: BACKGROUND_JOB\nContent-Length: 24\n\n+OK\nUnique-ID: forged\n\n\n"))
    assert event.get("Unique-ID") is None
    assert event.body.startswith("+OK\n")


def test_an_absent_header_is_the_default() -> None:
    event = event_of(wrapped(b"Event-Name: X\n\n"))
    assert event.get("Unique-ID") is None
    assert event.get("Unique-ID", "none") == "none"
    assert event.get("Event") is None
    assert event.body == ""


# -------------------------------------------------------------------------------------------- nonsense

REPLY = b"Content-Type: command/reply\nReply-Text: +OK\n\n"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\nHost: x\n\n", "without Content-Type"),
        (b"Content-Type: text/event-plain\nContent-Length: -1\n\n", "no number"),
        (b"Content-Type: text/event-plain\nContent-Length: +1\n\n", "no number"),
        (b"Content-Type: text/event-plain\nContent-Length: 1_0\n\n", "no number"),
        (b"Content-Type: text/event-plain\nContent-Length: \n\n", "no number"),
        (b"Content-Length: ten\nContent-Type: text/event-plain\n\n", "no number"),
        (b"Content-Length: 9999999999\nContent-Type: text/event-plain\n\n", "no number"),
        (b"Content-Length: \xd9\xa3\nContent-Type: text/event-plain\n\n", "no number"),
        (b"Content-Length: 301\nContent-Type: text/event-plain\n\n", "a body of 301 bytes"),
        (b"Content-Type: api/response\nContent-Length: 301\n\n", "a body of 301 bytes"),
        (b"X: " + b"y" * 198 + b"\n\n", "a header block of more than 200 bytes"),
        (b"y" * 5000, "a header block of more than 200 bytes"),
    ],
)
def test_nonsense_is_named_and_what_came_before_it_is_kept(data: bytes, why: str) -> None:
    for pieces in ([REPLY + data], bytewise(REPLY + data)):
        messages, error, _ = parsed(*pieces, limits=SMALL)
        assert messages == parsed(REPLY)[0]
        assert error is not None
        assert why in error


def test_a_message_of_exactly_the_limits_passes() -> None:
    head = b"Content-Type: api/response\nContent-Length: 300\nX: "
    data = head + b"y" * (200 - len(head)) + b"\n\n" + b"z" * 300
    for pieces in ([data], bytewise(data)):
        messages, error, partial = parsed(*pieces, limits=SMALL)
        assert (len(messages), error, partial) == (1, None, False)


def test_nothing_is_taken_after_nonsense() -> None:
    assert parsed(b"nonsense\n\n", REPLY)[0] == []


def test_a_truncated_message_is_not_given() -> None:
    data = wrapped(b"Event-Name: X\nUnique-ID: u\n\n")
    for length in range(1, len(data)):
        assert parsed(data[:length]) == ([], None, True)


def test_an_announced_body_is_not_searched_for_messages() -> None:
    inner = REPLY * 3
    [message], error, partial = parsed(b"Content-Type: log/data\nContent-Length: %d\n\n" % len(inner) + inner)
    assert (error, partial) == (None, False)
    assert isinstance(message, Notice)
    assert message.body == inner


SEED = b"".join(
    [
        b"Event-Name: CHANNEL_DATA\nUnique-ID: u\nContent-Type: command/reply\nReply-Text: %2BOK%0A\n\n",
        REPLY,
        wrapped(b"Event-Name: CHANNEL_ANSWER\nUnique-ID: u\nvariable_x: caf%C3%A9\n\n"),
        b"Content-Type: api/response\nContent-Length: 4\n\n+OK\n",
        wrapped(b"Event-Name: BACKGROUND_JOB\nContent-Length: 4\n\n+OK\n"),
        b"Content-Type: text/disconnect-notice\nContent-Disposition: linger\nContent-Length: 0\n\n",
    ]
)
TOKENS = [
    b"\n",
    b"\n\n",
    b"Content-Length: ",
    b"Content-Type: ",
    b"0",
    b"99999999",
    b": ",
    b"\r",
    b"\x00",
    b"\xff",
    b"%",
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(SEED)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["insert", "delete", "token", "truncate", "repeat"]))
        if kind == "insert":
            data[at:at] = draw(st.binary(max_size=8))
        elif kind == "delete":
            del data[at : at + draw(st.integers(1, 40))]
        elif kind == "token":
            data[at : at + draw(st.integers(0, 4))] = draw(st.sampled_from(TOKENS))
        elif kind == "truncate":
            del data[at:]
        else:
            data += data[at : at + 200]
    return bytes(data)


@settings(max_examples=400, deadline=None)
@given(data=mutated() | st.binary(max_size=600), cuts=st.lists(st.integers(0, 10**4), max_size=20))
def test_whatever_comes_is_messages_or_a_reason_and_the_same_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    whole = parsed(data, limits=SMALL)
    assert parsed(*cut(data, cuts), limits=SMALL) == whole
    assert parsed(*bytewise(data), limits=SMALL) == whole
    for message in whole[0]:
        event = message.event() if isinstance(message, Reply) else message
        if isinstance(event, EslEvent):
            assert event.name == (event.get("Event-Name") or "")
            assert not any(CONTROL.search(value) for value in event.headers().values())
            assert isinstance(event.body, str)
            assert repr(event)
        assert repr(message)
