-- conveyor.maintain: what must be done every few seconds, by whoever comes along.
begin;
select plan(32);

select is(
    conveyor.maintain(), '{"worked": true, "orphaned": 0, "folded": 0, "purged": 0, "again_in": 60}',
    'an empty queue needs nothing, and not soon'
);

insert into conveyor.processing_queue (id, flow_name, payload, crash_count)
values (1, 'survey', '{}', 0), (2, 'survey', '{}', 1), (3, 'survey', '{}', 0), (4, 'invoice', '{}', 0);

create temporary table held on commit drop as
select c.*
from (values ('survey'), ('invoice')) as f (flow_name)
cross join conveyor.claim_records_batch(f.flow_name, 10, 'worker-1') as c;

update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp(),
    crash_count      = 4 * q.crash_count
where q.id in (1, 2, 4);

-- Long in processing, but its lease runs: only an explicit clean-up with a timeout takes it.
update conveyor.processing_queue as q
set claimed_at = clock_timestamp() - interval '3 days'
where q.id = 3;

insert into conveyor.processing_queue (id, flow_name, payload, status, claimed_at)
values
    (11, 'survey', '{}', 'processing', clock_timestamp() - interval '2 hours'),
    (12, 'survey', '{}', 'processing', clock_timestamp() - interval '10 minutes'),
    (13, 'survey', '{}', 'processing', null),
    (14, 'survey', '{}', 'pending', null),
    (15, 'survey', '{}', 'completed', clock_timestamp() - interval '2 hours'),
    (16, 'survey', '{}', 'failed', clock_timestamp() - interval '2 hours');

create temporary table kept on commit drop as
select q.* from conveyor.processing_queue as q;

select is(
    conveyor.maintain() - 'folded', '{"worked": true, "orphaned": 4, "purged": 0, "again_in": 5}',
    'it says that it worked, and how many orphans it took back, from all flows'
);

select results_eq(
    $$
    select q.id, q.status, q.retry_count, q.crash_count, q.failure_kind, q.lease_expires_at
    from conveyor.processing_queue as q
    where q.id in (1, 2, 4)
    order by q.id
    $$,
    $$
    values
        (1::bigint, 'pending', 1, 1, null, null::timestamptz), (2, 'failed', 1, 5, 'crashed', null),
        (4, 'pending', 1, 1, null, null)
    $$,
    'records whose lease ended are pending, or failed when their crash budget is used up'
);

select results_eq(
    'select q.status, q.crash_count, q.claimed_at from conveyor.processing_queue as q where q.id = 11',
    $$ values ('pending', 1, null::timestamptz) $$,
    'a record without a lease is taken when the lease of its flow would have ended'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q where q.id not in (1, 2, 4, 11) order by q.id',
    'select k.* from kept as k where k.id not in (1, 2, 4, 11) order by k.id',
    'everything else stays as it is, what was claimed long ago under a lease that runs as well'
);

select results_eq(
    'select a.record_id, a.outcome from conveyor.attempt as a order by a.record_id',
    $$ values (1::bigint, 'orphaned'), (2, 'orphaned'), (4, 'orphaned'), (11, 'orphaned') $$,
    'each orphan is one attempt'
);

select is(
    conveyor.maintain(), '{"worked": true, "orphaned": 0, "folded": 0, "purged": 0, "again_in": 5}',
    'a repeat finds nothing'
);

select throws_ok(
    format('select conveyor.mark_record_completed(1, ''{}'', %s)', h.claim_token),
    'WQ001', null,
    'the token of an orphan is revoked'
)
from held as h
where h.id = 1;

select results_eq(
    $$ select c.id from conveyor.claim_records_batch('survey', 10) as c order by c.id $$,
    'values (1::bigint), (11), (14)',
    'what was taken back is claimed again'
);

select lives_ok(
    $$ select conveyor.mark_record_completed(h.id, '{}', h.claim_token) from held as h where h.id = 3 $$,
    'a holder whose lease runs is not disturbed'
);

insert into conveyor.processing_queue (id, flow_name, payload, status, claimed_at)
select
    n,
    'large' as flow_name,
    '{}' as payload,
    'processing' as status,
    '2020-01-01 00:00+00' as claimed_at
from generate_series(1001, 31000) as n;

create temporary table worked on commit drop as
select (conveyor.maintain() ->> 'orphaned')::bigint as orphaned;

select ok(w.orphaned between 1 and 29999, 'a call is bounded')
from worked as w;

select is(
    (select count(*) from conveyor.processing_queue as q where q.flow_name = 'large' and q.status = 'processing'),
    30000 - w.orphaned,
    'what a call leaves waits for the next'
)
from worked as w;

select conveyor.maintain() from generate_series(1, 100);

select is_empty(
    $$ select from conveyor.processing_queue as q where q.flow_name = 'large' and q.status = 'processing' $$,
    'the next calls take the rest'
);

-- A look that has to skip much makes a floor for its session: 700 leases ended, their records are answered.
insert into conveyor.processing_queue (id, flow_name, payload)
values (40000, 'later', '{}');
insert into conveyor.processing_queue (id, flow_name, payload, status, lease_expires_at)
select
    n,
    'busy' as flow_name,
    '{}' as payload,
    'processing' as status,
    '2020-01-01 00:00+00' as lease_expires_at
from generate_series(50001, 50700) as n;
update conveyor.processing_queue as q
set status = 'completed', lease_expires_at = null
where q.flow_name = 'busy';

create function pg_temp.orphans_after(p_look text) returns bigint language plpgsql as $$
declare
    v_found bigint;
begin
    execute p_look;
    perform conveyor.claim_records_batch('later', 1, p_lease => '1 microsecond');
    perform pg_sleep(0.001);
    v_found := conveyor.maintain() ->> 'orphaned';
    return v_found;
end;
$$;

select is(
    pg_temp.orphans_after('select conveyor.cleanup_orphaned_records()'), 1::bigint,
    'a lease that ends after an explicit clean-up that had to skip much is found'
);

select is(
    pg_temp.orphans_after('select conveyor.maintain()'), 1::bigint,
    'a lease that ends after a look that had to skip much is found'
);

-- Folding.  Changes of an hour ago, so that they are of one minute whatever the time is now.
insert into conveyor.processing_queue (id, flow_name, payload, status, created_at, run_at, claimed_at)
values
    (60001, 'fold', '{}', 'processing', '2020-01-01 00:00:00+00', null, '2020-01-01 00:00:10+00'),
    (60002, 'fold', '{}', 'processing', '2020-01-01 00:00:00+00', '2020-01-01 00:00:09+00', '2020-01-01 00:00:10+00'),
    (60003, 'fold', '{}', 'processing', '2020-01-01 00:00:00+00', null, '2020-01-01 00:00:10+00'),
    (60004, 'fold', '{}', 'completed', '2020-01-01 00:00:00+00', null, '2020-01-01 00:00:10+00');
update conveyor.processing_queue as q
set status = case q.id when 60003 then 'failed' else 'completed' end, completed_at = q.claimed_at + interval '2 s'
where q.id between 60001 and 60003;
update conveyor.count_delta as d
set counted_at = date_trunc('minute', clock_timestamp()) - interval '59.5 minutes'
where d.flow_name = 'fold';
insert into conveyor.flow_minute (flow_name, minute, completed, failed, wait_seconds, run_seconds)
values
    ('trim', date_trunc('minute', clock_timestamp()) - interval '29 days', 1, 0, 0, 0),
    ('trim', date_trunc('minute', clock_timestamp()) - interval '30 days 2 minutes', 1, 0, 0, 0);

create temporary table counted on commit drop as
select conveyor.get_queue_status() as status;
select ok((conveyor.maintain() ->> 'folded')::integer >= 2, 'it says how many changes of the counts it folded');

create function pg_temp.minutes() returns text language sql as $$
    select string_agg(concat_ws(' ', m.completed, m.failed, m.wait_seconds, m.run_seconds), ', ')
    from conveyor.flow_minute as m where m.flow_name = 'fold';
$$;

select is(
    pg_temp.minutes(), '2 1 11 4',
    'it keeps how many were completed and failed in a minute, how long they waited and ran; not what came as it is'
);

select results_eq(
    'select d.flow_name, count(*), count(d.counted_at) from conveyor.count_delta as d group by d.flow_name order by 1',
    'select distinct q.flow_name, 1::bigint, 0::bigint from conveyor.processing_queue as q order by q.flow_name',
    'one row a flow is left'
);

select is(conveyor.get_queue_status(), c.status, 'the counts are what they were') from counted as c;
select is((conveyor.maintain() ->> 'folded')::integer, 0, 'what is folded is left alone');

update conveyor.processing_queue as q
set status = 'completed'
where q.id in (60003, 60004);
update conveyor.count_delta as d
set counted_at = date_trunc('minute', clock_timestamp()) - interval '59.25 minutes'
where d.counted_at is not null;
delete from conveyor.processing_queue as q where q.flow_name = 'fold';
select conveyor.maintain();

select is(pg_temp.minutes(), '3 1 21 6', 'a later fold adds to it, and deleted records stay in it');
select is_empty(
    $$ select from conveyor.count_delta as d where d.flow_name = 'fold' $$, 'an empty flow leaves nothing to be counted'
);
select is(count(*), 1::bigint, 'minutes are kept 30 days') from conveyor.flow_minute as m where m.flow_name = 'trim';

-- Retention: of 1500 records 15 are younger than it, and 15 are failed.
insert into conveyor.processing_queue (id, flow_name, payload, status, completed_at)
select
    n,
    case when n <= 71500 then 'short' else 'kept' end as flow_name,
    '{}' as payload,
    case when n % 100 = 0 then 'failed' else 'completed' end as status,
    clock_timestamp() - case when n % 100 = 1 then interval '6 days' else interval '8 days' end as completed_at
from generate_series(70001, 72000) as n;
select conveyor.configure_flow('short', '{"retention": "7 days"}');
select ok(
    (conveyor.maintain() ->> 'purged')::integer between 1 and 1469,
    'records that were completed before the retention of their flow are purged, a bounded portion a call'
);

select conveyor.maintain() from generate_series(1, 20);
select results_eq(
    $$
    select s ->> 'completed_records', s ->> 'failed_records'
    from unnest(array[conveyor.get_queue_status('short'), conveyor.get_queue_status('kept')]) as s
    $$,
    $$ values ('15', '15'), ('495', '5') $$,
    'the next calls take the rest; younger and failed ones, and flows without a retention, are kept'
);

-- When it is to be called again.
create function pg_temp.again_in() returns text language sql as $$ select conveyor.maintain() ->> 'again_in' $$;

delete from conveyor.processing_queue as q where q.status = 'processing';
select is(pg_temp.again_in(), '5', 'soon when there was something to do');
select is(pg_temp.again_in(), '60', 'not soon when there was nothing, and nobody holds a record');
select conveyor.configure_flow('short', '{"lease": "20.5 s"}');
select is(pg_temp.again_in(), '20', 'before the lease of a claim that is not there yet would have ended');
select conveyor.configure_flow('short', '{"lease": "1 s"}');
select is(pg_temp.again_in(), '5', 'not every second');
select conveyor.configure_flow('short', '{"lease": "1 hour"}');
insert into conveyor.processing_queue (id, flow_name, payload) values (80001, 'short', '{}');
select is(count(*), 1::bigint, 'a record is claimed') from conveyor.claim_records_batch('short', 1);
select is(pg_temp.again_in(), '5', 'what was claimed is to be folded');
select is(pg_temp.again_in(), '5', 'soon, while a record is held');

select * from finish();
rollback;
