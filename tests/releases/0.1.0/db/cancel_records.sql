-- conveyor.cancel_records: gives records up; who holds one learns that it is lost.
begin;
select plan(19);

insert into conveyor.processing_queue (id, flow_name, payload, retry_count, priority, dedup_key, created_at)
values
    (1, 'survey', '{"n": 1}', 2, 7, 'one', '2020-01-01 00:00+00'),
    (2, 'survey', '{"n": 2}', 0, 0, null, '2020-01-02 00:00+00'),
    (3, 'survey', '{"n": 3}', 0, 0, null, '2020-01-03 00:00+00'),
    (4, 'survey', '{"n": 4}', 0, 0, null, '2020-01-04 00:00+00'),
    (5, 'survey', '{"n": 5}', 0, 0, null, '2020-01-05 00:00+00'),
    (6, 'invoice', '{"n": 6}', 0, 0, null, '2020-01-06 00:00+00');

create temporary table held on commit drop as
select c.* from conveyor.claim_records_batch('survey', 4, 'worker-1') as c;
select conveyor.mark_record_completed(h.id, '{}', h.claim_token) from held as h where h.id = 2;
select conveyor.mark_record_failed(h.id, 'no', h.claim_token) from held as h where h.id = 3;
insert into conveyor.processing_queue (id, flow_name, payload, status)
values (7, 'survey', '{}', 'processing');

create temporary table kept on commit drop as
select q.* from conveyor.processing_queue as q;

select is(
    conveyor.cancel_records(p_ids => '{7,6,5,1,1}', p_reason => 'not wanted'), 4,
    'the number of records is returned, an id that comes twice counts once'
);

select results_eq(
    $$
    select q.id, q.status, q.failure_kind, q.error_message, q.lease_expires_at
    from conveyor.processing_queue as q
    where q.id in (1, 5, 6, 7)
    order by q.id
    $$,
    $$
    select v.id, 'failed', 'cancelled', 'not wanted', null::timestamptz
    from (values (1::bigint), (5), (6), (7)) as v (id)
    $$,
    'held, pending, of any flow or by hand: all are failed, kind cancelled, for the reason given'
);

select results_eq(
    $$
    select
        q.payload, q.input, q.created_at, q.priority, q.run_at, q.dedup_key, q.retry_count, q.crash_count,
        q.flow_instance_id, q.claim_token, q.claimed_at, q.updated_at > k.updated_at
    from conveyor.processing_queue as q
    join kept as k using (id)
    where q.id in (1, 5, 6, 7)
    order by q.id
    $$,
    $$
    select
        k.payload, k.input, k.created_at, k.priority, k.run_at, k.dedup_key, k.retry_count, k.crash_count,
        k.flow_instance_id, k.claim_token, k.claimed_at, true
    from kept as k
    where k.id in (1, 5, 6, 7)
    order by k.id
    $$,
    'everything else stays, who had it as well; updated_at moves, and nothing is charged'
);

select is(
    conveyor.cancel_records('{1,2,3,5,-1,null}', 'again'), 0,
    'what is completed, failed, cancelled or does not exist is passed over'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q where q.id in (2, 3, 4) order by q.id',
    'select k.* from kept as k where k.id in (2, 3, 4) order by k.id',
    'and stays as it is, as does what was not named'
);

select results_eq(
    $$
    select a.record_id, a.claim_token, a.error, a.flow_instance_id, a.claimed_at
    from conveyor.attempt as a
    where a.outcome = 'cancelled'
    order by a.record_id
    $$,
    $$
    select k.id, k.claim_token, 'not wanted', k.flow_instance_id, k.claimed_at
    from kept as k
    where k.id in (1, 7)
    order by k.id
    $$,
    'a cancelled claim is an attempt; a pending record that is cancelled was none'
);

select is(
    (
        select e.lease_expires_at
        from held as h
        cross join conveyor.extend_leases(array[h.id], array[h.claim_token]) as e
        where h.id = 1
    ),
    null, 'the holder learns with its next heartbeat'
);

select throws_ok(
    format(v.call, h.claim_token), 'WQ001', null, 'a late answer is refused: ' || v.call
)
from held as h
cross join (
    values
    ('select conveyor.mark_record_completed(1, ''{}'', %s)'), ('select conveyor.mark_record_failed(1, ''no'', %s)')
) as v (call)
where h.id = 1;

select results_eq(
    $$
    select d.outcome, f.outcome, r.outcome
    from held as h
    cross join conveyor.mark_records_completed(array[h.id], '[{}]', array[h.claim_token]) as d
    cross join conveyor.mark_records_failed(array[h.id], '[{"error": "no"}]', array[h.claim_token]) as f
    cross join conveyor.release_records(array[h.id], array[h.claim_token]) as r
    where h.id = 1
    $$,
    $$ values ('lost', 'lost', 'lost') $$,
    'in bulk it is lost'
);

select results_eq(
    $$ select c.id from conveyor.claim_records_batch('survey', 10) as c $$,
    'select 0::bigint where false',
    'what is cancelled is not claimed'
);

select is(conveyor.reset_failed_records('survey'), 1, 'a reset brings back what failed by an error alone');

select conveyor.requeue_records('{1}');

select results_eq(
    $$ select c.id, c.payload from conveyor.claim_records_batch('survey', 1) as c $$,
    $$ values (1::bigint, '{"n": 1}'::jsonb) $$,
    'a requeue brings a cancelled record back'
);

select conveyor.cancel_records('{1,4}');

select results_eq(
    $$
    select distinct q.status, q.failure_kind, q.error_message
    from conveyor.processing_queue as q
    where q.id in (1, 4)
    $$,
    $$ values ('failed', 'cancelled', 'cancelled') $$,
    'without a reason the message says that it was cancelled'
);

select is(
    (select count(*) from conveyor.attempt as a where a.record_id = 1 and a.outcome = 'cancelled'), 2::bigint,
    'each claim that was cancelled is an attempt of its own'
);

select is_empty(
    $$ select i.* from conveyor.check_integrity() as i where i.problem <> 'ids run out of step' $$,
    'all is well after it'
);

select is(conveyor.cancel_records('{}'), 0, 'an empty call does nothing');

select throws_ok(
    'select conveyor.cancel_records(null)', '22023', 'p_ids is null', 'null ids are refused by name'
);

insert into conveyor.processing_queue (id, flow_name, payload) values (91, 'long', '{}'), (92, 'long', '{}');
select c.id from conveyor.claim_records_batch('long', 1) as c;
select conveyor.cancel_records('{91,92}', repeat('x', 10000000));

select results_eq(
    $$
    select q.error_message, coalesce(a.error, q.error_message)
    from conveyor.processing_queue as q
    left join conveyor.attempt as a on q.id = a.record_id
    where q.id in (91, 92)
    order by q.id
    $$,
    $$
    select v.reason, v.reason
    from (select repeat('x', 9960) || '... [cut: 10000000 characters]' as reason) as v
    cross join generate_series(1, 2)
    $$,
    'a reason that is too long to keep is cut'
);

select * from finish();
rollback;
