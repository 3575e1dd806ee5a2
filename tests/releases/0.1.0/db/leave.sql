-- conveyor.leave: as one session sees it; who is called is in tests/client/test_waking_calls.py.
begin;
select plan(24);

create function pg_temp.locks() returns bigint language sql as $$
select count(*) from pg_locks as l where l.locktype = 'advisory' and l.mode = 'ExclusiveLock' and l.pid = pg_backend_pid();
$$;

select has_function(
    'conveyor', 'leave', array['text[]', 'text[]', 'integer[]', 'integer', 'integer'],
    'its arguments are flows, reasons, how many to call, the size of full batches, and the seats'
);

select function_returns('conveyor', 'leave', 'integer', 'it returns how many sleepers it called');

select is(
    conveyor.leave(p_flow_names => '{survey}', p_reasons => '{empty}', p_wakes => '{1}'), 0,
    'who holds nothing may call, and nobody is there'
);

create temporary table parked on commit drop as
select p.*
from conveyor.park(
    '{survey,survey,invoice}', '{empty,paused,empty}', '{null,null,null}', '{f,f,f}', pg_backend_pid()
) as p;

select is(pg_temp.locks(), 6::bigint, 'three seats and three doors are held');

select is(
    conveyor.leave('{survey}', '{empty}', '{1}'), 0,
    'who leaves a place where nobody else is calls nobody, nor itself'
);

select is(pg_temp.locks(), 0::bigint, 'all locks of the session are given back, those of other places too');

select results_eq(
    $$
    select p.seat, p.door_closed
    from conveyor.park('{survey}', '{empty}', '{null}', '{f}', pg_backend_pid()) as p
    $$,
    'values (0, true)',
    'the seat can be taken again'
);

select conveyor.add_records_to_queue('survey', '[{}, {}, {}]');

select is(
    conveyor.leave('{survey,invoice}', '{empty,empty}', '{1,0}', 2), 0,
    'nobody is called for what is left, when nobody is there'
);

select is(conveyor.leave('{}', '{}', '{}'), 0, 'no place, nobody called');

select is(
    (select count(*) from conveyor.claim_records_batch('survey', 10)), 3::bigint,
    'leaving claims nothing'
);

select throws_like(
    $$
    select conveyor.leave(
        array_fill('f'::text, '{65}'), array_fill('empty'::text, '{65}'), array_fill(1, '{65}')
    )
    $$,
    'p_flow_names is ''{f,f,%',
    'more than 64 flows are refused'
);

select from conveyor.park('{survey}', '{empty}', '{null}', '{f}', pg_backend_pid());

select throws_ok(
    format('select conveyor.leave(%s)', v.arguments), '22023', v.message,
    'a bad argument is refused by name: ' || v.message
)
from (
    values
    ($$ null, '{empty}', '{1}' $$, 'p_flow_names is null'),
    ($$ '{null}', '{empty}', '{1}' $$, 'p_flow_names is ''{NULL}'''),
    ($$ '{a}', null, '{1}' $$, 'p_reasons is null'),
    ($$ '{a}', '{empty,empty}', '{1}' $$, 'p_reasons is ''{empty,empty}'''),
    ($$ '{a}', '{full}', '{1}' $$, 'p_reasons is ''{full}'''),
    ($$ '{a}', '{empty}', null $$, 'the number of p_wakes is null'),
    ($$ '{a}', '{empty}', '{1,1}' $$, 'the number of p_wakes is ''2'''),
    ($$ '{a}', '{empty}', '{1}', 0 $$, 'p_batch is ''0'''),
    ($$ '{a}', '{empty}', '{1}', 100001 $$, 'p_batch is ''100001'''),
    ($$ '{a}', '{empty}', '{1}', 1, 0 $$, 'p_size is ''0'''),
    ($$ '{a}', '{empty}', '{1}', 1, 1001 $$, 'p_size is ''1001'''),
    ($$ '{a}', '{empty}', '{1}', 1, null $$, 'p_size is null')
) as v (arguments, message);

select is(pg_temp.locks(), 2::bigint, 'a call that is refused gives nothing up');

select * from finish();
select pg_advisory_unlock_all();
rollback;
