"""`bdc serve` with a model that says one word slowly; run by the tests of the server."""

import asyncio
import sys

from bdc_agents.serve import ExpertWeights, RoutedModel
from bdc_agents.serve.backends.protocol import ChatPiece, ChatReply


class Slow:
    mixes, identity, context = "expert", "slow", 1000

    async def generate(self, requests):
        return [ChatReply(text="slow", prompt_tokens=1, completion_tokens=4) for _ in requests]

    async def stream(self, request):
        for letter in "slow":
            await asyncio.sleep(0.2)
            yield ChatPiece(text=letter)
        (reply,) = await self.generate([request])
        yield ChatPiece(text="", reply=reply)

    async def aclose(self):
        print("freed", file=sys.stderr)


async def place(_: str) -> ExpertWeights:
    return ExpertWeights({"a": 1.0})


RoutedModel.from_library = classmethod(lambda cls, *_, **__: cls(Slow(), place, ("a",)))

if __name__ == "__main__":
    from bdc_agents.cli import main, serve

    serve.read_manifest = lambda _: None  # There is no folder either.
    sys.argv = ["bdc", "serve", "anywhere", "--port", "0", *sys.argv[1:]]
    main()
