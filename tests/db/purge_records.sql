-- conveyor.purge_records: deletes what was completed long ago, a bounded portion a call.
begin;
select plan(24);

insert into conveyor.processing_queue (id, flow_name, payload, status, dedup_key, created_at, completed_at)
values
    (1, 'survey', '{}', 'completed', 'one', '2020-01-01 00:00+00', clock_timestamp() - interval '8 days'),
    (2, 'survey', '{}', 'completed', null, '2020-01-01 00:00+00', clock_timestamp() - interval '9 days'),
    (3, 'survey', '{}', 'completed', null, '2020-01-01 00:00+00', clock_timestamp() - interval '6 days'),
    (4, 'invoice', '{}', 'completed', null, '2020-01-01 00:00+00', clock_timestamp() - interval '8 days'),
    (5, 'survey', '{}', 'failed', null, '2020-01-01 00:00+00', clock_timestamp() - interval '8 days'),
    (6, 'survey', '{}', 'pending', null, '2020-01-01 00:00+00', clock_timestamp() - interval '8 days'),
    (7, 'survey', '{}', 'processing', null, '2020-01-01 00:00+00', clock_timestamp() - interval '8 days');

insert into conveyor.attempt (record_id, claim_token, outcome)
values (1, 1, 'failed'), (1, 2, 'released'), (2, 3, 'failed'), (3, 4, 'failed'), (4, 5, 'failed'), (5, 6, 'failed');

create temporary table kept on commit drop as
select q.* from conveyor.processing_queue as q;

select is(
    conveyor.purge_records(p_flow_name => 'survey', p_older_than => '7 days'), 2,
    'what was completed longer ago is deleted, and the number returned'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q order by q.id',
    'select k.* from kept as k where k.id not in (1, 2) order by k.id',
    'younger records, other flows, and what is not completed stay as they are'
);

select results_eq(
    'select a.record_id from conveyor.attempt as a order by a.record_id',
    'values (3::bigint), (4), (5)',
    'attempts of deleted records go with them, and no others'
);

select is(
    conveyor.get_queue_status() -> 'by_flow',
    '{
        "survey": {"pending": 1, "processing": 1, "completed": 1, "failed": 1},
        "invoice": {"pending": 0, "processing": 0, "completed": 1, "failed": 0}
    }',
    'deleted records are not counted any more'
);

select is(conveyor.purge_records('survey', '7 days'), 0, 'a repeat finds nothing');

select throws_ok(
    'select conveyor.get_record(1)', 'WQ002', 'record 1 does not exist', 'a deleted record is unknown'
);

insert into conveyor.processing_queue (id, flow_name, payload, dedup_key)
values (8, 'survey', '{"n": 1}', 'one');

select results_eq(
    $$ select q.status, q.payload from conveyor.processing_queue as q where q.dedup_key = 'one' $$,
    $$ values ('pending', '{"n": 1}'::jsonb) $$,
    'its dedup key may be added again'
);

select is(conveyor.purge_records('survey', '0'), 1, 'at an age of zero all that is completed goes');
select is(conveyor.purge_records('nobody', '0'), 0, 'a flow that nobody knows has nothing to delete');

-- In portions, oldest first.
insert into conveyor.processing_queue (id, flow_name, payload, status, completed_at)
select
    n,
    'large' as flow_name,
    '{}' as payload,
    'completed' as status,
    clock_timestamp() - n * interval '1 day' as completed_at
from generate_series(101, 110) as n;

select is(conveyor.purge_records('large', '1 day', p_limit => 4), 4, 'p_limit bounds a call');

select results_eq(
    $$ select q.id from conveyor.processing_queue as q where q.flow_name = 'large' order by q.id $$,
    'select n from generate_series(101::bigint, 106) as n',
    'the oldest go first'
);

select is(conveyor.purge_records('large', '1 day', 1000000), 6, 'the next calls delete the rest');

-- What a source by id reads again.
select setval(pg_get_serial_sequence('conveyor.processing_queue', 'id'), 1000);
select conveyor.open_source('hub', 'read', 'id', '{}', 5);
select conveyor.open_source('hub2', 'read', 'rowversion', '{}');
select conveyor.ingest_page(
    'hub', 'read', 1, 12, (select jsonb_agg('{}'::jsonb) from generate_series(1, 12)),
    array(select 'hub:' || n from generate_series(1, 12) as n)
);
select conveyor.ingest_page('hub2', 'read', 1, 12, '[{}, {}]', array['hub2:11', 'hub2:12']);
select conveyor.add_records_to_queue('read', '[{}, {}]', p_dedup_keys => array['hub:x', 'hub:12x']);
select conveyor.add_records_to_queue('unread', '[{}]', p_dedup_keys => array['hub:12']);
update conveyor.processing_queue as q
set status       = 'completed',
    completed_at = clock_timestamp()
where q.flow_name in ('read', 'unread');

select is(conveyor.purge_records('read', '0', 4), 4, 'beside what stays, p_limit are deleted');
select is(conveyor.purge_records('read', '0') + conveyor.purge_records('unread', '0'), 8, 'and then the rest');

select results_eq(
    $$ select q.dedup_key from conveyor.processing_queue as q where q.flow_name in ('read', 'unread') order by q.id $$,
    $$ values ('hub:8'), ('hub:9'), ('hub:10'), ('hub:11'), ('hub:12') $$,
    'records of the overlap stay, or they would be added again'
);

select conveyor.reset_source('hub', 'read');
select is(conveyor.purge_records('read', '0'), 0, 'and all records of what is to be read from the start');

select is_empty('select i.* from conveyor.check_integrity() as i where i.problem ~ ''attempt|counts''', 'all is well');

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ($$ select conveyor.purge_records(' ', '1 day') $$, 'p_flow_name is '' '''),
    ($$ select conveyor.purge_records('survey', null) $$, 'p_older_than is null'),
    ($$ select conveyor.purge_records('survey', '-1 s') $$, 'p_older_than is ''-00:00:01'''),
    ($$ select conveyor.purge_records('survey', '1000000 years') $$, 'p_older_than is ''1000000 years'''),
    ($$ select conveyor.purge_records('survey', '1 day', 0) $$, 'p_limit is ''0'''),
    ($$ select conveyor.purge_records('survey', '1 day', null) $$, 'p_limit is null'),
    ($$ select conveyor.purge_records('survey', '1 day', 1000001) $$, 'p_limit is ''1000001''')
) as v (call, message);

select * from finish();
rollback;
