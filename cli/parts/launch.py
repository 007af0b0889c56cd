"""Becomes another program that dies together with its parent process.

It is run as a script between fork and program, `launch.py PARENT_PID DEATH_SIGNAL ACCOUNT PROGRAM ARGUMENT…`, because a
process with threads (gRPC has some) must not run Python between fork and exec. ACCOUNT is `uid:gid`, or `-` for the
same user. With `uid:gid:reach`, that user keeps one capability (CAP_DAC_OVERRIDE, made ambient), which it needs for
files below a directory that it may not enter. With `uid:gid:alias`, the user stays the same, and sees itself under that
id in a user namespace. On systems without a parent-death signal, everything else still works.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
SECBIT_NO_SETUID_FIXUP = 4
CLONE_NEWUSER = 0x10000000
CAPABILITY_VERSION_3 = 0x20080522
PARENT_IS_GONE = 113


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilitySets(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def become(libc: ctypes.CDLL, uid: int, gid: int, reach: bool) -> None:
    """Change to another user. With `reach`, keep CAP_DAC_OVERRIDE (capabilities(7)) across the change and the exec."""
    if reach:
        # With this bit, capabilities survive the change of user, and access(2), which Postgres uses, respects them.
        _checked(libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "prctl(PR_SET_SECUREBITS)")
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if reach:
        bit = 1 << CAP_DAC_OVERRIDE
        header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
        sets = (_CapabilitySets * 2)(_CapabilitySets(bit, bit, bit), _CapabilitySets(0, 0, 0))
        _checked(libc.capset(ctypes.byref(header), ctypes.byref(sets)), "capset")
        _checked(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0), "prctl(PR_CAP_AMBIENT)")


def rename(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    """Make this process and its children see themselves as another user; their real user stays (user_namespaces(7))."""
    ours = os.geteuid(), os.getegid()
    _checked(libc.unshare(CLONE_NEWUSER), "unshare(CLONE_NEWUSER)")
    # Without privileges, a process may map only its own ids, and its group only after it has given up setgroups(2).
    lines = {"setgroups": "deny", "uid_map": f"{uid} {ours[0]} 1", "gid_map": f"{gid} {ours[1]} 1"}
    for name, line in lines.items():
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)


def main() -> None:
    """Change the user, ask for the parent-death signal, and become the program."""
    parent, death_signal, account, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    libc = ctypes.CDLL(None, use_errno=True)
    if account != "-":
        uid, gid, *how = account.split(":")
        if how == ["alias"]:
            rename(libc, int(uid), int(gid))
        else:
            become(libc, int(uid), int(gid), how == ["reach"])
    if sys.platform == "linux":
        # A change of user clears the parent-death signal, so it is set last. The parent may have died before that.
        _checked(libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:
            sys.exit(PARENT_IS_GONE)
    os.execv(program[0], program)  # noqa: S606 - replacing this process is what the script is for


if __name__ == "__main__":
    main()
