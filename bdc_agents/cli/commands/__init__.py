"""The commands of `bdc`: one module each, with its options, its examples and no heavy import."""

__all__: list[str] = []
