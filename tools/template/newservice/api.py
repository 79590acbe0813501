"""The HTTP door: what goes in and out, and one route an operation."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from newservice import commands, domain
from shared.web import Idempotent, RequestModel, Router, Session, View, error_responses
from shared.web.content import Text

router = Router()


class NewserviceEntryRequest(RequestModel):
    title: Annotated[Text, StringConstraints(min_length=1, max_length=200)] = Field(examples=["A first entry"])


class NewserviceEntryView(View):
    entry_id: UUID
    title: str


@router.post(
    "/v1/newservice",
    operation_id="create_newservice_entry",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(domain.NewserviceTitleTaken),
)
async def create_newservice_entry(body: NewserviceEntryRequest, session: Session) -> NewserviceEntryView:
    """Add an entry."""
    return NewserviceEntryView.model_validate(await commands.create_newservice_entry(session, body.title))
