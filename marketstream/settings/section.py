"""Define the base of all settings tables, and bounded numbers."""

import json
import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _split(pattern: str) -> BeforeValidator:
    """Read a list out of one environment variable: a JSON array, or parts between separators."""

    def split(value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [part for part in re.split(pattern, value.strip()) if part]

    return BeforeValidator(split)


COMMAS = _split(r"\s*,\s*")
SPACES = _split(r"\s+")  # a feed spec holds commas of its own

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
Allowed = Annotated[int, Field(ge=0)]
WebAddress = Annotated[str, Field(pattern=r"^https?://")]


class Section(BaseModel):
    """A table of settings: never changed once read, and nothing in it is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")
