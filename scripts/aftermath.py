"""What calls left behind, as the demo tells it at its end: recordings, webhooks, mail, the journal, the API's answer.

Each part is compared with what should be there, and with nothing that the same code wrote: recordings with the bytes
that the switch wrote, webhooks with what the reference library verified, mail with what came by SMTP.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent

from scripts import mailbox, subscriber
from scripts.rig import Rig

if TYPE_CHECKING:
    from scripts.behind import Behind

Say = Callable[[str], None]
#: How long the workers have for what is left: a killed one's webhook waits until its lease is over.
PATIENCE = 60.0
#: Lines of a long answer that are shown.
SHOWN = 80
#: Columns.
WIDTH = 110


class Wrong(Exception):
    """Something that should be there is not."""


def tell(rig: Rig, company: str, call: str, say: Say) -> str:
    """Tell what is behind all calls of a company, and everything of one call; the trouble, or nothing."""
    behind = rig.behind
    if behind is None:
        return "nothing stands behind this server"
    try:
        _recordings(rig, behind, say)
        _webhooks(behind, company, say)
        _mail(behind, say)
        _journal(rig, behind, company, call, say)
    except (Wrong, OSError, subprocess.SubprocessError) as error:
        return str(error)
    return ""


def _until(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            return False
        gevent.sleep(0.2)
    return True


def _recordings(rig: Rig, behind: Behind, say: Say) -> None:
    """Every file that the switch wrote and that has sound is in the store, byte for byte, and not in the spool."""
    wrote = {Path(path).name: sha256 for path, sha256 in rig.switch.written.items()}
    _until(lambda: behind.stored() == wrote and not any(rig.spool.iterdir()))
    stored, left = behind.stored(), [path.name for path in rig.spool.iterdir()]
    same = [name for name, sha256 in stored.items() if wrote.get(name) == sha256]
    say(f"   Recordings: the switch wrote {_count(len(wrote), 'file')}; {len(same)} of {len(stored)} in the store")
    say(f"   have the same SHA-256, {len(left)} left in the spool.  Some of them:")
    for name in sorted(same, key=lambda name: rig.switch.written[str(rig.spool / name)])[:3]:
        say(f"     {stored[name][:16]}…  {name[:18]}…{name[-7:]}")
    if len(same) != len(wrote) or left:
        raise Wrong(f"not stored, or not the same: {sorted({*wrote} - {*same})}; left in the spool: {left}")


def _webhooks(behind: Behind, company: str, say: Say) -> None:
    """Every event of the company came and was verified there; what a killed worker had in hand came again."""

    def came() -> set[str]:
        return {one["id"] for one in subscriber.read(behind.subscriber) if not one["refused"]}

    def repeats() -> int:
        return subscriber.account(subscriber.read(behind.subscriber)).repeats

    _until(lambda: came() >= (told := behind.owed(company)) and bool(told) and bool(repeats()))
    told, account = behind.owed(company), subscriber.account(subscriber.read(behind.subscriber))
    say(f"\n   Webhooks: {_count(account.events, 'event')} verified by the subscriber, {account.refused} refused,")
    say(
        f"   {len(told - came())} missing, {_count(len(account.gaps), 'call')} with a gap in its numbers;",
    )
    say(f"   {account.repeats} came again under the same id: what the killed workers had in hand.")
    types = ", ".join(f"{count} {type_}" for type_, count in sorted(account.types.items()))
    for line in textwrap.wrap(types, WIDTH - 5, break_on_hyphens=False):
        say(f"     {line}")
    if told - came() or account.refused or account.gaps:
        raise Wrong(f"webhooks: missing {sorted(told - came())[:5]}, gaps {dict(account.gaps)}")
    if not account.repeats:
        raise Wrong("nothing came again: the killed workers had nothing in hand, or it was lost")


def _mail(behind: Behind, say: Say) -> None:
    """A message comes by mail once its recording is in the store, and therefore after everything else."""
    _until(lambda: any([*mail.iter_attachments()] for mail in mailbox.read(behind.mailbox)))
    mails = mailbox.read(behind.mailbox)
    files = [[str(part.get_filename()) for part in mail.iter_attachments()] for mail in mails]
    say(f"\n   Mail: {len(mails)} caught.")
    for mail, names in zip(mails[:SHOWN], files, strict=False):
        say(f"     to {mail['To']}: {mail['Subject']}{', with ' if names else ''}{', '.join(names)}")
    if not any(files):
        raise Wrong("no message came by mail with its sound")


def _journal(rig: Rig, behind: Behind, company: str, call: str, say: Say) -> None:
    say("\n   The journal; calls have the clock of their story, what became of the last one is told below it.")
    for arguments in (["calls", "--company", company, "--limit", "5"], ["why", call]):
        say(f"\n$ cordboard {' '.join(arguments)}")
        done = subprocess.run(
            [str(Path(sys.executable).parent / "cordboard"), *arguments],
            env=rig.environment(),
            capture_output=True,
            text=True,
            timeout=30,
        )
        for line in done.stdout.splitlines()[:SHOWN]:
            say(line.rstrip())
        if done.returncode or not done.stdout:
            raise Wrong(f"cordboard {arguments[0]}: {done.stderr[-500:]}")
    for type_, why in (("queue.joined", "503"), ("call.ended", "204")):
        if not re.search(
            rf"^  {type_} .*delivered.*\n(?:    try .*\n)*    try \d+ at .*: {why}", done.stdout, re.MULTILINE
        ):
            raise Wrong(f"the journal knows of no {why} for {type_}")
    path = f"/v1/calls/{call}?company={company}"
    say(f"\n$ curl -H 'Authorization: Bearer cbt_…' http://127.0.0.1:{behind.web_port}{path}")
    answer: Any = behind.ask(path)
    for line in json.dumps(answer, indent=2, ensure_ascii=False).splitlines()[:SHOWN]:
        say(line)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
