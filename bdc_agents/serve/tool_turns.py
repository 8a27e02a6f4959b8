"""Turns with tools in a conversation, as the text that a base reads which was never taught to call any."""


def call_text(name: str, arguments: str) -> str:
    """What the assistant did when it called a tool.

    Args:
        arguments: As JSON.
    """
    return f"Calling the tool `{name}` with {arguments}."


def result_text(text: str) -> str:
    """What came of it, as the next message of the user."""
    return f"The tool returned:\n{text}"


def joined(*parts: str) -> str:
    """The parts of one message that hold something."""
    return "\n".join(part for part in parts if part)
