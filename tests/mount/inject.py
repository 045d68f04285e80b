# SPDX-License-Identifier: MIT
"""
Makes a thread of another process do a system call, as one would that has conquered it: from outside, so that nothing in the product has to
help. By ptrace, on x86-64, as root.
"""

import ctypes
import os
import platform

POSSIBLE = platform.machine() == "x86_64" and os.getuid() == 0

SEIZE, INTERRUPT, SINGLESTEP, GETREGS, SETREGS, DETACH = 0x4206, 0x4207, 9, 12, 13, 17
WALL = 0x40000000
SYSCALL = b"\x0f\x05"
BELOW = 4096  # so far below the stack pointer nobody's bytes lie
PLACE = object()  # an argument: where data was put

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class Registers(ctypes.Structure):
    """struct user_regs_struct"""
    _fields_ = [(name, ctypes.c_ulonglong) for name in (
        "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs").split()]


def _ptrace(request, tid, data=None):
    if _libc.ptrace(request, tid, None, data) < 0:
        err = ctypes.get_errno()
        raise OSError(err, os.strerror(err))


def _registers(tid):
    registers = Registers()
    _ptrace(GETREGS, tid, ctypes.byref(registers))
    return registers


def _run(tid, memory, number, args, data):
    before = _registers(tid)
    memory.seek(before.rip - 2)
    if memory.read(2) != SYSCALL:
        return None  # it does not wait for the kernel just now
    place = before.rsp - BELOW
    memory.seek(place)
    memory.write(data)
    now = Registers.from_buffer_copy(before)
    values = [place if arg is PLACE else arg for arg in args] + [0] * (6 - len(args))
    now.rdi, now.rsi, now.rdx, now.r10, now.r8, now.r9 = (value & (1 << 64) - 1 for value in values)
    now.rax, now.orig_rax, now.rip = number, (1 << 64) - 1, before.rip - 2
    _ptrace(SETREGS, tid, ctypes.byref(now))
    _ptrace(SINGLESTEP, tid)
    os.waitpid(tid, WALL)
    result = ctypes.c_longlong(_registers(tid).rax).value
    _ptrace(SETREGS, tid, ctypes.byref(before))
    return result


def system_calls(pid, tid, calls):
    """
    Each call is (number, arguments, bytes that one of them may point to). What the kernel answers, negative: an errno; None: the thread was not
    waiting.
    """
    _ptrace(SEIZE, tid)
    try:
        _ptrace(INTERRUPT, tid)
        os.waitpid(tid, WALL)
        with open("/proc/%d/mem" % pid, "r+b", buffering=0) as memory:
            return [_run(tid, memory, *call) for call in calls]
    finally:
        _ptrace(DETACH, tid)
