"""The outbox is partitioned by year: the partition that is written stays small, and old ones can be detached.

The table that was there becomes the first partition, as it is, with its indexes. Commands write on meanwhile; the
exchange itself holds them up for a moment.
"""

from alembic import op

revision = "messaging_8"
down_revision = "messaging_7"
branch_labels = None
depends_on = None

ADD_PARTS = """
    create function add_outbox_parts(until_year integer) returns setof text language plpgsql set timezone to 'UTC' as $$
    declare
        year integer;
        next_year integer;
        part text;
    begin
        select max(substring(pg_get_expr(parts.relpartbound, parts.oid) from 'TO \\(''(\\d{4})')::integer) into year
        from pg_inherits join pg_class parts on parts.oid = inhrelid where inhparent = 'outbox'::regclass;
        while year <= until_year loop
            next_year := greatest(year + 1, until_year - 1);
            part := 'outbox_' || year || case when next_year > year + 1 then '_to_' || next_year - 1 else '' end;
            execute format('create table %I (like outbox including defaults)', part);
            execute format('alter table %I add constraint %I primary key (position)', part, 'pk_' || part);
            execute format('alter table %I add constraint %I unique (id)', part, 'uq_' || part || '_id');
            execute format('create index %I on %I (position) where sent_at is null', 'ix_' || part || '_unsent', part);
            execute format('create index %I on %I (xid, position)', 'ix_' || part || '_feed', part);
            execute format(
                'create index %I on %I (type, xid, position) include (created_at)', 'ix_' || part || '_types', part
            );
            execute format(
                'alter table outbox attach partition %I for values from (%L) to (%L)',
                part, make_timestamptz(year, 1, 1, 0, 0, 0), make_timestamptz(next_year, 1, 1, 0, 0, 0)
            );
            return next part;
            year := next_year;
        end loop;
    end $$
"""
"""Adds partitions from the end of the newest to the end of that year, and returns their names; each has its keys and
indexes before it is attached.

The last two years have partitions of their own. The years before them share one: a clock that stood far ahead must not
leave one for each year.
"""

BOUND = """
    do $$
    declare
        newest timestamptz;
    begin
        select greatest(now() + interval '1 day', max(created_at)) into newest from outbox;
        execute 'alter table outbox drop constraint if exists ck_outbox_bound';
        execute format(
            'alter table outbox add constraint ck_outbox_bound check (created_at < %L) not valid',
            make_timestamptz(extract(year from newest at time zone 'UTC')::integer + 1, 1, 1, 0, 0, 0, 'UTC')
        );
    end $$
"""
EXCHANGE = """
    do $$
    declare
        bound timestamptz;
        next_position bigint;
        part text;
    begin
        lock table outbox in access exclusive mode;
        select substring(pg_get_constraintdef(oid) from '''([^'']+)''')::timestamptz into bound
        from pg_constraint where conname = 'ck_outbox_bound';
        part := 'outbox_to_' || extract(year from bound at time zone 'UTC')::integer - 1;
        select nextval(pg_get_serial_sequence('outbox', 'position')) into next_position;
        alter table outbox alter column position drop identity;
        execute format('alter table outbox rename to %I', part);
        execute format('create table outbox (like %I including defaults) partition by range (created_at)', part);
        execute format(
            'alter table outbox alter column position add generated always as identity (start with %s)', next_position
        );
        execute format('alter table outbox attach partition %I for values from (minvalue) to (%L)', part, bound);
        execute format('alter table %I drop constraint ck_outbox_bound', part);
    end $$
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(BOUND)
        op.execute("set statement_timeout to '30min'")
        op.execute("alter table outbox validate constraint ck_outbox_bound")  # so that the exchange need not look
        op.execute("set statement_timeout to '60s'")
    op.execute(EXCHANGE)
    op.execute(ADD_PARTS)
    op.execute("select add_outbox_parts(extract(year from now())::integer + 2)")
