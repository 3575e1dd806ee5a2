-- conveyor.add_record: one record in, its id out; a dedup key makes adding safe to repeat.
begin;
select plan(32);

create temporary table added on commit drop as
select conveyor.add_record(p_flow_name => 'survey', p_payload => '{"n": 1}') as id;

select results_eq(
    $$
    select q.flow_name, q.payload, q.status, q.priority, q.retry_count, q.crash_count
    from conveyor.processing_queue as q
    join added as a using (id)
    $$,
    $$ values ('survey', '{"n": 1}'::jsonb, 'pending', 0::smallint, 0, 0) $$,
    'a record is pending, with priority 0 and no retry or crash'
);

select is(
    jsonb_strip_nulls(
        to_jsonb(q)
        - '{id,flow_name,payload,status,priority,retry_count,crash_count,created_at,updated_at}'::text[]
    ),
    '{}'::jsonb,
    'a record has no holder, answer, error, key, run_at or input when it is added'
)
from conveyor.processing_queue as q, added as a
where q.id = a.id;

select ok(
    q.created_at > now() and q.created_at <= clock_timestamp(),
    'created_at is the time of the call, not of the transaction'
)
from conveyor.processing_queue as q, added as a
where q.id = a.id;

select is_empty('select from conveyor.flow', 'a flow needs no row of settings, and gets none');

insert into added
select conveyor.add_record(
    p_flow_name => 'survey',
    p_payload   => '{"n": 2}',
    p_priority  => 7::smallint,
    p_run_at    => '2100-01-01 00:00+00',
    p_dedup_key => 'two'
);

select results_eq(
    $$ select q.priority, q.run_at, q.dedup_key from conveyor.processing_queue as q where q.payload = '{"n": 2}' $$,
    $$ values (7::smallint, '2100-01-01 00:00+00'::timestamptz, 'two') $$,
    'priority, run_at and dedup_key are stored as given'
);

create temporary table kept on commit drop as
select q.* from conveyor.processing_queue as q where q.dedup_key = 'two';

select is(
    conveyor.add_record('survey', '{"n": 99}', 1::smallint, null, 'two'),
    (select k.id from kept as k),
    'a known key returns the existing id'
);

select results_eq(
    $$ select q.* from conveyor.processing_queue as q where q.dedup_key = 'two' $$,
    'select k.* from kept as k',
    'a known key changes nothing in the record that has it'
);

update conveyor.processing_queue as q
set status = 'completed'
where q.dedup_key = 'two';

select is(
    conveyor.add_record(p_flow_name => 'survey', p_payload => '{}', p_dedup_key => 'two'),
    (select k.id from kept as k),
    'a key stays known when its record is completed'
);

select isnt(
    conveyor.add_record(p_flow_name => 'invoice', p_payload => '{}', p_dedup_key => 'two'),
    (select k.id from kept as k),
    'a key is known to its own flow only'
);

delete from conveyor.processing_queue as q
where q.dedup_key = 'two' and q.flow_name = 'survey';

select isnt(
    conveyor.add_record(p_flow_name => 'survey', p_payload => '{}', p_dedup_key => 'two'),
    (select k.id from kept as k),
    'a key is free again once its record is gone'
);

select isnt(
    conveyor.add_record('survey', '{"n": 3}'),
    conveyor.add_record('survey', '{"n": 3}'),
    'equal payloads without a key are two records'
);

select lives_ok(
    $$ select conveyor.add_record(repeat('x', 100), '{}') $$,
    'a flow name may have 100 characters'
);

-- The limit is of the jsonb before compression, wherever it comes from.
create temporary table large on commit drop as
select
    jsonb_build_object('x', repeat('x', 1000)) as payload,
    jsonb_build_object('x', repeat('x', 16777216 - 20)) as most;

select conveyor.configure_flow('small', '{"payload_limit": 1000}');
select conveyor.configure_flow('endless', '{"payload_limit": null}');

select throws_ok(
    $$ select conveyor.add_record('small', l.payload) from large as l $$,
    '22023', 'p_payload has 1017 bytes, and the payload_limit of the flow is 1000',
    'a payload over the limit is refused, with its size and the limit'
);

select lives_ok(
    $$ select conveyor.add_record('small', jsonb_build_object('x', repeat('x', 983))) $$, 'one of the limit is not'
);

select cmp_ok(pg_column_size(l.most), '<', 1000000, 'the next payload is stored compressed') from large as l;

select lives_ok($$ select conveyor.add_record('survey', l.most) from large as l $$, 'a flow without a row takes 16 MB');

select throws_ok(
    $$ select conveyor.add_record('survey', l.most || '{"y": 1}') from large as l $$,
    '22023', null, 'and no more, unpacked'
);

select throws_ok(
    $$ select conveyor.add_record('small', l.most) from large as l $$,
    '22023', 'p_payload has 16777213 bytes, and the payload_limit of the flow is 1000',
    'nor when it comes compressed out of a table'
);

select lives_ok(
    $$ select conveyor.add_record('endless', l.most || '{"y": 1}') from large as l $$,
    'a limit of null is none'
);

create temporary table counted on commit drop as
select count(*) as records from conveyor.processing_queue;

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ($$ select conveyor.add_record(null, '{}') $$, 'p_flow_name is null'),
    ($$ select conveyor.add_record(' ', '{}') $$, 'p_flow_name is '' '''),
    ($$ select conveyor.add_record('survey', null) $$, 'p_payload is null'),
    ($$ select conveyor.add_record('survey', '[1]') $$, 'p_payload is ''[1]'''),
    ($$ select conveyor.add_record('survey', '{}', p_priority => null) $$, 'p_priority is null'),
    ($$ select conveyor.add_record('survey', '{}', p_dedup_key => '') $$, 'p_dedup_key is '''''),
    ($$ select conveyor.add_record('survey', '{}', p_dedup_key => E' \n') $$, E'p_dedup_key is '' \n'''),
    ($$ select conveyor.add_record('survey', '{}', p_run_at => 'infinity') $$, 'p_run_at is ''infinity'''),
    ($$ select conveyor.add_record('survey', '{}', p_run_at => '-infinity') $$, 'p_run_at is ''-infinity'''),
    (
        $$ select conveyor.add_record('survey', '{}', p_run_at => '10000-01-01 00:00+00') $$,
        'p_run_at is ''10000-01-01 00:00:00+00'''
    )
) as v (call, message);

select throws_ok(
    $$ select conveyor.add_record(repeat('x', 101), '{}') $$,
    '22023', format('p_flow_name is ''%s''... (101 characters)', repeat('x', 100)),
    'a flow name of 101 characters is refused by name, and its length is said'
);

select throws_ok(
    $$
    select conveyor.add_record('survey', '{}', p_dedup_key => k.long)
    from (select string_agg(md5(n::text), '') as long from generate_series(1, 1000) as n) as k
    $$,
    '22023', null,
    'a key that is too long for its index is refused like any bad argument'
);

select is(
    (select count(*) from conveyor.processing_queue),
    (select c.records from counted as c),
    'a refused call adds nothing'
);

select * from finish();
rollback;
