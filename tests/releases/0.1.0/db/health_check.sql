-- conveyor.health_check: one look for a probe or a dashboard.
begin;
select plan(9);

select is(
    conveyor.health_check() - 'timestamp',
    '{
        "status": "healthy", "problems": [],
        "queue_status": {"total_records": 0, "pending_records": 0, "processing_records": 0, "failed_records": 0}
    }',
    'an empty queue is healthy, and has all the keys'
);

set local timezone = 'Asia/Tokyo';
set local datestyle = 'SQL, DMY';

select matches(
    conveyor.health_check() ->> 'timestamp', '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$',
    'timestamp is UTC in ISO 8601, whatever the session shows'
);

select ok(
    (conveyor.health_check() ->> 'timestamp')::timestamptz
    between clock_timestamp() - interval '10 s' and clock_timestamp() + interval '1 s',
    'timestamp is the time of the call'
);

insert into conveyor.processing_queue (flow_name, payload, status, failure_kind, created_at)
values
    ('survey', '{}', 'completed', null, '2020-01-01 00:00+00'),
    ('survey', '{}', 'failed', 'error', '2020-01-01 00:00+00'),
    ('survey', '{}', 'failed', 'cancelled', '2020-01-01 00:00+00'),
    ('invoice', '{}', 'pending', null, '2100-01-01 00:00+00');

select conveyor.add_records_to_queue('survey', '[{}, {}, {}]');
select conveyor.claim_records_batch('survey', 2, 'worker-1');

select is(
    conveyor.health_check() -> 'queue_status',
    '{"total_records": 7, "pending_records": 2, "processing_records": 2, "failed_records": 2}',
    'records of all flows are counted by status'
);

update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp() - interval '1 s'
where q.status = 'processing';

select is(
    conveyor.health_check() - '{timestamp,queue_status}'::text[],
    '{"status": "healthy", "problems": []}',
    'a lease that has just ended is no problem, nor is a failed or delayed record'
);

update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp() - interval '1 hour'
where q.status = 'processing';

select is(
    conveyor.health_check() ->> 'status', 'degraded',
    'when leases ended long ago the queue is degraded: nobody takes the records back'
);

select is(
    jsonb_array_length(conveyor.health_check() -> 'problems'), 1,
    'each problem is listed once'
);

select matches(
    conveyor.health_check() -> 'problems' ->> 0, '^2 records .*maintain',
    'a problem says how much, and what to do'
);

select conveyor.maintain();

select is(
    conveyor.health_check() - '{timestamp,queue_status}'::text[],
    '{"status": "healthy", "problems": []}',
    'after maintain() the queue is healthy again'
);

select * from finish();
rollback;
