"""Agents whose replies come late now and then, for tests of what must not depend on who ends first."""

import asyncio
import json
from zlib import crc32

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.testing import ScriptedAgent

SLOW = 0.002
"""Seconds of a reply that is late, next to none of the others."""


class Late(ScriptedAgent):
    """An agent some of whose replies come late, so that problems end in another order than they began."""

    async def reply(self, request: Request) -> Reply:
        await asyncio.sleep(SLOW if (request.seed or 0) % 3 == 0 else 0)
        return await super().reply(request)


def respond(request: Request) -> str:
    """Thoughts, or a program, that another prompt or seed would not give."""
    number = crc32(f"{request.seed} {[message.content for message in request.messages]}".encode())
    if request.json_schema:
        return json.dumps({"thoughts": [{"thought": f"idea {number}", "reasonableness": 0.5}]})
    return f"```python\nx = {number}\n```"
