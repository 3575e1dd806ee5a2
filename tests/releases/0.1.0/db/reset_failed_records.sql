-- conveyor.reset_failed_records: gives failed records another try, as long as they have retries left.
begin;
select plan(21);

select is(conveyor.reset_failed_records('survey'), 0, 'a flow that nobody knows has nothing to reset');

insert into conveyor.processing_queue (id, flow_name, payload, retry_count, crash_count, priority, created_at)
values
    (1, 'survey', '{"n": 1}', 1, 0, 0, '2020-01-01 00:00+00'),
    (2, 'survey', '{"n": 2}', 2, 0, 0, '2020-01-02 00:00+00'),
    (3, 'survey', '{"n": 3}', 0, 0, 7, '2020-01-03 00:00+00'),
    (4, 'survey', '{"n": 4}', 0, 0, 0, '2020-01-04 00:00+00'),
    (5, 'invoice', '{"n": 5}', 0, 0, 0, '2020-01-05 00:00+00');

create temporary table held on commit drop as
select c.*
from (values ('survey'), ('invoice')) as f (flow_name)
cross join conveyor.claim_records_batch(f.flow_name, 10, 'worker-1') as c;

update conveyor.processing_queue as q
set crash_count = 1
where q.id = 1;

select conveyor.mark_record_failed(h.id, 'no', h.claim_token) from held as h where h.id <> 4;

create temporary table failed on commit drop as
select q.* from conveyor.processing_queue as q;

select is(
    conveyor.reset_failed_records(p_flow_name => 'survey', p_max_retries => 3), 2,
    'the number of records that were reset is returned'
);

select results_eq(
    $$
    select
        q.id, q.status, q.retry_count, q.crash_count,
        num_nonnulls(q.failure_kind, q.flow_instance_id, q.claimed_at, q.claim_token, q.lease_expires_at)
    from conveyor.processing_queue as q
    where q.id in (1, 3)
    order by q.id
    $$,
    $$
    values (1::bigint, 'pending', 2, 1, 0), (3, 'pending', 1, 0, 0)
    $$,
    'a record that was reset is pending, has no holder and keeps its counts'
);

select results_eq(
    $$
    select q.payload, q.created_at, q.priority, q.run_at, q.input, q.completed_at, q.updated_at > f.updated_at
    from conveyor.processing_queue as q
    join failed as f using (id)
    where q.id in (1, 3)
    order by q.id
    $$,
    $$
    select f.payload, f.created_at, f.priority, f.run_at, f.input, f.completed_at, true
    from failed as f
    where f.id in (1, 3)
    order by f.id
    $$,
    'payload and place stay, and updated_at moves'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q where q.id not in (1, 3) order by q.id',
    'select f.* from failed as f where f.id not in (1, 3) order by f.id',
    'records without retries left, held records and other flows stay as they are'
);

select is(
    (select count(*) from conveyor.attempt), 4::bigint,
    'attempts are kept, and a reset is none'
);

select is(conveyor.reset_failed_records('survey'), 0, 'three retries is the default, and a repeat finds nothing');

select results_eq(
    $$
    select r.*
    from held as h
    cross join conveyor.mark_records_failed(array[h.id], '[{"error": "no"}]', array[h.claim_token]) as r
    where h.id = 1
    $$,
    $$ values (1::bigint, 'repeated') $$,
    'the failure before may be repeated'
);

select throws_ok(
    format('select conveyor.mark_record_completed(1, ''{}'', %s)', h.claim_token),
    'WQ001', null,
    'the token before is worth nothing else'
)
from held as h
where h.id = 1;

select results_eq(
    $$ select c.id, c.retry_count from conveyor.claim_records_batch('survey', 10, 'worker-2') as c $$,
    'values (3::bigint, 1), (1, 2)',
    'what was reset is claimed at once, in order'
);

select is(conveyor.reset_failed_records('survey', 4), 1, 'a larger p_max_retries takes those beyond the default');

select is(conveyor.reset_failed_records('invoice', 0), 0, 'p_max_retries 0 takes none');

update conveyor.processing_queue as q
set status = 'failed'
where q.id = 4;

select is(conveyor.reset_failed_records('survey'), 1, 'a held record that raw SQL failed is reset');

select throws_ok(
    format('select conveyor.mark_record_completed(4, ''{}'', %s)', h.claim_token),
    'WQ001', null,
    'a reset takes such a record from its holder'
)
from held as h
where h.id = 4;

-- What raw SQL and other ends leave behind.
insert into conveyor.processing_queue (id, flow_name, payload, status, failure_kind, run_at)
values
    (11, 'raw', '{}', 'failed', null, null), (12, 'raw', '{}', 'failed', 'crashed', null),
    (13, 'raw', '{}', 'failed', 'cancelled', null), (14, 'raw', '{}', 'completed', null, null),
    (15, 'raw', '{}', 'failed', 'error', '2019-01-01 00:00+00');

select is(conveyor.reset_failed_records('raw'), 2, 'failed by raw SQL, without a kind, means error');

select results_eq(
    $$ select q.id from conveyor.processing_queue as q where q.id > 10 and q.status <> 'pending' order by q.id $$,
    'values (12::bigint), (13), (14)',
    'what crashed or was cancelled is not reset, nor what is completed'
);

select conveyor.configure_flow('retry', '{"retry_delay": "1 hour", "max_retries": 2}');
insert into conveyor.processing_queue (id, flow_name, payload) values (21, 'retry', '{}');
select conveyor.mark_record_failed(c.id, 'no', c.claim_token, p_permanent => true)
from conveyor.claim_records_batch('retry', 1) as c;

select is(conveyor.reset_failed_records('retry'), 1, 'a permanent failure may be reset: somebody decided so');

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ('select conveyor.reset_failed_records(null)', 'p_flow_name is null'),
    ($$ select conveyor.reset_failed_records(' ') $$, 'p_flow_name is '' '''),
    ($$ select conveyor.reset_failed_records('survey', -1) $$, 'p_max_retries is ''-1'''),
    ($$ select conveyor.reset_failed_records('survey', null) $$, 'p_max_retries is null')
) as v (call, message);

select * from finish();
rollback;
