"""The system-call filter of an episode: a deny list compiled to classic BPF, installed once and inherited by all.

Denied: everything that makes namespaces, mounts, keys, kernel programs or sockets, reaches into other processes, or
holds memory that no process is charged for. ``clone3`` and unknown numbers answer ENOSYS, so that the C library falls
back to ``clone``, whose flags can be read. A call of another architecture (i386, x32) kills the process.
"""

import ctypes
import errno
import struct
from collections.abc import Sequence
from functools import cache

from . import syscalls

_DENIED = {  # name: (x86-64, aarch64); None where the architecture has no such call
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "pidfd_getfd": (438, 438),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "open_tree_attr": (467, 467),
    "unshare": (272, 97), "setns": (308, 268), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "fanotify_init": (300, 262),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "syslog": (103, 116),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "vhangup": (153, 58),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "sethostname": (170, 161), "setdomainname": (171, 162),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "personality": (135, 92),
    "uselib": (134, None), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42),
    "move_pages": (279, 239), "migrate_pages": (256, 238), "mbind": (237, 235), "set_mempolicy": (238, 237),
    "vmsplice": (278, 75), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "socket": (41, 198), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
}  # fmt: skip
_CHECKED = {"clone": (56, 220), "clone3": (435, 435), "prlimit64": (302, 261)}
_SIGNALS = {"kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
            "rt_tgsigqueueinfo": (297, 240)}  # fmt: skip
_LAST = 470
_NEW_NAMESPACES = 0x7E020000
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_LOAD, _EQUAL, _ABOVE, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value & 0xFFFFFFFF)


def _fail(number: int) -> bytes:
    return _instruction(_RETURN, 0x00050000 | number)


def _argument(number: int, tests: Sequence[tuple[int, int, bool]], error: int = errno.EPERM) -> list[bytes]:
    """Refuse call ``number`` where a ``(code, value, refuse_when)`` test of its first argument says so."""
    body = [_instruction(_LOAD, _FIRST_ARGUMENT_AT)]
    for code, value, refuse_when in tests:
        body += [_instruction(code, value, *((0, 1) if refuse_when else (1, 0))), _fail(error)]
    body.append(_instruction(_RETURN, _ALLOW))
    return [_instruction(_EQUAL, number, 0, len(body)), *body]


@cache
def program(protected: tuple[int, ...] = (), only: int | None = None) -> bytes:
    """The filter's code; built once in the zygote, inherited by its forks.

    Args:
        protected: Processes that may not be signalled, where no pid namespace hides them.
        only: The one process that may be, where others of the same user are in sight.
    """
    column = 0 if syscalls.MACHINE == "x86_64" else 1
    code = [
        _instruction(_LOAD, _ARCHITECTURE_AT),
        _instruction(_EQUAL, _ARCHITECTURE[syscalls.MACHINE], 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER_AT),
    ]
    if column == 0:
        code += [_instruction(_ABOVE, 0x40000000, 0, 1), _instruction(_RETURN, _KILL)]
    code += [_instruction(_ABOVE, _LAST, 0, 1), _fail(errno.ENOSYS)]
    for numbers in _DENIED.values():
        number = numbers[column]
        if number is not None:
            code += [_instruction(_EQUAL, number, 0, 1), _fail(errno.EPERM)]
    code += [_instruction(_EQUAL, _CHECKED["clone3"][column], 0, 1), _fail(errno.ENOSYS)]
    code += _argument(_CHECKED["clone"][column], [(_BITS, _NEW_NAMESPACES, True)])
    code += _argument(_CHECKED["prlimit64"][column], [(_EQUAL, 0, False)])
    if only is not None:
        for numbers in _SIGNALS.values():
            code += _argument(numbers[column], [(_EQUAL, only, False)])
    hidden = [(_EQUAL, pid, True) for one in protected for pid in (one, -one)]
    if hidden:
        for numbers in _SIGNALS.values():
            code += _argument(numbers[column], [(_EQUAL, -1, True), *hidden])
    return b"".join([*code, _instruction(_RETURN, _ALLOW)])


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def install(code: bytes) -> None:
    """Bind this process and all it will ever start; needs ``no_new_privs`` set."""
    block = ctypes.create_string_buffer(code, len(code))
    record = _Program(len(code) // 8, ctypes.cast(block, ctypes.c_void_p).value)
    syscalls.prctl(syscalls.PR_SET_SECCOMP, 2, ctypes.addressof(record))
