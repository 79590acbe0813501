"""The gateway's tables."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, MetaData, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import TableBase, new_metadata


class Base(TableBase):
    __abstract__ = True
    metadata: ClassVar[MetaData] = new_metadata()


class Account(Base):
    """Somebody who can sign in. `email_key` is unique; `email` is as its owner writes it, and empty once erased."""

    __tablename__ = "accounts"
    __table_args__ = (Index("ix_accounts_opened_at_account_id", "opened_at", "account_id"),)
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    email_key: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str | None]
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class AccountRole(Base):
    __tablename__ = "account_roles"
    __table_args__ = (CheckConstraint("granted_by <> account_id::text", name="own_grant"), Index(None, "role"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.account_id"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    granted_at: Mapped[datetime]
    granted_by: Mapped[str]


class OperatorGrant(Base):
    """Who proposed or confirmed that an account became an operator; kept also after the role is gone."""

    __tablename__ = "operator_grants"
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    granted_by: Mapped[str] = mapped_column(primary_key=True)
    granted_at: Mapped[datetime]


class RoleGrant(Base):
    """Roles that an operator proposed for an account. While `outcome` is null they wait for another's confirmation."""

    __tablename__ = "role_grants"
    __table_args__ = (
        Index("uq_role_grants_waiting", "account_id", unique=True, postgresql_where=text("outcome is null")),
        CheckConstraint("(outcome is null) = (decided_at is null)", name="decided"),
        CheckConstraint("outcome in ('confirmed', 'refused', 'replaced', 'void')", name="outcome"),
        CheckConstraint("proposed_by <> account_id", name="own_grant"),
        CheckConstraint(
            "outcome <> 'confirmed' or (decided_by is not null and decided_by not in (proposed_by, account_id))",
            name="two_words",
        ),
        Index("ix_role_grants_account_id", "account_id", "proposed_at", "grant_id"),
        Index("ix_role_grants_proposed_at_grant_id", "proposed_at", "grant_id"),
        Index("ix_role_grants_waiting", "proposed_at", "grant_id", postgresql_where=text("outcome is null")),
    )
    grant_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.account_id"))
    roles: Mapped[list[str]]
    proposed_by: Mapped[UUID]
    proposed_at: Mapped[datetime]
    outcome: Mapped[str | None]
    decided_by: Mapped[UUID | None]
    decided_at: Mapped[datetime | None]


class ExternalIdentity(Base):
    """An account's identity at an outside OpenID Connect issuer."""

    __tablename__ = "external_identities"
    issuer: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.account_id"))
    linked_at: Mapped[datetime]


class SignIn(Base):
    """A session: one family of refresh tokens."""

    __tablename__ = "sign_ins"
    __table_args__ = (
        CheckConstraint("(ended_at is null) = (end_reason is null)", name="end"),
        Index(None, "account_id"),
        Index(None, "ended_at", postgresql_where=text("ended_at is not null")),
        Index(None, "expires_at"),
    )
    sign_in_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.account_id"))
    opened_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]


class RefreshToken(Base):
    __tablename__ = "refresh_tokens"
    __table_args__ = (Index(None, "sign_in_id"),)
    token_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    sign_in_id: Mapped[UUID] = mapped_column(ForeignKey("sign_ins.sign_in_id", ondelete="CASCADE"))
    issued_at: Mapped[datetime]
    superseded_at: Mapped[datetime | None]


class SigningKey(Base):
    """A signing key; `sealed_private` is encrypted with the wrapping key of the settings (adapters/signing_keys.py)."""

    __tablename__ = "signing_keys"
    __table_args__ = (
        Index("uq_signing_keys_one_each", "state", unique=True, postgresql_where=text("state <> 'retired'")),
        CheckConstraint("(state = 'retired') = (retired_at is not null)", name="retired"),
        CheckConstraint("state in ('next', 'active', 'retired')", name="state"),
    )
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
    """A client secret, of which only the hash is kept; by `prefix` a person recognises it."""

    __tablename__ = "partner_secrets"
    __table_args__ = (Index(None, "client_id"),)
    secret_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("partners.client_id"))
    prefix: Mapped[str]
    created_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
