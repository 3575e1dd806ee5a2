-- conveyor.reset_source: an operator moves a watermark.
begin;
select plan(9);

select conveyor.open_source('s', 'survey', 'id', '{"table": "a"}', 10);
select conveyor.open_source('other', 'survey', 'id', '{"table": "a"}', 10);
select conveyor.ingest_page('s', 'survey', 1, 7, '[{}, {}]', array['s:1', 's:7'], p_is_last => true);

create function pg_temp.mark() returns setof text language sql as $$
select format('%s %s %s %s %s', w.source, w.read_to, w.revision, w.definition, w.caught_up_at is not null)
from conveyor.source_watermark as w
order by w.source desc;
$$;

select results_eq(
    'select pg_temp.mark()', $$ values ('s 7 2 {"table": "a"} t'), ('other  1 {"table": "a"} f') $$, 'before'
);

select conveyor.reset_source(p_source => 's', p_flow_name => 'survey', p_read_to => 3);

select results_eq(
    'select pg_temp.mark()', $$ values ('s 3 3  f'), ('other  1 {"table": "a"} f') $$,
    'the position is what was said, the definition forgotten, and other sources stay'
);

select throws_ok(
    $$ select conveyor.ingest_page('s', 'survey', 2, 9, '[{}]', array['s:9']) $$, 'WQ004', null,
    'a reader at work is stopped'
);

select is(
    (select o.read_after from conveyor.open_source('s', 'survey', 'id', '{"table": "a"}', 10) as o), 3::bigint,
    'the next one begins behind that position, not an overlap below it'
);

select is(
    (select i.added from conveyor.ingest_page('s', 'survey', 3, 7, '[{}, {}]', array['s:5', 's:7']) as i), 1,
    'rows whose records are there are passed over'
);

select conveyor.reset_source('s', 'survey');
select is(
    (select o.read_after from conveyor.open_source('s', 'survey', 'id', '{"table": "a"}', 10) as o), null,
    'without a position it is the beginning'
);

select lives_ok($$ select conveyor.reset_source('s', 'survey', 99) $$, 'a source may be reset forward');

select throws_ok(
    $$ select conveyor.reset_source('s', 'invoice') $$, '22023', 'p_source is ''s''', 'of another flow it is unknown'
);
select throws_ok($$ select conveyor.reset_source(null, 'survey') $$, '22023', 'p_source is null', 'it has a name');

select * from finish();
rollback;
