"""Zeros in a log: behind its last row they are a tail that was never written, anywhere else they stand on rows."""

from __future__ import annotations

import io

import pytest

from evtx_analyzer.model.origin import Loss, Origin
from evtx_analyzer.read import read, recognize

SEND = (
    b"#Log-type: SMTP Send Protocol Log\r\n#Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,"
    b"remote-endpoint,event,data,context\r\n"
)
SEND_ROW = b"2016-12-01T03:09:55.774Z,Out,08D50D3D9730A8D2,%d,10.0.0.1:1,203.0.113.9:25,<,250 2.1.0 Sender OK,"
W3C = b"#Fields: date time c-ip cs-username cs-method cs-uri-query sc-status\r\n"
W3C_ROW = b"2016-12-01 03:09:%d 10.0.0.1 OutboundConnectionResponse - 250+OK 0"
IIS_ROW = b"10.0.0.1, OutboundConnectionResponse, 12/01/2016, 3:09:%d, SMTPSVC1, EX01, -, 0, 0, 4, 0, 0, -, -, 250 OK,"
FORMS = {"exchange-log": (SEND, SEND_ROW), "w3c-log": (W3C, W3C_ROW), "iis-log": (b"", IIS_ROW)}


def parts(data):
    syntax = recognize(data)
    things = list(read(syntax, io.BytesIO(data), Origin(source="x.log")))
    return syntax, [item for item in things if not isinstance(item, Loss)], [i for i in things if isinstance(i, Loss)]


def log(form, *rows):
    head, row = FORMS[form]
    return head + b"".join(row % (10 + number) + b"\r\n" for number in range(*rows))


@pytest.mark.parametrize("form", FORMS)
def test_zeros_over_the_middle_of_a_log_are_a_loss_and_no_row_is_made_of_two(form):
    whole = log(form, 26)
    # From the middle of one row, far behind the beginning, to the middle of the next but one.
    ends = [at for at in range(len(whole)) if whole.startswith(b"\r\n", at)][-6:]
    start, end = ends[2] - 12, ends[4] - 9
    syntax, rows, losses = parts(whole[:start] + b"\0" * (end - start) + whole[end:])
    assert syntax == form
    assert losses
    assert losses[0].reason == "zeros stand where rows were written"
    assert 23 <= len(rows) <= 24  # one may be whole in front of the zeros
    assert all("\0" not in value for row in rows for value in row.values.values())


@pytest.mark.parametrize("form", FORMS)
def test_zeros_over_whole_rows_are_a_loss_and_the_row_behind_them_is_read(form):
    before, after = log(form, 22), log(form, 25, 26).removeprefix(FORMS[form][0])
    _, rows, losses = parts(before + b"\0" * 512 + after)
    assert len(rows) == 23
    assert len(losses) == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_tail_of_zeros_is_no_loss(form):
    _, rows, losses = parts(log(form, 3) + b"\0" * 5000)
    assert len(rows) == 3
    assert not losses


def test_a_refusal_in_front_of_zeros_is_read():
    row = (SEND_ROW % 12).replace(b"250 2.1.0 Sender OK,", b"550 5.7.64 TenantAttribution; Relay Access Den")
    _, rows, losses = parts(log("exchange-log", 20) + row + b"\0" * 600 + b"rest of a row,\r\n")
    assert "5.7.64" in rows[-1].values["data"]
    assert losses
