"""A deep agent whose files and commands live in a sandbox of this machine, without a cloud.

    python examples/sandbox.py MODEL "Write a program that prints the first ten primes, and run it."

MODEL is any `init_chat_model` string, such as openai:gpt-4o-mini. Commands have no network and see no file of
yours. Needs `pip install 'bdc-agents[deepagents]'`.
"""

import sys

from deepagents import create_deep_agent
from langchain.chat_models import init_chat_model

from bdc_agents.sandbox import WorkspaceBackend, WorkspaceLimits


def main(model: str, request: str) -> None:
    with WorkspaceBackend(WorkspaceLimits(seconds=60, memory_mb=512, folder_mb=64)) as backend:
        agent = create_deep_agent(model=init_chat_model(model), backend=backend)
        state = agent.invoke({"messages": [{"role": "user", "content": request}]})
        for message in state["messages"]:
            print(f"{message.type}: {message.text}")
        left = backend.execute("ls /workspace").output.split()
        print("left in the workspace:", *left)


if __name__ == "__main__":
    main(*sys.argv[1:])
