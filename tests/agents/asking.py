"""What several modules ask an agent and its endpoint: JSON, a failure, the reason that it gives."""

import asyncio

import pytest

from bdc_agents.errors import AgentError

SCHEMA = {
    "title": "Answer",
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}


def failing(status, step, message="it broke", **fields):
    headers = fields.pop("headers", {})
    return step({"error": {"message": message, **fields}}, status, headers)


async def reason_of(agent, request):
    with pytest.raises(AgentError) as caught:
        await agent.reply(request)
    assert "\n" not in caught.value.reason
    return caught.value.reason


async def asked_once(endpoint):
    async with asyncio.timeout(5):
        while not endpoint.asked:  # noqa: ASYNC110 - the server is in another thread
            await asyncio.sleep(0.005)
