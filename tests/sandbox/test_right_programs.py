"""Programs that do no harm, and what of the standard library they need of the kernel."""
# ruff: noqa: E501

import importlib.util

import pytest

from bdc_agents.errors import ConfigError
from bdc_agents.sandbox import Job
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.sandbox.tiers import Tier, make_tier
from bdc_agents.types import CallTest, Limits

# Each is the body of a function that returns 1.
ALONE = {
    "threads": "import threading\nseen = []\nthreads = [threading.Thread(target=seen.append, args=(i,)) for i in range(20)]\n[t.start() for t in threads]\n[t.join() for t in threads]\nreturn len(seen) == 20",
    "a pool of threads": "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(8) as pool:\n    return sum(pool.map(abs, range(-9, 0))) == 45",
    "a deep recursion in a thread": "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 28)\ndef deep(n):\n    return n and 1 + deep(n - 1)\nseen = []\nthread = threading.Thread(target=lambda: seen.append(deep(50000)))\nthread.start()\nthread.join()\nreturn seen == [50000]",
    "an event loop": "import asyncio\nasync def main():\n    queue = asyncio.Queue()\n    async def work():\n        await asyncio.sleep(0.001)\n        await queue.put(1)\n    await asyncio.gather(*(work() for _ in range(5)))\n    return await asyncio.wait_for(queue.get(), 1)\nreturn asyncio.run(main())",
    "an event loop with threads": "import asyncio\nreturn asyncio.run(asyncio.to_thread(lambda: 1))",
    "an event loop over a socket pair": "import asyncio, socket\nasync def main():\n    a, b = socket.socketpair()\n    reader, writer = await asyncio.open_connection(sock=a)\n    writer.write(b'hi\\n')\n    await writer.drain()\n    loop = asyncio.get_running_loop()\n    b.setblocking(False)\n    return await loop.sock_recv(b, 9) == b'hi\\n'\nreturn asyncio.run(main())",
    "signals in an event loop": "import asyncio, os, signal\nasync def main():\n    seen = asyncio.Event()\n    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, seen.set)\n    os.kill(os.getpid(), signal.SIGUSR1)\n    await asyncio.wait_for(seen.wait(), 1)\nasyncio.run(main())\nreturn 1",
    "an alarm": "import signal\nclass Late(Exception):\n    pass\ndef late(*_):\n    raise Late\nsignal.signal(signal.SIGALRM, late)\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\ntry:\n    while True:\n        pass\nexcept Late:\n    return 1",
    "a signal to itself": "import signal\nseen = []\nsignal.signal(signal.SIGUSR1, lambda *_: seen.append(1))\nsignal.raise_signal(signal.SIGUSR1)\nsignal.pthread_kill(__import__('threading').get_ident(), signal.SIGUSR1)\nreturn len(seen) == 2",
    "select and poll": "import os, select, selectors\nr, w = os.pipe()\nos.write(w, b'x')\nselector = selectors.DefaultSelector()\nselector.register(r, selectors.EVENT_READ)\npoll = select.poll()\npoll.register(r)\nreturn bool(selector.select(0) and poll.poll(0) and select.select([r], [], [], 0)[0])",
    "socket pairs": "import socket\na, b = socket.socketpair()\na.settimeout(1)\nb.sendall(b'hello')\nb.shutdown(socket.SHUT_WR)\nreturn a.recv(9) == b'hello' and a.makefile().read() == '' and a.getsockopt(1, 3) == 1",
    "descriptors": "import os\nr, w = os.pipe()\nos.set_inheritable(w, True)\nos.set_blocking(r, False)\nd = os.dup(w)\nos.dup2(w, d)\nos.closerange(60, 64)\nreturn not os.get_blocking(r) and not os.isatty(r)",
    "limits of its own": "import resource\nsoft, hard = resource.getrlimit(resource.RLIMIT_STACK)\nresource.setrlimit(resource.RLIMIT_STACK, (soft // 2, hard))\nreturn resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0",
    "times": "import os, time\ntime.sleep(0.001)\nreturn time.process_time() > 0 and time.thread_time() > 0 and time.perf_counter() > 0 and time.get_clock_info('monotonic').resolution > 0 and sum(os.times()) > 0 and time.localtime().tm_year > 2000",
    "chance": "import os, random, secrets, tempfile, uuid\nreturn len(os.urandom(9)) == 9 and len(secrets.token_hex(4)) == 8 and random.SystemRandom().random() < 1 and bool(uuid.uuid4())",
    "what it runs on": "import os, platform, sys\nreturn bool(platform.platform() and os.cpu_count() and os.sched_getaffinity(0) and os.getpgid(0) and os.getsid(0) and os.uname() and os.sysconf('SC_PHYS_PAGES'))",
    "memory that is mapped": "import mmap\nm = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\nm.write(b'x')\nreturn m[0] == 120",
    "much memory, freed": "for _ in range(3):\n    data = [bytes(10**5) for _ in range(300)]\n    del data\nreturn 1",
    "callbacks of C": "import ctypes\nf = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)\nreturn f(1) == 2",
    "a database in memory": "import sqlite3\nc = sqlite3.connect(':memory:')\nc.execute('create table t(a)')\nc.execute('insert into t values (1)')\nreturn c.execute('select a from t').fetchone()[0]",
    "traces of memory": "import tracemalloc\ntracemalloc.start()\nreturn tracemalloc.get_traced_memory()[0] >= 0",
    "a debugger of faults": "import faulthandler\nfaulthandler.enable()\nfaulthandler.dump_traceback_later(9)\nfaulthandler.cancel_dump_traceback_later()\nreturn 1",
    "hashes and compression": "import bz2, gzip, hashlib, lzma, zlib\nreturn hashlib.scrypt(b'x', salt=b'y', n=2, r=1, p=1) != b'' and lzma.decompress(lzma.compress(bz2.compress(gzip.compress(b'x')))) != b''",
    "big numbers": "import decimal, fractions\ndecimal.getcontext().prec = 200\nreturn str(decimal.Decimal(2).sqrt())[:4] == '1.41'",
    "pickles and copies": "import copy, pickle\nreturn pickle.loads(pickle.dumps(copy.deepcopy([1]))) == [1]",
    "sizes of the terminal": "import os, shutil\nreturn shutil.get_terminal_size().columns > 0",
}  # fmt: skip
WITH_FILES = {
    "a file": "import os\nwith open('a', 'w') as f:\n    f.write('x')\nos.rename('a', 'b')\nos.chmod('b', 0o600)\nos.utime('b', (1, 1))\nos.truncate('b', 0)\nreturn os.stat('b').st_mtime > 0",
    "temporary files": "import tempfile\nwith tempfile.TemporaryDirectory() as d, tempfile.NamedTemporaryFile() as f, tempfile.TemporaryFile() as g, tempfile.SpooledTemporaryFile(1) as h:\n    h.write(b'xx')\n    return f.write(b'x')",
    "paths": "from pathlib import Path\nPath('a/b').mkdir(parents=True)\nPath('a/b/c').write_text('x')\nPath('a/d').symlink_to('b')\nPath('a/e').hardlink_to('a/b/c')\nreturn sorted(p.name for p in Path('a').rglob('*')) == ['b', 'c', 'd', 'e']",
    "copies of files": "import os, shutil\nos.makedirs('a/b')\nopen('a/b/c', 'w').write('x' * 99999)\nshutil.copytree('a', 'd')\nshutil.copy2('a/b/c', 'e')\nshutil.move('d', 'f')\nshutil.make_archive('g', 'zip', 'a')\nshutil.rmtree('f')\nreturn os.path.getsize('e') == 99999 and shutil.disk_usage('.').total > 0",
    "a database in a file": "import sqlite3\nfor _ in range(2):\n    with sqlite3.connect('d') as c:\n        c.execute('create table if not exists t(a)')\n        c.execute('insert into t values (1)')\n    c.close()\nreturn sqlite3.connect('d').execute('select sum(a) from t').fetchone()[0] == 2",
    "a shelf": "import shelve\nwith shelve.open('s') as s:\n    s['a'] = 1\nwith shelve.open('s') as s:\n    return s['a']",
    "a mapped file": "import mmap\nopen('m', 'wb').write(b'hello')\nwith open('m', 'r+b') as f, mmap.mmap(f.fileno(), 0) as m:\n    m[0:1] = b'j'\n    m.flush()\nreturn open('m').read() == 'jello'",
    "archives": "import gzip, tarfile, zipfile\nopen('a', 'w').write('x')\nwith tarfile.open('t.tgz', 'w:gz') as t:\n    t.add('a')\nwith zipfile.ZipFile('z', 'w') as z:\n    z.write('a')\ntarfile.open('t.tgz').extractall('out')\nreturn zipfile.ZipFile('z').read('a') == b'x'",
    "logs": "import logging\nlogging.basicConfig(filename='log', level=10, force=True)\nlogging.info('x')\nreturn open('log').read().count('x')",
    "a queue between threads": "import multiprocessing.pool\nreturn sum(multiprocessing.pool.ThreadPool(4).map(abs, [-1, -2])) == 3",
    "a lock of multiprocessing": "import multiprocessing\nlock = multiprocessing.get_context('fork').Lock()\nwith lock:\n    return lock.acquire(block=False) is False",
    "csv and config": "import configparser, csv\ncsv.writer(open('c', 'w')).writerow([1])\nreturn 1",
}  # fmt: skip
SEVERAL = {
    "a fork": "import os\npid = os.fork()\nif pid == 0:\n    os._exit(3)\nreturn os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3",
    "a process and a pipe": "import multiprocessing as m\nc = m.get_context('fork')\na, b = c.Pipe()\np = c.Process(target=b.send, args=(1,))\np.start()\np.join()\nreturn a.recv()",
    "a queue between processes": "import multiprocessing as m\nc = m.get_context('fork')\nq = c.Queue()\np = c.Process(target=q.put, args=(1,))\np.start()\nfound = q.get(timeout=5)\np.join()\nreturn found",
    "a pool of processes": "import multiprocessing as m\nwith m.get_context('fork').Pool(2) as pool:\n    return sum(pool.map(abs, [-1, -2])) == 3",
    "a child that is signalled": "import os, signal, time\npid = os.fork()\nif pid == 0:\n    time.sleep(9)\nos.kill(pid, signal.SIGKILL)\nreturn os.waitpid(pid, 0)[1] == 9",
    "a child of another session": "import os\npid = os.fork()\nif pid == 0:\n    os.setsid()\n    os._exit(0)\nreturn os.waitpid(pid, 0)[1] == 0",
    "a child that is awaited by descriptor": "import os\npid = os.fork()\nif pid == 0:\n    os._exit(0)\nreturn os.waitid(os.P_PIDFD, os.pidfd_open(pid), os.WEXITED).si_status == 0",
}  # fmt: skip


def job(bodies: dict[str, str], limits: Limits) -> Job:
    """All of them in one program, each in a call of its own."""
    lines = []
    for at, body in enumerate(bodies.values()):
        lines += [f"def f{at}():", *(f"    {line}" for line in body.splitlines())]
    tests = tuple(CallTest(call=f"int(f{at}())", expected=("1",)) for at in range(len(bodies)))
    return Job(code="\n".join(lines), tests=tests, limits=limits)


async def failing(executor: ProcessExecutor, bodies: dict[str, str], limits: Limits) -> dict[str, str]:
    verdict = await executor.run(job(bodies, limits))
    return {
        name: f"{result.outcome}: {result.error or result.actual}"
        for name, result in zip(bodies, verdict.results, strict=True)
        if result.outcome != "passed"
    }


GENEROUS = Limits(cpu_seconds=10, wall_seconds=60, memory_mb=256)


async def test_a_lone_program_has_what_the_standard_library_needs(any_tier: ProcessExecutor):
    assert await failing(any_tier, ALONE, GENEROUS) == {}


async def test_it_has_files(sandbox: ProcessExecutor):
    assert await failing(sandbox, WITH_FILES, GENEROUS) == {}


async def test_where_processes_are_allowed_it_has_those(sandbox: ProcessExecutor):
    limits = GENEROUS.model_copy(update={"processes": 8})
    assert await failing(sandbox, ALONE | WITH_FILES | SEVERAL, limits) == {
        "a database in a file": "error: OperationalError: database is locked"
    }


async def test_numpy_runs_where_it_may_be_imported(strongest_tier: Tier):
    if importlib.util.find_spec("numpy") is None:
        pytest.skip("numpy is not installed")
    try:
        tier = make_tier(strongest_tier.name, packages=["numpy"])
    except ConfigError as error:  # where the environment is below /tmp
        pytest.skip(str(error))
    executor = ProcessExecutor(tier, workers=1)
    body = "import numpy as np\na = np.random.default_rng(0).random((200, 200))\nreturn bool(np.isfinite(np.linalg.inv(a @ a.T)).all())"
    assert await failing(executor, {"numpy": body}, GENEROUS.model_copy(update={"memory_mb": 512})) == {}
    await executor.aclose()
