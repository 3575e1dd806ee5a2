-- conveyor.list_records: the records of a flow, a page at a time, by id.
begin;
select plan(22);

select is_empty($$ select from conveyor.list_records('survey') $$, 'a flow that nobody knows has no record');

insert into conveyor.processing_queue (id, flow_name, payload, priority, run_at, dedup_key, created_at)
values
    (1, 'survey', '{"n": 1}', 0, null, null, '2020-01-05 00:00+00'),
    (2, 'survey', '{"n": 2}', 0, null, 'two', '2020-01-04 00:00+00'),
    (3, 'survey', '{"n": 3}', 9, null, null, '2020-01-03 00:00+00'),
    (4, 'survey', '{"n": 4}', 0, null, null, '2020-01-02 00:00+00'),
    (5, 'survey', '{"n": 5}', -3, '2100-01-01 00:00+00', 'five', '2020-01-01 00:00+00'),
    (6, 'invoice', '{"n": 6}', 0, null, null, '2020-01-01 00:00+00');

create temporary table held on commit drop as
select c.* from conveyor.claim_records_batch('survey', 4, 'worker-1') as c;
select conveyor.mark_record_completed(1, '{"answer": 42}', h.claim_token) from held as h where h.id = 1;
select conveyor.mark_record_failed(2, 'no such page', h.claim_token) from held as h where h.id = 2;
select conveyor.cancel_records('{4}', 'not wanted');

select results_eq(
    $$
    select l.id, l.status, l.priority::integer, l.dedup_key, l.created_at
    from conveyor.list_records('survey') as l
    $$,
    $$
    values
        (1::bigint, 'completed', 0, null, '2020-01-05 00:00+00'::timestamptz),
        (2, 'failed', 0, 'two', '2020-01-04 00:00+00'),
        (3, 'processing', 9, null, '2020-01-03 00:00+00'),
        (4, 'failed', 0, null, '2020-01-02 00:00+00'),
        (5, 'pending', -3, 'five', '2020-01-01 00:00+00')
    $$,
    'all records of the flow are listed, in order of id'
);

select results_eq(
    $$
    select l.id, l.failure_kind, l.error_message, l.retry_count, l.crash_count, l.flow_instance_id
    from conveyor.list_records(p_flow_name => 'survey', p_status => 'failed') as l
    $$,
    $$
    values (2::bigint, 'error', 'no such page', 1, 0, 'worker-1'), (4, 'cancelled', 'not wanted', 0, 0, 'worker-1')
    $$,
    'failed ones say how and by what error they failed, and who had them'
);

select results_eq(
    $$
    select l.id, l.claimed_at, l.completed_at, l.lease_expires_at, l.run_at, l.payload
    from conveyor.list_records('survey') as l
    $$,
    $$
    select q.id, q.claimed_at, q.completed_at, q.lease_expires_at, q.run_at, q.payload
    from conveyor.processing_queue as q
    where q.flow_name = 'survey'
    order by q.id
    $$,
    'times and payload are those of the record'
);

select results_eq(
    format('select l.id from conveyor.list_records(%L, %L) as l', 'survey', v.status),
    format('select unnest(%L::bigint[])', v.ids),
    'a status picks its own: ' || v.status
)
from (
    values ('pending', '{5}'), ('processing', '{3}'), ('completed', '{1}'), ('failed', '{2,4}')
) as v (status, ids);

select results_eq(
    $$ select l.id from conveyor.list_records('survey', null) as l $$,
    'values (1::bigint), (2), (3), (4), (5)',
    'a null status means all'
);

select results_eq(
    $$ select l.id from conveyor.list_records('survey', p_limit => 2) as l $$,
    'values (1::bigint), (2)',
    'p_limit is the size of a page'
);

select results_eq(
    $$ select l.id from conveyor.list_records('survey', p_after_id => 2, p_limit => 2) as l $$,
    'values (3::bigint), (4)',
    'the next page begins after the last id of the one before'
);

select results_eq(
    $$ select l.id from conveyor.list_records('survey', 'failed', 2, 2) as l $$,
    'values (4::bigint)',
    'so does a page of one status'
);

select is_empty($$ select from conveyor.list_records('survey', null, 5) $$, 'after the last record comes nothing');

select results_eq(
    $$ select l.id from conveyor.list_records('survey', null, null, 1) as l $$,
    'values (1::bigint)',
    'after null means from the start'
);

insert into conveyor.processing_queue (id, flow_name, payload)
select
    n,
    'long' as flow_name,
    '{}' as payload
from generate_series(101, 160) as n;

select is(
    (select max(l.id) from conveyor.list_records('long') as l), 150::bigint,
    'a page has 50 records unless told otherwise'
);

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ($$ select from conveyor.list_records(null) $$, 'p_flow_name is null'),
    ($$ select from conveyor.list_records(' ') $$, 'p_flow_name is '' '''),
    ($$ select from conveyor.list_records('survey', 'done') $$, 'p_status is ''done'''),
    ($$ select from conveyor.list_records('survey', '') $$, 'p_status is '''''),
    ($$ select from conveyor.list_records('survey', p_limit => 0) $$, 'p_limit is ''0'''),
    ($$ select from conveyor.list_records('survey', p_limit => 10001) $$, 'p_limit is ''10001'''),
    ($$ select from conveyor.list_records('survey', p_limit => null) $$, 'p_limit is null')
) as v (call, message);

select * from finish();
rollback;
