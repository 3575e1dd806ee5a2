-- conveyor.forget_source: a source that is read no more.
begin;
select plan(7);

select conveyor.open_source('s', 'survey', 'id', '{"table": "a"}', 10);
select conveyor.open_source('s', 'invoice', 'id', '{"table": "a"}', 10);
select conveyor.ingest_page('s', 'survey', 1, 7, '[{}, {}]', array['s:1', 's:7']);
update conveyor.processing_queue as q
set status       = 'completed',
    completed_at = clock_timestamp();

select is(conveyor.purge_records('survey', '0'), 0, 'what may be read again is kept');

select conveyor.forget_source(p_source => 's', p_flow_name => 'survey');

select results_eq(
    'select s.flow_name, s.source from conveyor.list_sources() as s', $$ values ('invoice', 's') $$,
    'the watermark is gone, and no other'
);
select is((select count(*) from conveyor.processing_queue), 2::bigint, 'the records stay');

select throws_ok(
    $$ select conveyor.ingest_page('s', 'survey', 2, 9, '[{}]', array['s:9']) $$, '22023', 'p_source is ''s''',
    'a reader at work is stopped'
);
select is(conveyor.purge_records('survey', '0'), 2, 'and may be purged now');

select throws_ok(
    $$ select conveyor.forget_source('s', 'survey') $$, '22023', 'p_source is ''s''', 'what is forgotten is unknown'
);
select throws_ok($$ select conveyor.forget_source(null, 'survey') $$, '22023', 'p_source is null', 'it has a name');

select * from finish();
rollback;
