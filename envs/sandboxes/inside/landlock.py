"""Landlock: what a process and its children may reach in the file system, where no mount namespace hides the rest."""

import ctypes
import os

from . import syscalls

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many of the access rights each version of the interface knows; from 5 on, 16."""
_SCOPES = 3
"""Abstract sockets and signals, from version 6 on."""


def version() -> int:
    """Version of the kernel's interface; 0 when there is none."""
    number = int(syscalls.LIBC.syscall(ctypes.c_long(_CREATE), None, ctypes.c_size_t(0), ctypes.c_uint(1)))
    return max(0, number)


def restrict(readable: list[str], writable: list[str]) -> None:
    """Allow reading and executing below ``readable``, everything below ``writable``, and nothing else; needs
    ``no_new_privs``. Paths that do not exist are left out.
    """
    abi = version()
    every = (1 << _RIGHTS_BY_ABI.get(abi, 16)) - 1
    attributes = (ctypes.c_uint64 * 3)(every, 0, _SCOPES if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    rules = _call(_CREATE, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint(0))
    for paths, rights in ((readable, _READ), (writable, every)):
        for path in filter(os.path.exists, paths):
            _allow(rules, path, rights)
    _call(_RESTRICT, ctypes.c_int(rules), ctypes.c_uint(0))
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not os.path.isdir(path):
        rights &= _EXECUTE | _WRITE_FILE | _READ_FILE
    rule = rights.to_bytes(8, "little") + fd.to_bytes(4, "little")
    _call(_ADD, ctypes.c_int(rules), ctypes.c_int(1), ctypes.c_char_p(rule), ctypes.c_uint(0))
    os.close(fd)


def _call(number: int, *arguments: object) -> int:
    result = int(syscalls.LIBC.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"landlock: {os.strerror(code)}")
    return result
