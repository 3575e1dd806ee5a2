-- conveyor.list_sources: how far each source was read.
begin;
select plan(4);

select is_empty('select from conveyor.list_sources()', 'without sources there is no row');

select conveyor.open_source('b', 'survey', 'id', '{"table": "b"}', 10);
select conveyor.open_source('a', 'survey', 'rowversion', '{"table": "a"}');
select conveyor.open_source('b', 'invoice', 'id', '{"table": "b"}');
select conveyor.ingest_page('b', 'survey', 1, 7, '[{}, {}]', array['b:1', 'b:7']);

select results_eq(
    'select s.flow_name, s.source from conveyor.list_sources() as s',
    $$ values ('invoice', 'b'), ('survey', 'a'), ('survey', 'b') $$,
    'those of all flows, by flow and name'
);

select results_eq(
    $$
    select s.source, s.key_kind, s.read_to, s.overlap, s.rows_added, s.definition, s.moved_at is null
    from conveyor.list_sources(p_flow_name => 'survey') as s
    $$,
    $$
    values
        ('a', 'rowversion', null::bigint, 0::bigint, 0::bigint, '{"table": "a"}'::jsonb, true),
        ('b', 'id', 7, 10, 2, '{"table": "b"}', false)
    $$,
    'or of one flow, with all that is known'
);

select is_empty($$ select from conveyor.list_sources('nobody') $$, 'a flow that nobody knows has none');

select * from finish();
rollback;
