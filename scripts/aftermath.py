"""What calls left behind, as the demo tells it at its end: recordings, webhooks, mail, the journal, the API's answer.

Each part is compared with what should be there, and with nothing that the same code wrote: recordings with the bytes
that the switch wrote, webhooks with what the reference library verified, mail with what came by SMTP.
"""

from __future__ import annotations

import json
import subprocess
import sys
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
SHOWN = 60


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
    say(f"Recordings: the switch wrote {len(wrote)} files; {len(stored)} are in the store ({behind.store.endpoint}),")
    say(f"  {len(same)} of them with the same SHA-256; {len(left)} are left in the spool.")
    for name in sorted(same)[:3]:
        say(f"  {stored[name][:16]}…  {name}")
    if len(same) != len(wrote) or left:
        raise Wrong(f"not stored, or not the same: {sorted({*wrote} - {*same})}; left in the spool: {left}")


def _webhooks(behind: Behind, company: str, say: Say) -> None:
    """Every event of the company came to the subscriber, and was verified there."""

    def came() -> set[str]:
        return {one["id"] for one in subscriber.read(behind.subscriber) if not one["refused"]}

    _until(lambda: came() >= (told := behind.owed(company)) and bool(told))
    told, account = behind.owed(company), subscriber.account(subscriber.read(behind.subscriber))
    say(f"\nWebhooks: {account.events} events verified by the subscriber ({account.repeats} came again under the same")
    say(f"  id, {account.refused} were refused), {len(told - came())} are missing, gaps in calls: {len(account.gaps)}.")
    say("  " + ", ".join(f"{count} {type_}" for type_, count in sorted(account.types.items())))
    if told - came() or account.refused or account.gaps:
        raise Wrong(f"webhooks: missing {sorted(told - came())[:5]}, gaps {dict(account.gaps)}")


def _mail(behind: Behind, say: Say) -> None:
    mails = mailbox.read(behind.mailbox)
    say(f"\nMail: {len(mails)} caught, among them:")
    sounds = 0
    for mail in mails:
        files = [part.get_filename() for part in mail.iter_attachments()]
        sounds += bool(files)
        if files and sounds <= 2:
            say(f"  to {mail['To']}: {mail['Subject']}, with {', '.join(str(file) for file in files)}")
    if not sounds:
        raise Wrong("no message came by mail with its sound")


def _journal(rig: Rig, behind: Behind, company: str, call: str, say: Say) -> None:
    say("\nThe journal (calls have the clock of the story, and what became of them later that of this machine):")
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
            say(f"  {line}")
        if done.returncode or not done.stdout:
            raise Wrong(f"cordboard {arguments[0]}: {done.stderr[-500:]}")
    path = f"/v1/calls/{call}?company={company}"
    say(f"\n$ curl -H 'Authorization: Bearer cbt_…' http://127.0.0.1:{behind.web_port}{path}")
    answer: Any = behind.ask(path)
    for line in json.dumps(answer, indent=2, ensure_ascii=False).splitlines()[:SHOWN]:
        say(f"  {line}")
