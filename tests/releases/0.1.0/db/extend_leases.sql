-- conveyor.extend_leases: the heartbeat; one call for all that a worker holds.
begin;
select plan(22);

select conveyor.configure_flow('survey', '{"lease": "10 minutes"}');

insert into conveyor.processing_queue (id, flow_name, payload)
values (1, 'survey', '{}'), (2, 'survey', '{}'), (3, 'survey', '{}'), (4, 'survey', '{}'), (5, 'invoice', '{}');

create temporary table held on commit drop as
select c.*
from (values ('survey'), ('invoice')) as f (flow_name)
cross join conveyor.claim_records_batch(f.flow_name, 4, 'worker-1', '1 minute') as c;

create temporary table claimed on commit drop as
select q.* from conveyor.processing_queue as q;

create function pg_temp.tokens(p_ids bigint[]) returns bigint[] language sql as $$
select array_agg(h.claim_token order by i.position)
from unnest(p_ids) with ordinality as i (id, position)
left join held as h using (id);
$$;

create temporary table answered on commit drop as
select
    e.*,
    clock_timestamp() as called_at
from conveyor.extend_leases(
    p_ids => '{3,1}', p_tokens => pg_temp.tokens('{3,1}'), p_lease => '2 hours'
) as e;

select results_eq(
    'select a.id from answered as a order by a.id',
    'values (1::bigint), (3)',
    'each record of the call is answered for'
);

select results_eq(
    'select q.id, q.lease_expires_at from conveyor.processing_queue as q where q.id in (1, 3) order by q.id',
    'select a.id, a.lease_expires_at from answered as a order by a.id',
    'the new end of each lease is returned'
);

select ok(
    bool_and(
        q.lease_expires_at - q.heartbeat_at = '2 hours'
        and q.heartbeat_at > q.claimed_at and q.heartbeat_at <= a.called_at
    ),
    'leases end p_lease after the call, and heartbeat_at is its time'
)
from conveyor.processing_queue as q
join answered as a on q.id = a.id;

select results_eq(
    $$
    select to_jsonb(q) - '{lease_expires_at,heartbeat_at,updated_at}'::text[]
    from conveyor.processing_queue as q
    order by q.id
    $$,
    $$ select to_jsonb(c) - '{lease_expires_at,heartbeat_at,updated_at}'::text[] from claimed as c order by c.id $$,
    'status, holder, token, claimed_at, payload and counts stay'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q where q.id in (2, 4, 5) order by q.id',
    'select c.* from claimed as c where c.id in (2, 4, 5) order by c.id',
    'records that are not in the call stay as they are'
);

select conveyor.extend_leases('{1,4,5}', pg_temp.tokens('{1,4,5}'));

select results_eq(
    $$
    select q.id, q.lease_expires_at - q.heartbeat_at
    from conveyor.processing_queue as q
    where q.id in (4, 5)
    order by q.id
    $$,
    $$ values (4::bigint, '10 minutes'::interval), (5, '1 hour') $$,
    'without p_lease each record gets the lease of its own flow'
);

select is(
    q.lease_expires_at, a.lease_expires_at,
    'a lease that ends later already is not shortened'
)
from conveyor.processing_queue as q
join answered as a on q.id = a.id
where q.id = 1;

create temporary table kept on commit drop as
select q.* from conveyor.processing_queue as q;

select results_eq(
    $$
    select h.id, e.lease_expires_at
    from held as h, conveyor.extend_leases(array[h.id], array[h.claim_token - 1]) as e
    order by e.id
    $$,
    'select h.id, null::timestamptz from held as h order by h.id',
    'another token gets null'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q order by q.id',
    'select k.* from kept as k order by k.id',
    'another token extends nothing'
);

select results_eq(
    'select e.* from conveyor.extend_leases(array[-1], array[1]) as e',
    'values (-1::bigint, null::timestamptz)',
    'an id that does not exist gets null'
);

select results_eq(
    $$
    select e.id, e.lease_expires_at is null
    from conveyor.extend_leases('{2,-1,4}', pg_temp.tokens('{2,-1,4}')) as e
    order by e.id
    $$,
    'values (-1::bigint, true), (2, false), (4, false)',
    'a lost claim does not disturb its neighbours'
);

select results_eq(
    $$
    select distinct e.id, e.lease_expires_at is null
    from conveyor.extend_leases('{2,2}', pg_temp.tokens('{2,2}')) as e
    $$,
    'values (2::bigint, false)',
    'an id that comes twice in one call is extended'
);

update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp() - interval '1 s'
where q.id in (1, 5);

select ok(
    e.lease_expires_at > clock_timestamp(),
    'a lease that has ended is extended while nobody took the record'
)
from conveyor.extend_leases('{5}', pg_temp.tokens('{5}')) as e;

select conveyor.cleanup_orphaned_records();
select conveyor.mark_record_completed(h.id, '{}', h.claim_token) from held as h where h.id = 2;
select conveyor.mark_record_failed(h.id, 'no', h.claim_token) from held as h where h.id = 3;
select conveyor.release_records('{4}', pg_temp.tokens('{4}'));

select results_eq(
    $$
    select e.id, e.lease_expires_at is null
    from conveyor.extend_leases('{1,2,3,4,5}', pg_temp.tokens('{1,2,3,4,5}')) as e
    order by e.id
    $$,
    'values (1::bigint, true), (2, true), (3, true), (4, true), (5, false)',
    'a record that was taken back, completed, failed or released gets null'
);

insert into conveyor.processing_queue (id, flow_name, payload, status)
values (6, 'survey', '{}', 'processing');

select results_eq(
    'select e.* from conveyor.extend_leases(array[6], array[null::bigint]) as e',
    'values (6::bigint, null::timestamptz)',
    'nobody can extend a record that was put into processing by hand'
);

select is_empty($$ select from conveyor.extend_leases('{}', '{}') $$, 'an empty call does nothing');

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ($$ select conveyor.extend_leases(null, '{}') $$, 'p_ids is null'),
    ($$ select conveyor.extend_leases('{}', null) $$, 'p_tokens is null'),
    ($$ select conveyor.extend_leases('{1}', '{1,2}') $$, 'p_tokens is ''{1,2}'''),
    ($$ select conveyor.extend_leases('{1}', '{1}', '0') $$, 'p_lease is ''00:00:00'''),
    ($$ select conveyor.extend_leases('{1}', '{1}', '-1 s') $$, 'p_lease is ''-00:00:01'''),
    ($$ select conveyor.extend_leases('{5}', pg_temp.tokens('{5}'), '1000000 years') $$, 'p_lease is ''1000000 years''')
) as v (call, message);

select * from finish();
rollback;
