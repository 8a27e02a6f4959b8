"""Writes tool calls and their results as plain text, for a base that was never trained on tools."""


def call_text(name: str, arguments: str) -> str:
    """A tool call, as words of the assistant.

    Args:
        arguments: The arguments as JSON.
    """
    return f"Calling the tool `{name}` with {arguments}."


def result_text(text: str) -> str:
    """A tool's result, as the user's next message."""
    return f"The tool returned:\n{text}"


def joined(*parts: str) -> str:
    """The parts of a message that are not empty, one a line."""
    return "\n".join(part for part in parts if part)
