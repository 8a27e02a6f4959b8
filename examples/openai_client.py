"""The search behind OpenAI's protocol: any client of it will do, here the official one.

    BDC_API_KEY=a-key-of-16-or-more bdc serve -a openai:gpt-4o-mini -a anthropic:claude-haiku-4-5
    BDC_API_KEY=a-key-of-16-or-more python examples/openai_client.py http://127.0.0.1:8765/v1 \
        "Write double(x). double(4) should be 8."

What goes on comes as reasoning, the answer as content; a further message would go on from the same tree.
"""

import os
import sys

from openai import OpenAI


def main(url: str, problem: str) -> None:
    client = OpenAI(base_url=url, api_key=os.environ["BDC_API_KEY"])
    stream = client.chat.completions.create(
        model="bdc-search",
        messages=[{"role": "user", "content": problem}],
        stream=True,
        extra_body={"budget": {"calls": 20}},
    )
    told = {}
    for chunk in stream:
        delta = chunk.choices[0].delta
        # Clients have no field of this name, but keep what a server sends.
        print(getattr(delta, "reasoning_content", None) or delta.content or "", end="")
        told = getattr(chunk, "bdc", told)
    print("\n\nsolved:", told["solved"], "with", told["calls"], "calls")


if __name__ == "__main__":
    main(*sys.argv[1:])
