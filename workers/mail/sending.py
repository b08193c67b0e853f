"""One mail to the SMTP server, and what its answers mean.

```
NotSent          str() says what the server said; try again
└── Refused      it will never take this mail for this recipient
```

Only what is about the recipient or the mail itself is for ever.  A password that is refused, a sender that is not
allowed, TLS that cannot be verified are the operator's to mend: the mails wait meanwhile.

The surprise: smtplib's time-out is for each read, and a server that sends a byte now and then never meets it.  So
there is a clock over the whole, which shuts the connection down.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from callcontrol.private import SettingsError, read_private
from callcontrol.settings import Mail as Settings


class NotSent(Exception):
    """It was not sent; ``str()`` says why.  ``theirs``: no fault of this mail, so that the next would meet it too."""

    def __init__(self, why: str, *, theirs: bool = False) -> None:
        super().__init__(why)
        self.theirs = theirs


class Refused(NotSent):
    """It never will be."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the server may take, seconds: for each answer, and for everything together."""

    answer: float = 10.0
    whole: float = 25.0


PATIENCE = Patience()


def send(settings: Settings, mail: EmailMessage, recipient: str, patience: Patience = PATIENCE) -> None:
    """Hand the mail to the server.  On return the server has taken it.  Raises NotSent, Refused."""
    try:
        password = read_private(settings.password, "the password of mail").decode().strip() if settings.password else ""
    except (FileNotFoundError, UnicodeDecodeError, SettingsError) as error:
        raise NotSent(f"the password of mail cannot be read: {error}", theirs=True) from None
    try:
        with _connected(settings, patience) as server:
            if settings.security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if settings.user is not None:
                server.login(settings.user, password)
            server.send_message(mail, from_addr=settings.sender, to_addrs=[recipient])
    except smtplib.SMTPRecipientsRefused as error:
        code, said = error.recipients.get(recipient, (450, b""))
        raise _judged(code, said) from None
    except smtplib.SMTPSenderRefused as error:
        found = _judged(error.smtp_code, error.smtp_error)
        if error.smtp_code != 552:  # else the mail is too long, whoever sends it
            found = NotSent(str(found), theirs=True)
        raise found from None
    except smtplib.SMTPDataError as error:
        raise _judged(error.smtp_code, error.smtp_error) from None
    except (smtplib.SMTPException, OSError) as error:  # ssl.SSLError is an OSError
        raise NotSent(f"{type(error).__name__}: {error}"[:300], theirs=True) from None
    except ValueError as error:  # an answer that is none
        raise NotSent(f"the server speaks no SMTP: {error}"[:300], theirs=True) from None


def _judged(code: int, said: bytes | str) -> NotSent:
    """What an answer to the recipient, or to the mail, means (RFC 5321, 4.2.1)."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    why = f"the server said {code} {text}"[:300]
    return Refused(why) if 500 <= code < 600 else NotSent(why)


class _Timed(smtplib.SMTP):
    """A client with a clock over everything it does, from the connecting on."""

    def __init__(self, whole: float, *args: Any, **kwargs: Any) -> None:
        self._clock = threading.Timer(whole, self._shut)
        self._clock.daemon = True
        self._clock.start()
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            self._clock.cancel()
            raise

    def _shut(self) -> None:
        if self.sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # an SSLSocket's own would forget its TLS

    def leave(self) -> None:
        """Say goodbye, if anybody listens, and close."""
        with contextlib.suppress(smtplib.SMTPException, OSError, ValueError):
            self.quit()
        self.close()
        self._clock.cancel()


class _TimedTls(_Timed, smtplib.SMTP_SSL):
    """The same with TLS from the beginning."""


@contextlib.contextmanager
def _connected(settings: Settings, patience: Patience) -> Iterator[smtplib.SMTP]:
    kind, more = (_TimedTls, {"context": ssl.create_default_context()}) if settings.security == "tls" else (_Timed, {})
    name = settings.sender.rpartition("@")[2]
    server = kind(patience.whole, settings.host, settings.port, local_hostname=name, timeout=patience.answer, **more)
    try:
        yield server
    finally:
        server.leave()
