"""News by mail: by the site's SMTP server, or by the `sendmail` of the machine."""

from __future__ import annotations

import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.utils import formatdate

from gpujobs.linux import sendmail
from gpujobs.protocol.news import Delivery, MailServer, Outcome
from gpujobs.sender import command, failed, line_of, sent, words_of


def load(order: Delivery) -> None:
    import encodings.idna  # noqa: F401 - names of hosts want it

    letter(order).as_bytes()


def at_home(address: str) -> str:
    """A name alone is that of a mailbox of this machine."""
    return address if "@" in address else f"{address}@{socket.getfqdn()}"


def letter(order: Delivery) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["Subject"] = at_home(order.sender), line_of(order.subject)
    message["To"] = order.to[0] if order.server is None else at_home(order.to[0])
    message["Date"], message["Message-ID"] = formatdate(localtime=True), order.message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(order.text)
    return message


def send(order: Delivery) -> Outcome:
    if order.server is None:
        return _by_sendmail(order)
    try:
        _by_server(order, order.server)
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        return failed(f"{code} {line_of(said)}", again=code < 500)
    except smtplib.SMTPResponseException as error:
        return failed(f"{error.smtp_code} {line_of(error.smtp_error)}", again=error.smtp_code < 500)
    except (OSError, smtplib.SMTPException) as error:
        return failed(f"{order.server.host}:{order.server.port}: {words_of(error)}")
    return sent(f"{order.server.host} has taken it")


def _by_server(order: Delivery, server: MailServer) -> None:
    if server.tls == "tls":
        context = ssl.create_default_context()
        made = smtplib.SMTP_SSL(server.host, server.port, timeout=order.timeout_seconds, context=context)
    else:
        made = smtplib.SMTP(server.host, server.port, timeout=order.timeout_seconds)  # type: ignore[assignment]
    with made as connection:
        if server.tls == "starttls":
            connection.starttls(context=ssl.create_default_context())
        connection.send_message(letter(order))


def _by_sendmail(order: Delivery) -> Outcome:
    program = sendmail.find()
    if program is None:
        return failed("this machine has no sendmail, and its gpujobs.toml no [notify] smtp", again=False)
    words = (program, "-i", "--", order.to[0])
    done = command.run(words, letter(order).as_bytes(), command.environment(order), "/")
    if done.sent:
        return sent(f"{program} has taken it")
    return failed(f"{program}: {done.said}", again=done.again)
