-- conveyor.ingest_page: the records of a page and the watermark behind it, both or neither.
begin;
select plan(30);

select conveyor.open_source('hub.responses', 'survey', 'id', '{}', 10);

select results_eq(
    $$
    select i.revision, i.added
    from conveyor.ingest_page(
        p_source     => 'hub.responses',
        p_flow_name  => 'survey',
        p_revision   => 1,
        p_read_to   => 2,
        p_payloads   => '[{"id": 1}, {"id": 2}]',
        p_dedup_keys => array['hub.responses:1', 'hub.responses:2'],
        p_priority   => 3::smallint
    ) as i
    $$,
    'values (2::bigint, 2)',
    'a page returns the next revision and the number of new records'
);

select results_eq(
    $$
    select q.payload, q.status, q.priority::integer, q.dedup_key
    from conveyor.processing_queue as q
    order by q.id
    $$,
    $$
    values
        ('{"id": 1}'::jsonb, 'pending', 3, 'hub.responses:1'),
        ('{"id": 2}', 'pending', 3, 'hub.responses:2')
    $$,
    'its records are in the queue'
);

create function pg_temp.mark() returns text language sql as $$
select format(
    '%s %s %s %s %s', w.read_to, w.revision, w.rows_added, w.moved_at is not null, w.caught_up_at is not null
)
from conveyor.source_watermark as w;
$$;

select is(pg_temp.mark(), '2 2 2 t f', 'and the watermark is behind it');

create function pg_temp.page(p_revision bigint, p_read_to bigint, variadic p_ids integer[]) returns text
language sql as $$
select i.revision || ' ' || i.added
from conveyor.ingest_page(
    'hub.responses', 'survey', p_revision, p_read_to,
    (select jsonb_agg(jsonb_build_object('id', n.id) order by n.id) from unnest(p_ids) as n (id)),
    array(select 'hub.responses:' || n.id from unnest(p_ids) as n (id) order by n.id)
) as i;
$$;

select is(pg_temp.page(2, 4, 1, 2, 3, 4), '3 2', 'rows that were read again are passed over');
select is(pg_temp.page(3, 4, 0), '4 1', 'one that was committed late is added, and the position stays');

select throws_ok(
    'select pg_temp.page(3, 9, 9)', 'WQ004',
    'the watermark of source ''hub.responses'' of flow ''survey'' was moved by somebody else: its revision is 4, not 3',
    'a page that was read behind another watermark is refused'
);
select throws_ok('select pg_temp.page(null, 9, 9)', 'WQ004', null, 'so is one that names no revision');
select throws_ok('select pg_temp.page(4, 3, 9)', '22023', 'p_read_to is ''3''', 'a position never goes back');
select throws_ok('select pg_temp.page(4, null, 9)', '22023', 'p_read_to is null', 'nor to the beginning');
select is(pg_temp.mark(), '4 4 5 t f', 'a refusal moves nothing');
select is(
    (select count(*) from conveyor.processing_queue where dedup_key = 'hub.responses:9'), 0::bigint,
    'and adds nothing'
);

select is(
    (
        select i.revision || ' ' || i.added
        from conveyor.ingest_page('hub.responses', 'survey', 4, 4, '[]', '{}', p_is_last => true) as i
    ),
    '5 0', 'a reader says when nothing more was there'
);
select is(pg_temp.mark(), '4 5 5 t t', 'and the watermark has the time');

-- Rows that cannot be payloads.
select is(
    (
        select i.revision || ' ' || i.added
        from conveyor.ingest_page(
            'hub.responses', 'survey', 5, 7, '[{"id": 5}]', array['hub.responses:5'],
            '[
                {"payload": {"id": 6}, "dedup_key": "hub.responses:6", "error": "no answer"},
                {"payload": {"id": 5}, "dedup_key": "hub.responses:5", "error": "comes twice"},
                {"payload": {"id": 7}, "dedup_key": "hub.responses:7", "error": "not an object"}
            ]'
        ) as i
    ),
    '6 3', 'failures are records too'
);

select results_eq(
    $$
    select q.payload, q.status, q.failure_kind, q.error_message
    from conveyor.processing_queue as q
    where q.dedup_key ~ '[567]$'
    order by q.dedup_key
    $$,
    $$
    values
        ('{"id": 5}'::jsonb, 'pending', null, null),
        ('{"id": 6}', 'failed', 'error', 'no answer'),
        ('{"id": 7}', 'failed', 'error', 'not an object')
    $$,
    'which nobody claims'
);

select is(
    conveyor.get_queue_status('survey') ->> 'failed_records', '2',
    'which are counted'
);
select is_empty('select i.* from conveyor.check_integrity() as i', 'and break nothing');

select is(
    conveyor.requeue_records(array(select q.id from conveyor.processing_queue as q where q.status = 'failed')), 2,
    'an operator may requeue them'
);

select throws_ok(
    $$ select conveyor.ingest_page('hub.answers', 'survey', 1, 1, '[]', '{}') $$, '22023',
    'p_source is ''hub.answers''', 'a source that was not opened is unknown'
);

select throws_ok(
    format(
        $$ select conveyor.ingest_page('hub.responses', 'survey', 6, 9, '[{}]', array['hub.responses:9'], %L) $$,
        v.failures
    ),
    '22023', v.message, 'a bad failure is refused by name: ' || v.message
)
from (
    values
    (null, 'p_failures is null'),
    ('{}', 'p_failures is ''{}'''),
    (
        '[{"payload": 1, "dedup_key": "a", "error": "x"}]',
        'p_failures is ''{"error": "x", "payload": 1, "dedup_key": "a"}'''
    ),
    ('[{"payload": {}, "error": "x"}]', 'p_failures is ''{"error": "x", "payload": {}}'''),
    ('[{"payload": {}, "dedup_key": " ", "error": "x"}]', 'p_failures[0] is '' ''')
) as v (failures, message);

select throws_ok(
    $$
    select conveyor.ingest_page(
        'hub.responses', 'survey', 6, 9, '[{"id": 8}, 3]', array['hub.responses:8', 'hub.responses:9']
    )
    $$,
    '22023', 'p_payloads[1] is ''3''', 'payloads are checked as those of add_records_to_queue'
);
select throws_ok(
    format($$ select conveyor.ingest_page('hub.responses', 'survey', 6, 9, '[{"id": 9}]', %s) $$, v.keys),
    '22023', v.message, 'keys that are not those of the source are refused: ' || v.message
)
from (
    values
    ('null', 'p_dedup_keys is null'),
    ($$array['hub:9']$$, $$p_dedup_keys is 'hub:9'$$),
    ('array[null]', 'p_dedup_keys is null')
) as v (keys, message);

select throws_ok(
    $$
    select conveyor.ingest_page(
        'hub.responses', 'survey', 6, 9, '[]', '{}', '[{"payload": {}, "dedup_key": "hub:9", "error": "x"}]'
    )
    $$,
    '22023', 'p_dedup_keys is ''hub:9''', 'those of failures too'
);

select is(pg_temp.mark(), '7 6 8 t t', 'and nothing has moved');

select * from finish();
rollback;
