-- conveyor.open_source: where a reader of a source goes on.
begin;
select plan(24);

select results_eq(
    $$
    select o.read_to, o.read_after, o.revision
    from conveyor.open_source(
        p_source => 'hub.responses', p_flow_name => 'survey', p_key_kind => 'id',
        p_definition => '{"table": "responses"}', p_overlap => 100
    ) as o
    $$,
    'values (null::bigint, null::bigint, 1::bigint)',
    'a new source begins at the beginning'
);

select results_eq(
    $$
    select s.flow_name, s.source, s.key_kind, s.definition, s.overlap, s.opened_at between now() and clock_timestamp()
    from conveyor.source_watermark as s
    $$,
    $$ values ('survey', 'hub.responses', 'id', '{"table": "responses"}'::jsonb, 100::bigint, true) $$,
    'and has a row'
);

create function pg_temp.opened(
    p_overlap bigint, p_definition jsonb = '{"table": "responses"}', p_kind text = 'id', p_flow text = 'survey'
) returns text language sql as $$
select o.read_to || ' ' || o.read_after || ' ' || o.revision
from conveyor.open_source('hub.responses', p_flow, p_kind, p_definition, p_overlap) as o;
$$;

select conveyor.ingest_page('hub.responses', 'survey', 1, 5000, '[]', '{}');
select is(pg_temp.opened(100), '5000 4900 2', 'a later reader goes on at the overlap below the position');
select is(pg_temp.opened(100), '5000 4900 2', 'opening changes nothing');

-- Below the overlap of before records may have been purged.
select is(pg_temp.opened(1000), '5000 4900 2', 'a larger overlap does not reach below what was kept');
select is(pg_temp.opened(10), '5000 4990 2', 'a smaller one counts at once');
select is(pg_temp.opened(1000), '5000 4990 2', 'and what it gave up stays given up');
select conveyor.ingest_page('hub.responses', 'survey', 2, 5500, '[]', '{}');
select is(pg_temp.opened(1000), '5500 4990 3', 'until');
select conveyor.ingest_page('hub.responses', 'survey', 3, 9000, '[]', '{}');
select is(pg_temp.opened(1000), '9000 8000 4', 'the larger one has been filled');

select throws_ok(
    $$ select pg_temp.opened(1000, '{"table": "answers"}') $$, 'WQ005',
    'source ''hub.responses'' of flow ''survey'' was read by id {"table": "responses"}, and now is by id'
    ' {"table": "answers"}',
    'another definition is refused'
);
select throws_ok($$ select pg_temp.opened(1000, p_kind => 'rowversion') $$, 'WQ005', null, 'another kind of key too');
select is(pg_temp.opened(1000), '9000 8000 4', 'a refusal leaves all as it was');
select is(pg_temp.opened(0, p_flow => 'invoice'), null, 'a flow has its own watermark of the same source');
select is((select count(*) from conveyor.source_watermark), 2::bigint, 'beside the other');

select conveyor.reset_source('hub.responses', 'survey', 20);
select throws_ok(
    $$ select pg_temp.opened(0, p_kind => 'rowversion') $$, 'WQ005', null,
    'a reset to a position is one of the same kind of key'
);
select is(pg_temp.opened(1000, '{"table": "answers"}'), '20 20 5', 'after a reset the definition may be another');
select throws_ok($$ select pg_temp.opened(1000) $$, 'WQ005', null, 'which counts from then on');
select conveyor.reset_source('hub.responses', 'survey');
select is(pg_temp.opened(0, p_kind => 'rowversion'), null, 'a reset to the beginning takes any kind of key');

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ($$ select conveyor.open_source(' ', 'survey', 'id', '{}') $$, 'p_source is '' '''),
    (
        $$ select conveyor.open_source(repeat('x', 201), 'survey', 'id', '{}') $$,
        format('p_source is ''%s''... (201 characters)', repeat('x', 100))
    ),
    ($$ select conveyor.open_source('s', null, 'id', '{}') $$, 'p_flow_name is null'),
    ($$ select conveyor.open_source('s', 'survey', 'time', '{}') $$, 'p_key_kind is ''time'''),
    ($$ select conveyor.open_source('s', 'survey', 'id', '[]') $$, 'p_definition is ''[]'''),
    ($$ select conveyor.open_source('s', 'survey', 'id', '{}', -1) $$, 'p_overlap is ''-1''')
) as v (call, message);

select * from finish();
rollback;
