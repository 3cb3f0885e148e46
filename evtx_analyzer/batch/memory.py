"""Limit the memory of this process: by RLIMIT_AS on POSIX, by a job object on Windows.

A request for more raises MemoryError, or crashes a library that does not check; the parent process handles both. macOS
accepts the limit and does not enforce it.
"""

from __future__ import annotations

import contextlib
import sys


def limit_memory(size: int | None) -> None:
    """Limit this process to ``size`` bytes; None is no limit. Nothing happens if the system refuses the limit."""
    if size is None:
        return
    if sys.platform == "win32":
        _job_object(size)
        return
    import resource  # noqa: PLC0415  not on Windows

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        size = min(size, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (size, hard))


def _job_object(size: int) -> None:
    """Put this process into a job whose processes may commit ``size`` bytes each.

    JOBOBJECT_EXTENDED_LIMIT_INFORMATION (class 9) with JOB_OBJECT_LIMIT_PROCESS_MEMORY (0x100) are those of winnt.h.
    The job's handle stays open until the process ends, so nothing has to be closed.
    """
    import ctypes  # noqa: PLC0415  Windows only
    from ctypes import wintypes  # noqa: PLC0415

    class Basic(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", ctypes.c_int64),
            ("PerJobUserTimeLimit", ctypes.c_int64),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class Extended(ctypes.Structure):
        _fields_ = (
            ("BasicLimitInformation", Basic),
            ("IoInfo", ctypes.c_uint64 * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    kernel.CreateJobObjectW.restype = wintypes.HANDLE
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    kernel.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
    kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
    limits = Extended()
    limits.BasicLimitInformation.LimitFlags = 0x100
    limits.ProcessMemoryLimit = size
    job = kernel.CreateJobObjectW(None, None)
    if job and kernel.SetInformationJobObject(job, 9, ctypes.byref(limits), ctypes.sizeof(limits)):
        kernel.AssignProcessToJobObject(job, kernel.GetCurrentProcess())
