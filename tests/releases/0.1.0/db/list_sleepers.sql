-- conveyor.list_sleepers: who waits for work, and whether somebody answers for the place.
begin;
select plan(11);

select is_empty('select * from conveyor.list_sleepers()', 'nobody sleeps');

select conveyor.add_record('survey', '{}');
select conveyor.pause_flow('invoice');
select conveyor.park('{survey,invoice,unknown}', '{empty,paused,empty}', '{null,null,null}', '{f,f,f}', null);
set local application_name = 'worker of a test';

select results_eq(
    'select s.flow_name, s.reason, s.seat, s.pid from conveyor.list_sleepers() as s',
    $$ values ('invoice', 'paused', 0, pg_backend_pid()), ('survey', 'empty', 0, pg_backend_pid()) $$,
    'each seat of a flow that has records or settings is listed, by flow and reason'
);
select results_eq(
    'select s.door_closed from conveyor.list_sleepers() as s order by s.flow_name',
    'values (true), (true)',
    'the door is closed while somebody on seat 0 answers'
);
select results_eq(
    'select s.application_name from conveyor.list_sleepers() as s',
    $$ values ('worker of a test'), ('worker of a test') $$,
    'who sits there says who it is'
);
select results_eq(
    $$ select s.flow_name from conveyor.list_sleepers('survey') as s $$,
    $$ values ('survey') $$,
    'one flow may be asked for'
);
select is_empty($$ select * from conveyor.list_sleepers('survey', 0) $$, 'no seats, nobody on them');

select is(
    conveyor.health_check() -> 'problems', '[]',
    'a worker that sleeps is no problem'
);
set local application_name = 'psql';
select pg_stat_clear_snapshot();
select matches(
    conveyor.health_check() -> 'problems' ->> 0,
    '^seat 0 of flow invoice is held by process [0-9]+ \(psql\), .*pooler.*pg_terminate_backend',
    'one that is no worker is named, and what frees its seat'
);
select is(conveyor.health_check() ->> 'status', 'degraded', 'and the queue is degraded');

select conveyor.leave('{}', '{}', '{}');
select is_empty('select * from conveyor.list_sleepers()', 'who left does not sleep');

select throws_like(
    $$ select conveyor.list_sleepers(' ') $$, 'p_flow_name is '' ''%',
    'a blank name is refused'
);

select * from finish();
rollback;
