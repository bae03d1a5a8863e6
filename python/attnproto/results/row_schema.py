"""The schema of a row: what ``points.jsonl`` has on each line."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from .metrics import not_numeric


class RowDevice(BaseModel):
    """The device that a row was made on."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    name: str
    tier: str


class Row(BaseModel):
    """What one point of one prototype gave; ``results.metrics`` says what ``result`` may hold."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(min_length=1)
    proto: str = Field(min_length=1)
    point: dict[str, JsonValue]
    mode: str
    status: Literal["ok", "wrong", "error", "timeout", "crashed", "lost"]
    reason: str
    device: RowDevice
    result: dict[str, JsonValue]
    environment: dict[str, JsonValue]
    replay: str
    started_utc: str
    elapsed_s: float = Field(ge=0.0)


def mistake(record: Any) -> str:
    """Say what keeps a record from being a row, in words; nothing where it is one."""
    try:
        Row.__pydantic_validator__.validate_python(record)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'record'}: {first['msg']}"
    return not_numeric(record["proto"], record["result"])
