"""Degree programmes that take in credit, and which of their modules a course counts as."""

from alembic import op

revision = "catalogue_3"
down_revision = "catalogue_2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table programmes (
            programme_id uuid constraint pk_programmes primary key,
            client_id text not null,
            institution text not null,
            code text not null,
            title text not null,
            created_at timestamptz not null,
            constraint uq_programmes_client_id_code unique (client_id, code)
        )
    """)
    op.execute("""
        create table programme_maps (
            programme_id uuid not null
                constraint fk_programme_maps_programme_id_programmes references programmes (programme_id),
            version integer not null,
            ceiling_credits integer not null constraint ck_programme_maps_ceiling check (ceiling_credits > 0),
            published_at timestamptz not null,
            published_by text not null,
            constraint pk_programme_maps primary key (programme_id, version)
        )
    """)
    op.execute("""
        create table programme_modules (
            programme_id uuid not null,
            version integer not null,
            course_version_id uuid not null
                constraint fk_programme_modules_course_version_id_course_versions
                references course_versions (course_version_id),
            module_code text not null,
            module_title text not null,
            credits integer not null constraint ck_programme_modules_credits check (credits > 0),
            valid_from timestamptz not null,
            valid_until timestamptz,
            decided_by text not null,
            constraint pk_programme_modules primary key (programme_id, version, course_version_id),
            constraint fk_programme_modules_programme_id_version_programme_maps
                foreign key (programme_id, version) references programme_maps (programme_id, version),
            constraint ck_programme_modules_dates check (valid_from < valid_until)
        )
    """)
    for table in ("programme_maps", "programme_modules"):
        op.execute(f"""
            create trigger frozen_{table} before update or delete on {table}
            for each row execute function refuse_change()
        """)
