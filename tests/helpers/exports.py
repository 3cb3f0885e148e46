"""An .evtx export of noise that can be counted chunk by chunk, made once for all tests that damage it."""

from __future__ import annotations

from evtx_analyzer.model.origin import Origin
from evtx_analyzer.read.evtx.search import Search
from samples import capi2, cases
from samples.evtx_writer import write_evtx

SOURCE = Origin(source="x.evtx")
CHUNK, HEADER = 65536, 4096
NOTHING = Search([])


def export(count, first=1):
    return write_evtx(cases.noise(capi2.Recorder(cases.HOST, next_record=first), cases.KB_TIME, count).events)


EXPORT = export(300)
