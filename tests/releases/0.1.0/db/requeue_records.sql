-- conveyor.requeue_records: an operator's decision; failed records start afresh, whatever ended them.
begin;
select plan(13);

insert into conveyor.processing_queue
    (id, flow_name, payload, retry_count, crash_count, priority, dedup_key, created_at)
values
    (1, 'survey', '{"n": 1}', 9, 1, 7, 'one', '2020-01-01 00:00+00'),
    (2, 'survey', '{"n": 2}', 0, 0, 0, null, '2020-01-02 00:00+00'),
    (3, 'survey', '{"n": 3}', 0, 0, 0, null, '2020-01-03 00:00+00'),
    (4, 'survey', '{"n": 4}', 0, 0, 0, null, '2020-01-04 00:00+00'),
    (5, 'survey', '{"n": 5}', 0, 0, 0, null, '2020-01-05 00:00+00'),
    (6, 'invoice', '{"n": 6}', 0, 0, 0, null, '2020-01-06 00:00+00');

create temporary table held on commit drop as
select c.* from conveyor.claim_records_batch('survey', 4, 'worker-1') as c;

select conveyor.mark_record_failed(h.id, 'no', h.claim_token) from held as h where h.id = 1;
select conveyor.mark_record_completed(h.id, '{}', h.claim_token) from held as h where h.id = 3;
update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp(),
    crash_count      = 4
where q.id = 2;
select conveyor.cleanup_orphaned_records();

insert into conveyor.processing_queue (id, flow_name, payload, status, failure_kind, retry_count)
values (7, 'survey', '{}', 'failed', 'cancelled', 1), (8, 'survey', '{}', 'failed', null, 1);

create temporary table kept on commit drop as
select q.* from conveyor.processing_queue as q;

select is(
    conveyor.requeue_records(p_ids => '{8,7,2,1,1}'), 4,
    'the number of records is returned, an id that comes twice counts once'
);

select results_eq(
    $$
    select q.status, q.retry_count, q.crash_count, q.failure_kind, q.flow_instance_id, q.claimed_at, q.lease_expires_at
    from conveyor.processing_queue as q
    where q.id in (1, 2, 7, 8)
    $$,
    $$
    select 'pending', 0, 0, null::text, null::text, null::timestamptz, null::timestamptz
    from generate_series(1, 4)
    $$,
    'failed by an error, crashed, cancelled or by hand: all are pending, without a holder, counts zeroed'
);

select results_eq(
    $$
    select q.payload, q.created_at, q.priority, q.run_at, q.dedup_key, q.input, q.updated_at > k.updated_at
    from conveyor.processing_queue as q
    join kept as k using (id)
    where q.id in (1, 2, 7, 8)
    order by q.id
    $$,
    $$
    select k.payload, k.created_at, k.priority, k.run_at, k.dedup_key, k.input, true
    from kept as k
    where k.id in (1, 2, 7, 8)
    order by k.id
    $$,
    'payload, place and key stay, and updated_at moves'
);

select is(
    conveyor.requeue_records('{3,4,5,6,-1,null}'), 0,
    'what is not failed or does not exist is passed over'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q where q.id in (3, 4, 5, 6) order by q.id',
    'select k.* from kept as k where k.id in (3, 4, 5, 6) order by k.id',
    'completed, held and pending records stay as they are'
);

select is(conveyor.requeue_records('{1,2}'), 0, 'a repeat finds nothing');

select is(
    (select count(*) from conveyor.attempt), 2::bigint,
    'attempts are kept, and to requeue is none'
);

select throws_ok(
    format('select conveyor.mark_record_completed(%s, ''{}'', %s)', h.id, h.claim_token),
    'WQ001', null,
    'the token before is worth nothing'
)
from held as h
where h.id = 1;

select results_eq(
    $$
    select r.outcome
    from held as h
    cross join conveyor.mark_records_failed(array[h.id], '[{"error": "no"}]', array[h.claim_token]) as r
    where h.id in (1, 2)
    order by h.id
    $$,
    $$ values ('repeated'), ('lost') $$,
    'the failure before may be repeated, and a late answer is lost'
);

select results_eq(
    $$ select c.id, c.retry_count from conveyor.claim_records_batch('survey', 10, 'worker-2') as c $$,
    'values (1::bigint, 0), (2, 0), (5, 0), (7, 0), (8, 0)',
    'what was requeued is claimed at once, in its old place'
);

update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp()
where q.id = 2;
select conveyor.cleanup_orphaned_records();

select results_eq(
    'select q.status, q.crash_count from conveyor.processing_queue as q where q.id = 2',
    $$ values ('pending', 1) $$,
    'a crashed record has its whole budget again'
);

select is(conveyor.requeue_records('{}'), 0, 'an empty call does nothing');

select throws_ok(
    'select conveyor.requeue_records(null)', '22023', 'p_ids is null', 'null ids are refused by name'
);

select * from finish();
rollback;
