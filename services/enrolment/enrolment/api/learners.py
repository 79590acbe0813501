"""The short form, one's own particulars, and the wording of the self-certification."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field, StringConstraints

from enrolment import queries
from enrolment.commands import contacts
from enrolment.commands import learners as commands
from enrolment.domain import declarations
from enrolment.domain.declarations import CriteriaNotAffirmed, DeclarationOutdated
from enrolment.domain.learners import (
    AlreadyRegistered,
    EmptyName,
    ImplausibleDateOfBirth,
    NameOnDocuments,
    NotRegistered,
    OtherCertificateName,
    OwnErasure,
    StillEnrolled,
    UnfitCharacter,
    UnknownCountry,
)
from enrolment.domain.particulars import NoAddressToConfirm, TooManyConfirmations, WrongConfirmationCode
from shared.database import now
from shared.digests import Digests
from shared.web import (
    CallerOf,
    Idempotent,
    Instant,
    ReadSession,
    RequestModel,
    Router,
    Session,
    View,
    conditional,
    error_responses,
    resource,
)
from shared.web.content import Day, Email, Text

router = Router()

Keyed = Annotated[Digests, resource(Digests)]

PersonName = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
FullName = Annotated[Text, StringConstraints(min_length=1, max_length=401)]
"""Room for the longest given name, a space and the longest family name."""
CertificateName = Annotated[FullName, Field(examples=["Okonkwo Adaeze"])]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]


class CriterionView(View):
    """One statement about themselves that a learner certifies before they may order."""

    criterion: str = Field(description="The key of its answer", examples=["degree_or_experience"])
    title: str = Field(examples=["A degree, or experience that equals it"])
    text: str = Field(examples=["I hold an undergraduate degree, or my professional experience has brought me …"])


class DeclarationView(View):
    """The criteria of admission in the words that a learner certifies; send `version` back with the short form."""

    version: str = Field(examples=["2026.1"])
    effective_from: Instant = Field(examples=["2026-01-01T00:00:00Z"])
    introduction: str = Field(examples=["Our microcredentials are taught at postgraduate level …"])
    criteria: list[CriterionView]
    statement: str = Field(examples=["What I have confirmed is true. …"])


class Affirmation(RequestModel):
    """A learner's answers to the criteria of admission, and to which wording they were given."""

    version: str = Field(description="Of the wording that was shown", max_length=32, examples=["2026.1"])
    answers: dict[str, bool] = Field(
        description="Every criterion, affirmed",
        max_length=20,
        examples=[{"degree_or_experience": True, "english_proficiency": True}],
    )


class ShortForm(RequestModel):
    """What we need to know of a learner. Names are taken in any script, without digits and what cannot be seen."""

    family_name: PersonName = Field(description="Somebody with a single name gives it here", examples=["Okonkwo"])
    given_name: PersonName | None = Field(default=None, examples=["Adaeze"])
    display_name: FullName | None = Field(
        default=None, description="How to address the person; else given and family name", examples=["Ada Okonkwo"]
    )
    certificate_name: CertificateName | None = Field(
        default=None,
        description="How certificates write the name: its words in another order, or in another script; else given and "
        "family name. About other words a registrar decides: `/v1/name-requests`",
    )
    date_of_birth: Day | None = Field(default=None, examples=["1993-05-17"])
    country: Country = Field(description="ISO 3166-1 alpha-2", examples=["GB"])
    contact_email: Email = Field(
        description="A code is sent there; once it has come back, badges are made out to the address",
        examples=["ada@example.org"],
    )
    declaration: Affirmation


class Particulars(RequestModel):
    """Changes to a learner's particulars; what is left out stays. A name that stands on documents changes by
    `/v1/name-requests`."""

    family_name: PersonName | None = Field(default=None, examples=["Okonkwo-Reid"])
    given_name: PersonName | None = Field(default=None, description="null: none", examples=["Adaeze"])
    display_name: FullName | None = Field(
        default=None, description="null: made of the other names", examples=["Ada Okonkwo-Reid"]
    )
    certificate_name: CertificateName | None = Field(
        default=None,
        description="null: given name, family name. Its words in another order, or in another script",
    )
    date_of_birth: Day | None = Field(default=None, description="null: not given", examples=["1993-05-17"])
    country: Country | None = Field(default=None, description="ISO 3166-1 alpha-2", examples=["NG"])
    contact_email: Email | None = Field(
        default=None,
        description="Used once the code that is sent there has come back. The address in use gives up another that "
        "waits",
        examples=["ada.reid@example.org"],
    )


class ConfirmationCode(RequestModel):
    """The code that proves that an e-mail address is the learner's."""

    code: str = Field(max_length=40, description="As it was sent to the address", examples=["7HK2M-9QXPA"])


class Certified(View):
    """Which wording a learner certified, and when."""

    version: str = Field(examples=["2026.1"])
    declared_at: Instant


class LearnerView(View):
    """What is known of a learner; `unconfirmed_contact_email` is null where no code is waited for."""

    learner_id: UUID = Field(description="The account's id", examples=["0193a1c0-0000-7000-8000-000000000001"])
    family_name: str = Field(examples=["Okonkwo"])
    given_name: str | None = Field(examples=["Adaeze"])
    display_name: str = Field(examples=["Ada Okonkwo"])
    certificate_name: str | None = Field(description="How certificates write the name; null: given name, family name")
    name_version: int = Field(description="Counts the names; earlier ones are kept", examples=[1])
    date_of_birth: date | None = Field(examples=["1993-05-17"])
    country: str = Field(examples=["GB"])
    contact_email: str = Field(description="We write there", examples=["ada@example.org"])
    email_confirmed: bool = Field(
        description="Whether the code sent to `contact_email` came back; badges are made out to confirmed ones only"
    )
    unconfirmed_contact_email: str | None = Field(
        description="Waits for the code that was sent there: another address, or `contact_email` itself",
        examples=[None],
    )
    registered_at: Instant
    declaration: Certified


class AnonymisationView(View):
    """That a learner was anonymised, and when: who they were is gone."""

    learner_id: UUID = Field(examples=["0193a1c0-0000-7000-8000-000000000001"])
    anonymised_at: Instant = Field(examples=["2026-11-23T12:00:00Z"])


def _view(registered: queries.Registered) -> LearnerView:
    learner, name = registered.learner, registered.name
    return LearnerView(
        learner_id=learner.learner_id,
        family_name=name.family_name,
        given_name=name.given_name,
        display_name=name.display_name,
        certificate_name=name.certificate_name,
        name_version=name.version,
        date_of_birth=learner.date_of_birth,
        country=learner.country,
        contact_email=learner.contact_email,
        email_confirmed=learner.contact_confirmed_at is not None,
        unconfirmed_contact_email=registered.unconfirmed_email,
        registered_at=learner.registered_at,
        declaration=Certified.model_validate(registered.declaration),
    )


@router.get("/v1/declarations/current", operation_id="read_current_declaration", response_model=DeclarationView)
async def read_current_declaration(request: Request, session: ReadSession) -> Response:
    """The wording of both admission criteria that is in force."""
    return conditional(request, DeclarationView.model_validate(declarations.current(now(session))))


@router.post(
    "/v1/learners",
    operation_id="register_learner",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(
        AlreadyRegistered,
        DeclarationOutdated,
        CriteriaNotAffirmed,
        UnknownCountry,
        ImplausibleDateOfBirth,
        EmptyName,
        UnfitCharacter,
        OtherCertificateName,
    ),
)
async def register_learner(form: ShortForm, session: Session, caller: CallerOf, digests: Keyed) -> LearnerView:
    """Register the signed-in account as a learner, with the self-certification of both admission criteria.

    A code is sent to the contact address: `PUT /v1/learners/me/contact-email`.
    """
    details = commands.Form(
        family_name=form.family_name,
        given_name=form.given_name,
        display_name=form.display_name,
        certificate_name=form.certificate_name,
        date_of_birth=form.date_of_birth,
        country=form.country,
        contact_email=form.contact_email,
        declaration_version=form.declaration.version,
        answers=form.declaration.answers,
    )
    return _view(await commands.register_learner(session, caller.own_id, details, digests))


@router.get("/v1/learners/me", operation_id="read_own_learner", responses=error_responses(NotRegistered))
async def read_own_learner(session: ReadSession, caller: CallerOf) -> LearnerView:
    """One's own particulars."""
    return _view(await queries.registered(session, caller.own_id))


@router.patch(
    "/v1/learners/me",
    operation_id="update_own_learner",
    responses=error_responses(
        NotRegistered,
        UnknownCountry,
        ImplausibleDateOfBirth,
        EmptyName,
        UnfitCharacter,
        OtherCertificateName,
        NameOnDocuments,
        TooManyConfirmations,
    ),
)
async def update_own_learner(
    particulars: Particulars, session: Session, caller: CallerOf, digests: Keyed
) -> LearnerView:
    """Change one's own particulars. A changed name is a new version; earlier ones are kept.

    Another contact address is used once it is confirmed.
    """
    changes = particulars.model_dump(exclude_unset=True)
    return _view(await commands.update_learner(session, caller.own_id, changes, digests))


@router.post(
    "/v1/learners/me/contact-email/codes",
    operation_id="send_contact_code",
    status_code=204,
    dependencies=[Idempotent],
    responses=error_responses(NotRegistered, NoAddressToConfirm, TooManyConfirmations),
)
async def send_contact_code(session: Session, caller: CallerOf, digests: Keyed) -> Response:
    """Send another code to the contact address that waits to be confirmed; the former code ends.

    So many a day are sent.
    """
    await contacts.send_code_again(session, caller.own_id, digests)
    return Response(status_code=204)


@router.put(
    "/v1/learners/me/contact-email",
    operation_id="confirm_contact_email",
    responses=error_responses(NotRegistered, NoAddressToConfirm, WrongConfirmationCode),
)
async def confirm_contact_email(
    typed: ConfirmationCode, session: Session, caller: CallerOf, digests: Keyed
) -> LearnerView:
    """Confirm the contact address with the code that was sent there. It is then used, and badges are made out to it."""
    await contacts.confirm_contact(session, caller.own_id, typed.code, digests)
    await session.flush()
    return _view(await queries.registered(session, caller.own_id))


@router.put(
    "/v1/learners/{learner_id}/anonymisation",
    operation_id="anonymise_learner",
    responses=error_responses(OwnErasure, NotRegistered, StillEnrolled),
)
async def anonymise_learner(learner_id: UUID, session: Session, caller: CallerOf) -> AnonymisationView:
    """Registrars: erase a learner's names, address and date of birth, and close the account.

    Final; what was studied and awarded stays.
    """
    at = await commands.anonymise_learner(session, learner_id, by=caller.name)
    return AnonymisationView(learner_id=learner_id, anonymised_at=at)
