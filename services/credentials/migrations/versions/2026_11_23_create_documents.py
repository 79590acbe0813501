"""Documents, their editions, and the files in which those were handed out; where a course is taught.

Transcripts are editions from now on. The table `transcripts` stays for the release before, which still writes it;
a learner's next edition is made from the ledger when the register tells their name, so nothing is copied.
"""

from alembic import op

revision = "credentials_9"
down_revision = "credentials_8"
branch_labels = None
depends_on = None


TABLES = """
alter table achievements add column institution text;
create table documents (
    document_id uuid constraint pk_documents primary key,
    number text not null constraint uq_documents_number unique,
    kind text not null constraint ck_documents_kind check (kind in ('transcript', 'certificate', 'parchment')),
    learner_id uuid not null,
    credit_id uuid constraint fk_documents_credit_id_credits references credits (credit_id),
    award_id uuid constraint fk_documents_award_id_awards references awards (award_id),
    constraint uq_documents_credit_id unique (credit_id),
    constraint uq_documents_award_id unique (award_id),
    constraint ck_documents_about check (
        (kind = 'certificate') = (credit_id is not null) and (kind = 'parchment') = (award_id is not null)
    )
);
create index ix_documents_learner_id on documents (learner_id);
create unique index uq_documents_transcript on documents (learner_id) where kind = 'transcript';
create table editions (
    edition_id uuid constraint pk_editions primary key,
    document_id uuid not null constraint fk_editions_document_id_documents references documents (document_id),
    version integer not null constraint ck_editions_version check (version > 0),
    as_at timestamptz not null,
    content jsonb,
    content_sha256 text not null,
    sha256 text not null,
    clr jsonb,
    signed_at timestamptz,
    constraint uq_editions_document_id_version unique (document_id, version)
);
create index ix_editions_sha256 on editions (sha256);
create table printings (
    sha256 text constraint pk_printings primary key,
    edition_id uuid not null constraint fk_printings_edition_id_editions references editions (edition_id),
    printed_at timestamptz not null
);
"""


def upgrade() -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
