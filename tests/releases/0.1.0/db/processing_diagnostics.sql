-- conveyor.processing_diagnostics: what is wrong, and which function mends it.
begin;
select plan(9);

select is(
    conveyor.processing_diagnostics() -> 'issues_found', '[]', 'nothing is wrong with an empty queue'
);
select is(
    array(select k.key from jsonb_object_keys(conveyor.processing_diagnostics(true, true)) as k (key) order by k.key),
    '{
        database_diagnostics,diagnostic_timestamp,issues_found,orphaned_records_analysis,performance_analysis,
        recommendations,system_health,worst_severity
    }',
    'all parts are there when they are asked for'
);
select is(
    array(
        select k.key
        from jsonb_object_keys(conveyor.processing_diagnostics(true, true) -> 'database_diagnostics') as k (key)
        order by k.key
    ),
    '{dead_rows,horizon_holders,index_bytes,last_vacuum,server_version,table_bytes}',
    'the database has its numbers'
);

select conveyor.add_records_to_queue('survey', '[{}, {}]');
select conveyor.claim_records_batch('survey', 2, 'worker-1');

update conveyor.processing_queue
set lease_expires_at = clock_timestamp() - interval '2 hours',
    claimed_at       = clock_timestamp() - interval '3 hours';

select is(
    conveyor.processing_diagnostics(true) -> 'orphaned_records_analysis',
    '{
        "total_orphaned_records": 2, "under_a_running_lease": 0, "oldest_orphaned_hours": 3.00,
        "orphaned_by_flow": {"survey": 2}, "orphaned_by_instance": {"worker-1": 2}
    }',
    'orphans are counted by flow and holder'
);
select is(
    conveyor.processing_diagnostics() -> 'issues_found' ->> 0,
    'warning: flow survey: 2 records are orphaned, 0 of them under a lease that still runs; the longest for 2.0 hours',
    'and are an issue'
);
select is(
    conveyor.processing_diagnostics() ->> 'worst_severity', 'warning', 'the worst severity is told'
);

update conveyor.processing_queue
set status       = 'failed',
    failure_kind = 'crashed';

select matches(
    conveyor.processing_diagnostics() -> 'issues_found' ->> 1,
    '^warning: flow survey: 2 records were failed within a day',
    'records that crashed their workers are an issue'
);
select matches(
    conveyor.processing_diagnostics() -> 'issues_found' ->> 0, '^critical: flow survey: 2 of 2 records',
    'the worst comes first'
);
select throws_ok(
    $$ select conveyor.processing_diagnostics(true, null) $$, '22023', 'p_include_performance_analysis is null',
    'null is no flag'
);

select * from finish();
rollback;
