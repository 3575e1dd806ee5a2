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
