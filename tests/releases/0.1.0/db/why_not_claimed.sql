-- conveyor.why_not_claimed: what stands between a record and its next claim, in one sentence.
begin;
select plan(27);

set local timezone = 'UTC';
set local datestyle = 'iso';

insert into conveyor.processing_queue
    (id, flow_name, payload, status, flow_instance_id, claimed_at, completed_at, failure_kind, error_message)
values
    (1, 'survey', '{}', 'completed', 'worker-1', null, '2020-01-02 03:04:05+00', null, null),
    (2, 'survey', '{}', 'completed', null, null, '2020-01-02 03:04:05+00', null, null),
    (3, 'survey', '{}', 'failed', 'worker-1', null, null, 'error', 'no such page'),
    (4, 'survey', '{}', 'failed', null, null, null, null, 'by hand.'),
    (5, 'survey', '{}', 'failed', null, null, null, 'crashed', 'out of memory'),
    (6, 'survey', '{}', 'failed', null, null, null, 'cancelled', 'not wanted'),
    (7, 'survey', '{}', 'failed', null, null, null, 'error', null),
    (8, 'survey', '{}', 'processing', null, '2020-01-02 03:04:05+00', null, null, null);

insert into conveyor.processing_queue (id, flow_name, payload, status, updated_at)
values (9, 'survey', '{}', 'processing', '2020-01-02 03:04:05+00');

insert into conveyor.processing_queue (id, flow_name, payload, status, flow_instance_id, claim_token, lease_expires_at)
values
    (10, 'survey', '{}', 'processing', 'worker-2', 1, '2100-01-02 03:04:05+00'),
    (11, 'survey', '{}', 'processing', 'worker-2', 2, '2020-01-02 03:04:05+00');

select conveyor.configure_flow('survey', '{"lease": "2 hours"}');

select matches(conveyor.why_not_claimed(p_id => v.id), v.wanted, v.description)
from (
    values
    (1, '^Record 1 was completed at 2020-01-02 03:04:05\+00 by worker-1\.$', 'completed: when and by whom'),
    (2, '^Record 2 was completed at 2020-01-02 03:04:05\+00 by [^.]+\.$', 'completed by hand: it says so'),
    (3, '^Record 3 failed \(error\): no such page\M', 'failed by an error: which one'),
    (3, 'reset_failed_records', 'failed by an error: a reset brings it back'),
    (4, '^Record 4 failed \(error\): by hand\.? ', 'failed without a kind is an error'),
    (5, '^Record 5 failed \(crashed\): out of memory\M', 'failed by its crashes: how'),
    (5, '\mrequeue_records', 'failed by its crashes: a requeue brings it back'),
    (6, '^Record 6 failed \(cancelled\): not wanted\M', 'cancelled: why'),
    (6, '\mrequeue_records', 'cancelled: a requeue brings it back'),
    (7, '^Record 7 failed \(error\): [^.]+\.', 'failed without a message'),
    (8, '^Record 8 .*by hand.* 2020-01-02 05:04:05\+00\.$', 'by hand: taken back when a lease would have ended'),
    (9, '^Record 9 .*by hand.* 2020-01-02 05:04:05\+00\.$', 'by hand without a time: counted from the last change'),
    (10, '^Record 10 .*worker-2.* 2100-01-02 03:04:05\+00\.$', 'held: by whom and until when'),
    (11, '^Record 11 .*worker-2.* ended at 2020-01-02 03:04:05\+00.*maintain\(\)', 'a lease that ended: since when')
) as v (id, wanted, description);

select is(
    (
        select count(*)
        from unnest(array[5, 6]) as i (id)
        where conveyor.why_not_claimed(i.id) ~ 'reset_failed_records'
    ),
    0::bigint, 'a reset is not advised where it does nothing'
);

update conveyor.processing_queue as q
set error_message = repeat('long ', 100000)
where q.id = 7;

select ok(length(conveyor.why_not_claimed(7)) < 400, 'a long error is cut');

-- In line.  Delayed records, those of other flows and those that are not pending are before nobody.
insert into conveyor.processing_queue (id, flow_name, payload, priority, run_at, created_at)
values
    (20, 'order', '{}', 0, null, '2020-01-02 00:00+00'),
    (21, 'order', '{}', 0, null, '2020-01-03 00:00+00'),
    (22, 'order', '{}', 0, '2020-01-01 00:00+00', '2020-01-09 00:00+00'),
    (23, 'order', '{}', 9, null, '2020-01-09 00:00+00'),
    (24, 'order', '{}', -9, null, '2019-01-01 00:00+00'),
    (25, 'order', '{}', 0, null, '2020-01-03 00:00+00'),
    (26, 'order', '{}', 9, '2100-01-02 03:04:05+00', '2019-01-01 00:00+00'),
    (27, 'order', '{}', 9, null, '2100-01-03 03:04:05+00'),
    (28, 'invoice', '{}', 9, null, '2019-01-01 00:00+00'),
    (29, 'order', '{}', 0, null, '2020-01-02 00:00+00');
insert into conveyor.processing_queue (id, flow_name, payload, status, priority, created_at)
values
    (31, 'order', '{}', 'completed', 9, '2019-01-01 00:00+00'),
    (32, 'order', '{}', 'failed', 9, '2019-01-01 00:00+00'),
    (33, 'order', '{}', 'processing', 9, '2019-01-01 00:00+00');

select matches(conveyor.why_not_claimed(v.id), v.wanted, v.description)
from (
    values
    (23, '^Record 23 is next in line', 'the first of its flow, by priority, is next'),
    (28, '^Record 28 is next in line', 'the only one of its flow is next'),
    (22, '^Record 22 waits in line behind 1 ', 'a higher priority goes first'),
    (20, '^Record 20 waits in line behind 2 ', 'the earlier of run_at or else created_at goes first'),
    (29, '^Record 29 waits in line behind 3 ', 'of equal times the smaller id goes first'),
    (25, '^Record 25 waits in line behind 5 ', 'delayed ones and other flows are not counted'),
    (24, '^Record 24 waits in line behind 6 ', 'a lower priority goes last, however old'),
    (26, '^Record 26 is not due before 2100-01-02 03:04:05\+00\.$', 'delayed: until its run_at'),
    (27, '^Record 27 is not due before 2100-01-03 03:04:05\+00\.$', 'of the future: until its created_at')
) as v (id, wanted, description);

-- The place is that of the claim.
select results_eq(
    $$ select c.id from conveyor.claim_records_batch('order', 6) as c $$,
    'values (23::bigint), (22), (20), (29), (21), (25)',
    'so many are claimed before it'
);

select conveyor.pause_flow('order');

select matches(
    conveyor.why_not_claimed(24), '^Record 24 waits: flow order is paused since ' || f.paused_at || '\.$',
    'paused: since when'
)
from (
    select replace(f.paused_at::text, '+', '\+') as paused_at from conveyor.flow as f where f.flow_name = 'order'
) as f;

select * from finish();
rollback;
