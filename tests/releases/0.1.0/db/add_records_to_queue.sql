-- conveyor.add_records_to_queue: one document in, the number of new records out; all of it or nothing.
begin;
select plan(33);

select is(
    conveyor.add_records_to_queue(
        p_flow_name => 'survey',
        p_payloads  => '[{"n": 1}, {"n": 2}, {"n": 3}]'
    ),
    3,
    'the number of new records is returned'
);

select results_eq(
    $$
    select q.payload, q.status, q.priority::integer, q.run_at, q.dedup_key, q.retry_count
    from conveyor.processing_queue as q
    order by q.id
    $$,
    $$
    values
        ('{"n": 1}'::jsonb, 'pending', 0, null::timestamptz, null::text, 0),
        ('{"n": 2}', 'pending', 0, null, null, 0),
        ('{"n": 3}', 'pending', 0, null, null, 0)
    $$,
    'ids follow the order of the document'
);

select results_eq(
    $$ select c.payload from conveyor.claim_records_batch('survey', 10) as c $$,
    $$ values ('{"n": 1}'::jsonb), ('{"n": 2}'), ('{"n": 3}') $$,
    'records are claimed in the order of the document'
);

select is(
    conveyor.add_records_to_queue('late', '[{"n": 1}, {"n": 2}]', 3::smallint, '2100-01-01 00:00+00'),
    2,
    'priority and run_at may be given by position'
);

select results_eq(
    $$
    select distinct q.priority, q.run_at
    from conveyor.processing_queue as q
    where q.flow_name = 'late'
    $$,
    $$ values (3::smallint, '2100-01-01 00:00+00'::timestamptz) $$,
    'priority and run_at are those of every record'
);

select is(
    conveyor.add_records_to_queue(
        p_flow_name  => 'keyed',
        p_payloads   => '[{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}, {"n": 5}]',
        p_dedup_keys => array['a', 'b', 'a', null, null]
    ),
    4,
    'of a key that comes twice in one batch, one record is new'
);

select results_eq(
    $$
    select q.payload, q.dedup_key
    from conveyor.processing_queue as q
    where q.flow_name = 'keyed'
    order by q.id
    $$,
    $$ values ('{"n": 1}'::jsonb, 'a'), ('{"n": 2}', 'b'), ('{"n": 4}', null), ('{"n": 5}', null) $$,
    'the first with a key is kept, null is no key, and each record has its own key'
);

create temporary table kept on commit drop as
select q.* from conveyor.processing_queue as q where q.flow_name = 'keyed';

select is(
    conveyor.add_records_to_queue(
        p_flow_name  => 'keyed',
        p_payloads   => '[{"n": 10}, {"n": 20}, {"n": 30}]',
        p_priority   => 9::smallint,
        p_dedup_keys => array['a', 'b', 'c']
    ),
    1,
    'known keys are not counted'
);

select results_eq(
    $$ select q.* from conveyor.processing_queue as q join kept as k using (id) order by q.id $$,
    'select k.* from kept as k order by k.id',
    'a known key changes nothing in the record that has it'
);

select is(
    conveyor.add_records_to_queue('keyed', '[{"n": 10}, {"n": 20}]', p_dedup_keys => array['a', 'b']),
    0,
    'a batch that is sent again adds nothing'
);

select is(
    conveyor.add_records_to_queue('other', '[{"n": 10}, {"n": 20}]', p_dedup_keys => array['a', 'b']),
    2,
    'a key is known to its own flow only'
);

select is(
    conveyor.add_record(p_flow_name => 'keyed', p_payload => '{}', p_dedup_key => 'b'),
    (select k.id from kept as k where k.dedup_key = 'b'),
    'keys are shared with add_record'
);

select conveyor.add_records_to_queue('order', '[{"n": 1}, {"n": 2}, {"n": 3}]', p_dedup_keys => array['c', null, 'a']);

select results_eq(
    $$ select c.payload from conveyor.claim_records_batch('order', 10) as c $$,
    $$ values ('{"n": 1}'::jsonb), ('{"n": 2}'), ('{"n": 3}') $$,
    'with keys, too, records are claimed in the order of the document'
);

select is(conveyor.add_records_to_queue('survey', '[]'), 0, 'an empty array adds nothing');

select is(
    conveyor.add_records_to_queue('survey', '[]', p_dedup_keys => '{}'),
    0,
    'an empty array goes with an empty array of keys'
);

select is(
    conveyor.add_records_to_queue('large', (select jsonb_agg('{}'::jsonb) from generate_series(1, 5000))), 5000,
    'a batch may be large'
);

create temporary table counted on commit drop as
select count(*) as records from conveyor.processing_queue;

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ($$ select conveyor.add_records_to_queue(null, '[{}]') $$, 'p_flow_name is null'),
    ($$ select conveyor.add_records_to_queue('survey', null) $$, 'p_payloads is null'),
    ($$ select conveyor.add_records_to_queue('survey', '{"n": 1}') $$, 'p_payloads is ''{"n": 1}'''),
    ($$ select conveyor.add_records_to_queue('survey', '[{"n": 1}, {"n": 2}, [3], 4]') $$, 'p_payloads[2] is ''[3]'''),
    ($$ select conveyor.add_records_to_queue('survey', '[null]') $$, 'p_payloads[0] is ''null'''),
    ($$ select conveyor.add_records_to_queue('survey', '[{}]', p_priority => null) $$, 'p_priority is null'),
    (
        $$ select conveyor.add_records_to_queue('survey', '[{}]', p_run_at => 'infinity') $$,
        'p_run_at is ''infinity'''
    )
) as v (call, message);

select conveyor.configure_flow('small', '{"payload_limit": 1000}');

create function pg_temp.large(p_size integer, p_positions integer[] = '{}') returns jsonb language sql as $$
select jsonb_agg(jsonb_build_object('x', repeat('x', case when n = any (p_positions) then p_size else 900 end)))
from generate_series(0, 30) as g (n);
$$;

select is(
    conveyor.add_records_to_queue('small', pg_temp.large(0)), 31,
    'a document may be larger than the limit, which is one for payloads'
);

delete from conveyor.processing_queue as q where q.flow_name = 'small';

select throws_ok(
    $$ select conveyor.add_records_to_queue('small', pg_temp.large(984, '{17, 21}')) $$,
    '22023', 'p_payloads[17] has 1001 bytes, and the payload_limit of the flow is 1000',
    'the first payload over the limit is named, with its size and the limit'
);

select throws_ok(
    $$ select conveyor.add_records_to_queue('any', pg_temp.large(16777216, '{30}')) $$,
    '22023', 'p_payloads[30] has 16777233 bytes, and the payload_limit of the flow is 16777216',
    'a flow without a row takes 16 MB'
);

create temporary table document on commit drop as
select pg_temp.large(984, '{30}') as payloads;

select cmp_ok(pg_column_size(d.payloads), '<', 9000, 'the next document is stored compressed') from document as d;

select throws_ok(
    $$ select conveyor.add_records_to_queue('small', d.payloads) from document as d $$,
    '22023', 'p_payloads[30] has 1001 bytes, and the payload_limit of the flow is 1000',
    'and measured unpacked'
);

select throws_ok(
    format($$ select conveyor.add_records_to_queue('survey', '[{}, {}]', p_dedup_keys => array['a', %s]) $$, v.key),
    '22023', 'p_dedup_keys[1] is ' || v.shown, 'a key that cannot be one is refused by its position'
)
from (
    values
    ($$''$$, $$''$$),
    ($$' '$$, $$' '$$),
    ($$repeat('x', 1025)$$, format('''%s''... (1025 characters)', repeat('x', 100)))
) as v (key, shown);

select throws_ok(
    $$ select conveyor.add_records_to_queue('survey', '[{}, {}]', p_dedup_keys => array['a']) $$,
    '22023', 'the number of p_dedup_keys is ''1''',
    'keys that do not pair up with the payloads are refused'
);

select is(
    (select count(*) from conveyor.processing_queue),
    (select c.records from counted as c),
    'a refused batch adds nothing, not even the payloads before the wrong one'
);

select * from finish();
rollback;
