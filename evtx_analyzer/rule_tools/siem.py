r"""Tables and columns in which Microsoft Sentinel and Splunk hold the logs that signals look at.

Sentinel: CAPI2 is in the table ``Event``, its XML in ``EventData``; IIS logs are in ``W3CIISLog``, message tracking in
``MessageTrackingLog_CL`` (solution "Microsoft Exchange Security - Exchange On-Premises"). Splunk: CAPI2 is in ``_raw``,
if it is collected with ``renderXml = true``. No product has a table for Send connector logs: whoever collects them has
to use the names given here.

Neither SIEM extracts attributes of UserData, so a query does: ``Result.value`` becomes the first match of
``<Result\s[^>]*?\bvalue=...``, as the column ``Result_value``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from msgspec import Struct

Log = tuple[str | None, str | None]
"""Product and service of a Sigma log source."""

CAPI2 = ("windows", "capi2")
SEND_LOG = ("exchange", "smtp-send")
IIS_SMTP = ("windows", "smtpsvc")
TRACKING = ("exchange", "message-tracking")
# Either quotation mark encloses an attribute; as \x22 and \x27 they end no text in a query language.
_MARK, _INSIDE = r"[\x22\x27]", r"[^\x22\x27]*"

# EventID is a number in Sentinel, but pySigma's backend for Kusto compares it with texts if there are several values.
_NUMBERS = re.compile(r"\b(EventID) in~ \(([^)]*)\)")


class SiemLog(Struct, frozen=True):
    """One kind of log in a SIEM: the query that finds it, and the function from a field to its column."""

    query: str
    column: Callable[[str], str]


class Siem(Struct, frozen=True, kw_only=True):
    """A SIEM: its pySigma backend, its logs by product and service, and parts of its query language.

    ``extract`` returns the line that takes one column (name, regular expression) out of the event's XML, ``filter`` is
    the word before the conditions.
    """

    backend: str
    logs: dict[Log, SiemLog]
    extract: Callable[[str, str], str]
    filter: str

    def place(self, log: Log, fields: Iterable[str], conditions: str) -> str:
        """Return the whole query of a rule that looks at ``fields`` of a log."""
        paths = [name for name in fields if log == CAPI2 and "." in name]
        taken = [self.extract(column_of(path), xml_pattern(path)) for path in paths]
        lines = "".join(f"\n| {line}" for line in taken)
        source, conditions = self.logs[log].query, _NUMBERS.sub(_plain_numbers, conditions)
        if not lines and self.filter == "search":  # in Splunk, conditions follow the source of the first search
            return f"{source} {conditions}".replace(" \n", "\n")
        return f"{source}{lines}\n| {self.filter} {conditions}"


def _plain_numbers(match: re.Match[str]) -> str:
    numbers = match[2].replace('"', "")
    return f"{match[1]} in ({numbers})"


def column_of(field: str) -> str:
    """Return the field's name as a column may be called: letters, digits and ``_``."""
    return re.sub(r"\W", "_", field)


def camel_case(field: str) -> str:
    """Return ``event-id`` as ``eventId``."""
    first, *others = field.split("-")
    return first + "".join(part.capitalize() for part in others)


def event_column(field: str) -> str:
    """Return the column of a field of CAPI2 in Splunk, whose add-on for Windows calls EventID EventCode."""
    return "EventCode" if field == "EventID" else column_of(field)


def w3c_column(field: str) -> str:
    """Return ``cs-username`` as the table W3CIISLog names it: ``csUserName``."""
    return {"cs-username": "csUserName"}.get(field) or camel_case(field)


def xml_pattern(path: str) -> str:
    """Return a regular expression whose group is the attribute that a path below UserData names.

    Each element of the path is the first child of the one before, as CAPI2 writes them: the status of a chain stands
    before those of its elements.
    """
    *elements, attribute = path.split(".")
    above = "".join(rf"<{name}\b[^>]*>\s*" for name in elements[:-1])
    return rf"{above}<{elements[-1]}\s[^>]*?\b{attribute}={_MARK}({_INSIDE}){_MARK}"


def _named_group(column: str, pattern: str) -> str:
    return pattern.replace(f"({_INSIDE})", f"(?<{column}>{_INSIDE})")


SENTINEL = Siem(
    backend="kusto",
    logs={
        CAPI2: SiemLog('Event\n| where EventLog == "Microsoft-Windows-CAPI2/Operational"', column_of),
        SEND_LOG: SiemLog("ExchangeSmtpSend_CL", column_of),
        IIS_SMTP: SiemLog('W3CIISLog\n| where sSiteName startswith "SMTPSVC"', w3c_column),
        TRACKING: SiemLog("MessageTrackingLog_CL", camel_case),
    },
    extract=lambda column, pattern: f'extend {column} = extract(@"{pattern}", 1, EventData)',
    filter="where",
)
SPLUNK = Siem(
    backend="splunk",
    logs={
        CAPI2: SiemLog('source="XmlWinEventLog:Microsoft-Windows-CAPI2/Operational"', event_column),
        SEND_LOG: SiemLog('sourcetype="exchange:smtp:send"', column_of),
        IIS_SMTP: SiemLog('sourcetype="iis" s_sitename="SMTPSVC*"', column_of),
        TRACKING: SiemLog('sourcetype="MSExchange:*:MessageTracking"', column_of),
    },
    extract=lambda column, pattern: f'rex field=_raw "{_named_group(column, pattern)}"',
    filter="search",
)
SIEMS = {"sentinel": SENTINEL, "splunk": SPLUNK}
