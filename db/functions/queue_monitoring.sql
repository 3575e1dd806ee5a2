-- queue_health is the worst of what _find_issues finds: critical, degraded (a warning), healthy; idle when nothing is
-- wrong, nothing is due or held, and nothing ended in the window.
create or replace function conveyor.queue_monitoring(
    p_include_detailed_metrics boolean default false,
    p_thresholds               jsonb   default '{}'
)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_at         constant timestamptz := clock_timestamp();
    v_thresholds constant jsonb := conveyor._monitoring_thresholds(p_thresholds);
    v_status     constant jsonb := conveyor.get_queue_status();
    v_issues     jsonb;
    v_worst      text;
    v_report     jsonb;
begin
    if p_include_detailed_metrics is null then
        perform conveyor._raise_invalid('p_include_detailed_metrics', null, 'true or false');
    end if;

    select
        jsonb_build_object(
            'operational_alerts', coalesce(jsonb_agg(format('%s: %s', i.severity, i.issue)), '[]'),
            'recommendations', coalesce(jsonb_agg(i.remedy), '[]')
        ),
        (array_agg(i.severity))[1]
    into v_issues, v_worst
    from conveyor._find_issues(v_at, v_thresholds) as i;

    select jsonb_build_object(
        'monitoring_timestamp', conveyor._iso_time(v_at),
        'overall_queue_status', v_status,
        'queue_health_assessment', jsonb_build_object(
            'queue_health', case
                when v_worst = 'critical' then 'critical'
                when v_worst = 'warning' then 'degraded'
                when sum(f.processing + f.completed_lately + f.failed_lately) > 0 or min(f.oldest_due_at) <= v_at
                    then 'healthy'
                else 'idle'
            end,
            'total_records', v_status -> 'total_records',
            'processed_in_window', coalesce(sum(f.completed_lately + f.failed_lately), 0),
            'failed_rate_percent', coalesce(
                round(100.0 * sum(f.failed_lately) / nullif(sum(f.completed_lately + f.failed_lately), 0), 2), 0
            ),
            'oldest_pending_minutes', greatest(
                round(extract(epoch from v_at - min(f.oldest_due_at) filter (where f.paused_at is null)) / 60, 1), 0
            ),
            'orphaned_records', coalesce(sum(f.orphaned), 0),
            'thresholds', v_thresholds,
            'assessment_timestamp', conveyor._iso_time(v_at)
        )
    )
    into v_report
    from conveyor._flow_health(v_at, v_thresholds) as f;

    return v_report || v_issues || case
        when p_include_detailed_metrics
            then jsonb_build_object('flow_specific_metrics', conveyor._flow_metrics(v_at, v_thresholds))
        else '{}' end;
end;
$$;

comment on function conveyor.queue_monitoring is
    'How the queue is (critical, degraded, healthy, idle), by which numbers, what is wrong, and what to call.';
