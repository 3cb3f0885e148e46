"""Rows of SMTP logs for the samples: Exchange Send connector protocol logs and IIS SMTP W3C logs, in their exact
formats.

No public Send connector log with a 5.7.64 exists: these rows follow real rows of the same commands and replies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from samples.capi2 import Cert

SEND_HEADER = (
    "#Software: Microsoft Exchange Server\r\n#Version: 15.0.0.0\r\n#Log-type: SMTP Send Protocol Log\r\n"
    "#Date: {date}\r\n"
    "#Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context\r\n"
)
W3C_HEADER = (
    "#Software: Microsoft Internet Information Services 8.5\r\n#Version: 1.0\r\n#Date: {date}\r\n"
    "#Fields: date time c-ip cs-username s-sitename s-computername s-ip s-port cs-method cs-uri-stem cs-uri-query "
    "sc-status sc-win32-status sc-bytes cs-bytes time-taken cs-version cs-host "
    "cs(User-Agent) cs(Cookie) cs(Referer) \r\n"
)
TLS = (
    "TLS protocol SP_PROT_TLS1_2_CLIENT negotiation succeeded using bulk encryption algorithm CALG_AES_256 with "
    "strength 256 bits, MAC hash algorithm CALG_SHA_384 with strength 0 bits and key exchange algorithm CALG_ECDHE "
    "with strength 384 bits"
)
FRONT_END = "BL2NAM02FT011.mail.protection.outlook.com"
REFUSAL = f"550 5.7.64 TenantAttribution; Relay Access Denied [{FRONT_END}]"
KEYWORDS = "SIZE 157286400 PIPELINING DSN STARTTLS 8BITMIME CHUNKING"
SEEN = "203.0.113.7"
REMOTE_THUMBPRINT = "3A6D3C1F5E0B7D29A84C6F1B2E5D8C7A90B1F2E3"


@dataclass
class SendSession:
    """One session of a Send connector log; rows are (milliseconds after the start, event, data, context)."""

    start: datetime
    session: str
    connector: str = "Outbound to Office 365"
    local: str = "10.10.248.7:16547"
    remote: str = "216.32.181.234:25"
    banner: str = FRONT_END
    seen: str = SEEN
    rows: list[tuple[int, str, str, str]] = field(default_factory=list)

    def add(self, after: int, event: str, data: str = "", context: str = "") -> SendSession:
        """Append a row."""
        self.rows.append((after, event, data, context))
        return self

    def connect(
        self, helo: str = "mail.servername.com", banner: str = FRONT_END, *, seen: str = SEEN, keywords: str = KEYWORDS
    ) -> SendSession:
        """TCP connect, banner and EHLO; ``seen`` is the client's address and ``keywords`` the offer in the answer."""
        self.banner, self.seen = banner, seen
        self.add(0, "*", "SendRoutingHeaders", "Set Session Permissions").add(0, "*", "", "attempting to connect")
        self.add(31, "+")
        zone = f"{self.start:%a, %d %b %Y %H:%M:%S} +0000"
        self.add(118, "<", f"220 {banner} Microsoft ESMTP MAIL Service ready at {zone}").add(118, ">", f"EHLO {helo}")
        return self.add(203, "<", f"250  {banner} Hello [{seen}] {keywords}")

    def starttls(
        self,
        sent: Cert | None,
        *,
        one_row: bool = False,
        helo: str = "mail.servername.com",
        received: str = "CN=mail.protection.outlook.com, O=Microsoft Corporation, C=US",
    ) -> SendSession:
        """STARTTLS, the certificates in form A (rows) or C (one row with dates), and the second EHLO.

        ``received`` is the subject of the remote side's certificate, which form C alone shows.
        """
        self.add(204, ">", "STARTTLS").add(301, "<", "220 2.0.0 SMTP server ready")
        if sent is not None:
            (self._one_row if one_row else self._many_rows)(sent)
        if one_row:
            dates = "2016-01-01T00:00:00.000Z 2018-01-01T00:00:00.000Z"
            name = received.removeprefix("CN=").partition(",")[0]
            row = f" {received} CN=Example Cloud CA, C=US 7C1F {REMOTE_THUMBPRINT} {dates} {name}"
            self.add(
                512, "*", row, "Remote certificate Subject Issuer name Serial number Thumbprint Not before Not after"
            )
        self.add(570, "*", "", TLS)
        if not one_row:
            self.add(571, "*", "", "Received certificate").add(571, "*", REMOTE_THUMBPRINT, "Certificate thumbprint")
        self.add(571, ">", f"EHLO {helo}")
        keywords = KEYWORDS.replace("STARTTLS ", "")
        self.add(655, "<", f"250  {self.banner} Hello [{self.seen}] {keywords}")
        return self

    def _many_rows(self, cert: Cert) -> None:
        self.add(301, "*", "", "Sending certificate").add(301, "*", cert.name(), "Certificate subject")
        self.add(301, "*", cert.name(cert.issuer), "Certificate issuer name")
        self.add(301, "*", cert.serial, "Certificate serial number")
        self.add(301, "*", cert.thumbprint, "Certificate thumbprint")
        self.add(301, "*", ";".join(cert.names), "Certificate alternate names")

    def _one_row(self, cert: Cert) -> None:
        dates = f"{cert.not_before[:-1]}.000Z {cert.not_after[:-1]}.000Z"
        names = ";".join(cert.names)
        data = f" {cert.name()} {cert.name(cert.issuer)} {cert.serial} {cert.thumbprint} {dates} {names}"
        labels = "Subject Issuer name Serial number Thumbprint Not before Not after Subject alternate names"
        self.add(301, "*", data, f"Sending certificate {labels}")

    def message(self, after: int, sender: str, recipients: Sequence[tuple[str, str]], number: int) -> SendSession:
        """One pipelined transaction; recipients are (address, reply)."""
        self.add(
            after,
            "*",
            "",
            f"sending message with RecordId 16750300{number} and InternetMessageId <a{number}@servername.com>",
        )
        self.add(after, ">", f"MAIL FROM:<{sender}> SIZE=18019")
        for address, _ in recipients:
            self.add(after, ">", f"RCPT TO:<{address}>")
        self.add(after + 161, "<", "250 2.1.0 Sender OK")
        for _, reply in recipients:
            self.add(after + 164, "<", reply)
        if any(reply.startswith("250") for _, reply in recipients):
            self.add(after + 165, ">", "BDAT 17011 LAST")
            self.add(
                after + 410, "<", f"250 2.6.0 <a{number}@servername.com> [InternalId={number}] Queued mail for delivery"
            )
        return self

    def quit(self, after: int) -> SendSession:
        """QUIT and disconnect."""
        self.add(after, ">", "QUIT").add(after + 85, "<", "221 2.0.0 Service closing transmission channel")
        return self.add(after + 86, "-", "", "Local")

    def lines(self) -> list[tuple[datetime, str]]:
        """Time and text of every row."""
        made = []
        for number, (after, event, data, context) in enumerate(self.rows):
            time = self.start + timedelta(milliseconds=after)
            local = self.local if number > 1 else ""
            cells = [self.connector, self.session, str(number), local, self.remote, event, _cell(data), _cell(context)]
            made.append((time, ",".join([iso(time), *cells])))
        return made


def send_log(sessions: Iterable[SendSession]) -> str:
    """A Send connector log of interleaved sessions."""
    rows = sorted((row for session in sessions for row in session.lines()), key=lambda row: row[0])
    return SEND_HEADER.format(date=iso(rows[0][0])) + "".join(f"{text}\r\n" for _, text in rows)


def iso(time: datetime) -> str:
    """Time as Exchange writes it."""
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text


def iis_row(start: datetime, after: int, computer: str, remote: str, kind: str, verb: str, text: str) -> str:
    """One outbound row of an IIS SMTP W3C log; ``after`` is in milliseconds, the log cuts times to seconds."""
    time = start + timedelta(milliseconds=after)
    name = "OutboundConnectionCommand" if kind == ">" else "OutboundConnectionResponse"
    query = text.replace(" ", "+") or "-"
    size = len(text) if kind == "<" else 4
    return (
        f"{time:%Y-%m-%d %H:%M:%S} {remote} {name} SMTPSVC1 {computer} - 25 {verb or '-'} - {query} "
        f"0 0 {size} 0 {after} SMTP - - - -\r\n"
    )


def iis_session(
    start: datetime, computer: str, rows: Iterable[tuple[int, str, str, str]], remote: str = "216.32.181.234"
) -> str:
    """Rows (milliseconds, ``>`` or ``<``, verb, text) of one outbound connection."""
    return "".join(iis_row(start, after, computer, remote, kind, verb, text) for after, kind, verb, text in rows)
