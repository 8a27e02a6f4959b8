"""A hostile program that hunts for a text, such as its script test, by every way it has into itself.

It is sent into a sandbox as source, with a few lines after it that say what to do with the find; so
it uses the standard library only. `hunt` is given a pattern that does not match its own source.
"""
# ruff: noqa: PTH123, PTH208

import ctypes
import gc
import os
import re
import socket
import sys

_LONGEST = 4_000_000
_CHUNK = 1 << 20


def hunt(pattern):
    """The texts that match, by the way in which they were found.

    Args:
        pattern: Of a regular expression, as text, such as `[s]ecret`, which does not match itself.
    """
    wanted = re.compile(pattern)
    ways = (frames, objects, modules, memory_file, memory_by_address, descriptors, processes)
    found = {}
    for way in ways:
        try:
            texts = {text for text in way(wanted) if wanted.search(text)}
        except Exception:
            continue
        if texts:
            found[way.__name__] = texts
    return found


def frames(_):
    """What the functions hold that called this one, up to the process it was forked from."""
    frame = sys._getframe()
    while frame:
        for values in (frame.f_locals, frame.f_globals):
            yield from _strings(list(values.values()), depth=3)
        yield from _strings(list(frame.f_code.co_consts), depth=1)
        frame = frame.f_back


def objects(_):
    """All objects that the garbage collector knows, and what they refer to."""
    gc.unfreeze()
    for one in gc.get_objects():
        if isinstance(one, (dict, list, tuple, set, frozenset)):
            yield from _strings([one], depth=1)
        elif not isinstance(one, type):
            yield from _strings(gc.get_referents(one), depth=0)


def modules(_):
    """What modules hold, those of the sandbox too."""
    for module in list(sys.modules.values()):
        yield from _strings(list(vars(module).values()), depth=2)


def memory_file(wanted):
    """The memory of this process, through /proc."""
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for start, end in _regions():
            try:
                memory.seek(start)
                yield from _matches(memory.read(end - start) or b"", wanted)
            except (OSError, ValueError, OverflowError):
                continue


def memory_by_address(wanted):
    """The memory of this process by its addresses; where /proc is not there, around some objects."""
    try:
        regions = _regions()
    except OSError:
        regions = [
            (at - (1 << 26), at + (1 << 26)) for at in {id(one) >> 26 << 26 for one in gc.get_objects()}
        ]
    read, write = os.pipe()
    os.set_blocking(write, False)
    for start, end in regions:
        whole = b""
        for at in range(start, end, 4096):
            # The kernel refuses to write from where nothing is, which would else be the end of us.
            if ctypes.CDLL(None).write(write, ctypes.c_void_p(at), ctypes.c_size_t(4096)) == 4096:
                whole += os.read(read, 4096)
                if len(whole) < _CHUNK:
                    continue
            yield from _matches(whole, wanted)
            whole = whole[-4096:] if len(whole) >= _CHUNK else b""
        yield from _matches(whole, wanted)
    os.close(read)
    os.close(write)


def descriptors(wanted):
    """Whatever can be read from a descriptor, open or opened again, without waiting."""
    for number in range(256):
        for read in (_from_start, _peek, _opened_again):
            try:
                yield from _matches(read(number), wanted)
            except (OSError, ValueError):
                continue


def processes(wanted):
    """What other processes show of themselves."""
    own = str(os.getpid())
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if pid == own:
            continue
        for name in ("environ", "cmdline", "mem"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    yield from _matches(file.read(_LONGEST), wanted)
            except OSError:
                continue


def _strings(values, depth):
    for value in values:
        if type(value) is str:
            yield value
        elif type(value) in (bytes, bytearray):
            yield value.decode("utf-8", "replace")
        elif depth and type(value) is dict:
            yield from _strings([*value, *value.values()], depth - 1)
        elif depth and type(value) in (list, tuple, set, frozenset):
            yield from _strings(list(value), depth - 1)


def _regions():
    with open("/proc/self/maps", encoding="ascii", errors="replace") as lines:
        for line in lines.read().splitlines():
            place, rights, *_ = line.split()
            if rights.startswith("r") and "[v" not in line:  # the kernel's own pages, which cannot be read
                start, _, end = place.partition("-")
                if int(end, 16) - int(start, 16) < 1 << 28:
                    yield int(start, 16), int(end, 16)


def _matches(data, wanted):
    """The texts of a string each, without what lies around it."""
    for found in re.finditer(wanted.pattern.encode(), data):
        start = data.rfind(b"\0", 0, found.start()) + 1
        end = data.find(b"\0", found.end())
        yield data[start : min(end if end >= 0 else len(data), start + _LONGEST)].decode("utf-8", "replace")


def _from_start(number):
    return os.pread(number, _LONGEST, 0)


def _peek(number):
    with socket.socket(fileno=os.dup(number)) as peer:
        return peer.recv(_CHUNK, socket.MSG_PEEK | socket.MSG_DONTWAIT)


def _opened_again(number):
    again = os.open(f"/proc/self/fd/{number}", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(again, _CHUNK)
    finally:
        os.close(again)
