"""A large trace with few SMTP sessions: how fast it is read, beside the disk and tshark.

``python -m benchmarks.network_trace [MEGABYTES]`` writes a trace of web traffic with ten SMTP sessions, reads it once
to know what the disk gives, then with this package, and with tshark where it is installed.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from evtx_analyzer.handshakes.flows import Flows
from evtx_analyzer.handshakes.observe import is_over, observe
from evtx_analyzer.model.origin import Origin
from evtx_analyzer.read.capture import CaptureReader
from evtx_analyzer.read.capture_headers import Segment
from samples import traces, wire
from samples.wire import Conversation

START = datetime(2026, 1, 1, tzinfo=UTC)
SESSIONS = 10
SIZES = (1460, 1460, 1460, 0, 1460, 640, 0, 1460, 1460, 0)  # payloads of a download and its acknowledgements


def web_packets() -> bytes:
    """Half a megabyte of packets of one download, as pcap records without the time."""
    packets = []
    for number in range(500):
        size = SIZES[number % len(SIZES)]
        head = struct.pack(">HHIIBBHHH", 443, 50000 + number % 50, number * 1460, 0, 0x50, 16, 65535, 0, 0)
        frame = wire.ethernet(wire.ip_packet("192.0.2.80", "10.0.0.9", head + wire.filler(str(number), size)))
        packets.append((wire.nanoseconds(START) + number, frame))
    return wire.pcap(packets)[24:]


def write(path: Path, size: int) -> None:
    """Write the trace."""
    head, web = wire.pcap([]), web_packets()
    rounds = max(SESSIONS, size // len(web))
    with path.open("wb") as file:
        file.write(head)
        for number in range(rounds):
            file.write(web)
            if number % (rounds // SESSIONS) == 0 and number < rounds // SESSIONS * SESSIONS:
                talk: Conversation = traces.talk(
                    [traces.LEAF_DER],
                    start=START + timedelta(seconds=number),
                    local=("10.0.0.9", 20000 + number % 40000),
                )
                file.write(wire.pcap(wire.frames(talk))[24:])


def ours(path: Path) -> int:
    """Return how many handshakes were read."""
    with path.open("rb") as stream:
        return sum(1 for _ in _handshakes(CaptureReader(stream, Origin(source=path.name)), path.name))


def _handshakes(reader: CaptureReader, name: str) -> Iterator[object]:
    flows = Flows(is_over, pairs=reader.pairs)
    for segment in reader.segments():
        if isinstance(segment, Segment):
            for flow in flows.add(segment):
                yield observe(flow, Origin(source=name))
    for flow in flows.rest():
        yield observe(flow, Origin(source=name))


def disk(path: Path) -> int:
    """Read all bytes."""
    size = 0
    with path.open("rb") as stream:
        while block := stream.read(4 << 20):
            size += len(block)
    return size


def tshark(path: Path) -> int:
    """Return how many Certificate messages tshark shows."""
    command = ["tshark", "-r", str(path), "-Y", "tls.handshake.certificate", "-T", "fields", "-e", "frame.number"]
    return len(subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())  # noqa: S603  a fixed command


def main() -> None:
    """Measure."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.pcap"
        write(path, megabytes << 20)
        size = path.stat().st_size
        runs: list[tuple[str, Callable[[Path], int]]] = [("bytes alone", disk), ("evtx-analyzer", ours)]
        runs += [("tshark", tshark)] if shutil.which("tshark") else []
        base = 0.0
        for name, run in runs:
            began, used = time.perf_counter(), time.process_time()
            found = run(path)
            seconds = time.perf_counter() - began
            base = base or seconds
            print(
                f"{name:14} {size / seconds / 1e9:6.2f} GB/s  {seconds:7.2f} s ({seconds / base:6.1f} x)  "
                f"own CPU {time.process_time() - used:6.2f} s  found {found}"
            )


if __name__ == "__main__":
    main()
