-- conveyor.queue_monitoring: how the queue is, by stated thresholds.
begin;
select plan(11);

select is(
    conveyor.queue_monitoring() - 'monitoring_timestamp' #- '{queue_health_assessment,thresholds}'
    #- '{queue_health_assessment,assessment_timestamp}',
    '{
        "overall_queue_status": {
            "total_records": 0, "pending_records": 0, "processing_records": 0, "completed_records": 0,
            "failed_records": 0, "by_flow": {}
        },
        "queue_health_assessment": {
            "queue_health": "idle", "total_records": 0, "processed_in_window": 0, "failed_rate_percent": 0,
            "oldest_pending_minutes": 0, "orphaned_records": 0
        },
        "operational_alerts": [],
        "recommendations": []
    }',
    'an empty queue is idle, and has all the keys'
);

set local timezone = 'Asia/Tokyo';
set local datestyle = 'SQL, DMY';

select ok(
    (conveyor.queue_monitoring() ->> 'monitoring_timestamp')::timestamptz
    between clock_timestamp() - interval '10 s' and clock_timestamp() + interval '1 s',
    'monitoring_timestamp is the time of the call, whatever the session shows'
);

select conveyor.add_records_to_queue('survey', '[{}, {}, {}]');
select conveyor.claim_records_batch('survey', 2, 'worker-1');

select is(
    conveyor.queue_monitoring() #>> '{queue_health_assessment,queue_health}', 'healthy', 'records at work are healthy'
);
select is(
    (conveyor.queue_monitoring(true) #> '{flow_specific_metrics,survey}') - 'performance',
    '{
        "pending": 1, "processing": 2, "completed": 0, "failed": 0, "oldest_pending_minutes": 0.0,
        "paused_since": null, "instances": 1, "orphaned_records": 0
    }',
    'detailed metrics are by flow'
);

update conveyor.processing_queue
set lease_expires_at = clock_timestamp() - interval '1 hour'
where status = 'processing';

select is(
    conveyor.queue_monitoring() #>> '{queue_health_assessment,queue_health}', 'degraded',
    'orphans that nobody takes back degrade it'
);
select is(
    conveyor.queue_monitoring() -> 'recommendations' ->> 0,
    'cleanup_orphaned_records() takes them back; workers do it by maintain(), which somebody has to call',
    'the recommendation names the function to call'
);
select is(
    conveyor.queue_monitoring(p_thresholds => '{"maintain_minutes": 90}') #>> '{queue_health_assessment,queue_health}',
    'healthy',
    'thresholds may be given'
);
select is(
    conveyor.queue_monitoring(p_thresholds => '{"maintain_minutes": 90}')
    #> '{queue_health_assessment,thresholds,maintain_minutes}',
    '90',
    'the report says by which thresholds'
);

select throws_ok(
    $$ select conveyor.queue_monitoring(null) $$, '22023', 'p_include_detailed_metrics is null', 'null is no flag'
);
select throws_ok(
    $$ select conveyor.queue_monitoring(p_thresholds => '{"minutes": 90}') $$, '22023',
    'a key of p_thresholds is ''minutes''', 'an unknown threshold is refused'
);
select throws_ok(
    $$ select conveyor.queue_monitoring(p_thresholds => '{"silent_hours": "1"}') $$, '22023',
    'p_thresholds.silent_hours is ''"1"''', 'a threshold is a number'
);

select * from finish();
rollback;
