"""What the API takes and answers beside cases, as its OpenAPI document tells it."""

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from brats_lightning.web.records import Kind, Network

CaseId = Annotated[str, Path(description="Of the case, as it was told when it was made.")]
FileId = Annotated[str, Path(description="Of the file within its case.")]
Name = Annotated[
    str, Query(min_length=1, max_length=255, description="What the file is called: shown, and read for its modality.")
]


class Body(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(extra="forbid")


class Chosen(Body):
    """Networks that shall segment a case, several as an ensemble."""

    networks: list[Annotated[str, Field(max_length=200)]] | None = Field(
        default=None, max_length=32, description="By name; null takes the first that is offered."
    )


class ChosenNetworks(Body):
    """Networks that shall segment a case, several as an ensemble."""

    networks: list[Annotated[str, Field(max_length=200)]] = Field(min_length=1, max_length=32)


class ChosenKind(Body):
    """What a file is."""

    kind: Kind | None


class Login(Body):
    """The way in."""

    token: str = Field(max_length=1000, description="As the server printed it.")


class About(BaseModel):
    """What this server is and takes."""

    version: str
    networks: list[Network]
    limits: dict[str, int | float]
    example: bool = Field(description="Whether a synthetic case is offered.")
    disclaimer: str


class Health(BaseModel):
    """The server answers."""

    status: str = "ok"


class Problem(BaseModel):
    """Why a request was not met."""

    detail: str = Field(description="What was expected, what was found, what to do: a sentence.")


REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "Not met: the sentence says why."},
    507: {"model": Problem, "description": "The server's disk is full."},
}
RAW_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself, as `curl --data-binary @FILE` sends it.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
