"""The search over MCP: what an editor's agent does, in a few lines.

    python examples/mcp_client.py "Write double(x)." "double(4) == 8"

It starts `bdc mcp` with the agents of the bdc.toml of its folder. Editors do the same; their settings:

    {"mcpServers": {"bdc": {"command": "bdc", "args": ["mcp", "--calls", "30"]}}}
"""

import asyncio
import re
import sys

from mcp import Client, StdioServerParameters


async def main(statement: str, *tests: str) -> None:
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "bdc_agents.cli", "mcp", "--calls", "20"]
    )

    async def show(_: float, __: float | None, message: str | None) -> None:
        print("...", message)

    async with Client(server) as client:
        print("tools:", *(tool.name for tool in (await client.list_tools()).tools))
        given = {"statement": statement, "tests": list(tests)}
        found = (await client.call_tool("solve", given, progress_callback=show)).content[0].text
        print(found)
        search = re.findall(r'Search "(\w+)"', found)[0]
        print((await client.call_tool("view_tree", {"search": search})).content[0].text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
