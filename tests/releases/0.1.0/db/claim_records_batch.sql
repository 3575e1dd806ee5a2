-- conveyor.claim_records_batch: hands out what is due, in order, each record to one claimer.
begin;
select plan(28);

select is_empty($$ select from conveyor.claim_records_batch('survey', 10) $$, 'an empty queue hands out nothing');

insert into conveyor.processing_queue (id, flow_name, payload, retry_count, created_at)
values
    (1, 'survey', '{"n": 1}', 2, '2020-01-01 00:00+00'),
    (2, 'survey', '{"n": 2}', 0, '2020-01-02 00:00+00'),
    (3, 'survey', '{"n": 3}', 0, '2020-01-03 00:00+00'),
    (4, 'invoice', '{"n": 4}', 0, '2019-01-01 00:00+00');

create temporary table held on commit drop as
select
    c.*,
    clock_timestamp() as called_at
from conveyor.claim_records_batch(p_flow_name => 'survey', p_batch_size => 2, p_instance => 'worker-1') as c;

select results_eq(
    'select h.id, h.payload, h.retry_count, h.created_at from held as h',
    $$
    values
        (1::bigint, '{"n": 1}'::jsonb, 2, '2020-01-01 00:00+00'::timestamptz),
        (2, '{"n": 2}', 0, '2020-01-02 00:00+00')
    $$,
    'the oldest records of the flow are returned, in order and as many as asked'
);

select results_eq(
    $$
    select q.id, q.status, q.flow_instance_id, q.claim_token, q.lease_expires_at
    from conveyor.processing_queue as q
    where q.status <> 'pending'
    order by q.id
    $$,
    $$ select h.id, 'processing', 'worker-1', h.claim_token, h.lease_expires_at from held as h order by h.id $$,
    'a claimed record is processing, with its holder and the token and lease that were returned'
);

select ok(
    bool_and(q.claimed_at > now() and q.claimed_at <= h.called_at and q.updated_at >= q.claimed_at),
    'claimed_at and updated_at are the time of the claim'
)
from conveyor.processing_queue as q
join held as h on q.id = h.id;

select results_eq(
    $$
    select q.payload, q.retry_count, q.crash_count, q.created_at, q.priority, q.run_at, q.error_message, q.input
    from conveyor.processing_queue as q
    where q.id = 1
    $$,
    $$
    values (
        '{"n": 1}'::jsonb, 2, 0, '2020-01-01 00:00+00'::timestamptz, 0::smallint,
        null::timestamptz, null::text, null::jsonb
    )
    $$,
    'a claim charges nothing and leaves the record itself alone'
);

select ok(
    bool_and(h.lease_expires_at - q.claimed_at = '1 hour'),
    'the lease of a flow that nobody configured is an hour'
)
from conveyor.processing_queue as q
join held as h on q.id = h.id;

select ok(
    count(distinct h.claim_token) = 1 and min(h.claim_token) >= 1 << 20,
    'a claim has one token, a sequence number above 20 random bits'
)
from held as h;

set local application_name = 'billing';
create temporary table held_later on commit drop as
select c.* from conveyor.claim_records_batch(p_flow_name => 'survey', p_batch_size => 10, p_lease => '90 s') as c;

select results_eq('select h.id from held_later as h', 'values (3::bigint)', 'what is claimed is not handed out again');

select ok(
    later.claim_token >> 20 > h.claim_token >> 20,
    'a later claim has a larger token'
)
from held_later as later, held as h
where h.id = 1;

select ok(
    q.flow_instance_id ~ 'billing' and q.lease_expires_at - q.claimed_at = '90 s',
    'a caller without a name gets that of its session, and p_lease is the lease'
)
from conveyor.processing_queue as q
where q.id = 3;

select is(
    (select q.status from conveyor.processing_queue as q where q.id = 4), 'pending',
    'other flows are left alone'
);

select conveyor.configure_flow('invoice', '{"lease": "5 minutes"}');

select conveyor.claim_records_batch('invoice', 1);

select is(q.lease_expires_at - q.claimed_at, '5 minutes', 'the lease is that of the flow')
from conveyor.processing_queue as q
where q.id = 4;

insert into conveyor.processing_queue (id, flow_name, payload, priority, run_at, created_at)
values
    (10, 'order', '{}', 0, null, '2020-01-02 00:00+00'),
    (11, 'order', '{}', 0, '2020-01-01 00:00+00', '2020-01-05 00:00+00'),
    (12, 'order', '{}', 0, '2020-01-04 00:00+00', '2019-01-01 00:00+00'),
    (13, 'order', '{}', 0, null, '2020-01-02 00:00+00'),
    (14, 'order', '{}', 5, null, '2020-01-09 00:00+00'),
    (15, 'order', '{}', -5, null, '2018-01-01 00:00+00'),
    (16, 'order', '{}', -32768, null, '2018-01-01 00:00+00'),
    (17, 'order', '{}', 32767, clock_timestamp() + interval '1 hour', '2018-01-01 00:00+00'),
    (18, 'order', '{}', 3, null, clock_timestamp() + interval '1 hour'),
    (19, 'order', '{}', 0, clock_timestamp() + interval '1 hour', '2018-01-01 00:00+00');

select results_eq(
    $$ select c.id from conveyor.claim_records_batch('order', 3) as c $$,
    'values (14::bigint), (11), (10)',
    'high priority goes first, then the earlier of run_at or else created_at; what is not due holds nobody up'
);

select results_eq(
    $$ select c.id from conveyor.claim_records_batch('order', 10) as c $$,
    'values (13::bigint), (12), (15), (16)',
    'equal times go by id, and one batch takes from several levels of priority'
);

update conveyor.processing_queue as q
set run_at = clock_timestamp() - interval '1 s'
where q.id in (17, 19);

update conveyor.processing_queue as q
set created_at = clock_timestamp() - interval '1 s'
where q.id = 18;

select results_eq(
    $$ select c.id from conveyor.claim_records_batch('order', 10) as c $$,
    'values (17::bigint), (18), (19)',
    'a record is handed out once its run_at, or a created_at in the future, has come'
);

select conveyor.extend_leases(array[h.id], array[h.claim_token]) from held as h where h.id = 1;
update conveyor.processing_queue as q
set status = 'pending', flow_instance_id = null, claimed_at = null
where q.id = 1;

select results_eq(
    $$
    select c.id, c.claim_token > h.claim_token
    from conveyor.claim_records_batch('survey', 10, 'worker-2') as c
    join held as h using (id)
    $$,
    'values (1::bigint, true)',
    'a record that was reset by raw SQL is claimed with a new token'
);

select is(
    (select q.heartbeat_at from conveyor.processing_queue as q where q.id = 1), null,
    'heartbeats are those of the holder, not of one before'
);

select throws_ok(
    format('select conveyor.mark_record_completed(1, ''{}'', %s)', h.claim_token),
    'WQ001', null,
    'the token from before the reset is worth nothing'
)
from held as h
where h.id = 1;

insert into conveyor.processing_queue (id, flow_name, payload, status)
values (20, 'raw', '{}', 'completed'), (21, 'raw', '{}', 'failed'), (22, 'raw', '{}', 'processing');

select is_empty($$ select from conveyor.claim_records_batch('raw', 10) $$, 'only what is pending is claimed');

-- A flow that is paused.
insert into conveyor.processing_queue (id, flow_name, payload)
values (30, 'paused', '{}');
select conveyor.pause_flow('paused');

select is_empty($$ select from conveyor.claim_records_batch('paused', 10) $$, 'of a paused flow nothing is claimed');

select throws_ok(
    $$ select from conveyor.claim_records_batch('paused', 0) $$,
    '22023', 'p_batch_size is ''0''',
    'a bad argument is refused also while the flow is paused'
);

select conveyor.resume_flow('paused');

select is(
    (select count(*) from conveyor.claim_records_batch('paused', 10)), 1::bigint,
    'once it is resumed, it is'
);

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ($$ select from conveyor.claim_records_batch(' ', 1) $$, 'p_flow_name is '' '''),
    ($$ select from conveyor.claim_records_batch('survey', 0) $$, 'p_batch_size is ''0'''),
    ($$ select from conveyor.claim_records_batch('survey', null) $$, 'p_batch_size is null'),
    ($$ select from conveyor.claim_records_batch('survey', 100001) $$, 'p_batch_size is ''100001'''),
    ($$ select from conveyor.claim_records_batch('survey', 1, p_lease => '0') $$, 'p_lease is ''00:00:00'''),
    (
        $$ select from conveyor.claim_records_batch('survey', 1, p_lease => '1000000 years') $$,
        'p_lease is ''1000000 years'''
    )
) as v (call, message);

select * from finish();
rollback;
