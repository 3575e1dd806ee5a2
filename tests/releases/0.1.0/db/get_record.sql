-- conveyor.get_record: everything about one record, with its attempts.
begin;
select plan(11);

insert into conveyor.processing_queue (id, flow_name, payload, priority, dedup_key, created_at)
values
    (1, 'survey', '{"n": 1}', 7, 'one', '2020-01-01 00:00+00'),
    (2, 'survey', '{"n": 2}', 0, null, '2020-01-02 00:00+00'),
    (3, 'survey', '{"n": 3}', 0, null, '2020-01-03 00:00+00');

select is(
    conveyor.get_record(p_id => q.id) - 'attempts', to_jsonb(q),
    'every column of the record is there, under its own name'
)
from conveyor.processing_queue as q
where q.id = 1;

select is(conveyor.get_record(1) -> 'attempts', '[]', 'a record that nobody had has no attempts');

-- Record 1 is released, then failed, reset and completed.  Record 2 is orphaned, then cancelled.
create temporary table held on commit drop as
select c.* from conveyor.claim_records_batch('survey', 3, 'worker-1') as c;
select conveyor.release_records(array[h.id], array[h.claim_token]) from held as h where h.id = 1;

create temporary table held_again on commit drop as
select c.* from conveyor.claim_records_batch('survey', 1, 'worker-2') as c;
select conveyor.mark_record_failed(h.id, 'no such page', h.claim_token, 'HTTPError', '{"code": 404}')
from held_again as h;

select is(conveyor.get_record(1) ->> 'failure_kind', 'error', 'a failed record says how it failed');

select conveyor.reset_failed_records('survey');
select conveyor.mark_record_completed(c.id, '{"answer": 42}', c.claim_token)
from conveyor.claim_records_batch('survey', 1, 'worker-3') as c;

update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp()
where q.id = 2;
select conveyor.cleanup_orphaned_records();
select conveyor.claim_records_batch('survey', 1, 'worker-4');
select conveyor.cancel_records('{2}', 'not wanted');

select results_eq(
    $$
    select
        a.value ->> 'outcome', a.value ->> 'error', a.value ->> 'error_type', a.value ->> 'context',
        a.value ->> 'flow_instance_id', (a.value ->> 'claim_token')::bigint
    from jsonb_array_elements(conveyor.get_record(1) -> 'attempts') as a
    $$,
    $$
    select 'released', null, null, null, 'worker-1', h.claim_token from held as h where h.id = 1
    union all
    select 'failed', 'no such page', 'HTTPError', '{"code": 404}', 'worker-2', h.claim_token from held_again as h
    $$,
    'attempts that did not complete are listed in order, with error, type, context, who and token'
);

select results_eq(
    $$
    select (a.value ->> 'claimed_at')::timestamptz, (a.value ->> 'ended_at')::timestamptz
    from jsonb_array_elements(conveyor.get_record(1) -> 'attempts') as a
    $$,
    'select a.claimed_at, a.ended_at from conveyor.attempt as a where a.record_id = 1 order by a.attempt_id',
    'and from when to when'
);

select is(
    conveyor.get_record(1) - '{attempts,created_at,updated_at,claimed_at,completed_at,claim_token}'::text[],
    '{
        "id": 1, "flow_name": "survey", "payload": {"answer": 42}, "status": "completed",
        "flow_instance_id": "worker-3", "error_message": null, "retry_count": 1, "priority": 7, "run_at": null,
        "dedup_key": "one", "lease_expires_at": null, "heartbeat_at": null, "crash_count": 0,
        "failure_kind": null, "input": {"n": 1}
    }',
    'a completed record has its answer, and what was asked'
);

select results_eq(
    $$
    select a.value ->> 'outcome', a.value ->> 'flow_instance_id'
    from jsonb_array_elements(conveyor.get_record(2) -> 'attempts') as a
    $$,
    $$ values ('orphaned', 'worker-1'), ('cancelled', 'worker-4') $$,
    'an attempt that was orphaned or cancelled is one, too'
);

select is(
    conveyor.get_record(3) ->> 'lease_expires_at', to_jsonb(h.lease_expires_at) #>> '{}',
    'a held record says until when'
)
from held as h
where h.id = 3;

select is(
    (conveyor.get_record(3) ->> 'claim_token')::bigint, h.claim_token,
    'and by which claim'
)
from held as h
where h.id = 3;

select throws_ok('select conveyor.get_record(-1)', 'WQ002', 'record -1 does not exist', 'an unknown id is refused');
select throws_ok('select conveyor.get_record(null)', 'WQ002', 'record null does not exist', 'so is null');

select * from finish();
rollback;
