"""`Frozen`, the base of all data types of the project."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
"""A finite number, so that one from a foreign file can be drawn and summed too."""
Count = Annotated[int, Field(gt=-(2**63), lt=2**63)]
"""A count that fits 64 bits; negative ones are differences of counts."""


class Frozen(BaseModel):
    """Immutable, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
