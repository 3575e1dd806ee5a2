-- conveyor.park: seats and doors, as one session sees them; what others see is in tests/client/test_waking_*.py.
begin;
select plan(36);

create function pg_temp.park(
    p_flow_name text, p_held integer default null, p_closed boolean default false, p_size integer default 8,
    p_reason text default 'empty'
) returns text language sql as $$
select concat_ws(' ', p.flow_name, p.reason, coalesce(p.seat::text, 'none'), p.door_closed, p.confirmed)
from conveyor.park(
    array[p_flow_name], array[p_reason], array[p_held], array[p_closed], pg_backend_pid(), p_size
) as p;
$$;

-- Which parts of a place this session holds: seats, and the door, -1.
create function pg_temp.parts(p_flow_name text, p_reason text default 'empty') returns integer[] language sql as $$
select array_agg(n.part order by n.part)
from generate_series(-1, 20) as n (part)
join pg_locks as l
    on l.locktype = 'advisory' and l.pid = pg_backend_pid() and l.mode = 'ExclusiveLock' and l.objsubid = 1
    and l.database = (select d.oid from pg_database as d where d.datname = current_database())
    and (l.classid::bigint << 32 | l.objid::bigint) = conveyor._wake_key(p_flow_name, p_reason, n.part);
$$;

select has_function(
    'conveyor', 'park', array['text[]', 'text[]', 'integer[]', 'boolean[]', 'integer', 'integer'],
    'its arguments are flows, reasons, seats held, doors closed, the pid that the client knows, and the seats'
);

select is(
    pg_get_function_result('conveyor.park'::regproc),
    'TABLE(flow_name text, reason text, seat integer, door_closed boolean, confirmed boolean)',
    'it returns a row for each place'
);

select results_eq(
    $$
    select p.flow_name, p.reason, p.seat, p.door_closed, p.confirmed
    from conveyor.park(
        p_flow_names => '{survey}', p_reasons => '{empty}', p_held => '{null}', p_closed => '{f}',
        p_client_pid => pg_backend_pid()
    ) as p
    $$,
    $$ values ('survey', 'empty', 0, true, true) $$,
    'who comes first sits on seat 0, has closed the door, and need not call again'
);

select is(pg_temp.parts('survey'), '{-1,0}', 'seat and door are locks of the session');

select is(pg_temp.park('survey', 0, true), 'survey empty 0 t t', 'who sits keeps the seat, and the door closed');

select is(pg_temp.park('survey', 0, null), 'survey empty 0 f t', 'p_closed null opens the door');
select is(pg_temp.parts('survey'), '{0}', 'whose lock is given back; the seat is kept');

select is(pg_temp.park('survey', 0, null), 'survey empty 0 f t', 'a door that is open already stays open');

select is(pg_temp.park('survey', 0, false), 'survey empty 0 t t', 'it can be closed again');
select is(pg_temp.parts('survey'), '{-1,0}', 'which takes its lock');

select is(pg_temp.parts('survey', 'paused'), null, 'nobody waits at another place of the flow');

select is(
    pg_temp.park('survey', p_reason => 'paused'), 'survey paused 0 t t',
    'a flow and another reason are another place'
);

select is(pg_temp.parts('invoice'), null, 'another flow is another place');

select is(pg_temp.park('single', p_size => 1), 'single empty 0 t t', 'one seat is enough');

-- Who sits elsewhere, here by a lock taken by hand, moves to seat 0, gives the other seat back and closes the door.
select pg_try_advisory_lock(conveyor._wake_key('moved', 'empty', 3));
select is(pg_temp.park('moved', 3), 'moved empty 0 t t', 'who sits on another seat moves to seat 0 when it is free');
select is(pg_temp.parts('moved'), '{-1,0}', 'and holds the other one no more');

select results_eq(
    $$
    select p.flow_name, p.reason, p.seat, p.door_closed, p.confirmed
    from conveyor.park(
        '{a,b,b}', '{empty,paused,empty}', '{null,null,null}', '{f,f,f}', pg_backend_pid(), 2
    ) as p
    $$,
    $$ values ('a', 'empty', 0, true, true), ('b', 'paused', 0, true, true), ('b', 'empty', 0, true, true) $$,
    'several places get a row each, in their order'
);

select is(
    (select count(*) from conveyor.park('{}', '{}', '{}', '{}', pg_backend_pid())), 0::bigint,
    'no place, no row'
);

select lives_ok(
    $$ select from conveyor.park('{survey}', '{empty}', '{0}', '{t}', null) $$,
    'a client that knows by itself that the session is its own gives no pid'
);

select throws_ok(
    $$ select from conveyor.park('{pooled}', '{empty}', '{null}', '{f}', pg_backend_pid() + 1) $$,
    'WQ003', null,
    'a session that is not the one the client was told of is refused'
);

select throws_like(
    $$ select from conveyor.park('{pooled}', '{empty}', '{null}', '{f}', 1234567890) $$,
    '%backend 1234567890%this is ' || pg_backend_pid(),
    'the message says both pids'
);

select is(pg_temp.parts('pooled'), null, 'and nothing was locked in it');

select lives_ok(
    $$
    select from conveyor.park(
        (select array_agg('many-' || n.n) from generate_series(1, 64) as n (n)),
        array_fill('empty'::text, '{64}'), array_fill(null::integer, '{64}'), array_fill(false, '{64}'),
        pg_backend_pid()
    )
    $$,
    '64 flows are not too many'
);

select throws_like(
    format(
        'select from conveyor.park(array_fill(''f''::text, ''{%1$s}''), array_fill(''empty''::text, ''{%1$s}''),'
        ' array_fill(null::integer, ''{%1$s}''), array_fill(false, ''{%1$s}''), null)', 65
    ),
    'p_flow_names is ''{f,f,%',
    '65 are'
);

select throws_ok(
    format('select from conveyor.park(%s, null, %s)', v.arguments, v.size), '22023', v.message,
    'a bad argument is refused by name: ' || v.message
)
from (
    values
    ($$ null, '{empty}', '{null}', '{f}' $$, '8', 'p_flow_names is null'),
    ($$ '{a,null}', '{empty,empty}', '{null,null}', '{f,f}' $$, '8', 'p_flow_names is ''{a,NULL}'''),
    ($$ '{a}', null, '{null}', '{f}' $$, '8', 'p_reasons is null'),
    ($$ '{a}', '{}', '{null}', '{f}' $$, '8', 'p_reasons is ''{}'''),
    ($$ '{a}', '{null}', '{null}', '{f}' $$, '8', 'p_reasons is ''{NULL}'''),
    ($$ '{a}', '{full}', '{null}', '{f}' $$, '8', 'p_reasons is ''{full}'''),
    ($$ '{a}', '{empty}', null, '{f}' $$, '8', 'the number of p_held and p_closed is '' and 1'''),
    ($$ '{a}', '{empty}', '{null,0}', '{f}' $$, '8', 'the number of p_held and p_closed is ''2 and 1'''),
    ($$ '{a}', '{empty}', '{null}', '{}' $$, '8', 'the number of p_held and p_closed is ''1 and 0'''),
    ($$ '{a}', '{empty}', '{null}', '{f}' $$, '0', 'p_size is ''0'''),
    ($$ '{a}', '{empty}', '{null}', '{f}' $$, '1001', 'p_size is ''1001'''),
    ($$ '{a}', '{empty}', '{null}', '{f}' $$, 'null', 'p_size is null')
) as v (arguments, size, message);

select * from finish();

-- The locks are the session's, and outlive the roll-back.
select pg_advisory_unlock_all();
rollback;
