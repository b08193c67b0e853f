"""What the stand-in switch says: event text, headers, and the variables a SIP call carries.

Everything about *spelling* is here and nothing about *time or state*: this module turns values into the
bytes that FreeSWITCH would send.  It must never know sockets, greenlets or the life of a call.

The surprise is `quote`: FreeSWITCH percent-encodes a header's value but leaves anything alone that already
looks like `%XX`, so a caller's display name `Bob%0Avariable_tenant: victim` goes out with its `%0A` intact
(`caller_id_with_percent_encoded_newline.jsonl`).  The encoder must reproduce that, not repair it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache

__all__ = [
    "CAUSE_Q850",
    "STATE_NUMBER",
    "EventWriter",
    "answered_variables",
    "cause_of_status",
    "cdr_variables",
    "directory_variables",
    "gateway_variables",
    "header",
    "inbound_variables",
    "leg_ended_variables",
    "outbound_variables",
    "phone_variables",
    "quote",
    "refused_variables",
    "responded_variables",
]

# switch_types.h, switch_channel_state_t
STATE_NUMBER = {
    "CS_NEW": 0,
    "CS_INIT": 1,
    "CS_ROUTING": 2,
    "CS_SOFT_EXECUTE": 3,
    "CS_EXECUTE": 4,
    "CS_EXCHANGE_MEDIA": 5,
    "CS_PARK": 6,
    "CS_CONSUME_MEDIA": 7,
    "CS_HIBERNATE": 8,
    "CS_RESET": 9,
    "CS_HANGUP": 10,
    "CS_REPORTING": 11,
    "CS_DESTROY": 12,
}

# switch_types.h, switch_call_cause_t: the causes a controller can name or meet, with their Q.850 number.
CAUSE_Q850 = {
    "NONE": 0,
    "UNALLOCATED_NUMBER": 1,
    "NO_ROUTE_DESTINATION": 3,
    "NORMAL_CLEARING": 16,
    "USER_BUSY": 17,
    "NO_USER_RESPONSE": 18,
    "NO_ANSWER": 19,
    "SUBSCRIBER_ABSENT": 20,
    "CALL_REJECTED": 21,
    "NUMBER_CHANGED": 22,
    "EXCHANGE_ROUTING_ERROR": 25,
    "DESTINATION_OUT_OF_ORDER": 27,
    "INVALID_NUMBER_FORMAT": 28,
    "NORMAL_UNSPECIFIED": 31,
    "NETWORK_OUT_OF_ORDER": 38,
    "NORMAL_TEMPORARY_FAILURE": 41,
    "SWITCH_CONGESTION": 42,
    "REQUESTED_CHAN_UNAVAIL": 44,
    "BEARERCAPABILITY_NOTAVAIL": 58,
    "INCOMPATIBLE_DESTINATION": 88,
    "RECOVERY_ON_TIMER_EXPIRE": 102,
    "INTERWORKING": 127,
    "ORIGINATOR_CANCEL": 487,
    "LOSE_RACE": 502,
    "MANAGER_REQUEST": 503,
    "BLIND_TRANSFER": 600,
    "ATTENDED_TRANSFER": 601,
    "ALLOTTED_TIMEOUT": 602,
    "PICKED_OFF": 605,
    "USER_NOT_REGISTERED": 606,
    "PROGRESS_TIMEOUT": 607,
    "INVALID_GATEWAY": 608,
    "GATEWAY_DOWN": 609,
}

# sofia_glue_sip_cause_to_freeswitch: what a refusal over SIP becomes.
_CAUSE_OF_STATUS = {
    302: "REQUESTED_CHAN_UNAVAIL",  # not followed, as we have it
    402: "CALL_REJECTED",
    403: "CALL_REJECTED",
    404: "UNALLOCATED_NUMBER",
    408: "RECOVERY_ON_TIMER_EXPIRE",
    410: "NUMBER_CHANGED",
    480: "NO_USER_RESPONSE",
    484: "INVALID_NUMBER_FORMAT",
    486: "USER_BUSY",
    488: "INCOMPATIBLE_DESTINATION",
    500: "NORMAL_TEMPORARY_FAILURE",
    502: "NETWORK_OUT_OF_ORDER",
    503: "NORMAL_TEMPORARY_FAILURE",
    600: "USER_BUSY",
    603: "CALL_REJECTED",
}


def cause_of_status(status: int) -> str:
    """The hangup cause of a leg that was refused with this SIP status."""
    return _CAUSE_OF_STATUS.get(status, "NORMAL_UNSPECIFIED")


# switch_url_encode leaves a percent sign followed by two hexadecimal digits as it is; of the other bytes it
# leaves the ones below.  Both sets were read off the recorded transcripts.
_UNTOUCHED = re.compile(r"%[0-9A-Fa-f]{2}|[A-Za-z0-9_.~$'()*!,/-]+")


@lru_cache(maxsize=8192)  # an event repeats a hundred values; encoding them was four fifths of a call's cost
def quote(value: str) -> str:
    """`value` as FreeSWITCH percent-encodes it in an event header (UTF-8; an existing `%XX` is left alone)."""
    if value.isalnum() and value.isascii():
        return value
    parts: list[str] = []
    at = 0
    for kept in _UNTOUCHED.finditer(value):
        parts += _escape(value[at : kept.start()])
        parts.append(kept.group())
        at = kept.end()
    parts += _escape(value[at:])
    return "".join(parts)


def _escape(text: str) -> Iterable[str]:
    return (f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def header(name: str, value: str) -> str:
    """One header line with its newline; the name is sent as it is, the value encoded."""
    return f"{name}: {quote(value)}\n"


class EventWriter:
    """Writes the text of events of one switch: numbers them and dates them.

    `text()` is called once for an event however many connections get it.
    """

    def __init__(self, name: str, core_uuid: str) -> None:
        self.sequence = 0
        self._switch = (
            f"Core-UUID: {core_uuid}\n"
            f"FreeSWITCH-Hostname: {quote(name)}\n"
            f"FreeSWITCH-Switchname: {quote(name)}\n"
            "FreeSWITCH-IPv4: 127.0.0.1\n"
            "FreeSWITCH-IPv6: %3A%3A1\n"
        )
        self._second = -1
        self._date = ""

    def text(self, name: str, *bodies: str) -> str:
        """The header block of event `name` (without the final blank line); `bodies` are whole header lines."""
        now = time.time()
        self.sequence += 1
        if int(now) != self._second:
            self._second = int(now)
            gmt = time.gmtime(now)
            self._date = header("Event-Date-Local", time.strftime("%Y-%m-%d %H:%M:%S", gmt)) + header(
                "Event-Date-GMT", time.strftime("%a, %d %b %Y %H:%M:%S GMT", gmt)
            )
        return (
            f"Event-Name: {name}\n{self._switch}{self._date}"
            f"Event-Date-Timestamp: {int(now * 1e6)}\n"
            "Event-Calling-File: simulator\nEvent-Calling-Function: fire\nEvent-Calling-Line-Number: 1\n"
            f"Event-Sequence: {self.sequence}\n"
        ) + "".join(bodies)


# The session description of any call; FreeSWITCH repeats it in every event, which is most of an event's size.
_SDP = (
    "v=0\r\no=FreeSWITCH 1795277214 1795277215 IN IP4 127.0.0.1\r\ns=FreeSWITCH\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 27332 RTP/AVP 0 101 13\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    "a=fmtp:101 0-15\r\na=rtpmap:13 CN/8000\r\na=ptime:20\r\n"
)
_ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE, REGISTER, REFER, NOTIFY"
_MEDIA = {
    "ep_codec_string": "CORE_PCM_MODULE.PCMU@8000h@20i@64000b,CORE_PCM_MODULE.PCMA@8000h@20i@64000b",
    "rtp_use_codec_string": "PCMU,PCMA",
    "remote_video_media_flow": "inactive",
    "remote_text_media_flow": "inactive",
    "remote_audio_media_flow": "sendrecv",
    "audio_media_flow": "sendrecv",
    "remote_media_ip": "127.0.0.1",
    "remote_media_port": "53948",
    "rtp_audio_recv_pt": "0",
    "rtp_use_codec_name": "PCMU",
    "rtp_use_codec_rate": "8000",
    "rtp_use_codec_ptime": "20",
    "rtp_use_codec_channels": "1",
    "rtp_last_audio_codec_string": "PCMU@8000h@20i@1c",
    "read_codec": "PCMU",
    "original_read_codec": "PCMU",
    "read_rate": "8000",
    "original_read_rate": "8000",
    "write_codec": "PCMU",
    "write_rate": "8000",
    "dtmf_type": "rfc2833",
}
_PROFILE = {
    "sofia_profile_name": "internal",
    "sofia_profile_url": "sip:mod_sofia@127.0.0.1:5060",
    "recovery_profile_name": "internal",
}


def inbound_variables(
    uuid: str, session: int, user: str, name: str, number: str, channel_name: str, microseconds: int
) -> dict[str, str]:
    """The channel variables of a call that reached the switch over SIP, before any application ran.

    `user` is the caller's number, `name` their display name exactly as signalled, `number` the dialled one.
    """
    tag = f"{session:013d}"
    sender = f'"{name}" <sip:{user}@127.0.0.1>'
    display = {"sip_from_display": name} if name else {}
    return (
        {
            "direction": "inbound",
            "uuid": uuid,
            "session_id": str(session),
            "sip_from_user": user,
            "sip_from_uri": f"{user}@127.0.0.1",
            "sip_from_host": "127.0.0.1",
            "video_media_flow": "disabled",
            "text_media_flow": "disabled",
            "channel_name": channel_name,
            "sip_call_id": uuid,
            "sip_local_network_addr": "127.0.0.1",
            "sip_network_ip": "127.0.0.1",
            "sip_network_port": "5060",
            "sip_invite_stamp": str(microseconds),
            "sip_received_ip": "127.0.0.1",
            "sip_received_port": "5060",
            "sip_via_protocol": "udp",
            "sip_from_user_stripped": user.lstrip("+"),
            "sip_from_tag": tag,
        }
        | _PROFILE
        | {
            "sip_Remote-Party-ID": sender + ";party=calling;screen=yes;privacy=off",
            "sip_cid_type": "rpid",
            "sip_full_via": f"SIP/2.0/UDP 127.0.0.1;rport=5060;branch=z9hG4bK{tag}",
        }
        | display
        | {
            "sip_full_from": f"{sender};tag={tag}",
            "sip_full_to": f"<sip:{number}@127.0.0.1:5060>",
            "sip_allow": _ALLOW,
            "sip_req_user": number,
            "sip_req_port": "5060",
            "sip_req_uri": f"{number}@127.0.0.1:5060",
            "sip_req_host": "127.0.0.1",
            "sip_to_user": number,
            "sip_to_port": "5060",
            "sip_to_uri": f"{number}@127.0.0.1:5060",
            "sip_to_host": "127.0.0.1",
            "sip_authorized": "true",
            "sip_acl_authed_by": "trunks",
            "sip_contact_user": "mod_sofia",
            "sip_contact_port": "5060",
            "sip_contact_uri": "mod_sofia@127.0.0.1:5060",
            "sip_contact_host": "127.0.0.1",
            "sip_user_agent": "FS",
            "sip_via_host": "127.0.0.1",
            "sip_via_rport": "5060",
            "max_forwards": "70",
            "switch_r_sdp": _SDP,
        }
        | _MEDIA
        | {"endpoint_disposition": "RECEIVED", "call_uuid": uuid}
    )


def outbound_variables(uuid: str, session: int, destination: str, channel_name: str) -> dict[str, str]:
    """The variables of a leg that the switch dials (`destination`: the user part), as `CHANNEL_CREATE` has them."""
    return {
        "direction": "outbound",
        "is_outbound": "true",
        "uuid": uuid,
        "call_uuid": uuid,
        "session_id": str(session),
        "sip_local_network_addr": "127.0.0.1",
        "sip_profile_name": "internal",
        "video_media_flow": "disabled",
        "text_media_flow": "disabled",
        "channel_name": channel_name,
        "sip_destination_url": f"sip:{destination}@127.0.0.1:5060",
        "originate_early_media": "true",
        "originate_endpoint": "sofia",
        "rtp_use_codec_string": "PCMU,PCMA",
        "local_media_ip": "127.0.0.1",
        "local_media_port": "37286",
        "advertised_media_ip": "127.0.0.1",
        "audio_media_flow": "sendrecv",
        "rtp_local_sdp_str": _SDP,
        "sip_outgoing_contact_uri": "<sip:mod_sofia@127.0.0.1:5060>",
        "sip_req_uri": f"{destination}@127.0.0.1:5060",
        "sip_to_host": "127.0.0.1:5060",
        "sip_from_host": "127.0.0.1",
        "sofia_profile_name": "internal",
        "recovery_profile_name": "internal",
        "sofia_profile_url": "sip:mod_sofia@127.0.0.1:5060",
    }


_LOCAL_MEDIA = {
    "rtp_local_sdp_str": _SDP + "a=sendrecv\r\n",
    "local_media_ip": "127.0.0.1",
    "local_media_port": "27332",
    "advertised_media_ip": "127.0.0.1",
    "rtp_use_timer_name": "soft",
    "rtp_use_pt": "0",
    "rtp_use_ssrc": "2138771834",
    "rtp_2833_send_payload": "101",
    "rtp_2833_recv_payload": "101",
    "remote_media_ip": "127.0.0.1",
    "remote_media_port": "53948",
}


def responded_variables(session: int, user: str, destination: str) -> dict[str, str]:
    """What the first SIP response from a dialled phone adds to its leg."""
    tag = f"{session:013d}"
    via = f"SIP/2.0/UDP 127.0.0.1;rport=5060;branch=z9hG4bK{tag}"
    return {
        "sip_reply_host": "127.0.0.1",
        "sip_reply_port": "5060",
        "sip_network_ip": "127.0.0.1",
        "sip_network_port": "5060",
        "sip_user_agent": "FS",
        "sip_allow": _ALLOW,
        "sip_recover_contact": f"<sip:{destination}@127.0.0.1:5060;transport=udp>",
        "sip_full_via": via,
        "sip_recover_via": via,
        "sip_full_from": f"<sip:{user}@127.0.0.1>;tag={tag}",
        "sip_full_to": f"<sip:{destination}@127.0.0.1:5060>;tag={tag}",
        "sip_from_user": user,
        "sip_from_uri": f"{user}@127.0.0.1",
        "sip_to_user": destination,
        "sip_to_port": "5060",
        "sip_to_uri": f"{destination}@127.0.0.1:5060",
        "sip_to_host": "127.0.0.1",
        "sip_contact_params": "transport=udp",
        "sip_contact_user": destination,
        "sip_contact_port": "5060",
        "sip_contact_uri": f"{destination}@127.0.0.1:5060",
        "sip_contact_host": "127.0.0.1",
        "sip_from_tag": tag,
        "sip_to_tag": tag,
        "sip_cseq": str(123098000 + session),
        "sip_call_id": f"call-{session}",
    }


def refused_variables(session: int, cause: str, status: int) -> dict[str, str]:
    """What a phone's refusal adds to its leg."""
    return {
        "sip_call_id": f"call-{session}",
        "sip_reply_host": "127.0.0.1",
        "sip_reply_port": "5060",
        "sip_network_ip": "127.0.0.1",
        "sip_network_port": "5060",
        "sip_hangup_disposition": "recv_refuse",
        "sip_term_status": str(status),
        "proto_specific_hangup_cause": f"sip:{status}",
        "sip_term_cause": str(CAUSE_Q850[cause]),
        "sip_invite_failure_status": str(status),
        "sip_invite_failure_phrase": _PHRASE.get(str(status), "Refused"),
    }


def answered_variables(direction: str, session: int) -> dict[str, str]:
    """What answering adds to a channel: its media, and what the final SIP answer and its ACK carried."""
    if direction == "inbound":
        return _LOCAL_MEDIA | {"sip_to_tag": f"{session:013d}", "sip_cseq": str(123098000 + session)}
    return {"switch_r_sdp": _SDP} | _MEDIA | _LOCAL_MEDIA


def directory_variables(extension: str, domain: str) -> dict[str, str]:
    """What `user/EXTENSION@DOMAIN` adds to a leg from the directory that we ship."""
    return {
        "dialed_user": extension,
        "dialed_domain": domain,
        "sip_invite_domain": domain,
        "presence_id": f"{extension}@{domain}",
        "outbound_redirect_fatal": "true",
        "user_context": "cordboard",
        "cordboard_company": domain.partition(".")[0],
        "cordboard_extension": extension,
    }


def gateway_variables(gateway: str) -> dict[str, str]:
    """What a gateway adds to a leg that goes through it."""
    return {"sip_gateway_name": gateway}


def phone_variables(company: str, extension: str, user: str, domain: str) -> dict[str, str]:
    """What a telephone's password makes of a call that it places: who it is by the directory that we ship.

    `user` is what it says of itself. FreeSWITCH puts the headers of an event of its own among the variables, so that
    such a channel has a `variable_Event-Name`; a few of them are enough here.
    """
    return {
        "Event-Name": "REQUEST_PARAMS",
        "Event-Calling-File": "sofia.c",
        "sip_number_alias": extension,
        "sip_auth_username": extension,
        "sip_auth_realm": domain,
        "number_alias": extension,
        "requested_user_name": extension,
        "requested_domain_name": domain,
        "user_context": "cordboard",
        "cordboard_company": company,
        "cordboard_extension": extension,
        "user_name": extension,
        "domain_name": domain,
        "sip_from_host": domain,
        "sip_from_uri": f"{user}@{domain}",
    }


def leg_ended_variables(cause: str) -> dict[str, str]:
    """What the end of a leg leaves on the channel that dialled it or talked with it."""
    ended = {
        "last_bridge_hangup_cause": cause,
        "last_bridge_proto_specific_hangup_cause": f"sip:{_SIP.get(cause, '200')}",
        "sip_reason": f'Q.850;cause={CAUSE_Q850.get(cause, 31)};text="{cause}"',
        "sip_hangup_phrase": "OK",
    }
    return ended | _failed(cause)


# The SIP status behind a leg that did not answer.
_SIP = {"USER_BUSY": "486", "CALL_REJECTED": "603", "NO_ANSWER": "487", "UNALLOCATED_NUMBER": "404"}
_PHRASE = {
    "403": "Forbidden",
    "404": "Not Found",
    "408": "Request Timeout",
    "480": "Temporarily Unavailable",
    "486": "Busy Here",
    "487": "CANCEL",
    "503": "Service Unavailable",
    "603": "Decline",
}


def _failed(cause: str) -> dict[str, str]:
    if cause not in _SIP:
        return {}
    status = _SIP[cause]
    return {"sip_invite_failure_status": status, "sip_invite_failure_phrase": _PHRASE[status]}


_NO_QUALITY = {
    f"rtp_audio_{name}": value
    for name, value in {
        "in_raw_bytes": "4128",
        "in_media_bytes": "4128",
        "in_packet_count": "24",
        "in_media_packet_count": "24",
        "in_skip_packet_count": "2",
        "in_jitter_packet_count": "0",
        "in_dtmf_packet_count": "0",
        "in_cng_packet_count": "0",
        "in_flush_packet_count": "0",
        "in_largest_jb_size": "0",
        "in_jitter_min_variance": "0.00",
        "in_jitter_max_variance": "0.00",
        "in_jitter_loss_rate": "0.00",
        "in_jitter_burst_rate": "0.00",
        "in_mean_interval": "20.00",
        "in_flaw_total": "0",
        "in_quality_percentage": "100.00",
        "in_mos": "4.50",
        "out_raw_bytes": "4300",
        "out_media_bytes": "4300",
        "out_packet_count": "25",
        "out_media_packet_count": "25",
        "out_skip_packet_count": "0",
        "out_dtmf_packet_count": "0",
        "out_cng_packet_count": "0",
        "rtcp_packet_count": "0",
        "rtcp_octet_count": "0",
    }.items()
}


def cdr_variables(cause: str, caller_id: str, digits: str, times: Mapping[str, int]) -> dict[str, str]:
    """The accounting variables that only `CHANNEL_HANGUP_COMPLETE` carries (`switch_channel_set_timestamps`).

    `times`: microseconds since the epoch by name (start, profile_start, answer, bridge, progress, end); 0
    for never.
    """
    variables = {
        "hangup_cause": cause,
        "hangup_cause_q850": str(CAUSE_Q850.get(cause, 31) if CAUSE_Q850.get(cause, 31) < 128 else 16),
        "digits_dialed": digits or "none",
    }
    for name in ("start", "profile_start", "answer", "bridge", "progress", "end"):
        if times.get(name):
            stamp = time.gmtime(times[name] / 1e6)
            variables[f"{name}_stamp"] = time.strftime("%Y-%m-%d %H:%M:%S", stamp)
    order = (
        "start",
        "profile_start",
        "answer",
        "bridge",
        "last_hold",
        "resurrect",
        "progress",
        "progress_media",
        "end",
    )
    for name in order:
        at = times.get(name, 0)
        variables[f"{name}_epoch"] = str(at // 1_000_000)
        variables[f"{name}_uepoch"] = str(at)
        if name == "last_hold":
            variables |= {"hold_accum_seconds": "0", "hold_accum_usec": "0", "hold_accum_ms": "0"}
    variables["caller_id"] = caller_id
    start, end, answer = times["start"], times["end"], times.get("answer", 0)
    spans = {
        "duration": end - start,
        "bill": end - answer if answer else 0,
        "progress": times["progress"] - start if times.get("progress") else 0,
        "answer": answer - start if answer else 0,
        "wait": times["bridge"] - start if times.get("bridge") else 0,
        "progress_media": 0,
        "flow_bill": end - start,
    }
    for suffix, unit in (("sec", 1_000_000), ("msec", 1_000), ("usec", 1)):
        for name, span in spans.items():
            if name == "duration":
                key = {"sec": "duration", "msec": "mduration", "usec": "uduration"}[suffix]
            else:
                key = f"{name}{suffix}"
            variables[key] = str(span // unit)
    return variables | _NO_QUALITY
