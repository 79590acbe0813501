"""Institutions, subjects, courses in frozen versions, units, prices, and the listing that public reads use."""

from alembic import op

revision = "catalogue_1"
down_revision = None
branch_labels = ("catalogue",)
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table institutions (
            institution_id uuid constraint pk_institutions primary key,
            slug text not null constraint uq_institutions_slug unique,
            name text not null,
            homepage text not null,
            country text not null,
            created_at timestamptz not null
        )
    """)
    op.execute("""
        create table subjects (
            subject_id uuid constraint pk_subjects primary key,
            slug text not null constraint uq_subjects_slug unique,
            name text not null,
            award_name text not null,
            description text not null,
            created_at timestamptz not null
        )
    """)
    op.execute("create unique index uq_subjects_award_name on subjects (lower(award_name))")
    op.execute("""
        create table courses (
            course_id uuid constraint pk_courses primary key,
            slug text not null constraint uq_courses_slug unique,
            code text not null constraint uq_courses_code unique,
            module_family text not null,
            state text not null,
            current_version_id uuid,
            created_at timestamptz not null,
            withdrawn_at timestamptz,
            withdrawn_by text,
            constraint ck_courses_state check (state in ('draft', 'published', 'withdrawn')),
            constraint ck_courses_version check ((state = 'draft') = (current_version_id is null)),
            constraint ck_courses_withdrawal check (
                (state = 'withdrawn') = (withdrawn_at is not null)
                and (withdrawn_at is null) = (withdrawn_by is null)
            )
        )
    """)
    op.execute("""
        create table course_versions (
            course_version_id uuid constraint pk_course_versions primary key,
            course_id uuid not null
                constraint fk_course_versions_course_id_courses references courses (course_id),
            version integer not null,
            title text not null,
            subject_id uuid constraint fk_course_versions_subject_id_subjects references subjects (subject_id),
            institution_id uuid
                constraint fk_course_versions_institution_id_institutions references institutions (institution_id),
            summary text not null,
            description text not null,
            credits integer not null,
            level integer not null,
            weeks integer not null,
            hours_min integer not null,
            hours_max integer not null,
            prerequisites text,
            criteria text not null,
            outcomes jsonb not null,
            skills jsonb not null,
            revision integer not null,
            created_at timestamptz not null,
            published_at timestamptz,
            published_by text,
            constraint uq_course_versions_course_id_version unique (course_id, version),
            constraint ck_course_versions_hours check (0 < hours_min and hours_min <= hours_max),
            constraint ck_course_versions_published check (
                (published_at is null) = (published_by is null)
                and (published_at is null or (subject_id is not null and institution_id is not null))
            )
        )
    """)
    op.execute("create unique index uq_course_versions_draft on course_versions (course_id) where published_at is null")
    op.execute("create index ix_course_versions_subject_id on course_versions (subject_id)")
    op.execute("""
        alter table courses add constraint fk_courses_current_version_id_course_versions
        foreign key (current_version_id) references course_versions (course_version_id)
    """)
    op.execute("""
        create table units (
            unit_id uuid constraint pk_units primary key,
            course_version_id uuid not null
                constraint fk_units_course_version_id_course_versions references course_versions (course_version_id),
            position integer not null,
            title text not null,
            minutes integer not null,
            objectives jsonb not null,
            text text not null,
            constraint uq_units_course_version_id_position unique (course_version_id, position)
        )
    """)
    op.execute("""
        create table prices (
            price_id uuid constraint pk_prices primary key,
            course_id uuid not null constraint fk_prices_course_id_courses references courses (course_id),
            amount_minor integer not null constraint ck_prices_amount_minor check (amount_minor > 0),
            currency text not null,
            valid_from timestamptz not null,
            set_at timestamptz not null,
            set_by text not null,
            constraint uq_prices_course_id_valid_from unique (course_id, valid_from)
        )
    """)
    # What public reads are made from: one row per course that was ever published, renewed with each change.
    op.execute("""
        create table listings (
            course_id uuid constraint pk_listings primary key
                constraint fk_listings_course_id_courses references courses (course_id),
            slug text not null constraint uq_listings_slug unique,
            on_sale boolean not null,
            sort_title text not null,
            subject text not null,
            institution text not null,
            level integer not null,
            card text not null,
            page text not null,
            search tsvector not null
        )
    """)
    op.execute("create index ix_listings_order on listings (sort_title, course_id) where on_sale")
    op.execute("create index ix_listings_search on listings using gin (search)")
    op.execute("""
        create function instant(at timestamptz) returns text language sql stable parallel safe
        return (to_jsonb(at at time zone 'UTC') #>> '{}') || 'Z'
    """)
    op.execute("""
        create function refuse_change() returns trigger language plpgsql as $$
        begin
            raise exception '% are not changed once published', tg_table_name
                using errcode = 'integrity_constraint_violation', constraint = 'frozen_' || tg_table_name;
        end $$
    """)
    op.execute("""
        create trigger frozen_course_versions before update or delete on course_versions
        for each row when (old.published_at is not null) execute function refuse_change()
    """)
    op.execute("""
        create trigger frozen_prices before update or delete on prices
        for each row execute function refuse_change()
    """)
    op.execute("""
        create function refuse_change_of_frozen_unit() returns trigger language plpgsql as $$
        begin
            if exists (
                select from course_versions where published_at is not null
                and course_version_id in (
                    case when tg_op <> 'INSERT' then old.course_version_id end,
                    case when tg_op <> 'DELETE' then new.course_version_id end
                )
            ) then
                raise exception 'units are not changed once published'
                    using errcode = 'integrity_constraint_violation', constraint = 'frozen_units';
            end if;
            return case tg_op when 'DELETE' then old else new end;
        end $$
    """)
    op.execute("""
        create trigger frozen_units before insert or update or delete on units
        for each row execute function refuse_change_of_frozen_unit()
    """)
