"""Long replies are read beside the event loop, in order."""

import threading

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.search.round.calls import Answer, Call, read_each
from bdc_agents.types import Usage


async def test_long_replies_are_read_in_a_thread_and_in_order() -> None:
    call = Call(agent="a", purpose="boost", node="0", request=Request(messages=()))
    texts = ("a", "b" * 9_000, "c", "d" * 9_000)
    answers = [Answer(call=call, reply=Reply(text=text, usage=Usage())) for text in texts]

    def read(answer: Answer) -> tuple[str, bool]:
        assert answer.reply is not None
        return answer.reply.text[0], threading.current_thread() is threading.main_thread()

    assert await read_each(read, answers) == [("a", True), ("b", False), ("c", True), ("d", False)]
