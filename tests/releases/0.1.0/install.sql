-- Install or upgrade the queue:  psql -X -d rpa_db -f db/install.sql
-- One transaction; running it again changes nothing.
--
-- To move the records of a table made by the contract's DDL over, in the same transaction (see adopt.sql):
--   psql -X -v adopt=public.processing_queue -v timezone=Europe/Berlin -f db/install.sql
--
-- This is the table of contents: top to bottom is the order in which things come to exist.
-- `pgconveyor install` reads the \ir lines below, so there is one order.

\set ON_ERROR_STOP on
\set known ''

begin;

-- What every run begins with: one installer at a time, the roles, the schema, the log of migrations.
-- Plain SQL: psql and the Python installer both run it.

set local client_min_messages = warning;
set local lock_timeout = '10s';

do $$
begin
    perform set_config('plpgsql.extra_errors', 'all', true);
    perform pg_advisory_xact_lock(hashtextextended('conveyor.install', 0));
exception
    when lock_not_available then
        raise exception using
            errcode = 'lock_not_available',
            message = 'another session is installing in this database',
            hint    = 'Wait for it, then try again; its pid has an advisory lock in pg_locks.';
end;
$$;

-- Whoever waits for a table makes every claim wait behind it: give up soon rather than hold up the workers.
set local lock_timeout = '3s';

do $$
begin
    -- Roles belong to the cluster: an installer in another database may create the same one at this
    -- moment.  By the time that is an error it has committed, so the next round finds its roles.
    loop
        begin
            if to_regrole('conveyor_owner') is null then
                create role conveyor_owner nologin;
            end if;
            if to_regrole('conveyor_producer') is null then
                create role conveyor_producer nologin;
            end if;
            if to_regrole('conveyor_worker') is null then
                create role conveyor_worker nologin;
            end if;
            if to_regrole('conveyor_viewer') is null then
                create role conveyor_viewer nologin;
            end if;
            if to_regrole('conveyor_operator') is null then
                create role conveyor_operator nologin;
            end if;
            exit;
        exception
            when duplicate_object or unique_violation then
                null;
            when insufficient_privilege then
                raise warning 'role % may not create roles: grants are left out', current_user
                    using hint = 'Let a role with createrole run this once more.';
                exit;
        end;
    end loop;
end;
$$;

do $$
declare
    v_owner text;
begin
    if to_regnamespace('conveyor') is null then
        begin
            if to_regrole('conveyor_owner') is not null and not pg_has_role('conveyor_owner', 'usage') then
                grant conveyor_owner to current_user;
            end if;
            create schema conveyor authorization conveyor_owner;
        exception
            when insufficient_privilege or undefined_object then
                if not has_database_privilege(current_database(), 'create') then
                    raise exception using
                        errcode = 'insufficient_privilege',
                        message = format('role %s may not create a schema in %s', current_user, current_database()),
                        hint    = format(
                            'Install as the owner of the database, or: grant create on database %I to %I.',
                            current_database(), current_user
                        );
                end if;
                raise warning 'role % may not act as conveyor_owner: the schema belongs to it instead', current_user
                    using hint = format('Before the first install, grant conveyor_owner to %I.', current_user);
                create schema conveyor;
        end;
        comment on schema conveyor is
            'pgconveyor: a processing queue. The functions are the interface: \df conveyor.* lists them, their comments say '
            'what each does.';
    end if;

    -- From here on everything is made by, and belongs to, the owner of the schema.
    perform set_config('conveyor.installer', current_user::text, true);
    v_owner := (select pg_get_userbyid(n.nspowner) from pg_namespace as n where n.nspname = 'conveyor');
    perform set_config('role', v_owner, true);
exception
    when insufficient_privilege then
        if v_owner is null then
            raise;
        end if;
        raise exception using
            errcode = 'insufficient_privilege',
            message = format('the queue belongs to role %s, and role %s may not act as it', v_owner, current_user),
            hint    = format('Install as a role that may, or: grant %I to %I.', v_owner, current_user);
end;
$$;

create table if not exists conveyor.migration (
    name       text        not null constraint migration_pkey primary key,
    breaking   boolean     not null default false,
    applied_at timestamptz not null default clock_timestamp()
);

comment on table conveyor.migration is 'One row for each file of db/migrations that this database has run.';
comment on column conveyor.migration.breaking is 'Clients that do not know this migration must refuse to work.';

-- versioned: each runs once, in this order, and is never edited afterwards
\set migration 0001_processing_queue
-- Run migrations/:migration.sql unless conveyor.migration says that it has run.  For psql; install.py does the same.
-- A migration that older clients must refuse says so itself, by inserting its own row with breaking = true.

\set known :known , :migration

select not exists (
    select from conveyor.migration where name = :'migration'
) as is_pending
\gset

\if :is_pending
-- The queue.  One row is one record; this is the life of it:
--
--              claim                     complete
--  pending  ----------->  processing  ----------->  completed
--     ^  ^                 |   |   |
--     |  +---- release ----+   |   +---- fail ----> failed (error)     or pending again at run_at, if the flow retries
--     +------- orphaned -------+         crash budget used up -------> failed (crashed)
--
--  failed (error)  -- reset_failed_records --> pending, counts kept
--  failed (any)    -- requeue_records -------> pending, counts zeroed
--  pending, processing -- cancel_records ----> failed (cancelled)

create sequence conveyor.claim_token as bigint;
comment on sequence conveyor.claim_token is
    'The growing part of claim tokens. Owned by no table, so that truncate … restart identity does not repeat them.';

create table conveyor.processing_queue (
    id               bigint      not null generated by default as identity,
    flow_name        text        not null,
    payload          jsonb       not null,
    status           text        not null default 'pending',
    flow_instance_id text,
    claimed_at       timestamptz,
    completed_at     timestamptz,
    error_message    text,
    retry_count      integer     not null default 0,
    created_at       timestamptz not null default clock_timestamp(),
    updated_at       timestamptz not null default clock_timestamp(),
    priority         smallint    not null default 0,
    run_at           timestamptz,
    dedup_key        text,
    claim_token      bigint,
    lease_expires_at timestamptz,
    heartbeat_at     timestamptz,
    crash_count      integer     not null default 0,
    failure_kind     text,
    input            jsonb,
    constraint processing_queue_pkey primary key (id),
    -- Checks forbid only what would break the queue: raw SQL is welcome here.
    constraint processing_queue_flow_name_valid check (length(flow_name) <= 100 and flow_name ~ '\S'),
    constraint processing_queue_status_valid check (status in ('pending', 'processing', 'completed', 'failed')),
    constraint processing_queue_failure_kind_valid check (failure_kind in ('error', 'crashed', 'cancelled')),
    constraint processing_queue_retry_count_valid check (retry_count >= 0),
    constraint processing_queue_crash_count_valid check (crash_count >= 0)
)
with (
    -- Every state change moves the row between partial indexes, so no update is HOT and room kept free on
    -- the pages would buy nothing.
    fillfactor = 100,
    -- A claim walks the dead entries of the records before it.  The default, a fifth of the table, means
    -- millions of them on a table that keeps its history.
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 5000,
    -- The hot functions force their plans; statistics serve reports.
    autovacuum_analyze_scale_factor = 0.05
);

comment on table conveyor.processing_queue is
    'The records: one row each, from enqueueing to the answer and after. Change state by the functions.';
comment on column conveyor.processing_queue.flow_name is 'Which queue the record is in.';
comment on column conveyor.processing_queue.payload is
    'What is asked; once completed, the answer (the question is in input).';
comment on column conveyor.processing_queue.flow_instance_id is 'Who claimed it last; stays when it is answered.';
comment on column conveyor.processing_queue.error_message is
    'The error of the last failed attempt; attempt has all of them.';
comment on column conveyor.processing_queue.retry_count is 'How often it failed or was orphaned.';
comment on column conveyor.processing_queue.priority is 'Higher goes first.';
comment on column conveyor.processing_queue.run_at is 'Not before; null: from created_at on.';
comment on column conveyor.processing_queue.dedup_key is 'Unique in the flow while the record exists.';
comment on column conveyor.processing_queue.claim_token is
    'Fences the holder''s writes. Stays on an answered record, so that the same answer is accepted again.';
comment on column conveyor.processing_queue.lease_expires_at is
    'Until when the holder may answer unasked; null: nobody holds it, and no token is good.';
comment on column conveyor.processing_queue.heartbeat_at is 'When the holder last extended its lease.';
comment on column conveyor.processing_queue.crash_count is 'How many leases ended without an answer.';
comment on column conveyor.processing_queue.failure_kind is
    'Why it is failed: error (the handler said so; null means the same), crashed (budget used up), cancelled.';
comment on column conveyor.processing_queue.input is
    'What was asked, once payload has the answer (see flow.keep_input).';

-- The order of claims.  Every column ascends (rank = -priority), so that one row comparison starts a scan anywhere.
create index idx_processing_queue_pending on conveyor.processing_queue
    (flow_name, (-priority::integer), coalesce(run_at, created_at), id)
    where status = 'pending';
-- Ended leases for maintain(), and a claim's own records.
create index idx_processing_queue_processing on conveyor.processing_queue (lease_expires_at)
    where status = 'processing';
-- Listing, resetting and purging failures; nothing on the way from claim to completion touches it.
create index idx_processing_queue_failed on conveyor.processing_queue (flow_name, id)
    where status = 'failed';
-- Reports over a window of time, and purging.
create index idx_processing_queue_completed on conveyor.processing_queue (flow_name, completed_at)
    where status = 'completed';
create unique index idx_processing_queue_dedup_key on conveyor.processing_queue (flow_name, dedup_key)
    where dedup_key is not null;

create table conveyor.flow (
    flow_name     text     not null,
    lease         interval not null default '1 hour',
    max_retries   integer           default 3,
    retry_delay   interval,
    retry_backoff numeric  not null default 2,
    crash_budget  integer           default 5,
    keep_input    boolean  not null default true,
    constraint flow_pkey primary key (flow_name),
    constraint flow_flow_name_valid check (length(flow_name) <= 100 and flow_name ~ '\S'),
    constraint flow_lease_valid check (lease > '0'),
    constraint flow_max_retries_valid check (max_retries >= 0),
    constraint flow_retry_delay_valid check (retry_delay >= '0'),
    constraint flow_retry_backoff_valid check (retry_backoff between 1 and 100),
    constraint flow_crash_budget_valid check (crash_budget >= 1)
);

comment on table conveyor.flow is
    'Settings of flows that differ from the defaults. Optional: a flow without a row has the defaults of this table.';
comment on column conveyor.flow.lease is 'How long a claim lasts that does not say otherwise.';
comment on column conveyor.flow.max_retries is 'How many automatic retries a record gets; null: no limit.';
comment on column conveyor.flow.retry_delay is 'Wait before the first automatic retry; null: a failure is final.';
comment on column conveyor.flow.retry_backoff is 'Each further wait is so many times longer, up to a day.';
comment on column conveyor.flow.crash_budget is
    'So many leases may end without an answer before the record is failed; null: no limit.';
comment on column conveyor.flow.keep_input is 'Keep what was asked in input when payload takes the answer.';

create table conveyor.attempt (
    attempt_id       bigint      not null generated always as identity,
    record_id        bigint      not null,
    claim_token      bigint,
    outcome          text        not null,
    error            text,
    error_type       text,
    context          jsonb,
    flow_instance_id text,
    claimed_at       timestamptz,
    ended_at         timestamptz not null default clock_timestamp(),
    constraint attempt_pkey primary key (attempt_id),
    constraint attempt_record_token_key unique (record_id, claim_token),
    constraint attempt_outcome_valid check (outcome in ('failed', 'released', 'orphaned', 'cancelled'))
);

comment on table conveyor.attempt is
    'One row for each attempt that did not complete. No foreign key: truncate of the queue must stay possible.';
comment on column conveyor.attempt.claim_token is
    'With record_id, how a repeated answer is recognised; null for a record that was put into processing by hand.';
comment on column conveyor.attempt.context is 'What the handler said beside the error.';

create table conveyor.error_code (
    sqlstate      text not null,
    name          text not null,
    meaning       text not null,
    client_action text not null,
    constraint error_code_pkey primary key (sqlstate),
    constraint error_code_sqlstate_valid check (sqlstate ~ '^WQ[0-9]{3}$')
);

comment on table conveyor.error_code is 'Every SQLSTATE of class WQ: the registry that clients may rely on.';

-- Where a session's next claim of a flow, or look for ended leases, starts.  Kept in a session setting: nothing is
-- written, nobody waits, and what is rolled back takes its floor back.  A hint, used only where much had to be
-- skipped; what sorts before it is found by the next look from the start.
create type conveyor.scan_floor as (
    rank      integer,
    due_at    timestamptz,
    id        bigint,
    looked_at timestamptz,
    look_took interval
);

comment on type conveyor.scan_floor is
    'A place in claim order, and when this session last looked from the start and how long it took.';
    insert into conveyor.migration (name) values (:'migration') on conflict do nothing;
\endif
\set migration 0002_exact_counts
-- Run migrations/:migration.sql unless conveyor.migration says that it has run.  For psql; install.py does the same.
-- A migration that older clients must refuse says so itself, by inserting its own row with breaking = true.

\set known :known , :migration

select not exists (
    select from conveyor.migration where name = :'migration'
) as is_pending
\gset

\if :is_pending
-- Counts that are exact after any statement by any client, without counting history: statement triggers write one
-- delta for each statement and flow, and the count is the sum of the deltas.  Folding replaces deltas by their sum in
-- one transaction, so a reader sees either, never both.  No row is updated by claims or answers.

create table conveyor.count_delta (
    flow_name    text        not null,
    pending      bigint      not null,
    processing   bigint      not null,
    completed    bigint      not null,
    failed       bigint      not null,
    wait_seconds float8,
    run_seconds  float8,
    counted_at   timestamptz
)
with (
    -- Everything in it is deleted by the next fold.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000
);

comment on table conveyor.count_delta is
    'By how much a statement changed the counts of a flow; the counts are the sums. maintain() folds them.';
comment on column conveyor.count_delta.wait_seconds is
    'Time from due to claim, of the records that an update completed; null when rows only came or went.';
comment on column conveyor.count_delta.run_seconds is 'Time from claim to answer, of the records that it completed.';
comment on column conveyor.count_delta.counted_at is 'When; null for a sum, whose events are in flow_minute.';

create table conveyor.flow_minute (
    flow_name    text        not null,
    minute       timestamptz not null,
    completed    bigint      not null,
    failed       bigint      not null,
    wait_seconds float8      not null,
    run_seconds  float8      not null,
    constraint flow_minute_pkey primary key (minute, flow_name)
);

comment on table conveyor.flow_minute is
    'How many records of a flow were completed and failed in a minute, and how long they waited and ran in sum.';

-- A table that has rows is counted once.  Nobody writes meanwhile: a million rows take about a second.
lock table conveyor.processing_queue in share row exclusive mode;

insert into conveyor.count_delta (flow_name, pending, processing, completed, failed)
select
    q.flow_name,
    count(*) filter (where q.status = 'pending') as pending,
    count(*) filter (where q.status = 'processing') as processing,
    count(*) filter (where q.status = 'completed') as completed,
    count(*) filter (where q.status = 'failed') as failed
from conveyor.processing_queue as q
group by q.flow_name;

-- The functions of the triggers; their bodies are in functions/, and replaced there.
create function conveyor._count_inserted() returns trigger language plpgsql as 'begin return null; end';
create function conveyor._count_updated() returns trigger language plpgsql as 'begin return null; end';
create function conveyor._count_deleted() returns trigger language plpgsql as 'begin return null; end';
create function conveyor._count_truncated() returns trigger language plpgsql as 'begin return null; end';

create trigger count_inserted
    after insert on conveyor.processing_queue
    referencing new table as new_row
    for each statement execute function conveyor._count_inserted();

create trigger count_updated
    after update on conveyor.processing_queue
    referencing old table as old_row new table as new_row
    for each statement execute function conveyor._count_updated();

create trigger count_deleted
    after delete on conveyor.processing_queue
    referencing old table as old_row
    for each statement execute function conveyor._count_deleted();

create trigger count_truncated
    before truncate on conveyor.processing_queue
    for each statement execute function conveyor._count_truncated();
    insert into conveyor.migration (name) values (:'migration') on conflict do nothing;
\endif
\set migration 0003_operators
-- Run migrations/:migration.sql unless conveyor.migration says that it has run.  For psql; install.py does the same.
-- A migration that older clients must refuse says so itself, by inserting its own row with breaking = true.

\set known :known , :migration

select not exists (
    select from conveyor.migration where name = :'migration'
) as is_pending
\gset

\if :is_pending
-- What operators set: pausing, and how long completed records are kept.

alter table conveyor.flow
    add column paused_at timestamptz,
    add column retention interval,
    add constraint flow_retention_valid check (retention >= '0');

comment on column conveyor.flow.paused_at is 'Since when nothing of the flow is claimed; null: it runs.';
comment on column conveyor.flow.retention is 'Records completed longer ago are purged by maintain(); null: kept.';
    insert into conveyor.migration (name) values (:'migration') on conflict do nothing;
\endif
\set migration 0004_limits
-- Run migrations/:migration.sql unless conveyor.migration says that it has run.  For psql; install.py does the same.
-- A migration that older clients must refuse says so itself, by inserting its own row with breaking = true.

\set known :known , :migration

select not exists (
    select from conveyor.migration where name = :'migration'
) as is_pending
\gset

\if :is_pending
-- How large a payload may be.

alter table conveyor.flow
    add column payload_limit bigint default 16777216,
    add constraint flow_payload_limit_valid check (payload_limit > 0);

comment on column conveyor.flow.payload_limit is
    'So many bytes may a payload have that is added, as jsonb before compression; null: no limit.';

-- Signatures of before. "drop … if exists" would say of each new database that it has none.
do $$
begin
    if to_regprocedure('conveyor._check_payloads(jsonb)') is not null then
        drop function conveyor._check_payloads(jsonb);
        drop function conveyor._check_dedup_keys(text[]);
    end if;
end;
$$;
    insert into conveyor.migration (name) values (:'migration') on conflict do nothing;
\endif
\set migration 0005_crashes
-- Run migrations/:migration.sql unless conveyor.migration says that it has run.  For psql; install.py does the same.
-- A migration that older clients must refuse says so itself, by inserting its own row with breaking = true.

\set known :known , :migration

select not exists (
    select from conveyor.migration where name = :'migration'
) as is_pending
\gset

\if :is_pending
-- Records that end their workers: claims name the crash count, and health knows who crashed lately.

-- Its columns change; functions/claim_records_batch.sql makes it anew.
drop function if exists conveyor.claim_records_batch(text, integer, text, interval);

-- Nothing on the way from claim to completion touches it.
create index idx_processing_queue_crashed on conveyor.processing_queue (updated_at)
    where failure_kind = 'crashed';
    insert into conveyor.migration (name) values (:'migration') on conflict do nothing;
\endif

-- repeatable: everything below runs each time
-- For a client, once when it connects, and for an installer before its functions replace newer ones.
create or replace function conveyor.check_client(p_migrations text[])
    returns void
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_unknown constant text := (
        select string_agg(m.name, ', ' order by m.name)
        from conveyor.migration as m
        where m.breaking
            and (m.name = any (p_migrations)) is not true
    );
begin
    if p_migrations is null then
        perform conveyor._raise_invalid('p_migrations', null, 'the names of the migrations that the client knows');
    end if;
    if v_unknown is not null then
        raise exception using
            errcode = 'WQ901',
            message = format('this version of pgconveyor is too old for the database: it does not know %s', v_unknown),
            hint    = 'Upgrade pgconveyor to a version that has this migration.';
    end if;
end;
$$;

comment on function conveyor.check_client is
    'Raises WQ901 when the database has a breaking migration that is not among these, which the client knows.';
-- Refuse to put older functions over tables that a breaking migration has changed.  For psql; install.py does the same.

select conveyor.check_client(string_to_array(:'known', ','))
\gset

-- The error codes of the queue.  A code is never reused and a row is never removed.
-- errors.py has one exception for each; the conventions test keeps raised, documented and mapped equal.

insert into conveyor.error_code (sqlstate, name, meaning, client_action)
values
    -- WQ0nn  claimed records
    (
        'WQ001', 'claim_lost', 'the claim token no longer holds the record',
        'drop the result: the record was taken back, cancelled or answered'
    ),
    (
        'WQ002', 'record_not_found', 'no record has this id',
        'do not try again: the id is wrong, or the record was purged'
    ),
    (
        'WQ003', 'session_not_own', 'the session is shared by a pooler: a seat in it would stay with somebody else',
        'poll instead of parking, or connect directly'
    ),
    -- WQ9nn  installing
    (
        'WQ901', 'client_outdated', 'the database has a breaking migration that the client does not know',
        'upgrade the client'
    )
on conflict (sqlstate) do update
set name          = excluded.name,
    meaning       = excluded.meaning,
    client_action = excluded.client_action;

-- produce
-- Add one record.  With a dedup key that the flow already has, the record that has it is left as it is and
-- its id returned; a producer that adds the same key and has not committed is waited for.
create or replace function conveyor.add_record(
    p_flow_name text,
    p_payload   jsonb,
    p_priority  smallint    default 0,
    p_run_at    timestamptz default null,
    p_dedup_key text        default null
)
    returns bigint
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit bigint;
    v_id    bigint;
begin
    perform conveyor._check_flow_name(p_flow_name);
    if jsonb_typeof(p_payload) is distinct from 'object' then
        perform conveyor._raise_invalid('p_payload', p_payload::text, 'a JSON object');
    end if;
    v_limit := (conveyor._flow_settings(p_flow_name)).payload_limit;
    if conveyor._jsonb_size(p_payload) > v_limit then
        perform conveyor._raise_too_large('p_payload', conveyor._jsonb_size(p_payload), v_limit);
    end if;
    if p_dedup_key is not null then
        perform conveyor._check_dedup_keys('p_dedup_key', array[p_dedup_key]);
    end if;
    perform conveyor._check_schedule(p_priority, p_run_at);

    loop
        insert into conveyor.processing_queue (flow_name, payload, priority, run_at, dedup_key)
        values (p_flow_name, p_payload, p_priority, p_run_at, p_dedup_key)
        on conflict (flow_name, dedup_key) where dedup_key is not null do nothing
        returning id into v_id;
        exit when found;

        select q.id
        into v_id
        from conveyor.processing_queue as q
        where q.flow_name = p_flow_name
            and q.dedup_key = p_dedup_key;
        exit when found;  -- else it was purged in between: add it after all
    end loop;

    return v_id;
end;
$$;

comment on function conveyor.add_record is
    'Adds one record and returns its id, or the id of the record that has the dedup key.';
-- Add many records at once: all of them, or none.  Known dedup keys are passed over.
-- Keys are inserted in their own order, so that producers of overlapping keys cannot deadlock; ids are drawn in that
-- of the document, which claims follow.
create or replace function conveyor.add_records_to_queue(
    p_flow_name  text,
    p_payloads   jsonb,
    p_priority   smallint    default 0,
    p_run_at     timestamptz default null,
    p_dedup_keys text[]      default null
)
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_now   constant timestamptz := clock_timestamp();
    v_count integer;
begin
    perform conveyor._check_flow_name(p_flow_name);
    perform conveyor._check_payloads(p_payloads, (conveyor._flow_settings(p_flow_name)).payload_limit);
    perform conveyor._check_dedup_keys('p_dedup_keys[%s]', p_dedup_keys);
    perform conveyor._check_schedule(p_priority, p_run_at);
    if cardinality(p_dedup_keys) <> jsonb_array_length(p_payloads) then
        perform conveyor._raise_invalid(
            'the number of p_dedup_keys', cardinality(p_dedup_keys)::text,
            format('one key, or null, for each of the %s payloads', jsonb_array_length(p_payloads))
        );
    end if;

    insert into conveyor.processing_queue (id, flow_name, payload, created_at, priority, run_at, dedup_key)
    select n.id, p_flow_name, n.payload, v_now, p_priority, p_run_at, n.dedup_key
    from (
        select nextval('conveyor.processing_queue_id_seq') as id, p.payload, p.dedup_key
        from rows from (jsonb_array_elements(p_payloads), unnest(p_dedup_keys)) as p (payload, dedup_key)
        offset 0  -- or the ids would be drawn after the sort
    ) as n
    order by n.dedup_key, n.id
    on conflict (flow_name, dedup_key) where dedup_key is not null do nothing;

    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function conveyor.add_records_to_queue is
    'Adds a JSON array of payloads and returns the number of new records.';

-- claim
-- Hand up to p_batch_size records of a flow to one caller: highest priority first, then due time, then id.  Callers
-- never wait for each other and never get the same record.  When the lease ends maintain() gives the record to
-- somebody else, and this token stops working.
-- Walks the priority levels from the top: a seek finds the next level that has records, one statement takes from it.
-- Starts at the session's floor while there is one (see scan_floor).  A record that ended its claims twice without an
-- answer may be what ended its workers: it is handed out alone, or its neighbours would use up their crash budgets.
create or replace function conveyor.claim_records_batch(
    p_flow_name  text,
    p_batch_size integer,
    p_instance   text     default null,
    p_lease      interval default null
)
    returns table (
        id               bigint,
        payload          jsonb,
        retry_count      integer,
        created_at       timestamptz,
        claim_token      bigint,
        lease_expires_at timestamptz,
        crash_count      integer
    )
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    c_suspect   constant integer := 2;
    c_index     constant oid := 'conveyor.idx_processing_queue_pending'::regclass;
    v_now       constant timestamptz := clock_timestamp();
    v_flow      constant conveyor.flow := conveyor._flow_settings(p_flow_name);
    v_lease_end timestamptz;
    v_instance  constant text := coalesce(p_instance, conveyor._session_name());
    v_token     constant bigint := (nextval('conveyor.claim_token') << 20) | floor(random() * 1048576)::bigint;
    v_setting   constant text := conveyor._floor_setting(p_flow_name);
    v_floor     conveyor.scan_floor := conveyor._read_floor(v_setting);
    -- Not between: no floor, or the clock was set back.
    v_full      boolean := (v_now between v_floor.looked_at and conveyor._next_look(v_floor)) is not true;
    v_started   timestamptz := v_now;
    v_at        conveyor.scan_floor;
    v_read      bigint;
    v_pages     bigint;
    v_suspect   boolean;
    v_alone     boolean;
    v_levels    integer;
    v_count     integer;
    v_left      integer := p_batch_size;
begin
    if (p_batch_size between 1 and 100000) is not true then
        perform conveyor._raise_invalid('p_batch_size', p_batch_size::text, 'a number from 1 to 100000');
    end if;
    perform conveyor._check_lease(p_lease);
    if v_flow.paused_at is not null then
        return;
    end if;
    v_lease_end := v_now + coalesce(p_lease, v_flow.lease);

    loop
        v_read := pg_stat_get_xact_tuples_returned(c_index);
        v_pages := pg_stat_get_xact_blocks_fetched(c_index);
        v_levels := 0;
        v_at := case when v_full then row(-32768, '-infinity', 0, null, null)::conveyor.scan_floor else v_floor end;

        loop
            select -q.priority::integer, coalesce(q.run_at, q.created_at), q.id, q.crash_count >= c_suspect
            into v_at.rank, v_at.due_at, v_at.id, v_suspect
            from conveyor.processing_queue as q
            where q.flow_name = p_flow_name
                and q.status = 'pending'
                and (-q.priority::integer, coalesce(q.run_at, q.created_at), q.id) >= (v_at.rank, v_at.due_at, v_at.id)
            order by -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            limit 1;
            exit when not found;

            v_levels := v_levels + 1;
            if v_at.due_at <= v_now then
                v_alone := v_suspect and v_left = p_batch_size and v_alone is distinct from true;
                return query
                with claimed as (
                    update conveyor.processing_queue as q
                    set status           = 'processing',
                        claimed_at       = v_now,
                        updated_at       = v_now,
                        flow_instance_id = v_instance,
                        claim_token      = v_token,
                        lease_expires_at = v_lease_end,
                        heartbeat_at     = null
                    -- An array: "id in (select … for update)" ran again for each row, and took more than the limit.
                    where q.ctid = any (array(
                        select p.ctid
                        from conveyor.processing_queue as p
                        where p.flow_name = p_flow_name
                            and p.status = 'pending'
                            and -p.priority::integer = v_at.rank
                            and (coalesce(p.run_at, p.created_at), p.id) >= (v_at.due_at, v_at.id)
                            and coalesce(p.run_at, p.created_at) <= v_now
                            and (p.crash_count >= c_suspect) = v_alone
                        order by coalesce(p.run_at, p.created_at), p.id
                        limit case when v_alone then 1 else v_left end
                        for update skip locked
                    ))
                    returning q.id, q.payload, q.retry_count, q.created_at, q.run_at, q.crash_count
                )
                select c.id, c.payload, c.retry_count, c.created_at, v_token, v_lease_end, c.crash_count
                from claimed as c
                order by coalesce(c.run_at, c.created_at), c.id;

                get diagnostics v_count = row_count;
                v_left := case when v_alone and v_count = 1 then 0 else v_left - v_count end;
                exit when v_left = 0;
                continue when v_alone;  -- others have all suspects of this level: now the rest
            end if;
            -- On to the next level.
            v_at := row(v_at.rank, timestamptz 'infinity', 9223372036854775807, v_at.looked_at, v_at.look_took);
        end loop;

        -- Short from the floor: look once from the start, unless such looks are dear and the last one is fresh.
        exit when v_left = 0
            or v_full
            or clock_timestamp() < v_floor.looked_at + least(interval '1 s', 4 * v_floor.look_took);
        v_full := true;
        v_started := clock_timestamp();
    end loop;

    if v_left = p_batch_size then
        perform conveyor._check_flow_name(p_flow_name);  -- only here: one that no record can have finds none
    end if;

    -- Much skipped?  Entries count while they are not marked dead (an old snapshot), pages once they are.
    if pg_stat_get_xact_tuples_returned(c_index) - v_read >= 256 + 4 * p_batch_size::bigint + 2 * v_levels
        or pg_stat_get_xact_blocks_fetched(c_index) - v_pages >= 64 + p_batch_size / 16 + 8 * v_levels
    then
        if v_full then
            v_floor := row(coalesce(v_floor.rank, 0), coalesce(v_floor.due_at, v_now), coalesce(v_floor.id, 0),
                v_started, clock_timestamp() - v_started);
        end if;
        perform conveyor._raise_floor(v_setting, v_floor, v_token, v_lease_end);
    elsif v_full and v_floor is not null then
        perform set_config(v_setting, '', false);
    end if;
end;
$$;

comment on function conveyor.claim_records_batch is
    'Claims up to p_batch_size records for p_lease (default: the flow''s), in order; no row: none is ready.';
-- When a claim in this session may next find a record: the earliest due time over the priority levels, which may have
-- passed already; null when nothing is pending, infinity while the flow is paused.  Starts at the session's floor, so
-- call it in the session that claims, and answers no later than that session's next look from the start.
create or replace function conveyor.next_due_at(p_flow_name text)
    returns timestamptz
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
declare
    v_floor constant conveyor.scan_floor := conveyor._read_floor(conveyor._floor_setting(p_flow_name));
    v_due   timestamptz;
begin
    perform conveyor._check_flow_name(p_flow_name);
    if (conveyor._flow_settings(p_flow_name)).paused_at is not null then
        return timestamptz 'infinity';
    end if;

    with recursive level (rank, due_at, id) as (
        (
            select -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            from conveyor.processing_queue as q
            where q.flow_name = p_flow_name
                and q.status = 'pending'
                and (-q.priority::integer, coalesce(q.run_at, q.created_at), q.id)
                >= (coalesce(v_floor.rank, -32768), coalesce(v_floor.due_at, '-infinity'), coalesce(v_floor.id, 0))
            order by -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            limit 1
        )
        union all
        select n.rank, n.due_at, n.id
        from level as l
        cross join lateral (
            select -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            from conveyor.processing_queue as q
            where q.flow_name = p_flow_name
                and q.status = 'pending'
                and (-q.priority::integer, coalesce(q.run_at, q.created_at), q.id)
                > (l.rank, timestamptz 'infinity', 9223372036854775807)
            order by -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            limit 1
        ) as n (rank, due_at, id)
    )
    select min(l.due_at)
    into v_due
    from level as l;

    return least(v_due, conveyor._next_look(v_floor));
end;
$$;

comment on function conveyor.next_due_at is
    'When a claim in this session may next find a record of the flow; null: nothing is pending; infinity: paused.';
-- Heartbeat: one call for everything a worker holds.  Never shortens a lease.  A record that is locked (its handler
-- is completing it in a transaction of its own) is not waited for and keeps the lease it has.
create or replace function conveyor.extend_leases(
    p_ids    bigint[],
    p_tokens bigint[],
    p_lease  interval default null
)
    returns table (id bigint, lease_expires_at timestamptz)
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
    set enable_nestloop = off
    set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_now constant timestamptz := clock_timestamp();
begin
    perform conveyor._check_answers(p_ids, p_tokens);
    perform conveyor._check_lease(p_lease);

    with held as materialized (
        select q.id
        from conveyor.processing_queue as q
        join unnest(p_ids, p_tokens) as a (id, token)
            on q.id = a.id
                and q.claim_token = a.token
        where q.id = any (p_ids)
            and q.lease_expires_at is not null
            and q.status not in ('pending', 'completed', 'failed')
        for update of q skip locked
    )
    update conveyor.processing_queue as q
    set lease_expires_at = greatest(
            q.lease_expires_at,
            v_now + coalesce(p_lease, (conveyor._flow_settings(q.flow_name)).lease)
        ),
        heartbeat_at     = v_now
    from held as h
    where q.id = any (p_ids)
        and q.id = h.id;

    return query
    select a.id, q.lease_expires_at
    from unnest(p_ids, p_tokens) with ordinality as a (id, token, position)
    left join conveyor.processing_queue as q
        on q.id = a.id
            and q.id = any (p_ids)
            and q.claim_token = a.token
            and q.lease_expires_at is not null
            and q.status not in ('pending', 'completed', 'failed')
    order by a.position;
end;
$$;

comment on function conveyor.extend_leases is
    'Extends leases to p_lease (default: the flow''s) from now; null for a record whose claim is lost.';
-- Give records back untouched: nothing is charged, the place in the order is the old one.  Fenced and repeatable
-- like the answers.  Locks in id order.
create or replace function conveyor.release_records(
    p_ids    bigint[],
    p_tokens bigint[]
)
    returns table (id bigint, outcome text)
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
    set enable_nestloop = off
    set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_now  constant timestamptz := clock_timestamp();
    v_done bigint[];
    v_done_tokens bigint[];
begin
    perform conveyor._check_answers(p_ids, p_tokens);

    with answer as materialized (
        select distinct a.id, a.token
        from unnest(p_ids, p_tokens) as a (id, token)
    ),
    held as materialized (
        select q.id, q.claim_token, q.flow_instance_id, q.claimed_at
        from conveyor.processing_queue as q
        join answer as a
            on q.id = a.id
                and q.claim_token = a.token
        where q.id = any (p_ids)
            and q.lease_expires_at is not null
            and q.status not in ('pending', 'completed', 'failed')
        order by q.id
        for update of q
    ),
    logged as (
        insert into conveyor.attempt (record_id, claim_token, outcome, flow_instance_id, claimed_at, ended_at)
        select h.id, h.claim_token, 'released', h.flow_instance_id, h.claimed_at, v_now
        from held as h
        on conflict (record_id, claim_token) do nothing
    ),
    done as (
        update conveyor.processing_queue as q
        set status           = 'pending',
            updated_at       = v_now,
            lease_expires_at = null,
            claim_token      = null,
            flow_instance_id = null,
            claimed_at       = null
        from held as h
        where q.id = any (p_ids)
            and q.id = h.id
        returning q.id, h.claim_token as token
    )
    select array_agg(d.id), array_agg(d.token)
    into v_done, v_done_tokens
    from done as d;

    return query
    select o.id, o.outcome
    from conveyor._answer_outcomes(p_ids, p_tokens, v_done, v_done_tokens, 'released') as o;
end;
$$;

comment on function conveyor.release_records is
    'Puts claimed records back to pending, uncharged; outcome done, repeated or lost for each id, in order.';
-- What became of claimed records, whoever asks and whatever became of the claimer: from the queue and the log of
-- attempts, in the order given.  By id and token, because an index on tokens would be written at each claim.
create or replace function conveyor.get_claim_summary(p_ids bigint[], p_tokens bigint[])
    returns table (
        id         bigint,
        outcome    text,
        error      text,
        error_type text
    )
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform conveyor._check_answers(p_ids, p_tokens);

    return query
    select
        a.id,
        case
            when q.status = 'completed' then 'completed'
            when t.outcome is not null then t.outcome
            when q.status = 'processing' and q.lease_expires_at is not null then 'processing'
            else 'lost'
        end,
        t.error,
        t.error_type
    from unnest(p_ids, p_tokens) with ordinality as a (id, token, position)
    left join conveyor.processing_queue as q
        on q.id = a.id
            and q.claim_token = a.token
    left join conveyor.attempt as t
        on t.record_id = a.id
            and t.claim_token = a.token
    order by a.position;
end;
$$;

comment on function conveyor.get_claim_summary is
    'For each claimed record: completed, failed, released, orphaned, cancelled, processing, or lost without a trace.';

-- wake
-- A place is what a worker can wait for: a flow and a reason.  Its parts are seats, 0 and up, and a door, -1.
create or replace function conveyor._wake_key(p_flow_name text, p_reason text, p_part integer)
    returns bigint
    language sql
    immutable strict parallel safe
return hashtextextended(p_flow_name, hashtext(p_reason)::bigint * 1024 + p_part);

comment on function conveyor._wake_key is 'The advisory lock of a part of a place.';
create or replace function conveyor._wake_channel(p_flow_name text, p_reason text, p_part integer)
    returns text
    language sql
    immutable strict parallel safe
return 'conveyor_' || to_hex(conveyor._wake_key(p_flow_name, p_reason, p_part));

comment on function conveyor._wake_channel is 'Where whoever sits on that seat listens.';
-- Before a worker sleeps: take or keep a seat at every place it waits at, in a session of its own, outside any
-- transaction block.  A place is a flow and a reason: empty, paused.
--
-- p_held and p_closed are what the call before returned, null and false at first.  confirmed false: call again.  Then
-- look for records, in a later transaction; only then sleep until a notification.  seat null: all seats are taken,
-- poll.  Seat 0 with door_closed false: producers are in flight; look again within milliseconds, and call again.
-- p_closed null opens a closed door: who is rung in vain again and again rather looks now and then.
--
-- Behind a pooler that changes sessions the locks would stay with somebody else's connection: p_client_pid is what the
-- client's library says the backend is (null: it has made sure that the session stays its own).
create or replace function conveyor.park(
    p_flow_names text[],
    p_reasons    text[],
    p_held       integer[],
    p_closed     boolean[],
    p_client_pid integer,
    p_size       integer default 8
)
    returns table (flow_name text, reason text, seat integer, door_closed boolean, confirmed boolean)
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform conveyor._check_places(p_flow_names, p_reasons, p_size);
    if cardinality(p_held) is distinct from cardinality(p_flow_names)
        or cardinality(p_closed) is distinct from cardinality(p_flow_names)
    then
        perform conveyor._raise_invalid(
            'the number of p_held and p_closed', format('%s and %s', cardinality(p_held), cardinality(p_closed)),
            format('one for each of the %s flows', cardinality(p_flow_names))
        );
    end if;
    if p_client_pid <> pg_backend_pid() then
        raise exception using
            errcode = 'WQ003',
            message = format(
                'this session is not the client''s own: the client was told backend %s, and this is %s',
                p_client_pid, pg_backend_pid()
            ),
            hint = 'A connection pooler is in between: poll instead of parking, or connect directly.';
    end if;

    return query
    select p.flow_name, p.reason, s.seat, s.door_closed, s.confirmed
    from unnest(p_flow_names, p_reasons, p_held, p_closed) as p (flow_name, reason, held, closed)
    cross join lateral conveyor._sit(p.flow_name, p.reason, p.held, p.closed, p_size) as s;
end;
$$;

comment on function conveyor.park is
    'Registers this session as a sleeper at these places, to be notified. Raises WQ003 behind a pooler.';
-- A worker that found records gets up.  Its seats are free before it reads the others: a sleeper that is too late to be
-- seen here finds seat 0 empty (see _sit).  It gives back all locks and channels of the session.
--
-- Give all places where it sat.  Where nobody is on seat 0 now it calls one sleeper, who answers for the place from now
-- on: also one that sat elsewhere, for it may have been called in these moments, or have kept a sleeper from seat 0 by
-- reading it.  p_wakes: at least so many.  After full batches of p_batch records it calls as many as the records that
-- are left would keep busy.
create or replace function conveyor.leave(
    p_flow_names text[],
    p_reasons    text[],
    p_wakes      integer[],
    p_batch      integer default null,
    p_size       integer default 8
)
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_called integer;
begin
    perform conveyor._check_places(p_flow_names, p_reasons, p_size);
    if cardinality(p_wakes) is distinct from cardinality(p_flow_names) then
        perform conveyor._raise_invalid(
            'the number of p_wakes', cardinality(p_wakes)::text,
            format('one for each of the %s flows', cardinality(p_flow_names))
        );
    end if;
    if p_batch not between 1 and 100000 then
        perform conveyor._raise_invalid('p_batch', p_batch::text, 'null, or a number from 1 to 100000');
    end if;
    unlisten *;
    perform pg_advisory_unlock_all();

    with taken as materialized (
        select
            p.flow_name, p.reason, s.seat,
            row_number() over (partition by p.flow_name, p.reason order by s.seat) as nth
        from unnest(p_flow_names, p_reasons) as p (flow_name, reason)
        cross join generate_series(0, p_size - 1) as s (seat)
        where conveyor._is_taken(conveyor._wake_key(p.flow_name, p.reason, s.seat))
    ),
    wanted as materialized (
        select
            p.flow_name,
            p.reason,
            greatest(
                p.wakes,
                case when p.reason = 'empty'
                    then ceil(conveyor._count_due(p.flow_name, p_batch * p_size) / p_batch::numeric)
                end,
                case when (p.flow_name, p.reason, 0) not in (select t.flow_name, t.reason, t.seat from taken as t)
                    then 1
                end
            ) as wakes
        from unnest(p_flow_names, p_reasons, p_wakes) as p (flow_name, reason, wakes)
        where exists (select from taken)
    ),
    called as materialized (
        select pg_notify(conveyor._wake_channel(t.flow_name, t.reason, t.seat), '')
        from taken as t
        join wanted as w using (flow_name, reason)
        where t.nth <= w.wakes
    )
    select count(*)
    into v_called
    from called;
    return v_called;
end;
$$;

comment on function conveyor.leave is 'Gives up all seats of this session, and calls other sleepers in its stead.';

-- answer
-- Complete one record.  May be called in the caller's own transaction: then the caller's writes and the completion
-- commit together, or not at all.
create or replace function conveyor.mark_record_completed(
    p_id     bigint,
    p_result jsonb,
    p_token  bigint
)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform
    from conveyor.mark_records_completed(array[p_id], jsonb_build_array(coalesce(p_result, '{}')), array[p_token]) as o
    where o.outcome = 'lost';

    if found then
        perform conveyor._raise_claim_lost(p_id, p_token);
    end if;
end;
$$;

comment on function conveyor.mark_record_completed is
    'Completes a record that p_token still holds; a null result is {}. May be repeated. Raises WQ001 or WQ002.';
-- Complete many records.  Each is fenced by its token; what is lost is reported and holds up nobody else.
-- The same answer may be sent again.  Locks in id order.
--
-- The guard says "not pending, completed or failed" (after raw SQL a lease may be left behind), not "processing":
-- that would invite a plan over the partial index and everything dead in it.  The join is forced, because the plan is
-- kept while the table grows, and work_mem is large, because a hash join that spills would lock in another order; it
-- is used only as far as the results need it.
create or replace function conveyor.mark_records_completed(
    p_ids     bigint[],
    p_results jsonb,
    p_tokens  bigint[]
)
    returns table (id bigint, outcome text)
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
    set enable_nestloop = off
    set enable_mergejoin = off
    set work_mem = '1GB'
as $$
#variable_conflict use_column
declare
    v_now         constant timestamptz := clock_timestamp();
    v_done        bigint[];
    v_done_tokens bigint[];
begin
    perform conveyor._check_answers(p_ids, p_tokens, 'p_results', p_results);

    with answer as (
        select distinct on (a.id, a.token) a.id, a.token, a.result
        from rows from (unnest(p_ids), unnest(p_tokens), jsonb_array_elements(p_results))
            with ordinality as a (id, token, result, position)
        order by a.id, a.token, a.position  -- of an id that comes twice, the first answer counts
    ),
    done as (
        update conveyor.processing_queue as q
        set status           = 'completed',
            completed_at     = v_now,
            updated_at       = v_now,
            lease_expires_at = null,
            error_message    = null,
            failure_kind     = null,
            payload          = a.result,
            -- A record reset by hand after it was completed still has its first question here.
            input            = case
                when q.flow_name = any (array(select f.flow_name from conveyor.flow as f where not f.keep_input))
                    then null
                else coalesce(q.input, q.payload)
            end
        from answer as a
        where q.id = any (p_ids)
            and q.id = a.id
            and q.claim_token = a.token
            and q.lease_expires_at is not null
            and q.status not in ('pending', 'completed', 'failed')
        returning q.id, a.token as token
    )
    select array_agg(d.id), array_agg(d.token)
    into v_done, v_done_tokens
    from done as d;

    -- Nearly always; a call of _answer_outcomes would cost more than saying so.
    if cardinality(v_done) = cardinality(p_ids) then
        return query
        select a.id, 'done'
        from unnest(p_ids) as a (id);
        return;
    end if;

    return query
    select o.id, o.outcome
    from conveyor._answer_outcomes(p_ids, p_tokens, v_done, v_done_tokens, 'completed') as o;
end;
$$;

comment on function conveyor.mark_records_completed is
    'Stores a JSON array of results and completes their records; outcome done, repeated or lost for each id, in order.';
-- Fail one record; see mark_records_failed.
create or replace function conveyor.mark_record_failed(
    p_id         bigint,
    p_error      text,
    p_token      bigint,
    p_error_type text    default null,
    p_context    jsonb   default null,
    p_permanent  boolean default false
)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    if p_error is null then
        perform conveyor._raise_invalid('p_error', null, 'a text; an empty one will do');
    end if;

    perform
    from conveyor.mark_records_failed(
        array[p_id],
        jsonb_build_array(jsonb_build_object(
            'error', conveyor._cut(p_error, 10000),  -- here too: jsonb has limits of its own
            'error_type', conveyor._cut(p_error_type, 200),
            'context', conveyor._cut_context(p_context),
            'permanent', p_permanent
        )),
        array[p_token]
    ) as o
    where o.outcome = 'lost';

    if found then
        perform conveyor._raise_claim_lost(p_id, p_token);
    end if;
end;
$$;

comment on function conveyor.mark_record_failed is
    'Fails a record that p_token still holds; p_permanent: without retry. May be repeated. Raises WQ001 or WQ002.';
-- Fail many records: each goes back to pending when its flow retries and may again, else to failed.  Fenced and
-- repeatable like mark_records_completed.  What is too long to keep is cut, never refused.  Locks in id order.
create or replace function conveyor.mark_records_failed(
    p_ids    bigint[],
    p_errors jsonb,
    p_tokens bigint[]
)
    returns table (id bigint, outcome text)
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
    set enable_nestloop = off
    set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_now  constant timestamptz := clock_timestamp();
    v_done bigint[];
    v_done_tokens bigint[];
begin
    perform conveyor._check_answers(p_ids, p_tokens, 'p_errors', p_errors);
    perform conveyor._check_errors(p_errors);

    with answer as materialized (
        select distinct on (a.id, a.token) a.id, a.token, a.error
        from rows from (unnest(p_ids), unnest(p_tokens), jsonb_array_elements(p_errors))
            with ordinality as a (id, token, error, position)
        order by a.id, a.token, a.position  -- of an id that comes twice, the first answer counts
    ),
    held as materialized (
        select q.id, q.claim_token, q.flow_instance_id, q.claimed_at, q.flow_name, q.retry_count, a.error
        from conveyor.processing_queue as q
        join answer as a
            on q.id = a.id
                and q.claim_token = a.token
        where q.id = any (p_ids)
            and q.lease_expires_at is not null
            and q.status not in ('pending', 'completed', 'failed')
        order by q.id
        for update of q
    ),
    verdict as materialized (
        select
            h.*,
            conveyor._cut(h.error ->> 'error', 10000) as message,
            case
                when not coalesce((h.error ->> 'permanent')::boolean, false)
                    and (f.max_retries is null or h.retry_count < f.max_retries)
                    then v_now + conveyor._retry_delay(f.retry_delay, f.retry_backoff, h.retry_count)
            end as retry_at
        from held as h
        cross join lateral conveyor._flow_settings(h.flow_name) as f
    ),
    logged as (
        insert into conveyor.attempt
            (record_id, claim_token, outcome, error, error_type, context, flow_instance_id, claimed_at, ended_at)
        select
            v.id, v.claim_token, 'failed', v.message, conveyor._cut(v.error ->> 'error_type', 200),
            conveyor._cut_context(nullif(v.error -> 'context', 'null')), v.flow_instance_id, v.claimed_at, v_now
        from verdict as v
        on conflict (record_id, claim_token) do nothing
    ),
    done as (
        update conveyor.processing_queue as q
        set status           = case when v.retry_at is null then 'failed' else 'pending' end,
            failure_kind     = case when v.retry_at is null then 'error' end,
            run_at           = coalesce(v.retry_at, q.run_at),
            error_message    = v.message,
            retry_count      = q.retry_count + 1,
            updated_at       = v_now,
            lease_expires_at = null,
            claim_token      = case when v.retry_at is null then q.claim_token end,
            flow_instance_id = case when v.retry_at is null then q.flow_instance_id end,
            claimed_at       = case when v.retry_at is null then q.claimed_at end
        from verdict as v
        where q.id = any (p_ids)
            and q.id = v.id
        returning q.id, v.claim_token as token
    )
    select array_agg(d.id), array_agg(d.token)
    into v_done, v_done_tokens
    from done as d;

    return query
    select o.id, o.outcome
    from conveyor._answer_outcomes(p_ids, p_tokens, v_done, v_done_tokens, 'failed') as o;
end;
$$;

comment on function conveyor.mark_records_failed is
    'Fails records with an array of {error, error_type?, context?, permanent?}; done, repeated or lost for each id.';

-- recover
-- Take back what nobody works on any more: ended leases and, with a timeout, whatever was neither claimed nor
-- heartbeated for so long.  Safe at any time, in any number: what an answer has locked is passed over.
create or replace function conveyor.cleanup_orphaned_records(
    p_timeout_hours numeric default null,
    p_flow_name     text    default null
)
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    if p_timeout_hours <= 0 or p_timeout_hours > 1000000 or p_timeout_hours = 'NaN' then
        perform conveyor._raise_invalid(
            'p_timeout_hours', p_timeout_hours::text,
            'hours above 0 (0.5 is half an hour), or null to go by leases alone'
        );
    end if;
    if p_flow_name is not null then
        perform conveyor._check_flow_name(p_flow_name);
    end if;

    return conveyor._return_orphans(
        conveyor._lock_orphans(p_timeout_hours * interval '1 hour', p_flow_name, null)
    );
end;
$$;

comment on function conveyor.cleanup_orphaned_records is
    'Takes back orphaned records, to pending or, over the crash budget, to failed; returns how many left processing.';
-- Failures for which the handler is to blame get another try; crashed and cancelled ones wait for requeue_records.
create or replace function conveyor.reset_failed_records(
    p_flow_name   text,
    p_max_retries integer default 3
)
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids bigint[];
begin
    perform conveyor._check_flow_name(p_flow_name);
    if (p_max_retries >= 0) is not true then
        perform conveyor._raise_invalid('p_max_retries', p_max_retries::text, 'a number from 0 up');
    end if;

    v_ids := array(
        select q.id
        from conveyor.processing_queue as q
        where q.flow_name = p_flow_name
            and q.status = 'failed'
            and coalesce(q.failure_kind, 'error') = 'error'
            and q.retry_count < p_max_retries
        order by q.id
        for update
    );
    return conveyor._return_failed(v_ids, false);
end;
$$;

comment on function conveyor.reset_failed_records is
    'Puts failed records with fewer than p_max_retries retries back to pending, counts kept; returns how many.';
-- An operator's decision: failed records of any kind start afresh.  Others are left alone.
create or replace function conveyor.requeue_records(p_ids bigint[])
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids bigint[];
begin
    if p_ids is null then
        perform conveyor._raise_invalid('p_ids', null, 'an array of record ids');
    end if;

    v_ids := array(
        select q.id
        from conveyor.processing_queue as q
        where q.id = any (p_ids)
            and q.status = 'failed'
        order by q.id
        for update
    );
    return conveyor._return_failed(v_ids, true);
end;
$$;

comment on function conveyor.requeue_records is
    'Puts failed records back to pending with their counts zeroed; returns how many.';
-- Give records up: pending ones are not claimed any more, and the holder of a claimed one learns with its next
-- heartbeat or answer that it lost it.  Waits for an answer that is just being committed.  Locks in id order.
create or replace function conveyor.cancel_records(
    p_ids    bigint[],
    p_reason text default null
)
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_now    constant timestamptz := clock_timestamp();
    v_reason constant text := conveyor._cut(p_reason, 10000);
    v_count  integer;
begin
    if p_ids is null then
        perform conveyor._raise_invalid('p_ids', null, 'an array of record ids');
    end if;

    with held as materialized (
        select q.id, q.status, q.claim_token, q.flow_instance_id, q.claimed_at
        from conveyor.processing_queue as q
        where q.id = any (p_ids)
            and q.status in ('pending', 'processing')
        order by q.id
        for update
    ),
    logged as (
        insert into conveyor.attempt
            (record_id, claim_token, outcome, error, flow_instance_id, claimed_at, ended_at)
        select h.id, h.claim_token, 'cancelled', v_reason, h.flow_instance_id, h.claimed_at, v_now
        from held as h
        where h.status = 'processing'
        on conflict (record_id, claim_token) do nothing
    )
    update conveyor.processing_queue as q
    set status           = 'failed',
        failure_kind     = 'cancelled',
        error_message    = coalesce(v_reason, 'cancelled'),
        updated_at       = v_now,
        lease_expires_at = null
    from held as h
    where q.id = h.id;

    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function conveyor.cancel_records is
    'Fails pending and processing records, kind cancelled, and revokes their claims; returns how many.';

-- observe
create or replace function conveyor.get_queue_status(p_flow_name text default null)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    if p_flow_name is not null then
        perform conveyor._check_flow_name(p_flow_name);
    end if;

    return (
        with counted as (
            select
                d.flow_name,
                sum(d.pending) as pending,
                sum(d.processing) as processing,
                sum(d.completed) as completed,
                sum(d.failed) as failed
            from conveyor.count_delta as d
            where p_flow_name is null
                or d.flow_name = p_flow_name
            group by d.flow_name
            having (sum(d.pending), sum(d.processing), sum(d.completed), sum(d.failed)) <> (0, 0, 0, 0)
        ),
        listed as (  -- a flow that was asked for is there even when it is empty
            select c.*
            from counted as c
            union all
            select p_flow_name, 0, 0, 0, 0
            where p_flow_name is not null
                and not exists (select from counted)
        )
        select jsonb_build_object(
            'total_records', coalesce(sum(l.pending + l.processing + l.completed + l.failed), 0),
            'pending_records', coalesce(sum(l.pending), 0),
            'processing_records', coalesce(sum(l.processing), 0),
            'completed_records', coalesce(sum(l.completed), 0),
            'failed_records', coalesce(sum(l.failed), 0),
            'by_flow', coalesce(
                jsonb_object_agg(
                    l.flow_name,
                    jsonb_build_object(
                        'pending', l.pending, 'processing', l.processing, 'completed', l.completed, 'failed', l.failed
                    )
                ),
                '{}'
            )
        )
        from listed as l
    );
end;
$$;

comment on function conveyor.get_queue_status is 'Counts of records by status, in total and by flow, in one snapshot.';
create or replace function conveyor.health_check()
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_status   constant jsonb := conveyor.get_queue_status();
    v_standby  constant boolean := pg_is_in_recovery();
    v_overdue  bigint;
    v_crashed  bigint;
    v_stranger text;
    v_problems text[];
begin
    select count(*)
    into v_overdue
    from conveyor.processing_queue as q
    where q.status = 'processing'
        and q.lease_expires_at < statement_timestamp() - interval '5 minutes';

    select count(*)
    into v_crashed
    from conveyor.processing_queue as q
    where q.failure_kind = 'crashed'
        and q.updated_at > statement_timestamp() - interval '1 day';

    -- Behind a pooler a session lock stays with a connection of the server when its client has gone.
    select format('seat %s of flow %s is held by process %s (%s)', s.seat, s.flow_name, s.pid, s.application_name)
    into v_stranger
    from conveyor.list_sleepers() as s
    where coalesce(s.application_name, '') !~ 'worker'
    limit 1;

    v_problems := array_remove(array[
        case when v_standby then 'the server is a standby: records can be neither added nor claimed' end,
        case when v_overdue > 0 then format(
            '%s records hold leases that ended more than 5 minutes ago: nobody calls maintain()', v_overdue
        ) end,
        case when v_crashed > 0 then format(
            '%s records were failed within a day because their claims kept ending without an answer: '
            'list_records shows them, requeue_records brings them back', v_crashed
        ) end,
        case when v_stranger is not null then format(
            '%s, which does not call itself a worker: if a pooler left it behind, pg_terminate_backend() frees it',
            v_stranger
        ) end
    ], null);

    return jsonb_build_object(
        'status', case when v_standby then 'unhealthy' when v_problems <> '{}' then 'degraded' else 'healthy' end,
        'queue_status', v_status - 'by_flow' - 'completed_records',
        'problems', to_jsonb(v_problems),
        'timestamp', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    );
end;
$$;

comment on function conveyor.health_check is
    'Whether the queue is healthy, degraded or unhealthy, why, and how many records it has.';
create or replace function conveyor.list_records(
    p_flow_name text,
    p_status    text    default null,
    p_after_id  bigint  default 0,
    p_limit     integer default 50
)
    returns table (
        id               bigint,
        status           text,
        priority         smallint,
        created_at       timestamptz,
        run_at           timestamptz,
        claimed_at       timestamptz,
        completed_at     timestamptz,
        lease_expires_at timestamptz,
        flow_instance_id text,
        retry_count      integer,
        crash_count      integer,
        failure_kind     text,
        error_message    text,
        dedup_key        text,
        payload          jsonb
    )
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform conveyor._check_flow_name(p_flow_name);
    if p_status not in ('pending', 'processing', 'completed', 'failed') then
        perform conveyor._raise_invalid(
            'p_status', p_status, 'pending, processing, completed, failed, or null for all'
        );
    end if;
    if (p_limit between 1 and 10000) is not true then
        perform conveyor._raise_invalid('p_limit', p_limit::text, 'a number from 1 to 10000');
    end if;

    return query
    select
        q.id,
        q.status,
        q.priority,
        q.created_at,
        q.run_at,
        q.claimed_at,
        q.completed_at,
        q.lease_expires_at,
        q.flow_instance_id,
        q.retry_count,
        q.crash_count,
        q.failure_kind,
        q.error_message,
        q.dedup_key,
        q.payload
    from conveyor.processing_queue as q
    where q.flow_name = p_flow_name
        and (p_status is null or q.status = p_status)
        and q.id > coalesce(p_after_id, 0)
    order by q.id
    limit p_limit;
end;
$$;

comment on function conveyor.list_records is
    'A page of the records of a flow, by id; the next page begins after the last id of this one.';
create or replace function conveyor.get_record(p_id bigint)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_record jsonb;
begin
    select to_jsonb(q) || jsonb_build_object(
        'attempts', coalesce(
            (
                select jsonb_agg(to_jsonb(t) - 'attempt_id' - 'record_id' order by t.attempt_id)
                from conveyor.attempt as t
                where t.record_id = q.id
            ),
            '[]'
        )
    )
    into v_record
    from conveyor.processing_queue as q
    where q.id = p_id;

    if not found then
        perform conveyor._raise_claim_lost(p_id, null);
    end if;
    return v_record;
end;
$$;

comment on function conveyor.get_record is
    'Everything about a record, with its attempts that did not complete. Raises WQ002.';
-- Says what stands between a record and its next claim.
create or replace function conveyor.why_not_claimed(p_id bigint)
    returns text
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_now    constant timestamptz := clock_timestamp();
    v_record conveyor.processing_queue;
    v_flow   conveyor.flow;
begin
    select q.*
    into v_record
    from conveyor.processing_queue as q
    where q.id = p_id;

    if not found then
        perform conveyor._raise_claim_lost(p_id, null);
    end if;
    v_flow := conveyor._flow_settings(v_record.flow_name);

    return format('Record %s ', p_id) || case
        when v_record.status = 'completed' then
            format(
                'was completed at %s by %s.',
                coalesce(v_record.completed_at, v_record.updated_at), coalesce(v_record.flow_instance_id, 'somebody')
            )
        when v_record.status = 'failed' then
            format(
                'failed (%s): %s. %s brings it back.', coalesce(v_record.failure_kind, 'error'),
                rtrim(left(coalesce(v_record.error_message, 'without a message'), 200), '.'),
                case coalesce(v_record.failure_kind, 'error')
                    when 'error' then 'reset_failed_records or requeue_records'
                    else 'requeue_records'
                end
            )
        when v_record.status = 'processing' and v_record.lease_expires_at is null then
            format(
                'was put into processing by hand; maintain() takes it back after %s.',
                coalesce(v_record.claimed_at, v_record.updated_at) + v_flow.lease
            )
        when v_record.status = 'processing' and v_record.lease_expires_at <= v_now then
            format(
                'is held by %s, whose lease ended at %s; the next maintain() takes it back.',
                coalesce(v_record.flow_instance_id, 'somebody'), v_record.lease_expires_at
            )
        when v_record.status = 'processing' then
            format(
                'is being worked on by %s; its lease ends at %s.',
                coalesce(v_record.flow_instance_id, 'somebody'), v_record.lease_expires_at
            )
        when v_flow.paused_at is not null then
            format('waits: flow %s is paused since %s.', v_record.flow_name, v_flow.paused_at)
        when coalesce(v_record.run_at, v_record.created_at) > v_now then
            format('is not due before %s.', coalesce(v_record.run_at, v_record.created_at))
        else conveyor._place_in_line(v_record)
    end;
end;
$$;

comment on function conveyor.why_not_claimed is 'Why a record is not being claimed, in one sentence. Raises WQ002.';
-- Read from the locks that park() takes.  Of flows that nobody knows, without a record and without settings, nothing is
-- listed.
create or replace function conveyor.list_sleepers(p_flow_name text default null, p_size integer default 8)
    returns table (
        flow_name        text,
        reason           text,
        seat             integer,
        door_closed      boolean,
        pid              integer,
        application_name text
    )
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if p_flow_name is not null then
        perform conveyor._check_flow_name(p_flow_name);
    end if;

    return query
    with held as materialized (
        select l.classid::bigint << 32 | l.objid::bigint as key, l.pid
        from pg_locks as l
        where l.locktype = 'advisory'
            and l.objsubid = 1
            and l.mode = 'ExclusiveLock'
            and l.granted
            and l.database = (select d.oid from pg_database as d where d.datname = current_database())
    ),
    flow as (
        select f.flow_name
        from conveyor.flow as f
        union
        select d.flow_name
        from conveyor.count_delta as d
    ),
    taken as (
        select f.flow_name, r.reason, s.seat, h.pid
        from flow as f
        cross join (values ('empty'), ('paused')) as r (reason)
        cross join generate_series(-1, p_size - 1) as s (seat)
        join held as h
            on h.key = conveyor._wake_key(f.flow_name, r.reason, s.seat)
        where exists (select from held)  -- or every key is computed for nothing
            and (p_flow_name is null or f.flow_name = p_flow_name)
    )
    select
        t.flow_name, t.reason, t.seat,
        exists (
            select
            from taken as d
            where d.flow_name = t.flow_name
                and d.reason = t.reason
                and d.seat = -1
        ),
        t.pid, a.application_name
    from taken as t
    left join pg_stat_get_activity(t.pid) as a
        on true
    where t.seat >= 0
    order by t.flow_name, t.reason, t.seat;
end;
$$;

comment on function conveyor.list_sleepers is
    'Who sleeps until there is work, for which flow and why; the door of the place is closed while somebody answers.';
-- queue_health is the worst of what _find_issues finds: critical, degraded (a warning), healthy; idle when nothing is
-- wrong, nothing is due or held, and nothing ended in the window.
create or replace function conveyor.queue_monitoring(
    p_include_detailed_metrics boolean default false,
    p_thresholds               jsonb   default '{}'
)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_at         constant timestamptz := clock_timestamp();
    v_thresholds constant jsonb := conveyor._monitoring_thresholds(p_thresholds);
    v_status     constant jsonb := conveyor.get_queue_status();
    v_issues     jsonb;
    v_worst      text;
    v_report     jsonb;
begin
    if p_include_detailed_metrics is null then
        perform conveyor._raise_invalid('p_include_detailed_metrics', null, 'true or false');
    end if;

    select
        jsonb_build_object(
            'operational_alerts', coalesce(jsonb_agg(format('%s: %s', i.severity, i.issue)), '[]'),
            'recommendations', coalesce(jsonb_agg(i.remedy), '[]')
        ),
        (array_agg(i.severity))[1]
    into v_issues, v_worst
    from conveyor._find_issues(v_at, v_thresholds) as i;

    select jsonb_build_object(
        'monitoring_timestamp', conveyor._iso_time(v_at),
        'overall_queue_status', v_status,
        'queue_health_assessment', jsonb_build_object(
            'queue_health', case
                when v_worst = 'critical' then 'critical'
                when v_worst = 'warning' then 'degraded'
                when sum(f.processing + f.completed_lately + f.failed_lately) > 0 or min(f.oldest_due_at) <= v_at
                    then 'healthy'
                else 'idle'
            end,
            'total_records', v_status -> 'total_records',
            'processed_in_window', coalesce(sum(f.completed_lately + f.failed_lately), 0),
            'failed_rate_percent', coalesce(
                round(100.0 * sum(f.failed_lately) / nullif(sum(f.completed_lately + f.failed_lately), 0), 2), 0
            ),
            'oldest_pending_minutes', greatest(
                round(extract(epoch from v_at - min(f.oldest_due_at) filter (where f.paused_at is null)) / 60, 1), 0
            ),
            'orphaned_records', coalesce(sum(f.orphaned), 0),
            'thresholds', v_thresholds,
            'assessment_timestamp', conveyor._iso_time(v_at)
        )
    )
    into v_report
    from conveyor._flow_health(v_at, v_thresholds) as f;

    return v_report || v_issues || case
        when p_include_detailed_metrics
            then jsonb_build_object('flow_specific_metrics', conveyor._flow_metrics(v_at, v_thresholds))
        else '{}' end;
end;
$$;

comment on function conveyor.queue_monitoring is
    'How the queue is (critical, degraded, healthy, idle), by which numbers, what is wrong, and what to call.';
create or replace function conveyor.processing_diagnostics(
    p_include_orphaned_analysis    boolean default false,
    p_include_performance_analysis boolean default false,
    p_thresholds                   jsonb   default '{}'
)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_at         constant timestamptz := clock_timestamp();
    v_thresholds constant jsonb := conveyor._monitoring_thresholds(p_thresholds);
    v_report     jsonb;
begin
    if p_include_orphaned_analysis is null then
        perform conveyor._raise_invalid('p_include_orphaned_analysis', null, 'true or false');
    elsif p_include_performance_analysis is null then
        perform conveyor._raise_invalid('p_include_performance_analysis', null, 'true or false');
    end if;

    select jsonb_build_object(
        'diagnostic_timestamp', conveyor._iso_time(v_at),
        'system_health', conveyor.health_check(),
        'database_diagnostics', conveyor._database_diagnostics(v_at),
        'worst_severity', coalesce((array_agg(i.severity))[1], 'none'),
        'issues_found', coalesce(jsonb_agg(format('%s: %s', i.severity, i.issue)), '[]'),
        'recommendations', coalesce(jsonb_agg(i.remedy), '[]')
    )
    into v_report
    from conveyor._find_issues(v_at, v_thresholds) as i;

    return v_report || case when p_include_orphaned_analysis then jsonb_build_object(
        'orphaned_records_analysis', conveyor._orphaned_analysis(v_at, v_thresholds)
    ) else '{}' end || case when p_include_performance_analysis then jsonb_build_object(
        'performance_analysis',
        conveyor.processing_performance(p_thresholds => p_thresholds) - array['alerts', 'recommendations']
    ) else '{}' end;
end;
$$;

comment on function conveyor.processing_diagnostics is
    'What is wrong with the queue and its server, the worst first, and which function mends it.';
-- Reads minutes, not history: throughput comes from flow_minute, which maintain() keeps for 30 days, and from what is
-- not folded yet; p50 and p95 from at most some 10,000 records.  The window begins at a whole minute.
create or replace function conveyor.processing_performance(
    p_time_window_hours      integer default 24,
    p_include_error_analysis boolean default false,
    p_thresholds             jsonb   default '{}'
)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_at         constant timestamptz := clock_timestamp();
    v_thresholds constant jsonb := conveyor._monitoring_thresholds(p_thresholds);
    v_since      timestamptz;
    v_report     jsonb;
begin
    if (p_time_window_hours between 1 and 720) is not true then
        perform conveyor._raise_invalid(
            'p_time_window_hours', p_time_window_hours::text, 'hours from 1 to 720: throughput is kept for 30 days'
        );
    elsif p_include_error_analysis is null then
        perform conveyor._raise_invalid('p_include_error_analysis', null, 'true or false');
    end if;
    v_since := date_trunc('minute', v_at - make_interval(hours => p_time_window_hours));

    select jsonb_build_object(
        'monitoring_timestamp', conveyor._iso_time(v_at),
        'time_window_hours', p_time_window_hours,
        'overall_metrics', jsonb_agg(p.metrics) filter (where p.flow_name is null) -> 0 || jsonb_build_object(
            'time_window', jsonb_build_object(
                'start_time', conveyor._iso_time(v_since), 'end_time', conveyor._iso_time(v_at),
                'duration_hours', round(extract(epoch from v_at - v_since) / 3600, 3)
            )
        ),
        'flow_specific_metrics',
        coalesce(jsonb_object_agg(p.flow_name, p.metrics) filter (where p.flow_name is not null), '{}'),
        'performance_trends', jsonb_build_object('hourly_trends', conveyor._hourly_trends(v_since))
    )
    into v_report
    from conveyor._performance(v_since, v_at) as p;

    return v_report || conveyor._performance_alerts(v_report, v_thresholds) || case
        when p_include_error_analysis then jsonb_build_object('error_analysis', conveyor._error_analysis(v_since))
        else '{}' end;
end;
$$;

comment on function conveyor.processing_performance is
    'Throughput, success, wait and run times (average, p50, p95) in the last hours, of all and by flow; errors.';

-- govern and keep
-- Set what differs from the defaults.  A key that is absent stays as it is; null turns off what can be off.
create or replace function conveyor.configure_flow(
    p_flow_name text,
    p_settings  jsonb
)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_flow conveyor.flow;
begin
    perform conveyor._check_flow_name(p_flow_name);
    perform conveyor._check_settings(p_settings);

    insert into conveyor.flow (flow_name)
    values (p_flow_name)
    on conflict (flow_name) do nothing;

    select f.*
    into strict v_flow
    from conveyor.flow as f
    where f.flow_name = p_flow_name
    for update;

    -- As the types of the table read them: 16MB is a number of bytes, 7.0 is 7.
    v_flow := jsonb_populate_record(v_flow, (
        select jsonb_object_agg(
            s.key,
            case
                when s.key = 'payload_limit' then to_jsonb(conveyor._to_bytes(s.value))
                when jsonb_typeof(s.value) = 'number' then to_jsonb(trim_scale(s.value::numeric))
                else s.value
            end
        )
        from jsonb_each(p_settings) as s
    ));

    update conveyor.flow as f
    set lease         = v_flow.lease,
        max_retries   = v_flow.max_retries,
        retry_delay   = v_flow.retry_delay,
        retry_backoff = v_flow.retry_backoff,
        crash_budget  = v_flow.crash_budget,
        keep_input    = v_flow.keep_input,
        retention     = v_flow.retention,
        payload_limit = v_flow.payload_limit
    where f.flow_name = p_flow_name;
end;
$$;

comment on function conveyor.configure_flow is
    'Sets lease, max_retries, retry_delay, retry_backoff, crash_budget, keep_input, retention, payload_limit.';
-- Claims find nothing from here on; what is claimed already goes on.
create or replace function conveyor.pause_flow(p_flow_name text)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform conveyor._check_flow_name(p_flow_name);

    insert into conveyor.flow as f (flow_name, paused_at)
    values (p_flow_name, clock_timestamp())
    on conflict (flow_name) do update
    set paused_at = coalesce(f.paused_at, excluded.paused_at);
end;
$$;

comment on function conveyor.pause_flow is
    'Stops claims of a flow until resume_flow; pausing again keeps the first time.';
create or replace function conveyor.resume_flow(p_flow_name text)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_rang boolean;
begin
    perform conveyor._check_flow_name(p_flow_name);

    update conveyor.flow as f
    set paused_at = null
    where f.flow_name = p_flow_name
        and f.paused_at is not null;

    if found then
        v_rang := conveyor._ring(array[p_flow_name], 'paused');
    end if;
end;
$$;

comment on function conveyor.resume_flow is
    'Lets a paused flow be claimed again; a flow that is not paused stays as it is.';
-- Housekeeping, a bounded portion a call: worker processes, pg_cron or an operator call it every few seconds.
-- Any number at once: one works, the others return.
--
-- again_in: a caller that comes back in so many seconds is in time.  A minute when there was nothing to do and nobody
-- holds a record; less where a flow's lease is shorter, or one could begin and end unseen.
create or replace function conveyor.maintain()
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    c_soon     constant integer := 5;
    c_late     constant integer := 60;
    v_orphaned bigint;
    v_folded   bigint;
    v_purged   bigint;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('conveyor.maintain', 0)) then
        return jsonb_build_object('worked', false, 'again_in', c_soon);
    end if;

    delete from conveyor.flow_minute as m
    where m.minute < clock_timestamp() - interval '30 days';

    v_orphaned := conveyor._return_orphans(conveyor._lock_orphans(null, null, 1000));
    v_folded := conveyor._fold_counts();

    select coalesce(sum(conveyor.purge_records(f.flow_name, f.retention, 1000)), 0)
    into v_purged
    from conveyor.flow as f
    where f.retention is not null;

    return jsonb_build_object(
        'worked', true,
        'orphaned', v_orphaned,
        'folded', v_folded,
        'purged', v_purged,
        'again_in', case
            when v_orphaned + v_folded + v_purged > 0 then c_soon
            when (select sum(d.processing) from conveyor.count_delta as d) > 0 then c_soon
            else greatest(
                c_soon, least(c_late, (select floor(extract(epoch from min(f.lease))) from conveyor.flow as f))
            )
        end
    );
end;
$$;

comment on function conveyor.maintain is
    'Takes back records whose lease ended, folds the counts, purges by retention; returns what it did.';
-- Delete what was completed longer ago, oldest first, with its attempts.  At most p_limit a call: call it until it
-- returns less.  A purged record's dedup key may be added again.
create or replace function conveyor.purge_records(
    p_flow_name  text,
    p_older_than interval,
    p_limit      integer default 10000
)
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_before timestamptz;
    v_count  integer;
begin
    perform conveyor._check_flow_name(p_flow_name);
    if (p_older_than between interval '0' and interval '1000 years') is not true then
        perform conveyor._raise_invalid(
            'p_older_than', p_older_than::text, 'an interval from 0 to 1000 years, such as 30 days'
        );
    end if;
    v_before := clock_timestamp() - p_older_than;
    if (p_limit between 1 and 1000000) is not true then
        perform conveyor._raise_invalid('p_limit', p_limit::text, 'a number from 1 to 1000000');
    end if;

    with old as materialized (
        select q.id
        from conveyor.processing_queue as q
        where q.flow_name = p_flow_name
            and q.status = 'completed'
            and q.completed_at <= v_before
        order by q.completed_at
        limit p_limit
        for update skip locked
    ),
    forgotten as (
        delete from conveyor.attempt as t
        using old as o
        where t.record_id = o.id
    )
    delete from conveyor.processing_queue as q
    using old as o
    where q.id = o.id;

    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function conveyor.purge_records is
    'Deletes up to p_limit records of a flow that were completed longer ago than p_older_than; returns how many.';
-- What must always hold, asked of the tables.  No row: it does.  Reads everything: not for every minute.
create or replace function conveyor.check_integrity(p_repair boolean default false)
    returns table (problem text, record_id bigint, detail text, repaired boolean)
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_sequence constant text := pg_get_serial_sequence('conveyor.processing_queue', 'id');
    v_last     constant bigint := coalesce(pg_sequence_last_value(v_sequence::regclass), 0);
    v_highest  constant bigint := coalesce((select max(q.id) from conveyor.processing_queue as q), 0);
begin
    -- Cannot be repaired: the record was worked on twice, and both answers were taken.
    return query
    select 'answered twice', q.id, format('completed by claim %s, which also %s', q.claim_token, t.outcome), false
    from conveyor.processing_queue as q
    join conveyor.attempt as t
        on t.record_id = q.id
            and t.claim_token = q.claim_token
            and (t.ended_at < q.claimed_at) is not true  -- else it was put back and taken again by hand
    where q.status = 'completed';

    return query
    select 'answered, but still leased', q.id, format('%s, leased until %s', q.status, q.lease_expires_at), p_repair
    from conveyor.processing_queue as q
    where q.status in ('completed', 'failed')
        and q.lease_expires_at is not null;

    return query
    select 'attempt of no record', t.record_id, format('%s at %s', t.outcome, t.ended_at), p_repair
    from conveyor.attempt as t
    where not exists (select from conveyor.processing_queue as q where q.id = t.record_id);

    return query
    select 'ids run out of step', v_highest, format('%s will hand out %s next', v_sequence, v_last + 1), p_repair
    where v_highest > v_last;

    return query
    select 'index is not valid', null::bigint, format('reindex index %s', i.indexrelid::regclass), false
    from pg_index as i
    where i.indrelid = 'conveyor.processing_queue'::regclass
        and not i.indisvalid;

    return query
    with difference as materialized (
        select d.*
        from conveyor._count_differences() as d
    ),
    mended as (
        insert into conveyor.count_delta (flow_name, pending, processing, completed, failed, counted_at)
        select d.flow_name, d.pending, d.processing, d.completed, d.failed, clock_timestamp()
        from difference as d
        where p_repair
    )
    select
        'counts are off',
        null::bigint,
        format(
            'flow %s has %s pending, %s processing, %s completed, %s failed more than counted',
            d.flow_name, d.pending, d.processing, d.completed, d.failed
        ),
        p_repair
    from difference as d;

    if p_repair then
        update conveyor.processing_queue as q
        set lease_expires_at = null
        where q.status in ('completed', 'failed')
            and q.lease_expires_at is not null;

        delete from conveyor.attempt as t
        where not exists (select from conveyor.processing_queue as q where q.id = t.record_id);

        perform setval(v_sequence, greatest(v_highest, v_last))
        where v_highest > v_last;
    end if;
end;
$$;

comment on function conveyor.check_integrity is
    'Lists what breaks the promises of the queue; p_repair mends what can be mended. No row: all is well.';

-- count: triggers on the queue, and what folds their deltas
create or replace function conveyor._count_inserted()
    returns trigger
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_flow_names text[];
    v_rang       boolean;
begin
    with counted as (
        insert into conveyor.count_delta (flow_name, pending, processing, completed, failed, counted_at)
        select
            n.flow_name,
            count(*) filter (where n.status = 'pending'),
            count(*) filter (where n.status = 'processing'),
            count(*) filter (where n.status = 'completed'),
            count(*) filter (where n.status = 'failed'),
            clock_timestamp()
        from new_row as n
        group by n.flow_name
        returning flow_name, pending
    )
    select array_agg(c.flow_name) filter (where c.pending > 0)
    into v_flow_names
    from counted as c;

    -- One flow, whose door is open, is the common case: as an expression here it costs half of the call.
    if v_flow_names is null
        or cardinality(v_flow_names) = 1
        and pg_try_advisory_xact_lock_shared(conveyor._wake_key(v_flow_names[1], 'empty', -1))
    then
        return null;
    end if;

    v_rang := conveyor._ring(v_flow_names);
    return null;
end;
$$;

comment on function conveyor._count_inserted is
    'Counts the rows of an insert or copy, and rings for those that are pending.';
-- A statement that moves nothing, such as a heartbeat, writes nothing.  The times are those of records that were
-- completed before it less after it, so that an update of history cancels out.
--
-- Nearly every statement moves records of one flow from one status to one other, and comparing rows with the first is
-- cheaper than grouping them.  For any other, what was is taken away, and what is, is added: no join of old and new.
--
-- Rings for whatever is pending afterwards, also when it was so before: a look that came while the row was locked has
-- skipped it.
create or replace function conveyor._count_updated()
    returns trigger
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_flow_name  text;
    v_before     text;
    v_after      text;
    v_alike      boolean;
    v_flow_names text[];
    v_rang       boolean;
begin
    select
        o.flow_name,
        o.status,
        n.status,
        o.status <> 'completed'
            and not exists (select from old_row as r where (r.flow_name, r.status) <> (o.flow_name, o.status))
            and not exists (select from new_row as r where (r.flow_name, r.status) <> (o.flow_name, n.status))
    into v_flow_name, v_before, v_after, v_alike
    from (select r.flow_name, r.status from old_row as r limit 1) as o
    cross join (select r.status from new_row as r limit 1) as n;

    if v_alike then
        if v_before <> v_after then
            insert into conveyor.count_delta
                (flow_name, pending, processing, completed, failed, wait_seconds, run_seconds, counted_at)
            select
                v_flow_name,
                count(*) * ((v_after = 'pending')::integer - (v_before = 'pending')::integer),
                count(*) * ((v_after = 'processing')::integer - (v_before = 'processing')::integer),
                count(*) * (v_after = 'completed')::integer,
                count(*) * ((v_after = 'failed')::integer - (v_before = 'failed')::integer),
                coalesce(extract(epoch from sum(n.claimed_at - coalesce(n.run_at, n.created_at))
                    filter (where v_after = 'completed'))::float8, 0),
                coalesce(extract(epoch from sum(n.completed_at - n.claimed_at)
                    filter (where v_after = 'completed'))::float8, 0),
                clock_timestamp()
            from new_row as n;
        end if;
        v_flow_names := case when v_after = 'pending' then array[v_flow_name] end;
    else
        with moved as materialized (
            select
                c.flow_name,
                coalesce(sum(c.sign) filter (where c.status = 'pending'), 0) as pending,
                coalesce(sum(c.sign) filter (where c.status = 'processing'), 0) as processing,
                coalesce(sum(c.sign) filter (where c.status = 'completed'), 0) as completed,
                coalesce(sum(c.sign) filter (where c.status = 'failed'), 0) as failed,
                coalesce(extract(epoch from sum(c.sign * (c.claimed_at - c.due_at))
                    filter (where c.status = 'completed'))::float8, 0) as wait_seconds,
                coalesce(extract(epoch from sum(c.sign * (c.completed_at - c.claimed_at))
                    filter (where c.status = 'completed'))::float8, 0) as run_seconds,
                coalesce(bool_or(c.status = 'pending' and c.sign = 1), false) as rings
            from (
                select
                    o.flow_name,
                    o.status,
                    coalesce(o.run_at, o.created_at) as due_at,
                    o.claimed_at,
                    o.completed_at,
                    -1 as sign
                from old_row as o
                union all
                select n.flow_name, n.status, coalesce(n.run_at, n.created_at), n.claimed_at, n.completed_at, 1
                from new_row as n
            ) as c
            group by c.flow_name
        ),
        counted as (
            insert into conveyor.count_delta
                (flow_name, pending, processing, completed, failed, wait_seconds, run_seconds, counted_at)
            select
                m.flow_name, m.pending, m.processing, m.completed, m.failed, m.wait_seconds, m.run_seconds,
                clock_timestamp()
            from moved as m
            where (m.pending, m.processing, m.completed, m.failed) <> (0, 0, 0, 0)
        )
        select array_agg(m.flow_name)
        into v_flow_names
        from moved as m
        where m.rings;
    end if;

    if v_flow_names is not null then
        v_rang := conveyor._ring(v_flow_names);
    end if;
    return null;
end;
$$;

comment on function conveyor._count_updated is
    'Counts what an update moved from status to status, or flow to flow, and rings for what is pending.';
create or replace function conveyor._count_deleted()
    returns trigger
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    insert into conveyor.count_delta (flow_name, pending, processing, completed, failed, counted_at)
    select
        o.flow_name,
        -count(*) filter (where o.status = 'pending'),
        -count(*) filter (where o.status = 'processing'),
        -count(*) filter (where o.status = 'completed'),
        -count(*) filter (where o.status = 'failed'),
        clock_timestamp()
    from old_row as o
    group by o.flow_name;
    return null;
end;
$$;

comment on function conveyor._count_deleted is 'Counts the rows of a delete.';
-- TRUNCATE holds the table alone: every other writer has ended, and the counts are final.  An older snapshot would
-- miss some of them.
create or replace function conveyor._count_truncated()
    returns trigger
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception using
            errcode = 'feature_not_supported',
            message = format('truncate of the queue in isolation %s', current_setting('transaction_isolation')),
            hint    = 'Truncate in read committed: an older snapshot would leave counts behind.';
    end if;

    insert into conveyor.count_delta (flow_name, pending, processing, completed, failed, counted_at)
    select d.flow_name, -sum(d.pending), -sum(d.processing), -sum(d.completed), -sum(d.failed), clock_timestamp()
    from conveyor.count_delta as d
    group by d.flow_name;
    return null;
end;
$$;

comment on function conveyor._count_truncated is 'Takes the counts back to zero before a truncate.';
-- Replace deltas by their sum; the events among them go to flow_minute.  Portions of 20,000, for as long as a second:
-- the caller's transaction must stay short.  What another session is folding is passed over.  Without sequential
-- scans, because a plan made while there was little would be kept, and is quadratic.
create or replace function conveyor._fold_counts()
    returns bigint
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_seqscan = off
as $$
declare
    v_until  constant timestamptz := clock_timestamp() + interval '1 s';
    v_folded bigint;
    v_total  bigint := 0;
begin
    while exists (select from conveyor.count_delta as d where d.counted_at is not null) loop
        with folded as materialized (
            delete from conveyor.count_delta as d
            where d.ctid = any (array(select c.ctid from conveyor.count_delta as c limit 20000 for update skip locked))
            returning d.*
        ),
        summed as (
            insert into conveyor.count_delta (flow_name, pending, processing, completed, failed)
            select f.flow_name, sum(f.pending), sum(f.processing), sum(f.completed), sum(f.failed)
            from folded as f
            group by f.flow_name
            having (sum(f.pending), sum(f.processing), sum(f.completed), sum(f.failed)) <> (0, 0, 0, 0)
        ),
        told as (
            insert into conveyor.flow_minute as m (flow_name, minute, completed, failed, wait_seconds, run_seconds)
            select
                f.flow_name,
                date_trunc('minute', f.counted_at),
                sum(greatest(f.completed, 0)),
                sum(greatest(f.failed, 0)),
                coalesce(sum(f.wait_seconds) filter (where f.completed > 0), 0),
                coalesce(sum(f.run_seconds) filter (where f.completed > 0), 0)
            from folded as f
            where f.wait_seconds is not null
                and (f.completed > 0 or f.failed > 0)
            group by f.flow_name, date_trunc('minute', f.counted_at)
            order by f.flow_name, date_trunc('minute', f.counted_at)
            on conflict (minute, flow_name) do update
            set completed    = m.completed + excluded.completed,
                failed       = m.failed + excluded.failed,
                wait_seconds = m.wait_seconds + excluded.wait_seconds,
                run_seconds  = m.run_seconds + excluded.run_seconds
        )
        select count(*)
        into v_folded
        from folded;

        v_total := v_total + v_folded;
        exit when v_folded = 0 or clock_timestamp() > v_until;
    end loop;
    return v_total;
end;
$$;

comment on function conveyor._fold_counts is 'Folds the deltas of the counts, and returns how many there were.';
-- By how much count(*) exceeds the counts, for each flow where it does: both read in one statement, hence in one
-- snapshot.  Volatile: a stable function reads with its caller's snapshot, which may predate a truncate that has just
-- ended.
create or replace function conveyor._count_differences()
    returns table (flow_name text, pending bigint, processing bigint, completed bigint, failed bigint)
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select
        c.flow_name,
        sum(c.pending)::bigint,
        sum(c.processing)::bigint,
        sum(c.completed)::bigint,
        sum(c.failed)::bigint
    from (
        select
            q.flow_name,
            count(*) filter (where q.status = 'pending') as pending,
            count(*) filter (where q.status = 'processing') as processing,
            count(*) filter (where q.status = 'completed') as completed,
            count(*) filter (where q.status = 'failed') as failed
        from conveyor.processing_queue as q
        group by q.flow_name
        union all
        select d.flow_name, -sum(d.pending), -sum(d.processing), -sum(d.completed), -sum(d.failed)
        from conveyor.count_delta as d
        group by d.flow_name
    ) as c
    group by c.flow_name
    having (sum(c.pending), sum(c.processing), sum(c.completed), sum(c.failed)) <> (0, 0, 0, 0);
end;
$$;

comment on function conveyor._count_differences is 'Where the counts are not what count(*) says, and by how much.';

-- wake: called by the triggers, park and leave
-- Tell a sleeper of each flow that it may have become claimable, in the transaction that makes it so.
--
-- An open door means that nobody sleeps: its lock, shared and kept to the end of the transaction, keeps every worker
-- from falling asleep before the records are visible.  A closed door means that somebody does: notify.  The seat is
-- notified, not a worker: whoever sits there at commit hears it, and whoever sits down later looks later.
create or replace function conveyor._ring(p_flow_names text[], p_reason text default 'empty')
    returns boolean
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    c_most   constant integer := 64;  -- a lock for each of very many flows could fill the lock table
    v_silent constant boolean := coalesce(current_setting('conveyor.wake', true), '') = 'never';
begin
    if cardinality(p_flow_names) = 1 then
        -- Expressions: a query would cost more than all of the rest.
        if pg_try_advisory_xact_lock_shared(conveyor._wake_key(p_flow_names[1], p_reason, -1)) or v_silent then
            return false;
        end if;
        perform pg_notify(conveyor._wake_channel(p_flow_names[1], p_reason, 0), '');
        return true;
    end if;

    if cardinality(p_flow_names) > c_most and v_silent then
        return false;
    end if;
    perform pg_notify(conveyor._wake_channel(n.flow_name, p_reason, 0), '')
    from unnest(p_flow_names) as n (flow_name)
    where case
            when cardinality(p_flow_names) > c_most then true
            when pg_try_advisory_xact_lock_shared(conveyor._wake_key(n.flow_name, p_reason, -1)) then false
            else not v_silent  -- last: the planner knows it, and would leave out a lock that is only and-ed to it
        end;
    return found;
end;
$$;

comment on function conveyor._ring is 'Wakes who sleeps for these flows, and nobody while everybody is busy.';
-- One place of park(): take the lowest free seat, or, sitting on another, move to seat 0 when that is free.  Only try
-- locks: nobody waits, so nobody can deadlock.
create or replace function conveyor._sit(
    p_flow_name text,
    p_reason    text,
    p_held      integer,
    p_closed    boolean,
    p_size      integer
)
    returns table (seat integer, door_closed boolean, confirmed boolean)
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    seat := p_held;
    if p_held is null then
        select s.seat
        into seat
        from generate_series(0, p_size - 1) as s (seat)
        where pg_try_advisory_lock(conveyor._wake_key(p_flow_name, p_reason, s.seat))
        limit 1;
    elsif p_held > 0 and pg_try_advisory_lock(conveyor._wake_key(p_flow_name, p_reason, 0)) then
        perform pg_advisory_unlock(conveyor._wake_key(p_flow_name, p_reason, p_held));
        execute format('unlisten %I', conveyor._wake_channel(p_flow_name, p_reason, p_held));
        seat := 0;
    end if;

    if seat is distinct from p_held then
        -- A channel cannot be a parameter.
        execute format('listen %I', conveyor._wake_channel(p_flow_name, p_reason, seat));
    end if;
    -- On another seat than 0 the listen must have committed before seat 0 is tried a last time, or a call is lost.
    confirmed := seat = 0 or seat is not distinct from p_held;
    if p_closed is null then
        perform pg_advisory_unlock(conveyor._wake_key(p_flow_name, p_reason, -1));
        door_closed := false;
    else
        -- Not `seat = 0`: whoever has no seat would try the lock.
        door_closed := p_closed
            or seat is not distinct from 0 and pg_try_advisory_lock(conveyor._wake_key(p_flow_name, p_reason, -1));
    end if;
    return next;
end;
$$;

comment on function conveyor._sit is 'Takes or keeps a seat at one place, and closes its door from seat 0.';
-- Shared, so that two who ask at the same time do not see each other.
create or replace function conveyor._is_taken(p_key bigint)
    returns boolean
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    return not (pg_try_advisory_lock_shared(p_key) and pg_advisory_unlock_shared(p_key));
end;
$$;

comment on function conveyor._is_taken is 'Whether another session holds this seat.';
-- How many records are due, among the first p_most of the flow from the session's floor on: enough to know how many
-- sleepers they would keep busy.
create or replace function conveyor._count_due(p_flow_name text, p_most integer)
    returns integer
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
declare
    v_floor constant conveyor.scan_floor := conveyor._read_floor(conveyor._floor_setting(p_flow_name));
    v_count integer;
begin
    select count(*) filter (where f.due_at <= clock_timestamp())
    into v_count
    from (
        select coalesce(q.run_at, q.created_at) as due_at
        from conveyor.processing_queue as q
        where q.flow_name = p_flow_name
            and q.status = 'pending'
            and (-q.priority::integer, coalesce(q.run_at, q.created_at), q.id)
            >= (coalesce(v_floor.rank, -32768), coalesce(v_floor.due_at, '-infinity'), coalesce(v_floor.id, 0))
        order by -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
        limit p_most
    ) as f;
    return v_count;
end;
$$;

comment on function conveyor._count_due is 'How many of the first records of a flow are due.';
create or replace function conveyor._check_places(p_flow_names text[], p_reasons text[], p_size integer)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    if (cardinality(p_flow_names) <= 64 and array_position(p_flow_names, null) is null) is not true then
        perform conveyor._raise_invalid('p_flow_names', p_flow_names::text, 'up to 64 names of flows');
    end if;
    if cardinality(p_reasons) is distinct from cardinality(p_flow_names)
        or not p_reasons <@ array['empty', 'paused']
    then
        perform conveyor._raise_invalid('p_reasons', p_reasons::text, 'empty or paused for each of the flows');
    end if;
    if (p_size between 1 and 1000) is not true then
        perform conveyor._raise_invalid('p_size', p_size::text, 'a number of seats from 1 to 1000; 8 is usual');
    end if;
end;
$$;

comment on function conveyor._check_places is 'Refuses places that nobody can wait at.';

-- monitor: the parts of the reports
-- The one place that knows the defaults; client/pgconveyor/monitoring.py tells them, and a test holds the two equal.
create or replace function conveyor._monitoring_thresholds(p_given jsonb)
    returns jsonb
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
declare
    c_default constant jsonb := '{
        "window_minutes": 60,
        "failed_percent_warning": 10,
        "failed_percent_critical": 20,
        "pending_minutes_warning": 15,
        "pending_minutes_critical": 60,
        "maintain_minutes": 5,
        "silent_hours": 1,
        "horizon_minutes": 30,
        "horizon_transactions": 1000000
    }'::jsonb;
    v_key   text;
    v_value jsonb;
begin
    if jsonb_typeof(p_given) is distinct from 'object' then
        perform conveyor._raise_invalid('p_thresholds', p_given::text, 'an object, such as {"window_minutes": 15}');
    end if;

    select g.key, g.value
    into v_key, v_value
    from jsonb_each(p_given) as g
    where not c_default ? g.key
        or case jsonb_typeof(g.value)
            when 'number'
                then g.value::numeric not between 0 and case g.key when 'window_minutes' then 43200 else 1e9 end
            else true
        end
    order by g.key
    limit 1;

    if not c_default ? v_key then
        perform conveyor._raise_invalid(
            'a key of p_thresholds', v_key,
            'one of ' || (select string_agg(k.key, ', ' order by k.key) from jsonb_object_keys(c_default) as k (key))
        );
    elsif v_key is not null then
        perform conveyor._raise_invalid(
            format('p_thresholds.%s', v_key), v_value::text,
            format('a number from 0 to %s', case v_key when 'window_minutes' then '43200' else '1000000000' end)
        );
    end if;
    return c_default || p_given;
end;
$$;

comment on function conveyor._monitoring_thresholds is
    'The thresholds of monitoring: the defaults, and what was given.';
create or replace function conveyor._find_issues(p_at timestamptz, p_thresholds jsonb)
    returns table (severity text, issue text, remedy text)
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select i.severity, i.issue, i.remedy
    from (
        select f.* from conveyor._flow_issues(p_at, p_thresholds) as f
        union all
        select s.* from conveyor._server_issues(p_at, p_thresholds) as s
    ) as i
    order by array_position(array['critical', 'warning', 'notice'], i.severity), i.issue;
end;
$$;

comment on function conveyor._find_issues is 'All that is wrong, the worst first: how bad, what, and what to call.';
-- What is wrong with flows, by thresholds, with the function that mends it.
create or replace function conveyor._flow_issues(p_at timestamptz, p_thresholds jsonb)
    returns table (severity text, issue text, remedy text)
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    with flow as (
        select
            h.*, t.*,
            100.0 * h.failed_lately / nullif(h.completed_lately + h.failed_lately, 0) as failed_percent,
            case when h.paused_at is null then round(extract(epoch from p_at - h.oldest_due_at) / 60, 1) end as minutes
        from conveyor._flow_health(p_at, p_thresholds) as h
        cross join lateral jsonb_to_record(p_thresholds) as t (
            window_minutes float8, failed_percent_warning float8, failed_percent_critical float8,
            pending_minutes_warning float8, pending_minutes_critical float8, maintain_minutes float8,
            silent_hours float8
        )
    )
    select
        case when f.failed_percent > f.failed_percent_critical then 'critical' else 'warning' end,
        format(
            'flow %s: %s of %s records that ended in the last %s minutes failed (%s %%)', f.flow_name,
            f.failed_lately, f.completed_lately + f.failed_lately, f.window_minutes, round(f.failed_percent, 1)
        ),
        format(
            'processing_performance(p_include_error_analysis => true) groups the errors, list_records(%1$L, ''failed'')'
            ' shows the records; when the cause is gone, reset_failed_records(%1$L) brings them back', f.flow_name
        )
    from flow as f
    where f.failed_percent > least(f.failed_percent_warning, f.failed_percent_critical)
    union all
    select
        case when f.minutes > f.pending_minutes_critical then 'critical' else 'warning' end,
        format(
            'flow %s: the oldest of %s pending records has been due for %s minutes%s',
            f.flow_name, f.pending, f.minutes,
            case when f.processing = 0 then ', and nobody holds one' end
        ),
        format(
            case when f.processing = 0
                then 'start workers of flow %1$s; list_sleepers(%1$L) shows who sleeps'
                else 'add workers of flow %1$s; processing_performance() shows what one record takes'
            end,
            f.flow_name
        )
    from flow as f
    where f.minutes > least(f.pending_minutes_warning, f.pending_minutes_critical)
    union all
    select
        'warning',
        format(
            'flow %s: %s records are orphaned, %s of them under a lease that still runs; the longest for %s hours',
            f.flow_name, f.orphaned, f.silent, round(extract(epoch from p_at - f.orphaned_since) / 3600, 1)
        ),
        format(
            'cleanup_orphaned_records(%s) takes them back; workers do it by maintain(), which somebody has to call',
            case when f.silent > 0 then f.silent_hours end
        )
    from flow as f
    where f.orphaned_since < p_at - interval '1 minute' * f.maintain_minutes
    union all
    select
        'notice',
        format(
            'flow %s is paused since %s, and %s records wait', f.flow_name, conveyor._iso_time(f.paused_at), f.pending
        ),
        format('resume_flow(%L) lets them be claimed', f.flow_name)
    from flow as f
    where f.paused_at is not null
        and f.oldest_due_at <= p_at;
end;
$$;

comment on function conveyor._flow_issues is 'What is wrong with flows: how bad, what, and what to call.';
-- What is wrong with the whole: nobody keeps house, records crash, something holds the horizon.
create or replace function conveyor._server_issues(p_at timestamptz, p_thresholds jsonb)
    returns table (severity text, issue text, remedy text)
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_longest constant interval := interval '1 minute' * (p_thresholds ->> 'horizon_minutes')::float8;
begin
    return query
    select
        'critical', 'the server is a standby: records can be neither added nor claimed',
        'connect to the primary; pg_promote() makes this one it'
    where pg_is_in_recovery()
    union all
    select
        'warning',
        format(
            '%s changes of the counts wait to be folded, the oldest since %s', d.count, conveyor._iso_time(d.oldest)
        ),
        'maintain() folds them: run a worker, or call it every few seconds'
    from (
        select count(*), min(c.counted_at) as oldest
        from conveyor.count_delta as c
        where c.counted_at is not null
    ) as d
    where d.oldest < p_at - interval '1 minute' * (p_thresholds ->> 'maintain_minutes')::float8
    union all
    select
        'warning',
        format(
            'flow %s: %s records were failed within a day because their claims kept ending without an answer',
            q.flow_name, count(*)
        ),
        format(
            'list_records(%L, ''failed'') shows them, get_record(id) their attempts, '
            'requeue_records(ids) brings them back', q.flow_name
        )
    from conveyor.processing_queue as q
    where q.failure_kind = 'crashed'
        and q.updated_at > p_at - interval '1 day'
    group by q.flow_name
    union all
    select
        'warning',
        format(
            'seat %s of flow %s is held by process %s (%s), which does not call itself a worker',
            s.seat, s.flow_name, s.pid, s.application_name
        ),
        format('pg_terminate_backend(%s) frees it, if a pooler left it behind', s.pid)
    from conveyor.list_sleepers() as s
    where coalesce(s.application_name, '') !~ 'worker'
    union all
    select
        'warning',
        format(
            '%s keeps dead rows from being removed, for %s transactions and %s', h.holder, h.transactions,
            case when h.since is null then 'an unknown time'
                else format('%s minutes', round(extract(epoch from p_at - h.since) / 60)) end
        ),
        h.remedy
    from conveyor._horizon_holders() as h
    where h.since < p_at - v_longest
        or h.transactions > (p_thresholds ->> 'horizon_transactions')::float8;
end;
$$;

comment on function conveyor._server_issues is
    'What is wrong with the queue as a whole: how bad, what, and what to call.';
create or replace function conveyor._flow_health(p_at timestamptz, p_thresholds jsonb)
    returns table (
        flow_name        text,
        pending          bigint,
        processing       bigint,
        completed        bigint,
        failed           bigint,
        oldest_due_at    timestamptz,
        paused_at        timestamptz,
        completed_lately bigint,
        failed_lately    bigint,
        holders          bigint,
        orphaned         bigint,
        silent           bigint,
        orphaned_since   timestamptz,
        silent_since     timestamptz
    )
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
as $$
#variable_conflict use_column
declare
    v_counts constant jsonb := conveyor.get_queue_status() -> 'by_flow';
    v_since  constant timestamptz := conveyor._window_start(p_at, p_thresholds);
begin
    return query
    with lately as (
        select t.flow_name, sum(t.completed)::bigint as completed, sum(t.failed)::bigint as failed
        from conveyor._throughput(v_since) as t
        group by t.flow_name
    ),
    held as (
        select
            h.flow_name, count(*) as holders, sum(h.orphaned)::bigint as orphaned, sum(h.silent)::bigint as silent,
            min(h.orphaned_since) as orphaned_since, min(h.silent_since) as silent_since
        from conveyor._held_records(p_at, interval '1 hour' * (p_thresholds ->> 'silent_hours')::float8) as h
        group by h.flow_name
    )
    select
        n.flow_name, coalesce(c.pending, 0), coalesce(c.processing, 0), coalesce(c.completed, 0), coalesce(c.failed, 0),
        o.due_at, f.paused_at, coalesce(l.completed, 0), coalesce(l.failed, 0),
        coalesce(h.holders, 0), coalesce(h.orphaned, 0), coalesce(h.silent, 0), h.orphaned_since, h.silent_since
    from (
        select k.key as flow_name
        from jsonb_object_keys(v_counts) as k (key)
        union
        select l.flow_name
        from lately as l
    ) as n
    cross join lateral jsonb_to_record(coalesce(v_counts -> n.flow_name, '{}'))
        as c (pending bigint, processing bigint, completed bigint, failed bigint)
    left join conveyor._oldest_due(array(select k.key from jsonb_object_keys(v_counts) as k (key))) as o
        on o.flow_name = n.flow_name
    left join conveyor.flow as f
        on f.flow_name = n.flow_name
    left join lately as l
        on l.flow_name = n.flow_name
    left join held as h
        on h.flow_name = n.flow_name
    order by n.flow_name;
end;
$$;

comment on function conveyor._flow_health is
    'For each flow that has records, or had lately, the numbers by which it is judged.';
create or replace function conveyor._flow_metrics(p_at timestamptz, p_thresholds jsonb)
    returns jsonb
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_since constant timestamptz := conveyor._window_start(p_at, p_thresholds);
begin
    return (
        select coalesce(jsonb_object_agg(f.flow_name, jsonb_build_object(
            'pending', f.pending,
            'processing', f.processing,
            'completed', f.completed,
            'failed', f.failed,
            'oldest_pending_minutes', round(extract(epoch from p_at - least(f.oldest_due_at, p_at)) / 60, 1),
            'paused_since', conveyor._iso_time(f.paused_at),
            'instances', f.holders,
            'orphaned_records', f.orphaned,
            'performance', p.metrics
        )), '{}')
        from conveyor._flow_health(p_at, p_thresholds) as f
        left join conveyor._performance(v_since, p_at) as p
            on p.flow_name = f.flow_name
    );
end;
$$;

comment on function conveyor._flow_metrics is
    'What is known of each flow: its records, its backlog, its holders, its performance.';
-- One probe for each flow and priority: a backlog of a million costs what one record does.
create or replace function conveyor._oldest_due(p_flow_names text[])
    returns table (flow_name text, due_at timestamptz)
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
#variable_conflict use_column
begin
    return query
    with recursive level as (
        select f.flow_name, h.rank, h.due_at
        from unnest(p_flow_names) as f (flow_name)
        cross join lateral (
            select -q.priority::integer as rank, coalesce(q.run_at, q.created_at) as due_at
            from conveyor.processing_queue as q
            where q.flow_name = f.flow_name
                and q.status = 'pending'
            order by -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            limit 1
        ) as h
        union all
        select l.flow_name, n.rank, n.due_at
        from level as l
        cross join lateral (
            select -q.priority::integer as rank, coalesce(q.run_at, q.created_at) as due_at
            from conveyor.processing_queue as q
            where q.flow_name = l.flow_name
                and q.status = 'pending'
                and -q.priority::integer > l.rank
            order by -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            limit 1
        ) as n
    )
    select l.flow_name, min(l.due_at)
    from level as l
    group by l.flow_name;
end;
$$;

comment on function conveyor._oldest_due is
    'When the pending record of each flow that is due first, whatever its priority, is due.';
-- Who holds records, and which of them are orphaned: the lease has ended, or, though it has not, nothing was heard of
-- the holder for p_silent_for and for as long as the lease of the flow.  The second kind is only taken back by
-- cleanup_orphaned_records(hours).
create or replace function conveyor._held_records(p_at timestamptz, p_silent_for interval)
    returns table (
        flow_name        text,
        flow_instance_id text,
        held             bigint,
        orphaned         bigint,
        silent           bigint,
        orphaned_since   timestamptz,
        silent_since     timestamptz
    )
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    with held as materialized (
        select
            q.flow_name, q.flow_instance_id, q.lease_expires_at,
            coalesce(greatest(q.claimed_at, q.heartbeat_at), q.updated_at) as heard_at
        from conveyor.processing_queue as q
        where q.status = 'processing'
    ),
    setting as materialized (
        select s.flow_name, s.lease
        from (select distinct h.flow_name from held as h) as f
        cross join lateral conveyor._flow_settings(f.flow_name) as s
    ),
    judged as (
        select
            h.*,
            least(
                h.lease_expires_at,
                h.heard_at + case when h.lease_expires_at is null then s.lease else greatest(s.lease, p_silent_for) end
            ) as ends_at
        from held as h
        join setting as s
            on s.flow_name = h.flow_name
    )
    select
        j.flow_name, j.flow_instance_id, count(*), count(*) filter (where j.ends_at <= p_at),
        count(*) filter (where j.ends_at <= p_at and j.lease_expires_at > p_at),
        min(j.ends_at) filter (where j.ends_at <= p_at), min(j.heard_at) filter (where j.ends_at <= p_at)
    from judged as j
    group by j.flow_name, j.flow_instance_id;
end;
$$;

comment on function conveyor._held_records is
    'Records in processing by flow and holder, and how many of them are orphaned.';
-- What keeps the server from removing dead rows and index entries of this database.  Everybody may see transaction
-- ids; since when another role's session has its transaction, only members of pg_read_all_stats.
create or replace function conveyor._horizon_holders()
    returns table (holder text, transactions bigint, since timestamptz, remedy text)
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select
        format(
            case when a.datid = d.oid then 'the transaction of process %s (%s, role %s)'
                else 'a standby with hot_standby_feedback, by process %s (%s, role %s)' end,
            a.pid, coalesce(nullif(a.application_name, ''), 'without a name'), a.usename
        ),
        greatest(age(a.backend_xid), age(a.backend_xmin))::bigint,
        a.xact_start,
        case when a.datid = d.oid then format('pg_terminate_backend(%s) ends it', a.pid)
            else 'end the long query on the standby' end
    from pg_stat_activity as a
    join pg_database as d
        on d.datname = current_database()
    where (a.datid = d.oid or a.datid is null)
        and a.usesysid is not null  -- the server's own workers are soon done
        and a.pid <> pg_backend_pid()
        and (a.backend_xid is not null or a.backend_xmin is not null)
    union all
    select
        format('the prepared transaction %L of role %s', p.gid, p.owner), age(p.transaction)::bigint, p.prepared,
        format('commit prepared %1$L or rollback prepared %1$L ends it', p.gid)
    from pg_prepared_xacts as p
    where p.database = current_database()
    union all
    select
        format(
            'the %s replication slot %L%s', case when s.active then 'active' else 'inactive' end, s.slot_name,
            case when s.xmin is null then ' (catalog rows alone, and files of WAL)' end
        ),
        greatest(age(s.xmin), age(s.catalog_xmin))::bigint, null,
        format('let its reader catch up, or pg_drop_replication_slot(%L) drops it', s.slot_name)
    from pg_replication_slots as s
    where (s.database is null or s.database = current_database())
        and (s.xmin is not null or s.catalog_xmin is not null);
end;
$$;

comment on function conveyor._horizon_holders is
    'What keeps dead rows from being removed: sessions, prepared transactions, slots.';
create or replace function conveyor._orphaned_analysis(p_at timestamptz, p_thresholds jsonb)
    returns jsonb
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        with held as materialized (
            select h.*
            from conveyor._held_records(p_at, interval '1 hour' * (p_thresholds ->> 'silent_hours')::float8) as h
            where h.orphaned > 0
        )
        select jsonb_build_object(
            'total_orphaned_records', coalesce(sum(h.orphaned), 0),
            'under_a_running_lease', coalesce(sum(h.silent), 0),
            'oldest_orphaned_hours', coalesce(round(extract(epoch from p_at - min(h.silent_since)) / 3600, 2), 0),
            'orphaned_by_flow', (
                select coalesce(jsonb_object_agg(f.flow_name, f.orphaned), '{}')
                from (select b.flow_name, sum(b.orphaned) as orphaned from held as b group by b.flow_name) as f
            ),
            'orphaned_by_instance', (
                select coalesce(jsonb_object_agg(i.instance, i.orphaned), '{}')
                from (
                    select coalesce(b.flow_instance_id, 'unknown') as instance, sum(b.orphaned) as orphaned
                    from held as b
                    group by coalesce(b.flow_instance_id, 'unknown')
                    order by sum(b.orphaned) desc
                    limit 100
                ) as i
            )
        )
        from held as h
    );
end;
$$;

comment on function conveyor._orphaned_analysis is
    'How many records are orphaned, by flow and holder, and since when nothing was heard.';
-- What the server knows without counting.
create or replace function conveyor._database_diagnostics(p_at timestamptz)
    returns jsonb
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select jsonb_build_object(
            'server_version', current_setting('server_version'),
            'table_bytes', pg_table_size(s.relid),
            'index_bytes', pg_indexes_size(s.relid),
            'dead_rows', s.n_dead_tup,
            'last_vacuum', conveyor._iso_time(greatest(s.last_vacuum, s.last_autovacuum)),
            'horizon_holders', (
                select coalesce(jsonb_agg(jsonb_build_object(
                    'holder', h.holder, 'transactions', h.transactions,
                    'minutes', round(extract(epoch from p_at - h.since) / 60, 1)
                ) order by h.transactions desc), '[]')
                from conveyor._horizon_holders() as h
            )
        )
        from pg_stat_all_tables as s
        where s.relid = 'conveyor.processing_queue'::regclass
    );
end;
$$;

comment on function conveyor._database_diagnostics is 'Size, dead rows, and who keeps them from being removed.';
-- The metrics of each flow in a window and, with a null name, of all: there is always one of all.
create or replace function conveyor._performance(p_since timestamptz, p_until timestamptz)
    returns table (flow_name text, metrics jsonb)
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
as $$
#variable_conflict use_column
declare
    v_hours constant float8 := (extract(epoch from p_until - p_since) / 3600)::float8;
begin
    return query
    with done as (
        select
            t.flow_name, coalesce(sum(t.completed), 0) as completed, coalesce(sum(t.failed), 0) as failed,
            sum(t.wait_seconds) as waited, sum(t.run_seconds) as ran
        from conveyor._throughput(p_since) as t
        group by grouping sets ((t.flow_name), ())
    )
    select
        d.flow_name,
        jsonb_build_object(
            'total_processed', d.completed + d.failed,
            'completed_count', d.completed,
            'failed_count', d.failed,
            -- of nothing, nothing failed
            'success_rate_percent', coalesce(round(100 * d.completed / nullif(d.completed + d.failed, 0), 2), 100),
            'avg_processing_rate_per_hour', round(((d.completed + d.failed)::float8 / v_hours)::numeric, 2),
            'avg_processing_time_minutes', round((d.ran / nullif(d.completed, 0) / 60)::numeric, 4),
            'wait_seconds', jsonb_build_object(
                'avg', round((d.waited / nullif(d.completed, 0))::numeric, 3),
                'p50', round(p.wait_p50::numeric, 3), 'p95', round(p.wait_p95::numeric, 3)
            ),
            'run_seconds', jsonb_build_object(
                'avg', round((d.ran / nullif(d.completed, 0))::numeric, 3),
                'p50', round(p.run_p50::numeric, 3), 'p95', round(p.run_p95::numeric, 3)
            ),
            'percentiles', jsonb_build_object('records', coalesce(p.records, 0), 'exact', coalesce(p.exact, true))
        )
    from done as d
    left join conveyor._time_percentiles(p_since, p_until) as p
        on p.flow_name is not distinct from d.flow_name;
end;
$$;

comment on function conveyor._performance is 'Throughput, success and times in a window, by flow and of all.';
create or replace function conveyor._performance_alerts(p_report jsonb, p_thresholds jsonb)
    returns jsonb
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select jsonb_build_object(
            'alerts', coalesce(jsonb_agg(
                format(
                    '%s: flow %s: %s of %s records failed',
                    case when m.failed_percent > t.failed_percent_critical then 'critical' else 'warning' end,
                    m.flow_name, m.metrics ->> 'failed_count', m.metrics ->> 'total_processed'
                ) order by m.failed_percent desc, m.flow_name
            ), '[]'),
            'recommendations', coalesce(jsonb_agg(
                format(
                    'processing_performance(p_include_error_analysis => true) groups the errors of flow %1$s; when the '
                    'cause is gone, reset_failed_records(%1$L) brings its failed records back', m.flow_name
                ) order by m.failed_percent desc, m.flow_name
            ), '[]')
        )
        from (
            select
                f.key as flow_name, f.value as metrics,
                100 - (f.value ->> 'success_rate_percent')::numeric as failed_percent
            from jsonb_each(p_report -> 'flow_specific_metrics') as f
        ) as m
        cross join jsonb_to_record(p_thresholds) as t (failed_percent_warning float8, failed_percent_critical float8)
        where m.failed_percent > least(t.failed_percent_warning, t.failed_percent_critical)
    );
end;
$$;

comment on function conveyor._performance_alerts is
    'Which flows failed too much in the window of a report, and what to call.';
create or replace function conveyor._hourly_trends(p_since timestamptz)
    returns jsonb
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select coalesce(jsonb_agg(jsonb_build_object(
            'hour', conveyor._iso_time(h.hour), 'completed', h.completed, 'failed', h.failed
        ) order by h.hour), '[]')
        from (
            select date_trunc('hour', t.minute, 'UTC') as hour, sum(t.completed) as completed, sum(t.failed) as failed
            from conveyor._throughput(p_since) as t
            group by date_trunc('hour', t.minute, 'UTC')
        ) as h
    );
end;
$$;

comment on function conveyor._hourly_trends is 'Records completed and failed in each hour in which there were some.';
-- What was completed and failed since a whole minute, from the folded minutes and the deltas that are not folded yet.
create or replace function conveyor._throughput(p_since timestamptz)
    returns table (
        flow_name    text,
        minute       timestamptz,
        completed    numeric,
        failed       numeric,
        wait_seconds float8,
        run_seconds  float8
    )
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
as $$
#variable_conflict use_column
begin
    return query
    select e.flow_name, e.minute, sum(e.completed), sum(e.failed), sum(e.wait_seconds), sum(e.run_seconds)
    from (
        select m.flow_name, m.minute, m.completed, m.failed, m.wait_seconds, m.run_seconds
        from conveyor.flow_minute as m
        where m.minute >= p_since
        union all
        select
            d.flow_name, date_trunc('minute', d.counted_at), greatest(d.completed, 0), greatest(d.failed, 0),
            case when d.completed > 0 then d.wait_seconds else 0 end,
            case when d.completed > 0 then d.run_seconds else 0 end
        from conveyor.count_delta as d
        where d.counted_at >= p_since
            and d.wait_seconds is not null
            and (d.completed > 0 or d.failed > 0)
    ) as e
    group by e.flow_name, e.minute;
end;
$$;

comment on function conveyor._throughput is 'Records completed and failed, and their times in sum, by flow and minute.';
-- p50 and p95 of the completed records of a window, by flow and, with a null name, of all.  Exact while no more were
-- completed than p_most; of more, the first of each hundredth of the window are read, and weighed by how many were
-- completed in it.  Nearest rank.
create or replace function conveyor._time_percentiles(
    p_since timestamptz,
    p_until timestamptz,
    p_most  integer default 10000
)
    returns table (
        flow_name text,
        records   bigint,
        exact     boolean,
        wait_p50  float8,
        wait_p95  float8,
        run_p50   float8,
        run_p95   float8
    )
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    v_width constant interval := interval '1 minute' * ceil(extract(epoch from p_until - p_since) / 6000);
begin
    return query
    with slice as materialized (
        select t.flow_name, g.starts_at, sum(t.completed)::float8 as completed
        from conveyor._throughput(p_since) as t
        cross join lateral (select date_bin(v_width, t.minute, p_since) as starts_at) as g
        where t.completed > 0
        group by t.flow_name, g.starts_at
    ),
    share as materialized (
        select
            case when sum(s.completed) <= p_most then p_most
                else ceil(p_most::float8 / nullif(count(*), 0))::integer end as most
        from slice as s
    ),
    read as materialized (
        select s.flow_name, s.starts_at, s.completed, r.waited, r.ran, count(*) over of_slice as records
        from slice as s
        cross join lateral (
            select
                extract(epoch from q.claimed_at - coalesce(q.run_at, q.created_at))::float8 as waited,
                extract(epoch from q.completed_at - q.claimed_at)::float8 as ran
            from conveyor.processing_queue as q
            where q.flow_name = s.flow_name
                and q.status = 'completed'
                and q.completed_at >= s.starts_at
                and q.completed_at < s.starts_at + v_width
                and q.claimed_at is not null
            order by q.completed_at
            limit (select share.most from share)
        ) as r
        window of_slice as (partition by s.flow_name, s.starts_at)
    ),
    weighed as (
        select o.flow_name, m.measure, m.value, w.weight, w.weight = 1 as exact
        from read as r
        cross join lateral (
            select case when r.records = share.most then greatest(r.completed / r.records, 1) else 1 end as weight
            from share
        ) as w
        cross join lateral (values ('wait', r.waited), ('run', r.ran)) as m (measure, value)
        cross join lateral (values (r.flow_name), (null)) as o (flow_name)
    ),
    ranked as (
        select
            w.*,
            sum(w.weight) over (partition by w.flow_name, w.measure order by w.value) as reached,
            sum(w.weight) over (partition by w.flow_name, w.measure) as total
        from weighed as w
    )
    select
        r.flow_name, count(*) filter (where r.measure = 'run'), bool_and(r.exact),
        min(r.value) filter (where r.measure = 'wait' and r.reached >= 0.5 * r.total),
        min(r.value) filter (where r.measure = 'wait' and r.reached >= 0.95 * r.total),
        min(r.value) filter (where r.measure = 'run' and r.reached >= 0.5 * r.total),
        min(r.value) filter (where r.measure = 'run' and r.reached >= 0.95 * r.total)
    from ranked as r
    group by r.flow_name;
end;
$$;

comment on function conveyor._time_percentiles is 'p50 and p95 of wait and run time in a window, by flow and of all.';
-- The attempts that failed or were orphaned since a time, among the newest p_most attempts: they are in the order of
-- their ids.  An error without a type goes by its first line, numbers left out.
create or replace function conveyor._error_analysis(p_since timestamptz, p_most integer default 10000)
    returns jsonb
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
begin
    return (
        with newest as materialized (
            select a.*
            from conveyor.attempt as a
            order by a.attempt_id desc
            limit p_most
        ),
        error as materialized (
            select
                coalesce(q.flow_name, 'deleted records') as flow_name,
                n.record_id, n.attempt_id, n.ended_at, left(n.error, 200) as message,
                case when n.outcome = 'orphaned' then 'orphaned'
                    else coalesce(
                        nullif(n.error_type, ''),
                        nullif(left(regexp_replace(split_part(n.error, e'\n', 1), '\d+', '#', 'g'), 100), ''),
                        'without a message'
                    ) end as error_type
            from newest as n
            left join conveyor.processing_queue as q
                on q.id = n.record_id
            where n.outcome in ('failed', 'orphaned')
                and n.ended_at >= p_since
        ),
        grouped as (
            select
                e.error_type, count(*) as count, count(distinct e.record_id) as records,
                jsonb_agg(distinct e.flow_name) as flows, max(e.ended_at) as newest_at,
                (array_agg(e.record_id order by e.attempt_id desc))[1] as example_id,
                (array_agg(e.message order by e.attempt_id desc))[1] as example
            from error as e
            group by e.error_type
            order by count(*) desc, e.error_type
        )
        select jsonb_build_object(
            'total_errors', (select count(*) from error),
            'unique_error_types', (select count(*) from grouped),
            'errors_by_flow', (
                select coalesce(jsonb_object_agg(f.flow_name, f.count), '{}')
                from (select e.flow_name, count(*) as count from error as e group by e.flow_name) as f
            ),
            'top_errors', (
                select coalesce(jsonb_agg(jsonb_build_object(
                    'error_type', t.error_type, 'count', t.count, 'records', t.records, 'flows', t.flows,
                    'newest_at', conveyor._iso_time(t.newest_at), 'record_id', t.example_id, 'example', t.example
                ) order by t.count desc, t.error_type), '[]')
                from (select g.* from grouped as g limit 20) as t
            ),
            'exact', (select count(*) < p_most or min(n.ended_at) < p_since from newest as n)
        )
    );
end;
$$;

comment on function conveyor._error_analysis is 'Errors since a time, grouped by type, with an example of each.';
create or replace function conveyor._iso_time(p_time timestamptz)
    returns text
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
end;
$$;

comment on function conveyor._iso_time is 'A time as reports show it: ISO 8601, UTC.';
create or replace function conveyor._window_start(p_at timestamptz, p_thresholds jsonb)
    returns timestamptz
    language sql
    stable
return date_trunc('minute', p_at - interval '1 minute' * (p_thresholds ->> 'window_minutes')::float8);

comment on function conveyor._window_start is 'The whole minute at which the window of queue health begins.';

-- internal: called by the functions above alone
-- The one place that knows the defaults beside the table's own; a test holds the two equal.
create or replace function conveyor._flow_settings(p_flow_name text)
    returns conveyor.flow
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_flow conveyor.flow;
begin
    select f.*
    into v_flow
    from conveyor.flow as f
    where f.flow_name = p_flow_name;

    if not found then
        v_flow.flow_name := p_flow_name;
        v_flow.lease := interval '1 hour';
        v_flow.max_retries := 3;
        v_flow.retry_backoff := 2;
        v_flow.crash_budget := 5;
        v_flow.keep_input := true;
        v_flow.payload_limit := 16777216;
    end if;
    return v_flow;
end;
$$;

comment on function conveyor._flow_settings is 'The settings of a flow, configured or default.';
create or replace function conveyor._session_name()
    returns text
    language sql
    stable
return format(
    '%s-%s', left(coalesce(nullif(current_setting('application_name'), ''), session_user::text), 80), pg_backend_pid()
);

comment on function conveyor._session_name is 'Whom to note for a caller that gives no instance.';
create or replace function conveyor._floor_setting(p_flow_name text)
    returns text
    language sql
    immutable strict parallel safe
return 'conveyor.floor_' || to_hex(hashtextextended(p_flow_name, 0));

comment on function conveyor._floor_setting is 'The session setting that keeps the claim floor of a flow.';
create or replace function conveyor._read_floor(p_setting text)
    returns conveyor.scan_floor
    language sql
    stable
return nullif(current_setting(p_setting, true), '')::conveyor.scan_floor;

comment on function conveyor._read_floor is
    'The floor that this session keeps in its setting; null while there is none.';
-- Looks from the start take about a twentieth of a session.  At most 5 s: a look can have waited for a lock.
create or replace function conveyor._next_look(p_floor conveyor.scan_floor)
    returns timestamptz
    language sql
    stable parallel safe
return (p_floor).looked_at + least(interval '5 s', greatest(interval '0.1 s', 20 * (p_floor).look_took));

comment on function conveyor._next_look is 'When a session with this floor looks from the start again.';
-- The floor rises to the last record that this claim took; a claim that took none leaves it where it was.
create or replace function conveyor._raise_floor(
    p_setting   text,
    p_floor     conveyor.scan_floor,
    p_token     bigint,
    p_lease_end timestamptz
)
    returns void
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_floor conveyor.scan_floor := p_floor;
begin
    select -q.priority::integer, coalesce(q.run_at, q.created_at), q.id, p_floor.looked_at, p_floor.look_took
    into v_floor
    from conveyor.processing_queue as q
    where q.status = 'processing'
        and q.lease_expires_at = p_lease_end
        and q.claim_token = p_token
    order by -q.priority::integer desc, coalesce(q.run_at, q.created_at) desc, q.id desc
    limit 1;

    perform set_config(p_setting, (case when found then v_floor else p_floor end)::text, false);
end;
$$;

comment on function conveyor._raise_floor is 'Keeps the claim floor of this session in its setting.';
-- What became of each answer, in the order given.  A statement of its own: an identical answer that another session
-- was just committing is in this snapshot, not in that of the update that waited for it.
create or replace function conveyor._answer_outcomes(
    p_ids         bigint[],
    p_tokens      bigint[],
    p_done        bigint[],
    p_done_tokens bigint[],
    p_outcome     text
)
    returns table (id bigint, outcome text)
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
    set enable_nestloop = on
as $$
#variable_conflict use_column
begin
    if cardinality(p_done) = cardinality(p_ids) then
        return query
        select a.id, 'done'
        from unnest(p_ids) as a (id);
        return;
    end if;

    return query
    with answer as (
        select
            a.id,
            a.token,
            a.position,
            row_number() over (partition by a.id, a.token order by a.position) as nth,
            case
                when p_outcome = 'completed' then exists (
                    select
                    from conveyor.processing_queue as q
                    where q.id = a.id
                        and q.claim_token = a.token
                        and q.status = 'completed'
                )
                else exists (
                    select
                    from conveyor.attempt as t
                    where t.record_id = a.id
                        and t.claim_token = a.token
                        and t.outcome = p_outcome
                )
            end as is_accepted
        from unnest(p_ids, p_tokens) with ordinality as a (id, token, position)
    )
    select
        a.id,
        case
            when a.is_accepted and a.nth = 1 and d.id is not null then 'done'
            when a.is_accepted then 'repeated'
            else 'lost'
        end
    from answer as a
    left join unnest(p_done, p_done_tokens) as d (id, token)
        on d.id = a.id
            and d.token = a.token
    order by a.position;
end;
$$;

comment on function conveyor._answer_outcomes is 'Says done, repeated or lost for each answer of a bulk verb.';
-- A tenth of jitter: records that failed together do not come back together.
create or replace function conveyor._retry_delay(
    p_delay       interval,
    p_backoff     numeric,
    p_retry_count integer
)
    returns interval
    language sql
    volatile strict
return make_interval(
    secs => least(
        greatest(86400, extract(epoch from p_delay)),
        extract(epoch from p_delay)::double precision * power(p_backoff::double precision, least(p_retry_count, 64))
    ) * (1 + random() / 10)
);

comment on function conveyor._retry_delay is
    'How long a record waits that failed p_retry_count times before: up to a day, or the delay if that is longer.';
-- Find records whose holder is gone, and lock them; what another session has locked (an answer on its way, another
-- reaper) is passed over.  Records put into processing by hand, without a lease, have that of their flow.
--
-- Like claims, looks for ended leases start at a floor while much dead has to be skipped.
create or replace function conveyor._lock_orphans(
    p_silent_for interval,
    p_flow_name  text,
    p_limit      integer
)
    returns bigint[]
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
declare
    c_index constant oid := 'conveyor.idx_processing_queue_processing'::regclass;
    v_now   constant timestamptz := clock_timestamp();
    v_floor conveyor.scan_floor := conveyor._read_floor('conveyor.floor_leases');
    v_full  constant boolean := p_flow_name is not null
        or (v_now between v_floor.looked_at and conveyor._next_look(v_floor)) is not true;
    v_from  constant timestamptz := case when v_full then '-infinity' else v_floor.due_at end;
    v_read  constant bigint := pg_stat_get_xact_tuples_returned(c_index);
    v_last  timestamptz;
    v_ended bigint[];
begin
    with ended as materialized (
        select q.id, q.lease_expires_at
        from conveyor.processing_queue as q
        where q.status = 'processing'
            and q.lease_expires_at between v_from and v_now
            and (p_flow_name is null or q.flow_name = p_flow_name)
        order by q.lease_expires_at
        limit p_limit
        for update skip locked
    )
    select array_agg(e.id), case when count(*) = p_limit then max(e.lease_expires_at) else v_now end
    into v_ended, v_last
    from ended as e;

    if p_flow_name is null and v_full then
        v_floor := row(0, v_last, 0, v_now, clock_timestamp() - v_now);
    end if;
    if p_flow_name is null
        and pg_stat_get_xact_tuples_returned(c_index) - v_read >= 256 + 4 * coalesce(cardinality(v_ended), 0)
    then
        v_floor.due_at := v_last;
        perform set_config('conveyor.floor_leases', v_floor::text, false);
    elsif p_flow_name is null and v_full then
        perform set_config('conveyor.floor_leases', '', false);
    end if;

    return v_ended || array(
        select q.id
        from conveyor.processing_queue as q
        where q.status = 'processing'
            and q.lease_expires_at is null
            and coalesce(q.claimed_at, q.updated_at) <= v_now - (conveyor._flow_settings(q.flow_name)).lease
            and (p_flow_name is null or q.flow_name = p_flow_name)
        limit p_limit
        for update skip locked
    ) || case when p_silent_for is not null then array(
        select q.id
        from conveyor.processing_queue as q
        where q.status = 'processing'
            and coalesce(greatest(q.claimed_at, q.heartbeat_at), q.updated_at) <= v_now - p_silent_for
            and (p_flow_name is null or q.flow_name = p_flow_name)
        limit p_limit
        for update skip locked
    ) end;
end;
$$;

comment on function conveyor._lock_orphans is
    'Locks and returns records in processing whose lease ended, or that were silent for so long.';
-- Back to pending, charged; or failed, when the crash budget of the flow is used up.  The caller has the rows locked.
create or replace function conveyor._return_orphans(p_ids bigint[])
    returns integer
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
declare
    v_now   constant timestamptz := clock_timestamp();
    v_count integer;
begin
    with orphan as materialized (
        select
            q.id, q.claim_token, q.flow_instance_id, q.claimed_at, q.lease_expires_at,
            coalesce(q.crash_count + 1 >= f.crash_budget, false) as is_crashed
        from conveyor.processing_queue as q
        cross join lateral conveyor._flow_settings(q.flow_name) as f
        where q.id = any (p_ids)
    ),
    logged as (
        insert into conveyor.attempt
            (record_id, claim_token, outcome, error, flow_instance_id, claimed_at, ended_at)
        select
            o.id, o.claim_token, 'orphaned',
            format(
                '%s did not answer; its lease was to end at %s',
                coalesce(o.flow_instance_id, 'the holder'), coalesce(o.lease_expires_at::text, 'an unknown time')
            ),
            o.flow_instance_id, o.claimed_at, v_now
        from orphan as o
        on conflict (record_id, claim_token) do nothing
    )
    update conveyor.processing_queue as q
    set status           = case when o.is_crashed then 'failed' else 'pending' end,
        failure_kind     = case when o.is_crashed then 'crashed' end,
        error_message    = case when o.is_crashed
            then format(
                '%s claims ended without an answer; the last was by %s',
                q.crash_count + 1, coalesce(q.flow_instance_id, 'an unknown instance')
            )
            else q.error_message end,
        retry_count      = q.retry_count + 1,
        crash_count      = q.crash_count + 1,
        updated_at       = v_now,
        lease_expires_at = null,
        claim_token      = case when o.is_crashed then q.claim_token end,
        flow_instance_id = case when o.is_crashed then q.flow_instance_id end,
        claimed_at       = case when o.is_crashed then q.claimed_at end
    from orphan as o
    where q.id = any (p_ids)
        and q.id = o.id;

    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function conveyor._return_orphans is 'Takes records from holders that are gone, and counts them.';
-- Failed records back to pending, at their old place in the order.  The caller has the rows locked.
create or replace function conveyor._return_failed(
    p_ids    bigint[],
    p_afresh boolean
)
    returns integer
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer;
begin
    update conveyor.processing_queue as q
    set status           = 'pending',
        failure_kind     = null,
        error_message    = null,
        completed_at     = null,
        claimed_at       = null,
        claim_token      = null,
        flow_instance_id = null,
        lease_expires_at = null,
        updated_at       = clock_timestamp(),
        retry_count      = case when p_afresh then 0 else q.retry_count end,
        crash_count      = case when p_afresh then 0 else q.crash_count end
    where q.id = any (p_ids);

    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function conveyor._return_failed is 'Puts failed records back to pending, with their counts or afresh.';
create or replace function conveyor._place_in_line(p_record conveyor.processing_queue)
    returns text
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    c_most   constant integer := 10000;
    v_before integer;
begin
    if conveyor._is_locked(p_record.id) then
        return 'is locked by a transaction that is still open: a claim, or a change by hand.';
    end if;

    select count(*)
    into v_before
    from (
        select
        from conveyor.processing_queue as q
        where q.flow_name = p_record.flow_name
            and q.status = 'pending'
            and (-q.priority::integer, coalesce(q.run_at, q.created_at), q.id)
            < (-p_record.priority::integer, coalesce(p_record.run_at, p_record.created_at), p_record.id)
            and coalesce(q.run_at, q.created_at) <= clock_timestamp()
        limit c_most
    ) as b;

    return case
        when v_before = 0 then 'is next in line: a worker of its flow takes it with its next claim.'
        when v_before = 1 then 'waits in line behind 1 record of its flow that is due.'
        when v_before < c_most then format('waits in line behind %s records of its flow that are due.', v_before)
        else format('waits in line behind %s or more records of its flow that are due.', c_most)
    end;
end;
$$;

comment on function conveyor._place_in_line is 'How many due records go before this one.';
-- Whether another session has locked a record.  Found by locking it in a subtransaction that is rolled back, so that
-- nobody is kept from claiming it; where nothing can be locked (read only, a standby) the answer is no.
create or replace function conveyor._is_locked(p_id bigint)
    returns boolean
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_locked boolean := false;
begin
    if current_setting('transaction_read_only')::boolean then
        return false;
    end if;

    begin
        perform
        from conveyor.processing_queue as q
        where q.id = p_id
        for update skip locked;
        v_is_locked := not found;
        raise exception using errcode = 'raise_exception', message = 'give the lock back';
    exception
        when raise_exception then
            null;
    end;
    return v_is_locked;
end;
$$;

comment on function conveyor._is_locked is 'Whether another session has locked a record; leaves no lock behind.';
create or replace function conveyor._check_flow_name(p_flow_name text)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    if (p_flow_name ~ '\S' and length(p_flow_name) <= 100) is not true then
        perform conveyor._raise_invalid('p_flow_name', p_flow_name, 'a name of 1 to 100 characters that is not blank');
    end if;
end;
$$;

comment on function conveyor._check_flow_name is 'Refuses a flow name that no record can have.';
-- An array that is within the limit has no element over it: the usual call looks at one number.
create or replace function conveyor._check_payloads(
    p_payloads jsonb,
    p_limit    bigint
)
    returns void
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_position bigint;
    v_payload  jsonb;
    v_size     integer;
begin
    if jsonb_typeof(p_payloads) is distinct from 'array' then
        perform conveyor._raise_invalid('p_payloads', p_payloads::text, 'a JSON array of objects');
    end if;

    -- The path looks at each element without unpacking it; which one is bad is asked only when one is.
    if jsonb_path_exists(p_payloads, 'strict $[*] ? (@.type() != "object")') then
        select n.position - 1, n.payload
        into v_position, v_payload
        from jsonb_array_elements(p_payloads) with ordinality as n (payload, position)
        where jsonb_typeof(n.payload) <> 'object'
        order by n.position
        limit 1;
        perform conveyor._raise_invalid(
            format('p_payloads[%s]', v_position), v_payload::text, 'a JSON object; none was added'
        );
    end if;

    if conveyor._jsonb_size(p_payloads) > p_limit then
        select n.position - 1, pg_column_size(n.payload)
        into v_position, v_size
        from jsonb_array_elements(p_payloads) with ordinality as n (payload, position)
        where pg_column_size(n.payload) > p_limit
        order by n.position
        limit 1;

        if found then
            perform conveyor._raise_too_large(format('p_payloads[%s]', v_position), v_size, p_limit);
        end if;
    end if;
end;
$$;

comment on function conveyor._check_payloads is
    'Refuses a document that is not an array of objects within the limit, and names the first element that is wrong.';
-- An index entry holds 2704 bytes, with the flow's name; said here, because the index would say it without a name.
-- A blank key is a field that nobody filled in: all such records would be one.
create or replace function conveyor._check_dedup_keys(
    p_name text,
    p_keys text[]
)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_position bigint;
    v_key      text;
begin
    select n.position - 1, n.key
    into v_position, v_key
    from unnest(p_keys) with ordinality as n (key, position)
    where octet_length(n.key) > 1024
        or n.key !~ '\S'
    order by n.position
    limit 1;

    if found then
        perform conveyor._raise_invalid(
            format(p_name, v_position), v_key,
            'a key of at most 1024 bytes that is not blank (a hash of a longer one), or null for none'
        );
    end if;
end;
$$;

comment on function conveyor._check_dedup_keys is
    'Refuses a dedup key that is blank or too long for its index; %s in the name becomes its position.';
-- A time outside the calendar of most languages would stop the clients that read it; infinity is never.
create or replace function conveyor._check_schedule(
    p_priority smallint,
    p_run_at   timestamptz
)
    returns void
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
begin
    if p_priority is null then
        perform conveyor._raise_invalid('p_priority', null, 'a number from -32768 to 32767; 0 is usual');
    end if;
    if p_run_at < '0001-01-02 00:00+00' or p_run_at >= '9999-12-31 00:00+00' then
        perform conveyor._raise_invalid(
            'p_run_at', p_run_at::text, 'a time in the years 1 to 9999, or null for at once'
        );
    end if;
end;
$$;

comment on function conveyor._check_schedule is 'Refuses a priority or a time that no record can have.';
create or replace function conveyor._check_lease(p_lease interval)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    if not p_lease between interval '1 microsecond' and interval '100 years' then
        perform conveyor._raise_invalid(
            'p_lease', p_lease::text, 'an interval above zero, up to 100 years, or null for the lease of the flow'
        );
    end if;
end;
$$;

comment on function conveyor._check_lease is 'Refuses a lease that ends before it begins, or never.';
-- A shorter list would pair answers with the wrong records, or with none.
create or replace function conveyor._check_answers(
    p_ids     bigint[],
    p_tokens  bigint[],
    p_name    text  default null,
    p_answers jsonb default null
)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    if p_ids is null or array_ndims(p_ids) > 1 then
        perform conveyor._raise_invalid('p_ids', p_ids::text, 'an array of record ids');
    end if;
    if p_tokens is null or cardinality(p_tokens) <> cardinality(p_ids) then
        perform conveyor._raise_invalid(
            'p_tokens', p_tokens::text, format('one claim token for each of the %s ids', cardinality(p_ids))
        );
    end if;
    if p_name is null then
        return;
    end if;
    if jsonb_typeof(p_answers) is distinct from 'array' then
        perform conveyor._raise_invalid(p_name, p_answers::text, 'a JSON array with one element for each id');
    end if;
    if jsonb_array_length(p_answers) <> cardinality(p_ids) then
        perform conveyor._raise_invalid(
            format('the number of %s', p_name), jsonb_array_length(p_answers)::text,
            format('one element for each of the %s ids', cardinality(p_ids))
        );
    end if;
end;
$$;

comment on function conveyor._check_answers is 'Refuses ids, tokens and answers that do not pair up.';
create or replace function conveyor._check_errors(p_errors jsonb)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_position bigint;
    v_error    jsonb;
begin
    select n.position - 1, n.error
    into v_position, v_error
    from jsonb_array_elements(p_errors) with ordinality as n (error, position)
    where jsonb_typeof(n.error) <> 'object'
        or jsonb_typeof(n.error -> 'error') is distinct from 'string'
        or jsonb_typeof(n.error -> 'error_type') not in ('string', 'null')
        or jsonb_typeof(n.error -> 'permanent') not in ('boolean', 'null')
    order by n.position
    limit 1;

    if found then
        perform conveyor._raise_invalid(
            format('p_errors[%s]', v_position), v_error::text,
            'an object {"error": text, "error_type"?: text, "context"?: any, "permanent"?: boolean}'
        );
    end if;
end;
$$;

comment on function conveyor._check_errors is 'Refuses a document of errors and names the first element that is wrong.';
-- One row for each setting: what it takes, and whether null may turn it off.
create or replace function conveyor._check_settings(p_settings jsonb)
    returns void
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_key    text;
    v_value  jsonb;
    v_remedy text;
begin
    if jsonb_typeof(p_settings) is distinct from 'object' then
        perform conveyor._raise_invalid(
            'p_settings', p_settings::text, 'a JSON object such as {"lease": "5 minutes"}'
        );
    end if;

    select
        s.key,
        s.value,
        coalesce(
            k.remedy,
            'one of the keys lease, max_retries, retry_delay, retry_backoff, crash_budget, keep_input, retention,'
            ' payload_limit'
        )
    into v_key, v_value, v_remedy
    from jsonb_each(p_settings) as s
    left join (
        values
            ('lease', 'interval', 0.000001, 3e9, false, 'an interval above zero, as text or in seconds'),
            ('max_retries', 'integer', 0, 2147483647, true, 'a whole number from 0 up, or null for no limit'),
            ('retry_delay', 'interval', 0, 3e9, true, 'an interval, as text or in seconds, or null for no retry'),
            ('retry_backoff', 'number', 1, 100, false, 'a number from 1 to 100'),
            ('crash_budget', 'integer', 1, 2147483647, true, 'a whole number from 1 up, or null for no limit'),
            ('keep_input', 'boolean', null, null, false, 'true or false'),
            ('retention', 'interval', 0, 3e9, true, 'an interval, as text or in seconds, or null to keep records'),
            (
                'payload_limit', 'bytes', 1, 9223372036854775807, true,
                'a whole number of bytes from 1 up, a text such as "16MB", or null for no limit'
            )
    ) as k (key, type, least, most, nullable, remedy)
        on s.key = k.key
    where not coalesce(
        case
            when s.value = 'null' then k.nullable
            when k.type = 'boolean' then jsonb_typeof(s.value) = 'boolean'
            when k.type = 'interval'
                then extract(epoch from conveyor._to_interval(s.value)) between k.least and k.most
            when k.type = 'bytes' then conveyor._to_bytes(s.value) between k.least and k.most
            when jsonb_typeof(s.value) = 'number'
                then s.value::numeric between k.least and k.most
                    and (k.type = 'number' or s.value::numeric = trunc(s.value::numeric))
        end,
        false
    )
    order by s.key
    limit 1;

    if found then
        perform conveyor._raise_invalid(format('p_settings.%s', v_key), v_value::text, v_remedy);
    end if;
end;
$$;

comment on function conveyor._check_settings is 'Refuses a setting of a flow that is unknown or out of range.';
-- The exception block costs a subtransaction; nothing hot comes here.
create or replace function conveyor._to_interval(p_value jsonb)
    returns interval
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return case when jsonb_typeof(p_value) in ('string', 'number') then (p_value #>> '{}')::interval end;
exception
    when data_exception then
        return null;
end;
$$;

comment on function conveyor._to_interval is 'A JSON text or number of seconds as an interval; null when it is none.';
create or replace function conveyor._to_bytes(p_value jsonb)
    returns bigint
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return case
        when jsonb_typeof(p_value) = 'string' then pg_size_bytes(p_value #>> '{}')
        when jsonb_typeof(p_value) = 'number' and p_value::numeric = trunc(p_value::numeric) then p_value::bigint
    end;
exception
    when data_exception then
        return null;
end;
$$;

comment on function conveyor._to_bytes is
    'A JSON text such as "16MB", or a whole number, as bytes; null when it is none.';
-- pg_column_size() reads the length from the header, but of a value that a table stored compressed it says the
-- compressed one: that is unpacked first.
create or replace function conveyor._jsonb_size(p_value jsonb)
    returns integer
    language sql
    stable parallel safe
return case
    when pg_column_compression(p_value) is null then pg_column_size(p_value)
    else pg_column_size(jsonb_build_array(p_value) -> 0)
end;

comment on function conveyor._jsonb_size is 'The bytes of a jsonb value before compression.';
-- The mark is part of the length, so that what is cut once is not cut again.
create or replace function conveyor._cut(
    p_text text,
    p_most integer
)
    returns text
    language sql
    immutable parallel safe
return case
    when octet_length(p_text) > p_most and length(p_text) > p_most
        then left(p_text, p_most - 40) || '... [cut: ' || length(p_text)::text || ' characters]'
    else p_text
end;

comment on function conveyor._cut is
    'A text of at most p_most (over 40) characters; a longer one is cut, and says that and how long it was.';
create or replace function conveyor._cut_context(p_context jsonb)
    returns jsonb
    language sql
    stable parallel safe
return case
    when conveyor._jsonb_size(p_context) > 65536
        then jsonb_build_object('cut', conveyor._cut(p_context::text, 10000))
    else p_context
end;

comment on function conveyor._cut_context is 'A context of at most 64 kB; of a larger one, where its text begins.';
-- Refuse an argument: name it, show what was given, say what to give instead.
-- The name is also the error's column, for clients that call the argument something else.
create or replace function conveyor._raise_invalid(
    p_argument text,
    p_value    text,
    p_remedy   text
)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'invalid_parameter_value',
        message = format(
            '%s is %s%s', p_argument, coalesce(quote_literal(left(p_value, 100)), 'null'),
            case when length(p_value) > 100 then format('... (%s characters)', length(p_value)) end
        ),
        hint    = format('Give %s.', p_remedy),
        column  = p_argument;
end;
$$;

comment on function conveyor._raise_invalid is 'Raises invalid_parameter_value (22023) for an argument.';
create or replace function conveyor._raise_too_large(
    p_argument text,
    p_size     integer,
    p_limit    bigint
)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'invalid_parameter_value',
        message = format('%s has %s bytes, and the payload_limit of the flow is %s', p_argument, p_size, p_limit),
        hint    = 'Keep the data elsewhere and add where it is, or raise payload_limit with configure_flow.',
        column  = p_argument;
end;
$$;

comment on function conveyor._raise_too_large is 'Raises invalid_parameter_value (22023) for a payload over the limit.';
-- Say why a fenced write matched nothing.  Runs on the error path alone.
create or replace function conveyor._raise_claim_lost(
    p_id    bigint,
    p_token bigint
)
    returns void
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_record conveyor.processing_queue;
begin
    select q.*
    into v_record
    from conveyor.processing_queue as q
    where q.id = p_id;

    if not found then
        raise exception using
            errcode = 'WQ002',
            message = format('record %s does not exist', coalesce(p_id::text, 'null')),
            hint    = 'The id is wrong, or the record was purged: do not try again.';
    end if;

    raise exception using
        errcode = 'WQ001',
        message = format('claim %s no longer holds record %s', coalesce(p_token::text, 'null'), p_id),
        detail  = format(
            'The record is %s%s.', v_record.status,
            case when v_record.lease_expires_at is not null
                then format(', held by %s until %s', v_record.flow_instance_id, v_record.lease_expires_at)
            end
        ),
        hint    = 'Drop the result. If this happens often, extend leases while you work, or take longer ones.';
end;
$$;

comment on function conveyor._raise_claim_lost is 'Raises WQ001 or WQ002 for a fenced write that matched nothing.';

-- Who may call what.  The functions are the only door: no role has rights on the tables.

revoke all on all functions in schema conveyor from public;

do $$
begin
    if to_regrole('conveyor_producer') is null
        or to_regrole('conveyor_worker') is null
        or to_regrole('conveyor_viewer') is null
        or to_regrole('conveyor_operator') is null
    then
        raise warning 'the conveyor roles do not exist: grants are left out'
            using hint = 'Let a role with createrole run this once more.';
        return;
    end if;

    grant usage on schema conveyor to conveyor_producer, conveyor_worker, conveyor_viewer, conveyor_operator;

    grant execute on function
        conveyor.check_client
        to conveyor_producer, conveyor_worker, conveyor_viewer, conveyor_operator;

    grant execute on function
        conveyor.add_record,
        conveyor.add_records_to_queue,
        conveyor.get_queue_status,
        conveyor.list_sleepers
        to conveyor_producer, conveyor_worker, conveyor_operator;

    grant execute on function
        conveyor.claim_records_batch,
        conveyor.next_due_at,
        conveyor.park,
        conveyor.leave,
        conveyor.extend_leases,
        conveyor.release_records,
        conveyor.get_claim_summary,
        conveyor.mark_record_completed,
        conveyor.mark_records_completed,
        conveyor.mark_record_failed,
        conveyor.mark_records_failed,
        conveyor.cleanup_orphaned_records,
        conveyor.maintain,
        conveyor.health_check,
        conveyor.get_record
        to conveyor_worker, conveyor_operator;

    grant execute on function
        conveyor.get_queue_status,
        conveyor.list_sleepers,
        conveyor.health_check,
        conveyor.get_record,
        conveyor.list_records,
        conveyor.why_not_claimed,
        conveyor.queue_monitoring,
        conveyor.processing_diagnostics,
        conveyor.processing_performance
        to conveyor_viewer, conveyor_operator;

    grant execute on function
        conveyor.reset_failed_records,
        conveyor.requeue_records,
        conveyor.cancel_records,
        conveyor.configure_flow,
        conveyor.pause_flow,
        conveyor.resume_flow,
        conveyor.purge_records,
        conveyor.check_integrity
        to conveyor_operator;
end;
$$;

-- last: the table that was there before
\if :{?adopt}
    select set_config('conveyor.adopt', :'adopt', true)
    \gset
\endif
\if :{?timezone}
    select set_config('conveyor.adopt_timezone', :'timezone', true)
    \gset
\endif
-- Move the records of a table that was made by the contract's DDL into conveyor.processing_queue, in one transaction
-- with the install.  Plain SQL: psql and the Python installer both run it, at the end.  What they were told is in two
-- settings, conveyor.adopt (the table) and conveyor.adopt_timezone; without the first, an old table is only reported.
--
-- Ids are kept.  Times without a zone are read in the zone that was given, UTC if none.  Records in processing have
-- neither token nor lease, so nobody can answer for them: maintain() takes them back when their flow's lease has passed
-- since claimed_at.  The old table is renamed to …_adopted and keeps its rows.  So nothing is lost, a second run finds
-- nothing to move, and a writer that was forgotten gets an error instead of filling a table that nobody reads.

do $$
declare
    v_name    constant text := nullif(current_setting('conveyor.adopt', true), '');
    v_zone    constant text := coalesce(nullif(current_setting('conveyor.adopt_timezone', true), ''), 'UTC');
    v_columns constant text[] := array[
        'id', 'flow_name', 'payload', 'status', 'flow_instance_id', 'claimed_at', 'completed_at', 'error_message',
        'retry_count', 'created_at', 'updated_at'
    ];
    v_now     constant timestamptz := clock_timestamp();
    v_table   regclass;
    v_renamed text;
    v_left    text;
    v_missing text;
    v_wrong   text;
    v_highest bigint;
    v_late    bigint;
    v_count   bigint;
    v_counts  text;
begin
    if v_name is null then
        if exists (
            select
            from pg_class as c
            join pg_attribute as a on a.attrelid = c.oid
            where c.relnamespace = to_regnamespace('public')
                and c.relname = 'processing_queue'
                and a.attname = 'flow_instance_id'
        ) then
            raise info 'public.processing_queue is there: this queue does not use it'
                using hint = 'To move its records over: pgconveyor install --adopt public.processing_queue';
        end if;
        return;
    end if;

    -- The old table is the business of whoever installs, not of the queue's owner.
    perform set_config('role', current_setting('conveyor.installer'), true);
    -- Rows that a policy hides would be lost without a word.
    set local row_security = off;

    v_table := to_regclass(v_name);
    if v_table is null and to_regclass(regexp_replace(v_name, '("?)$', '_adopted\1')) is not null then
        raise info '% was adopted before: nothing to do', v_name;
        return;
    end if;
    if v_table is null then
        raise exception using
            errcode = 'undefined_table',
            message = format('there is no table %s to adopt', v_name),
            hint    = 'Give it with its schema, such as public.processing_queue.';
    end if;
    if v_table = 'conveyor.processing_queue'::regclass
        or (select c.relkind not in ('r', 'p') from pg_class as c where c.oid = v_table)
    then
        raise exception using
            errcode = 'wrong_object_type',
            message = format('%s cannot be adopted', v_name),
            hint    = 'Give the table that the old programs wrote to.';
    end if;

    select string_agg(w.name, ', ' order by w.position)
    into v_missing
    from unnest(v_columns) with ordinality as w (name, position)
    where not exists (
        select
        from pg_attribute as a
        where a.attrelid = v_table
            and a.attname = w.name
            and not a.attisdropped
    );
    if v_missing is not null then
        raise exception using
            errcode = 'undefined_column',
            message = format('%s has no column %s', v_name, v_missing),
            hint    = 'Only a table with the columns of the contract can be adopted; add what is missing.';
    end if;
    select string_agg(a.attname, ', ' order by a.attnum)
    into v_left
    from pg_attribute as a
    where a.attrelid = v_table
        and a.attnum > 0
        and not a.attisdropped
        and a.attname <> all (v_columns);

    v_renamed := (select c.relname || '_adopted' from pg_class as c where c.oid = v_table);
    if exists (
        select
        from pg_class as c
        join pg_class as old on old.relnamespace = c.relnamespace
        where old.oid = v_table
            and c.relname = v_renamed
    ) then
        raise exception using
            errcode = 'duplicate_table',
            message = format('%s cannot be renamed: %s is there already', v_name, v_renamed),
            hint    = 'A table was adopted before. Rename that one, then try again.';
    end if;

    if not exists (select from pg_timezone_names as z where lower(z.name) = lower(v_zone)) then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('there is no time zone %L', v_zone),
            hint    = 'Give the name of one, such as Europe/Berlin; select name from pg_timezone_names lists them.';
    end if;
    -- A cast to timestamptz reads times without a zone in this one, and leaves those that have a zone alone.
    perform set_config('timezone', v_zone, true);

    -- The queue first, as in every verb, against new records that would take an id.
    lock table conveyor.processing_queue in share row exclusive mode;
    execute format('lock table %s in access exclusive mode', v_table);
    execute format(
        'create temporary view conveyor_adopted as select %s from %s', array_to_string(v_columns, ', '), v_table
    );

    select string_agg(w.id::text, ', ' order by w.id)
    into v_wrong
    from (
        select a.id
        from conveyor_adopted as a
        where (length(a.flow_name) <= 100 and a.flow_name ~ '\S') is not true
            or a.status not in ('pending', 'processing', 'completed', 'failed')
            or a.retry_count < 0
            or a.id is null
        order by a.id
        limit 20
    ) as w;
    if v_wrong is not null then
        raise exception using
            errcode = 'check_violation',
            message = format('records of %s cannot be taken over: %s', v_name, v_wrong),
            detail  = 'Their flow_name is blank or longer than 100 characters, their status is none of the four, or'
                || ' their retry_count is below zero; at most 20 are named.',
            hint    = 'Nothing was done. Correct them, then try again.';
    end if;

    select string_agg(w.id::text, ', ' order by w.id)
    into v_wrong
    from (
        select a.id
        from conveyor_adopted as a
        join conveyor.processing_queue as q on q.id = a.id
        order by a.id
        limit 20
    ) as w;
    if v_wrong is not null then
        raise exception using
            errcode = 'unique_violation',
            message = format('the queue has records of its own with ids of %s: %s', v_name, v_wrong),
            detail  = 'At most 20 are named.',
            hint    = 'Nothing was done. Adopt before the first record is added, or give the old ones other ids.';
    end if;

    insert into conveyor.processing_queue (
        id, flow_name, payload, status, flow_instance_id, claimed_at, completed_at, error_message, retry_count,
        created_at, updated_at
    )
    select
        a.id,
        a.flow_name,
        coalesce(a.payload::jsonb, '{}'),
        coalesce(a.status, 'pending'),
        a.flow_instance_id,
        a.claimed_at::timestamptz,
        a.completed_at::timestamptz,
        a.error_message,
        coalesce(a.retry_count, 0),
        coalesce(a.created_at, a.claimed_at, a.completed_at, a.updated_at, v_now)::timestamptz,
        coalesce(a.updated_at, a.completed_at, a.claimed_at, a.created_at, v_now)::timestamptz
    from conveyor_adopted as a
    order by a.id;

    select
        count(*),
        coalesce(max(q.id), 0),
        format(
            '%s pending, %s processing, %s completed, %s failed',
            count(*) filter (where q.status = 'pending'),
            count(*) filter (where q.status = 'processing'),
            count(*) filter (where q.status = 'completed'),
            count(*) filter (where q.status = 'failed')
        ),
        count(*) filter (where q.status = 'pending' and q.created_at > v_now)
    into v_count, v_highest, v_counts, v_late
    from conveyor.processing_queue as q
    where q.id in (select a.id from conveyor_adopted as a);

    perform setval('conveyor.processing_queue_id_seq', v_highest)
    from conveyor.processing_queue_id_seq as s
    where s.last_value < v_highest;

    drop view conveyor_adopted;
    execute format('alter table %s rename to %I', v_table, v_renamed);

    raise info 'adopted % records of %: %; times without a zone were read as %', v_count, v_name, v_counts, v_zone
        using hint = format('%s is called %s now, and can be dropped.', v_name, v_renamed);
    if v_left is not null then
        raise warning 'columns that a queue does not have stayed behind: %', v_left;
    end if;
    if v_late > 0 then
        raise warning '% pending records were created in the future, and wait until then: is % the right time zone?',
            v_late, v_zone;
    end if;
end;
$$;

commit;
