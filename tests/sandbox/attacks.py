"""Hostile programs: each is a function `attack` of a dictionary that describes its targets.

It returns "ESCAPED" where it reached what it must not reach.
"""
# ruff: noqa: E501

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECRET = "the-secret-of-the-caller"
SYSCALL = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
def ok(result):
    if result is None or result < 0 or result == 2**64 - 1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "ESCAPED"
def raw(number, *words):
    return libc.syscall(ctypes.c_long(number), *(ctypes.c_long(w) if isinstance(w, int) else w for w in words))
"""


@dataclass(frozen=True)
class Attack:
    name: str
    code: str
    root: bool = False
    """Whether it works on a bare interpreter for root only."""
    may_be_missing: bool = False
    """Whether some kernels offer it to nobody."""

    @property
    def numbered(self) -> bool:
        """Whether it names system calls by their numbers on x86_64."""
        return "raw(" in self.code.removeprefix(SYSCALL) or "libc.syscall(" in self.code.removeprefix(SYSCALL)


def syscall(name: str, code: str, **fields: bool) -> Attack:
    indented = "".join(f"    {line}\n" for line in code.splitlines())
    return Attack(name, f"{SYSCALL}\ndef attack(at):\n{indented}", may_be_missing=True, **fields)


def simple(name: str, code: str, **fields: bool) -> Attack:
    indented = "".join(f"    {line}\n" for line in code.splitlines())
    return Attack(name, f"import os, socket\ndef attack(at):\n{indented}", **fields)


ATTACKS = [
    # files
    simple("read /etc/passwd", "return 'ESCAPED' if 'root' in open('/etc/passwd').read() else 'no'"),
    simple("read a file of the caller", "return 'ESCAPED' if at['secret'] in open(at['file']).read() else 'no'"),
    simple("list a folder of the caller", "return 'ESCAPED' if os.listdir(at['folder']) else 'no'"),
    simple("write beside the caller's file", "open(at['folder'] + '/new', 'w').write('x')\nreturn 'ESCAPED'"),
    simple("delete the caller's file", "os.unlink(at['prey'])\nreturn 'ESCAPED'"),
    simple("open the standard library for writing", "os.open(os.__file__, os.O_WRONLY)\nreturn 'ESCAPED'", root=True),
    simple("read the home folder", "return 'ESCAPED' if sorted(os.listdir(at['home'])) == at['homely'] else 'no'"),
    simple("read through the root of another process", "open(f'/proc/{at[\"pid\"]}/root' + at['file'])\nreturn 'ESCAPED'"),
    simple("write a kernel setting", "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)\nreturn 'ESCAPED'", root=True),
    simple("see the disks", "return 'ESCAPED' if os.listdir('/sys/class/block') else 'no'"),
    # network
    simple("connect to a port of this machine", "socket.create_connection(('127.0.0.1', at['port']), 1)\nreturn 'ESCAPED'"),
    simple("send a datagram", "socket.socket(2, 2).sendto(b'x', ('127.0.0.1', at['port']))\nreturn 'ESCAPED'"),
    simple("connect to an abstract socket", "socket.socket(1).connect('\\0' + at['abstract'])\nreturn 'ESCAPED'"),
    simple("connect to a socket file", "socket.socket(1).connect(at['socket'])\nreturn 'ESCAPED'"),
    simple("open a netlink socket", "socket.socket(16, 3)\nreturn 'ESCAPED'"),
    simple("open a raw socket", "socket.socket(17, 3)\nreturn 'ESCAPED'", root=True),
    # secrets and other processes
    simple("read the environment", "return 'ESCAPED' if at['secret'] in str(os.environ) else 'no'"),
    simple(
        "read the environment of all processes",
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try:\n"
        "        if at['secret'].encode() in open(f'/proc/{pid}/environ', 'rb').read():\n"
        "            return 'ESCAPED'\n"
        "    except OSError:\n"
        "        pass",
    ),
    simple(
        "list other processes",
        "return 'ESCAPED' if str(at['pid']) in os.listdir('/proc') or len(list(filter(str.isdigit, os.listdir('/proc')))) > 2 else 'no'",
    ),
    simple("signal another process", "os.kill(at['pid'], 18)\nreturn 'ESCAPED'"),
    simple("open the memory of the parent", "open(f'/proc/{os.getppid()}/mem', 'rb')\nreturn 'ESCAPED'", root=True),
    syscall("trace another process", "return ok(libc.ptrace(0x4206, at['pid'], None, None))", root=True),
    syscall(
        "read another process's memory",
        "end = ctypes.create_string_buffer(16)\n"
        "vector = (ctypes.c_void_p * 2)(ctypes.addressof(end), 8)\n"
        "return ok(libc.process_vm_readv(os.getpid(), vector, 1, vector, 1, 0))",
    ),
    syscall("open another process by pidfd", "ok(libc.syscall(434, at['pid'], 0))\nreturn 'ESCAPED'"),
    syscall("change another process's limits", "return ok(libc.prlimit(at['pid'], 0, None, ctypes.byref((ctypes.c_ulong * 2)())))", root=True),
    simple("learn the host's name", "return 'ESCAPED' if socket.gethostname() == at['host'] else 'no'"),
    # privileges and the kernel
    simple("fork", "pid = os.fork()\nif pid == 0:\n    os._exit(0)\nos.waitpid(pid, 0)\nreturn 'ESCAPED'"),
    simple("start a shell", "import subprocess\nreturn subprocess.run(['/bin/echo', 'ESCAPED'], capture_output=True, text=True).stdout.strip()"),
    simple("replace itself", "os.execv('/bin/echo', ['echo', \"'ESCAPED'\"])"),
    simple("become another user", "os.setuid(0 if os.getuid() else 1)\nreturn 'ESCAPED'", root=True),
    simple("change the root", "os.chroot('/')\nreturn 'ESCAPED'", root=True),
    simple("memory that no limit counts", "os.memfd_create('x')\nreturn 'ESCAPED'"),
    syscall("new user namespace", "return ok(libc.unshare(0x10000000))"),
    syscall("new mount namespace, then a mount", "ok(libc.unshare(0x20000))\nreturn ok(libc.mount(b'none', b'/', None, 0x44000, None))", root=True),
    syscall("clone into a namespace", "pid = libc.syscall(56, 0x10000000 | 17, None, None, None, None)\nif pid == 0:\n    os._exit(0)\nreturn ok(pid)"),
    syscall("join the namespaces of another", "return ok(libc.setns(os.open(f'/proc/{at[\"pid\"]}/ns/net', os.O_RDONLY), 0))", root=True),
    syscall("shared memory of System V", "return ok(libc.shmget(0, 4096, 0o1600))"),
    syscall("make a message queue", "return ok(libc.msgget(0, 0o1600))"),
    syscall("keys of the kernel", "return ok(libc.syscall(248, b'user', b'bdc', b'x', ctypes.c_size_t(1), -2))"),
    syscall("io_uring", "return ok(libc.syscall(425, 1, ctypes.create_string_buffer(120)))"),
    syscall("userfaultfd", "return ok(libc.syscall(323, 1))"),
    syscall("open a file by handle", "return ok(libc.syscall(303, -100, b'/', (ctypes.c_uint * 40)(128), ctypes.byref(ctypes.c_int()), 0))"),
    syscall("raise its own limits", "import resource\nresource.setrlimit(7, (4000, 4000))\nreturn 'ESCAPED'", root=True),
    syscall("change the host name", "return ok(libc.sethostname(at['host'].encode(), len(at['host'])))", root=True),
    simple("read its own environment through /proc", "return 'ESCAPED' if at['secret'] in open('/proc/self/environ').read() else 'no'"),
    simple("read a file through a link", "os.symlink(at['file'], at['link'])\nreturn 'ESCAPED' if open(at['link']).read() else 'no'"),
    simple("make a hard link to a file", "os.link(at['file'], at['link'] + '2')\nreturn 'ESCAPED'"),
    simple("change the rights of a file", "os.chmod(at['prey'], 0o600)\nreturn 'ESCAPED'"),
    simple("change the times of a file", "os.utime(at['prey'])\nreturn 'ESCAPED'"),
    simple("change the owner of a file", "os.chown(at['prey'], os.getuid(), -1)\nreturn 'ESCAPED'"),
    simple("empty a file", "os.truncate(at['prey'], 0)\nreturn 'ESCAPED'"),
    simple("move a file", "os.rename(at['prey'], at['prey'] + '2')\nos.rename(at['prey'] + '2', at['prey'])\nreturn 'ESCAPED'"),
    simple("write to a device of the machine", "os.open('/dev/kmsg', os.O_WRONLY)\nreturn 'ESCAPED'", root=True),
    simple("slow another process down", "os.setpriority(os.PRIO_PROCESS, at['pid'], 5)\nreturn 'ESCAPED'"),
    simple("pin another process", "os.sched_setaffinity(at['pid'], os.sched_getaffinity(0))\nreturn 'ESCAPED'"),
    simple("signal by pidfd", "import signal\nsignal.pidfd_send_signal(os.pidfd_open(at['pid']), 18)\nreturn 'ESCAPED'"),
    simple("signal a whole group", "os.killpg(os.getpgid(at['pid']), 0)\nreturn 'ESCAPED'"),
    simple("send to a socket file from a socket pair", "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\na.connect(at['datagrams'])\na.send(b'x')\nreturn 'ESCAPED'"),
    simple("send to an address from a socket pair", "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\na.sendto(b'x', at['datagrams'])\nreturn 'ESCAPED'"),
    simple("spawn", "os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)\nreturn 'ESCAPED'"),
    simple("run a file made in memory", "f = os.memfd_create('x')\nos.write(f, open('/bin/echo', 'rb').read())\nos.execv(f'/proc/self/fd/{f}', ['echo', \"'ESCAPED'\"])"),
    # what is sent to other processes, or changes them
    syscall("own a pipe's signals in another's name", "import fcntl\nr, w = os.pipe()\nfcntl.fcntl(r, 8, at['pid'])\nfcntl.fcntl(r, 10, 18)\nfcntl.fcntl(r, 4, 0x2000)\nos.write(w, b'x')\nreturn 'ESCAPED'"),
    syscall("own a pipe's signals in a thread's name", "import fcntl, struct\nr, w = os.pipe()\nfcntl.fcntl(r, 15, struct.pack('ii', 1, at['pid']))\nreturn 'ESCAPED'"),
    syscall("own a socket's signals by ioctl", "import fcntl, struct\na, b = socket.socketpair()\nfcntl.ioctl(a, 0x8901, struct.pack('i', at['pid']))\nreturn 'ESCAPED'"),
    syscall("own a socket's urgent signals by ioctl", "import fcntl, struct\na, b = socket.socketpair()\nfcntl.ioctl(a, 0x8902, struct.pack('i', at['pid']))\nreturn 'ESCAPED'"),
    syscall("have signals sent by ioctl", "import fcntl, struct\na, b = socket.socketpair()\nfcntl.ioctl(a, 0x5452, struct.pack('i', 1))\nreturn 'ESCAPED'"),
    syscall("be told of changes in a folder by signal", "import fcntl, signal\nsignal.signal(29, signal.SIG_IGN)\nfcntl.fcntl(os.open(os.path.dirname(os.__file__), os.O_RDONLY), 1026, 1)\nreturn 'ESCAPED'"),
    syscall("take a lease on a file", "import fcntl\nfcntl.fcntl(os.open(os.__file__, os.O_RDONLY), 1024, 0)\nreturn 'ESCAPED'", root=True),
    syscall("queue a signal to another process", "return ok(raw(129, at['pid'], 0, (ctypes.c_int * 32)(0, 0, -1)))"),
    syscall("queue a signal to another's thread", "return ok(raw(297, at['pid'], at['pid'], 0, (ctypes.c_int * 32)(0, 0, -1)))"),
    syscall("signal another's thread", "return ok(raw(200, at['pid'], 0))"),
    syscall("signal another's thread by its group", "return ok(raw(234, at['pid'], at['pid'], 0))"),
    simple("signal every process", "os.kill(-1, 0)\nreturn 'ESCAPED'"),
    simple("signal the parent", "if os.getppid() == 0:\n    os.kill(1, 0)\nos.kill(os.getppid(), 0)\nreturn 'ESCAPED'"),
    simple("signal the group of the parent", "os.killpg(os.getpgid(os.getppid()), 0)\nreturn 'ESCAPED'"),
    syscall("write another's memory", "end = ctypes.create_string_buffer(16)\nvector = (ctypes.c_void_p * 2)(ctypes.addressof(end), 8)\nreturn ok(raw(311, os.getpid(), vector, 1, vector, 1, 0))"),
    syscall("take a descriptor of another", "pid = os.getpid()\nreturn ok(raw(438, raw(434, pid, 0), 1, 0))"),
    syscall("compare another with itself", "return ok(raw(312, os.getpid(), os.getpid(), 0, 0, 0))"),
    syscall("watch another's performance", "event = (ctypes.c_uint64 * 16)(1 | 128 << 32, 1)\nreturn ok(raw(298, event, at['pid'], -1, -1, 0))", root=True),
    syscall("read another's robust list", "head = ctypes.c_void_p()\nreturn ok(raw(274, at['pid'], ctypes.byref(head), ctypes.byref(ctypes.c_size_t())))", root=True),
    syscall("move another's pages", "return ok(raw(279, at['pid'], 0, None, None, None, 0))", root=True),
    syscall("set another's disk priority", "return ok(raw(251, 1, at['pid'], 2 << 13 | 4))"),
    syscall("schedule another", "return ok(libc.sched_setscheduler(at['pid'], 3, ctypes.byref(ctypes.c_int(0))))"),
    syscall("a child beside itself", "pid = raw(56, 0x8000 | 17, 0, 0, 0, 0)\nif pid == 0:\n    os._exit(0)\nreturn ok(pid)"),
    syscall("start by vfork", "pid = raw(56, 0x4000 | 17, 0, 0, 0, 0)\nif pid == 0:\n    os._exit(0)\nreturn ok(pid)"),
    syscall("start by the newer clone", "words = (ctypes.c_uint64 * 8)()\nwords[4] = 17\npid = raw(435, words, 64)\nif pid == 0:\n    os._exit(0)\nreturn ok(pid)"),
    # what is told of other processes
    simple("learn the group of another process", "os.getpgid(at['pid'])\nreturn 'ESCAPED'"),
    simple("learn the session of another process", "os.getsid(at['pid'])\nreturn 'ESCAPED'"),
    simple("learn the processors of another process", "os.sched_getaffinity(at['pid'])\nreturn 'ESCAPED'"),
    simple("learn the scheduling of another process", "os.sched_getscheduler(at['pid'])\nreturn 'ESCAPED'"),
    simple("learn the priority of another process", "os.getpriority(os.PRIO_PROCESS, at['pid'])\nreturn 'ESCAPED'"),
    simple("learn the CPU time of another process", "import time\ntime.clock_gettime(~at['pid'] << 3 | 2)\nreturn 'ESCAPED'"),
    simple("learn the resolution of another's clock", "import time\ntime.clock_getres(~at['pid'] << 3 | 2)\nreturn 'ESCAPED'"),
    simple("learn the limits of another process", "import resource\nresource.prlimit(at['pid'], resource.RLIMIT_CPU)\nreturn 'ESCAPED'"),
    syscall("learn the disk priority of another process", "return ok(raw(252, 1, at['pid']))"),
    syscall("learn the time slice of another process", "return ok(raw(148, at['pid'], (ctypes.c_long * 2)()))"),
    simple("see whether a process exists", "os.stat(f'/proc/{at[\"pid\"]}')\nreturn 'ESCAPED'"),
    simple("read how busy the machine is", "return 'ESCAPED' if open('/proc/loadavg').read() else 'no'"),
    simple("read which sockets the machine has", "return 'ESCAPED' if at['socket'] in open('/proc/net/unix').read() else 'no'"),
    syscall("read the kernel's messages", "return ok(libc.klogctl(3, ctypes.create_string_buffer(99), 99))", root=True),
    simple("read the table of mounts of another", "return 'ESCAPED' if open(f'/proc/{at[\"pid\"]}/mounts').read() else 'no'"),
    simple("read where another process works", "return 'ESCAPED' if os.readlink(f'/proc/{at[\"pid\"]}/cwd') else 'no'"),
    # files
    simple("see whether a file exists", "os.stat('/etc/passwd')\nreturn 'ESCAPED'"),
    simple("read the kernel's symbols", "return 'ESCAPED' if open('/proc/kallsyms').read(9) else 'no'"),
    simple("read the kernel's memory", "os.open('/proc/kcore', os.O_RDONLY)\nreturn 'ESCAPED'", root=True, may_be_missing=True),
    simple("open a terminal", "os.openpty()\nreturn 'ESCAPED'"),
    simple("read shared memory", "return 'ESCAPED' if at['secret'] in open('/dev/shm/' + at['shared']).read() else 'no'", may_be_missing=True),
    simple("make a pipe with a name", "os.mkfifo(at['link'] + '3')\nreturn 'ESCAPED'"),
    simple("make a device", "os.mknod(at['link'] + '4', 0o20600, os.makedev(1, 3))\nreturn 'ESCAPED'", root=True),
    simple("name an attribute of a file", "os.setxattr(at['prey'], 'user.bdc', b'x')\nreturn 'ESCAPED'"),
    simple("change the rights of the root", "os.chmod('/', os.stat('/').st_mode & 0o7777)\nreturn 'ESCAPED'", root=True),
    simple("lock a file of the system", "import fcntl\nfcntl.flock(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)\nreturn 'ESCAPED'"),
    syscall("flush the machine's disks", "return ok(raw(162))"),
    syscall("flush one disk", "return ok(libc.syncfs(os.open(os.__file__, os.O_RDONLY)))"),
    syscall("watch a folder", "fd = raw(253)\nok(fd)\nreturn ok(libc.inotify_add_watch(fd, os.path.dirname(os.__file__).encode(), 2))"),
    syscall("watch a folder, the newer way", "fd = raw(294, 0)\nok(fd)\nreturn ok(libc.inotify_add_watch(fd, os.path.dirname(os.__file__).encode(), 2))"),
    syscall("watch all files", "return ok(raw(300, 0, 0))", root=True),
    syscall("list all mounts", "words = (ctypes.c_uint64 * 4)(24, 0xFFFFFFFFFFFFFFFF, 0)\nreturn ok(raw(458, words, (ctypes.c_uint64 * 64)(), 64, 0))"),
    syscall("copy a mount", "return ok(raw(428, -100, b'/', 1))", root=True),
    syscall("open a file system", "return ok(raw(430, b'tmpfs', 0))", root=True),
    syscall("open by the newest way", "how = (ctypes.c_uint64 * 3)()\nreturn ok(raw(437, -100, at['file'].encode(), how, 24))"),
    # network
    simple("a socket of the kernel's ciphers", "socket.socket(38, 5)\nreturn 'ESCAPED'", may_be_missing=True),
    simple("a socket to the hypervisor", "socket.socket(40, 1)\nreturn 'ESCAPED'", may_be_missing=True),
    simple("an internet socket of version 6", "socket.socket(10, 1)\nreturn 'ESCAPED'", may_be_missing=True),
    simple("give a socket pair a name", "a, b = socket.socketpair(1, 2)\na.bind('\\0' + at['abstract'] + 'new')\nreturn 'ESCAPED'"),
    simple("listen by a socket pair's name", "a = socket.socket(1)\na.bind('\\0' + at['abstract'] + 'new')\na.listen()\nreturn 'ESCAPED'"),
    simple("send descriptors", "a, b = socket.socketpair()\nsocket.send_fds(a, [b'x'], [0])\nreturn 'ESCAPED'"),
    # memory that no limit counts
    simple("grow what a socket may hold unsent", "a, b = socket.socketpair()\na.setsockopt(1, 7, 1 << 20)\nreturn 'ESCAPED'"),
    simple("grow what a socket may hold unread", "a, b = socket.socketpair()\na.setsockopt(1, 8, 1 << 20)\nreturn 'ESCAPED'"),
    simple("grow what a socket may hold, by force", "a, b = socket.socketpair()\na.setsockopt(1, 32, 1 << 26)\nreturn 'ESCAPED'", root=True),
    syscall("filter a socket", "import struct\na, b = socket.socketpair()\ncode = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 1))\na.setsockopt(1, 26, struct.pack('HxxxxxxP', 1, ctypes.addressof(code)))\nreturn 'ESCAPED'"),
    simple("grow a pipe", "import fcntl\nfcntl.fcntl(os.pipe()[0], 1031, 1 << 20)\nreturn 'ESCAPED'"),
    simple("pages that are shared and in no file", "import mmap\nmmap.mmap(-1, 1 << 20)[0]\nreturn 'ESCAPED'"),
    simple("pages shared by a device", "import mmap\nmmap.mmap(os.open('/dev/zero', os.O_RDWR), 1 << 20)[0]\nreturn 'ESCAPED'"),
    syscall("pages kept by a pipe", "page = libc.mmap(None, 4096, 3, 0x22, -1, 0)\nctypes.memset(page, 1, 4096)\nreturn ok(libc.vmsplice(os.pipe()[1], (ctypes.c_size_t * 2)(page, 4096), ctypes.c_size_t(1), 0))"),
    syscall("pages moved between pipes", "(a, b), (c, d) = os.pipe(), os.pipe()\nos.write(b, b'x')\nreturn ok(libc.tee(a, d, ctypes.c_size_t(1), 0))"),
    syscall("pages merged with others", "page = libc.mmap(None, 4096, 3, 0x22, -1, 0)\nreturn ok(libc.madvise(ctypes.c_void_p(page), ctypes.c_size_t(4096), 12))"),
    syscall("pages pushed out", "page = libc.mmap(None, 4096, 3, 0x22, -1, 0)\nreturn ok(libc.madvise(ctypes.c_void_p(page), ctypes.c_size_t(4096), 21))"),
    syscall("secret memory", "return ok(raw(447, 0))"),
    syscall("semaphores of System V", "return ok(libc.semget(0, 1, 0o1600))"),
    syscall("a named message queue", "queue = libc.mq_open(b'/bdc-attack', 0o102, 0o600, None)\nlibc.mq_unlink(b'/bdc-attack')\nreturn ok(queue)"),
    syscall("timers of POSIX", "event = (ctypes.c_int * 16)()\nevent[3] = 1\nreturn ok(raw(222, 1, event, ctypes.byref(ctypes.c_int())))"),
    syscall("asynchronous files", "return ok(raw(206, 1, ctypes.byref(ctypes.c_ulong())))"),
    syscall("filters without end", "import struct\nlibc.prctl(38, 1, 0, 0, 0)\ncode = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7FFF0000))\nreturn ok(raw(317, 1, 0, struct.pack('HxxxxxxP', 1, ctypes.addressof(code))))"),
    syscall("rules without end", "return ok(raw(444, (ctypes.c_uint64 * 3)(1), 8, 0))"),
    syscall("descriptors of a thread's own", "return ok(libc.unshare(0x400))"),
    syscall("descriptors of a thread's own, on closing", "return ok(raw(436, 9999, 9999, 2))"),
    simple("many descriptors", "return 'ESCAPED' if [os.dup(0) for _ in range(200)] else 'no'"),
    simple("many files", "folder = at['folder'] if os.access(at['folder'], os.W_OK) else os.getcwd()\nfor i in range(2000):\n    os.symlink('x', f'{folder}/many{i}')\nreturn 'ESCAPED'"),
    simple("a large file", "folder = at['folder'] if os.access(at['folder'], os.W_OK) else os.getcwd()\nwith open(folder + '/large', 'wb') as file:\n    for _ in range(40):\n        file.write(bytes(1 << 20))\nreturn 'ESCAPED'"),
    syscall("a session of keys", "return ok(raw(250, 1, 0))"),
    syscall("a key of its own", "return ok(raw(248, b'user', b'bdc2', b'x', 1, -1))"),
    # privileges and the kernel
    syscall("take all capabilities", "return ok(libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()))"),
    syscall("turn off the address's randomness", "return ok(libc.personality(0x40000))"),
    syscall("load a program into the kernel", "return ok(raw(321, 0, (ctypes.c_uint32 * 32)(1, 4, 4, 1, 0), 128))", root=True),
    syscall("talk to devices", "return ok(raw(173, 0x80, 1, 1))", root=True),
    syscall("read how the clock is steered", "return ok(raw(159, (ctypes.c_long * 32)()))"),
    syscall("adopt all orphans", "return ok(libc.prctl(36, 1, 0, 0, 0))"),
    syscall("let others trace it", "return ok(libc.prctl(4, 0, 0, 0, 0))"),
    syscall("new namespaces of time", "return ok(libc.unshare(0x80))", root=True),
    simple("become another group", "os.setgroups([])\nreturn 'ESCAPED'", root=True),
    simple("be kinder to itself", "os.nice(-1)\nreturn 'ESCAPED'", root=True),
]  # fmt: skip

# What a tier is known not to stop; SECURITY.md says so.
NOT_STOPPED = {
    "landlock": {"learn the host's name", "see whether a file exists", "see whether a process exists"}
}


@contextmanager
def standing(folder: Path) -> Iterator[dict[str, object]]:
    """Things of the caller that a program must not reach, made for one test."""
    victim = subprocess.Popen(["sleep", "60"], env={"KEY": SECRET, "PATH": os.environ["PATH"]})
    file, prey = folder / "file", folder / "prey"
    file.write_text(SECRET)
    prey.touch()
    shared = Path("/dev/shm") / f"bdc-secret-{os.getpid()}"
    if shared.parent.is_dir():
        shared.write_text(SECRET)
        shared.chmod(0o644)
    with (
        ending(victim, shared),
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(1) as named,
        socket.socket(1) as abstract,
        socket.socket(1, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.bind(str(folder / "datagrams"))
        named.bind(str(folder / "socket"))
        named.listen()
        abstract.bind(f"\0{folder}")
        abstract.listen()
        yield {
            "secret": SECRET,
            "file": str(file),
            "prey": str(prey),
            "folder": str(folder),
            "home": str(Path.home()),
            "homely": sorted(path.name for path in Path.home().iterdir()),
            "port": server.getsockname()[1],
            "socket": str(folder / "socket"),
            "abstract": str(folder),
            "datagrams": str(folder / "datagrams"),
            "link": str(folder / "link"),
            "pid": victim.pid,
            "host": socket.gethostname(),
            "shared": shared.name,
        }


@contextmanager
def ending(victim: subprocess.Popen[bytes], shared: Path) -> Iterator[None]:
    """Leaves nothing of them."""
    try:
        yield
    finally:
        shared.unlink(missing_ok=True)
        victim.kill()
        victim.wait()
