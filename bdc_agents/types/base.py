"""`Frozen`, the base of all data types of the project, and `Given`, that of what people write."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from bdc_agents.errors import unknown

Number = Annotated[float, Field(allow_inf_nan=False)]
"""A finite number, so that one from a foreign file can be drawn and summed too."""
Count = Annotated[int, Field(gt=-(2**63), lt=2**63)]
"""A count that fits 64 bits; negative ones are differences of counts."""
Say = Callable[[str, Sequence[str | int], Iterable[str]], str]
"""Says that a field is unknown: its name, where it stands, the fields that there are."""


class Frozen(BaseModel):
    """Immutable, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Suggesting(BaseModel):
    """Answers a field that is not known by the nearest one."""

    @model_validator(mode="wrap")
    @classmethod
    def _suggest(cls, given: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return read(given)
        except ValidationError as error:
            raise with_suggestions(error, cls.model_fields) from None


class Given(Suggesting, Frozen):
    """Settings that people write in Python."""


def _unknown_field(name: str, parents: Sequence[str | int], known: Iterable[str]) -> str:
    return unknown(f"field of {parents[0]}" if parents else "field", name, known)


def with_suggestions(
    error: ValidationError, fields: Mapping[str, FieldInfo], say: Say = _unknown_field
) -> ValidationError:
    """The same error, in which a field that is not known comes with the nearest of those that are.

    Args:
        error: Of a model.
        fields: Of the model; those of models in them are known too.
        say: Says it.
    """
    items = [cast("InitErrorDetails", dict(item)) for item in error.errors()]
    for item in items:
        *parents, name = item.get("loc") or ("",)
        known = _fields_below(fields, parents) if item["type"] == "extra_forbidden" else []
        if known:
            message = say(str(name), parents, known)
            # An error of the same type, since handlers of errors go by it.
            item["type"] = PydanticCustomError("extra_forbidden", "{message}", {"message": message})
        elif message := item.get("ctx", {}).get(
            "message"
        ):  # One of our own, of which the type alone is told.
            item["type"] = PydanticCustomError(item["type"], "{message}", {"message": message})  # pyright: ignore
    # As it came where nothing is told anew: pydantic's own words and links then stay.
    told = any(isinstance(item["type"], PydanticCustomError) for item in items)
    return ValidationError.from_exception_data(error.title, items) if told else error


def _fields_below(fields: Mapping[str, FieldInfo], parents: Sequence[str | int]) -> list[str]:
    """The names of fields at a place in a model; empty if it is none of a model."""
    if not parents:
        return [*fields]
    field = fields.get(str(parents[0])) if len(parents) == 1 else None
    kind = field.annotation if field else None
    return [*kind.model_fields] if isinstance(kind, type) and issubclass(kind, BaseModel) else []
