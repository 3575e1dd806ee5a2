-- conveyor.cleanup_orphaned_records: takes records back from holders that are gone, and only from those.
begin;
select plan(25);

select is(conveyor.cleanup_orphaned_records(), 0, 'an empty queue has no orphans');

insert into conveyor.processing_queue (id, flow_name, payload, retry_count, crash_count, error_message)
values
    (1, 'survey', '{}', 50, 1, 'earlier'), (2, 'survey', '{}', 0, 0, null), (3, 'survey', '{}', 0, 0, null),
    (4, 'survey', '{}', 0, 0, null);

create temporary table held on commit drop as
select c.* from conveyor.claim_records_batch('survey', 10, 'worker-1') as c;

-- Moves the times of a record into the past.
create function pg_temp.age(p_id bigint, p_lease_left interval, p_claimed interval) returns void language sql as $$
update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp() + p_lease_left, claimed_at = clock_timestamp() - p_claimed
where q.id = p_id;
$$;

select is(conveyor.cleanup_orphaned_records(), 0, 'a record whose lease runs is no orphan');

select pg_temp.age(1, '0', '10 s');
select pg_temp.age(3, '1 hour', '2 hours');
select pg_temp.age(4, '1 hour', '2 hours');
create temporary table claimed on commit drop as
select q.* from conveyor.processing_queue as q;

select is(conveyor.cleanup_orphaned_records(), 1, 'without a timeout leases alone count');

select results_eq(
    $$
    select
        q.status, q.retry_count, q.crash_count, q.error_message, q.updated_at > c.updated_at,
        num_nonnulls(q.flow_instance_id, q.claimed_at, q.claim_token, q.lease_expires_at, q.run_at)
    from conveyor.processing_queue as q
    join claimed as c using (id)
    where q.id = 1
    $$,
    $$ values ('pending', 51, 2, 'earlier', true, 0) $$,
    'an orphan is pending at once, however often it was retried, and charged one retry and one crash'
);

select results_eq(
    $$
    select a.record_id, a.claim_token, a.outcome, a.flow_instance_id, a.claimed_at, a.ended_at > a.claimed_at
    from conveyor.attempt as a
    $$,
    $$ select c.id, c.claim_token, 'orphaned', 'worker-1', c.claimed_at, true from claimed as c where c.id = 1 $$,
    'the attempt is kept, with who had the record'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q where q.id > 1 order by q.id',
    'select c.* from claimed as c where c.id > 1 order by c.id',
    'records that are held stay as they are'
);

select throws_ok(
    format('select conveyor.%s', v.call || h.claim_token || ')'), 'WQ001', null,
    'the token of an orphan is revoked: ' || v.call
)
from held as h, (values ('mark_record_completed(1, ''{}'', '), ('mark_record_failed(1, ''no'', ')) as v (call)
where h.id = 1;

select conveyor.extend_leases(array[h.id], array[h.claim_token]) from held as h where h.id = 4;

insert into conveyor.processing_queue (id, flow_name, payload, status, claimed_at, lease_expires_at)
values
    (5, 'other', '{}', 'processing', '2020-01-01 00:00+00', null),
    (6, 'other', '{}', 'processing', '2020-01-01 00:00+00', clock_timestamp());

select is(
    conveyor.cleanup_orphaned_records(p_timeout_hours => 1, p_flow_name => 'survey'), 1,
    'a timeout takes what was claimed before it, also when its lease runs, and nothing of other flows'
);

select is(
    conveyor.cleanup_orphaned_records(p_flow_name => 'other'), 2,
    'a flow may be cleaned up alone'
);

select results_eq(
    $$ select q.id from conveyor.processing_queue as q where q.flow_instance_id = 'worker-1' order by q.id $$,
    'values (2::bigint), (4)',
    'a record with a heartbeat since, or claimed since, stays with its holder'
);

select pg_temp.age(2, '1 hour', '40 minutes');
select is(
    array[conveyor.cleanup_orphaned_records(0.75), conveyor.cleanup_orphaned_records(0.5)], '{0,1}',
    'hours may be a fraction: 40 minutes are less than 0.75 and more than 0.5'
);

-- Put into processing by hand: no token, no lease.
select conveyor.configure_flow('long', '{"lease": "3 hours"}');
insert into conveyor.processing_queue (id, flow_name, payload, status, claimed_at, updated_at)
select
    v.id,
    v.flow_name,
    '{}' as payload,
    'processing' as status,
    clock_timestamp() - v.claimed as claimed_at,
    clock_timestamp() - v.updated as updated_at
from (
    values
    (11, 'hand', interval '2 hours', interval '0'),
    (12, 'hand', null, interval '2 hours'),
    (13, 'hand', interval '10 minutes', interval '9 hours'),
    (14, 'hand', null, interval '10 minutes'),
    (15, 'long', interval '2 hours', interval '2 hours'),
    (16, 'long', null, interval '2 hours')
) as v (id, flow_name, claimed, updated);

select is(conveyor.cleanup_orphaned_records(), 2, 'a record without a lease has that of its flow');

select results_eq(
    $$ select q.id from conveyor.processing_queue as q where q.id > 10 and q.status = 'pending' order by q.id $$,
    'values (11::bigint), (12)',
    'such a lease runs from claimed_at, or else from updated_at'
);

select results_eq(
    'select a.record_id, a.claim_token from conveyor.attempt as a where a.record_id > 10 order by a.record_id',
    'values (11::bigint, null::bigint), (12, null)',
    'their attempts have no token'
);

select is(conveyor.cleanup_orphaned_records(1, 'long'), 2, 'a timeout goes for records without a lease as well');

-- Crash budgets: the record is failed when it is used up.
select conveyor.configure_flow('fragile', '{"crash_budget": 2}');
select conveyor.configure_flow('tough', '{"crash_budget": null}');
insert into conveyor.processing_queue (id, flow_name, payload, crash_count)
values (21, 'fragile', '{}', 0), (22, 'fragile', '{}', 1), (23, 'tough', '{}', 0), (24, 'usual', '{}', 0),
    (25, 'usual', '{}', 0);
create temporary table crashed on commit drop as
select c.*
from (values ('fragile'), ('tough'), ('usual')) as f (flow_name)
cross join conveyor.claim_records_batch(f.flow_name, 10, 'worker-2') as c;
update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp(),
    crash_count      = case q.id when 23 then 1000 when 24 then 3 when 25 then 4 else q.crash_count end
where q.id > 20;

select is(conveyor.cleanup_orphaned_records(), 5, 'records that go to failed count as well');

select results_eq(
    $$
    select q.id, q.status, q.failure_kind, q.crash_count
    from conveyor.processing_queue as q
    where q.id > 20
    order by q.id
    $$,
    $$
    values
        (21::bigint, 'pending', null, 1), (22, 'failed', 'crashed', 2),
        (23, 'pending', null, 1001), (24, 'pending', null, 4), (25, 'failed', 'crashed', 5)
    $$,
    'a record that used up the crash budget is failed: that of its flow, 5 by default, none if null'
);

select results_eq(
    $$
    select q.flow_instance_id, q.claimed_at is null, q.lease_expires_at, q.retry_count, q.error_message ~ '\S'
    from conveyor.processing_queue as q
    where q.id = 22
    $$,
    $$ values ('worker-2', false, null::timestamptz, 1, true) $$,
    'a crashed record keeps who had it and says what happened'
);

select results_eq(
    $$
    select r.outcome
    from crashed as c
    cross join conveyor.mark_records_failed(array[c.id], '[{"error": "late"}]', array[c.claim_token]) as r
    $$,
    $$ select 'lost' from crashed $$,
    'a late answer is lost, also for a record that is failed'
);

select is((select count(*) from conveyor.attempt as a where a.record_id > 20), 5::bigint, 'each orphan is one attempt');

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ('select conveyor.cleanup_orphaned_records(0)', 'p_timeout_hours is ''0'''),
    ('select conveyor.cleanup_orphaned_records(''NaN'')', 'p_timeout_hours is ''NaN'''),
    ('select conveyor.cleanup_orphaned_records(1000000000)', 'p_timeout_hours is ''1000000000'''),
    ($$ select conveyor.cleanup_orphaned_records(1, ' ') $$, 'p_flow_name is '' ''')
) as v (call, message);

select * from finish();
rollback;
