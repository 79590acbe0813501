"""The gateway's rows."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import TableBase, new_metadata


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class Account(Base):
    """Somebody who can sign in. `email_key` is unique; `email` is as its owner writes it, and empty once erased."""

    __tablename__ = "accounts"
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    email_key: Mapped[str]
    password_hash: Mapped[str | None]
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class AccountRole(Base):
    __tablename__ = "account_roles"
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.account_id"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    granted_at: Mapped[datetime]
    granted_by: Mapped[str]


class OperatorGrant(Base):
    """Who made whom an operator, also where the role is gone since."""

    __tablename__ = "operator_grants"
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    granted_by: Mapped[str] = mapped_column(primary_key=True)
    granted_at: Mapped[datetime]


class ExternalIdentity(Base):
    """The same person at an outside OpenID Connect issuer."""

    __tablename__ = "external_identities"
    issuer: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.account_id"))
    linked_at: Mapped[datetime]


class SignIn(Base):
    """One family of refresh tokens."""

    __tablename__ = "sign_ins"
    sign_in_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.account_id"))
    opened_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]


class RefreshToken(Base):
    __tablename__ = "refresh_tokens"
    token_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    sign_in_id: Mapped[UUID] = mapped_column(ForeignKey("sign_ins.sign_in_id"))
    issued_at: Mapped[datetime]
    superseded_at: Mapped[datetime | None]


class SigningKey(Base):
    """`sealed_private` is encrypted with the wrapping key of the settings; see adapters/vault.py."""

    __tablename__ = "signing_keys"
    kid: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    public_jwk: Mapped[dict[str, Any]]  # Any: JSON (RFC 8037)
    sealed_private: Mapped[bytes]
    created_at: Mapped[datetime]
    activated_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]


class Partner(Base):
    __tablename__ = "partners"
    client_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    scopes: Mapped[list[str]]
    registered_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class PartnerSecret(Base):
    """`prefix` tells a person which secret it is; only its hash is kept."""

    __tablename__ = "partner_secrets"
    secret_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("partners.client_id"))
    prefix: Mapped[str]
    created_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
