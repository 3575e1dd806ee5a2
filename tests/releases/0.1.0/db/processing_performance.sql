-- conveyor.processing_performance: how much, how well and how fast in a window.
begin;
select plan(10);

select is(
    (conveyor.processing_performance() -> 'overall_metrics') - 'time_window',
    '{
        "total_processed": 0, "completed_count": 0, "failed_count": 0, "success_rate_percent": 100,
        "avg_processing_rate_per_hour": 0, "avg_processing_time_minutes": null,
        "wait_seconds": {"avg": null, "p50": null, "p95": null}, "run_seconds": {"avg": null, "p50": null, "p95": null},
        "percentiles": {"records": 0, "exact": true}
    }',
    'of nothing, nothing failed'
);

insert into conveyor.flow_minute (flow_name, minute, completed, failed, wait_seconds, run_seconds)
values
    ('survey', date_trunc('minute', clock_timestamp() - interval '90 minutes'), 8, 2, 16, 4),
    ('survey', date_trunc('minute', clock_timestamp() - interval '10 minutes'), 4, 0, 0, 4),
    ('invoice', date_trunc('minute', clock_timestamp() - interval '5 days'), 1, 1, 1, 1);
insert into conveyor.count_delta
    (flow_name, pending, processing, completed, failed, wait_seconds, run_seconds, counted_at)
values ('survey', 0, -2, 1, 1, 3, 6, clock_timestamp());

select is(
    conveyor.processing_performance(1) #> '{flow_specific_metrics,survey,total_processed}', '6',
    'what is folded and what is not count together'
);
select is(
    conveyor.processing_performance(1) #> '{flow_specific_metrics,survey,run_seconds,avg}', '2',
    'times are averages of the completed'
);
select is(
    conveyor.processing_performance(24) #> '{overall_metrics,success_rate_percent}', '81.25',
    'success is the completed among what ended'
);
select is(
    conveyor.processing_performance(720) #> '{overall_metrics,total_processed}', '18', 'a longer window has more'
);
select is(
    conveyor.processing_performance(24) -> 'alerts',
    '["warning: flow survey: 3 of 16 records failed"]',
    'a flow with many failures is an alert'
);
select is(
    conveyor.processing_performance(24, p_thresholds => '{"failed_percent_warning": 30}') -> 'alerts',
    '[]',
    'thresholds may be given'
);
select is(
    conveyor.processing_performance(24, true) -> 'error_analysis',
    '{"total_errors": 0, "unique_error_types": 0, "errors_by_flow": {}, "top_errors": [], "exact": true}',
    'errors are analysed on demand'
);
select throws_ok(
    $$ select conveyor.processing_performance(721) $$, '22023', 'p_time_window_hours is ''721''',
    'minutes are kept for 30 days'
);
select throws_ok(
    $$ select conveyor.processing_performance(null) $$, '22023', 'p_time_window_hours is null', 'null is no window'
);

select * from finish();
rollback;
