"""`Frozen`, the base of all data types of the project."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
"""What can be drawn and summed, whoever wrote it."""
Count = Annotated[int, Field(gt=-(2**63), lt=2**63)]
"""As `Number`, for what is counted; a difference of two is one too."""


class Frozen(BaseModel):
    """Immutable, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
