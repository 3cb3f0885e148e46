"""A limit of memory for this process: RLIMIT_AS where there is ``resource``, a job object on Windows.

What asks for more gets MemoryError, or crashes where a library does not check; the process's parent tells of both.
macOS takes the limit and does not keep it.
"""

from __future__ import annotations

import contextlib
import sys


def limit_memory(size: int | None) -> None:
    """Limit this process to so many bytes; None is no limit. A limit that the system refuses is none."""
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
    """Put this process into a job whose processes may commit so many bytes each.

    JOBOBJECT_EXTENDED_LIMIT_INFORMATION (class 9) with JOB_OBJECT_LIMIT_PROCESS_MEMORY (0x100), as winnt.h has them.
    The job's handle stays open for the life of the process, so nothing else is to be done.
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
    wanted = Extended()
    wanted.BasicLimitInformation.LimitFlags = 0x100
    wanted.ProcessMemoryLimit = size
    job = kernel.CreateJobObjectW(None, None)
    if job and kernel.SetInformationJobObject(job, 9, ctypes.byref(wanted), ctypes.sizeof(wanted)):
        kernel.AssignProcessToJobObject(job, kernel.GetCurrentProcess())
