-- conveyor.resume_flow: a paused flow is claimed again.
begin;
select plan(11);

select conveyor.configure_flow('survey', '{"lease": "90 s"}');
select conveyor.add_records_to_queue('survey', '[{}, {}, {}]');
select conveyor.pause_flow('survey');
select conveyor.pause_flow('invoice');
create temporary table paused on commit drop as
select f.* from conveyor.flow as f;

-- Whoever makes a flow claimable keeps those who wait for that from falling asleep: a shared lock on their door.
create function pg_temp.keeps_open(p_flow_name text, p_reason text) returns boolean language sql as $$
select exists (
    select from pg_locks as l
    where l.locktype = 'advisory' and l.pid = pg_backend_pid() and l.mode = 'ShareLock'
        and (l.classid::bigint << 32 | l.objid::bigint) = conveyor._wake_key(p_flow_name, p_reason, -1)
);
$$;

select ok(not pg_temp.keeps_open('survey', 'paused'), 'adding and pausing do not concern who waits for a paused flow');

select conveyor.resume_flow(p_flow_name => 'survey');

select ok(pg_temp.keeps_open('survey', 'paused'), 'resuming does, until it commits');

select results_eq(
    'select f.flow_name, f.paused_at, f.lease from conveyor.flow as f order by f.flow_name',
    $$
    select p.flow_name, case when p.flow_name = 'invoice' then p.paused_at end, p.lease
    from paused as p
    order by p.flow_name
    $$,
    'the flow is not paused any more, its settings stay, and other flows stay paused'
);

select ok(conveyor.next_due_at('survey') <= clock_timestamp(), 'what waited is due');

select is(
    (select count(*) from conveyor.claim_records_batch('survey', 10)), 3::bigint,
    'and is claimed'
);

select conveyor.resume_flow('survey');

select is(
    (select f.paused_at from conveyor.flow as f where f.flow_name = 'survey'), null,
    'a flow that runs stays as it is'
);

select conveyor.resume_flow('nobody');

select ok(not pg_temp.keeps_open('nobody', 'paused'), 'where nothing was paused nobody is kept awake');

select is_empty(
    $$ select from conveyor.flow as f where f.flow_name = 'nobody' $$,
    'so does one that nobody configured'
);

select conveyor.pause_flow('survey');

select ok(
    f.paused_at > p.paused_at, 'a flow that is paused once more has the new time'
)
from conveyor.flow as f
join paused as p on f.flow_name = p.flow_name
where f.flow_name = 'survey';

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ('select conveyor.resume_flow(null)', 'p_flow_name is null'),
    ($$ select conveyor.resume_flow('') $$, 'p_flow_name is ''''')
) as v (call, message);

select * from finish();
rollback;
