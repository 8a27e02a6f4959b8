"""Coroutines run for callers that are not asynchronous."""

import asyncio
import subprocess
import sys
import textwrap

import pytest

from bdc_agents.sync import run_sync


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def inside() -> int:
    return run_sync(double(21))


async def in_a_thread() -> int:
    return await asyncio.to_thread(run_sync, double(21))


def test_a_caller_with_a_loop_of_its_own_may_call() -> None:
    assert run_sync(double(21)) == 42
    assert asyncio.run(inside()) == 42


def test_on_the_loop_itself_it_refuses_where_it_would_wait_for_ever() -> None:
    with pytest.raises(RuntimeError, match="await the work, or call it in a thread"):
        run_sync(inside())
    assert run_sync(in_a_thread()) == 42


# --- after a fork -------------------------------------------------------------------------------


def forked(body: str) -> str:
    """What a child of a process that has used everything prints; the whole in a process of its own."""
    script = textwrap.dedent(
        """
        import asyncio, os, sys
        from bdc_agents import Budget, Problem, SearchConfig, solve
        from bdc_agents.data import problem_from_statement
        from bdc_agents.sandbox import create_executor, job_for
        from bdc_agents.sync import run_sync
        from bdc_agents.testing import ScriptedAgent

        problem = problem_from_statement("Write double(x).", ["assert double(4) == 8"])
        right = "```python\\ndef double(x):\\n    return 2 * x\\n```"
        agent = ScriptedAgent("one", lambda _: right)
        executor = create_executor()

        def work():
            trace = solve(problem, [agent], executor=executor, search=SearchConfig(rollouts=2))
            return trace.solution.solved
        """
    ) + textwrap.dedent(body)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_child_of_a_fork_works_as_its_parent_does_and_goes_on() -> None:
    said = forked(
        """
        assert work()
        child = os.fork()
        if not child:
            print("child", work(), flush=True)
            os._exit(0)
        # Both at once: neither may get what the other asked for.
        print("parent", [work() for _ in range(3)], flush=True)
        assert os.waitpid(child, 0)[1] == 0
        print("parent", work(), flush=True)
        """
    )
    assert sorted(said.splitlines()) == ["child True", "parent True", "parent [True, True, True]"]


def test_a_pool_of_forked_processes_shares_what_its_parent_made() -> None:
    said = forked(
        """
        import multiprocessing
        assert work()
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.starmap(work, [()] * 4), work(), flush=True)
        """
    )
    assert said.strip() == "[True, True, True, True] True"
