"""What partners are notified of by webhook, for the OpenAPI document: nothing here is served."""

from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, ConfigDict, Field

from shared.web import Instant
from shared.web.content import describe_as_base

T = TypeVar("T")

_EXAMPLE = "0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"


async def _signature(
    webhook_id: Annotated[
        str, Header(description="The same at every try: take a message once", examples=[f"msg_{UUID(_EXAMPLE).hex}"])
    ],
    webhook_timestamp: Annotated[
        int, Header(description="Seconds since 1970; refuse what is minutes old", examples=[1795514400])
    ],
    webhook_signature: Annotated[
        str,
        Header(
            description="`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body` with your secret; while a secret is "
            "changed, two of them with a space between. Any library for Standard Webhooks checks it",
            examples=["v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="],
        ),
    ],
) -> None:
    """Declare the headers of a delivery, as Standard Webhooks defines them, for OpenAPI."""


_Parameters = tuple[Any, ...]  # Any: pydantic's own TypeForm


class Message(BaseModel, Generic[T]):
    """What a partner is notified of. It names ids and never a person: fetch what you may see of them. Further members
    may be added."""

    model_config = ConfigDict(json_schema_extra=describe_as_base)

    type: str = Field(description="What happened", examples=["credit.revoked"])
    timestamp: Instant = Field(description="When it happened")
    data: T

    @classmethod
    def model_parametrized_name(cls, params: _Parameters) -> str:
        """Its name in the OpenAPI document: `CreditNews` gives `CreditMessage`."""
        return f"{params[0].__name__.removesuffix('News')}Message"


class ConsentNews(BaseModel):
    """Which consent a message is about."""

    share_id: UUID = Field(examples=[_EXAMPLE])


class CreditNews(BaseModel):
    """Which credit a message is about, and by which of your consents and transfers it concerns you."""

    credit_id: UUID = Field(examples=[_EXAMPLE])
    share_ids: list[UUID] = Field(description="Your live consents that cover it", examples=[[_EXAMPLE]])
    transfer_ids: list[UUID] = Field(description="Your transfers that hold it", examples=[[_EXAMPLE]])


class AwardNews(BaseModel):
    """Which award a message is about, and by which of your consents it concerns you."""

    award_id: UUID = Field(examples=[_EXAMPLE])
    share_ids: list[UUID] = Field(description="Your live consents that cover it", examples=[[_EXAMPLE]])
    share_id: UUID = Field(description="The first of them", examples=[_EXAMPLE])


class TransferNews(BaseModel):
    """Which transfer a message is about, and into which programme."""

    transfer_id: UUID = Field(examples=[_EXAMPLE])
    programme_id: UUID = Field(examples=[_EXAMPLE])


class PingNews(BaseModel):
    """Nothing: a ping only shows that the address answers."""


router = APIRouter(
    tags=["webhooks"],
    dependencies=[Depends(_signature)],
    generate_unique_id_function=lambda route: f"notify_{route.name}",
    responses={
        200: {"description": "Any 2xx: it is taken"},
        410: {"description": "Nobody listens here any more: the address is disabled at once"},
        "default": {"description": "Not taken: it is sent again, for three days and under the same id"},
    },
)


@router.post("consent.withdrawn")
async def consent_withdrawn(message: Message[ConsentNews]) -> None:
    """The learner ended a consent: what is fetched by it is refused from now on."""


@router.post("credit.revoked")
async def credit_revoked(message: Message[CreditNews]) -> None:
    """Credit you may see, or hold for a degree, was taken back."""


@router.post("credit.reinstated")
async def credit_reinstated(message: Message[CreditNews]) -> None:
    """Credit that had been taken back was given back."""


@router.post("award.conferred")
async def award_conferred(message: Message[AwardNews]) -> None:
    """An award within a consent of yours was conferred."""


@router.post("award.superseded")
async def award_superseded(message: Message[AwardNews]) -> None:
    """A higher award took up the credit of this one, which still verifies, as superseded."""


@router.post("award.rescinded")
async def award_rescinded(message: Message[AwardNews]) -> None:
    """The award was taken back: it must not be relied on."""


@router.post("award.restored")
async def award_restored(message: Message[AwardNews]) -> None:
    """The award that had superseded this one was rescinded: this one stands again."""


@router.post("transfer.requested")
async def transfer_requested(message: Message[TransferNews]) -> None:
    """A learner asks you to take in credit; see `read_transfer`."""


@router.post("transfer.decided")
async def transfer_decided(message: Message[TransferNews]) -> None:
    """Your decision was taken down."""


@router.post("transfer.completed")
async def transfer_completed(message: Message[TransferNews]) -> None:
    """The credit is used up by the degree you conferred."""


@router.post("transfer.returned")
async def transfer_returned(message: Message[TransferNews]) -> None:
    """The credit is the learner's again: you gave it back, or your acceptance has run out."""


@router.post("transfer.withdrawn")
async def transfer_withdrawn(message: Message[TransferNews]) -> None:
    """The request ended undecided: the learner took it back, or it was too old."""


@router.post("webhook.ping")
async def webhook_ping(message: Message[PingNews]) -> None:
    """You asked for it, to try the address and the signature with."""
