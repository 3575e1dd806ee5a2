-- Reads minutes, not history: throughput comes from flow_minute, which maintain() keeps for 30 days, and from what is
-- not folded yet; p50 and p95 from at most some 10,000 records.  The window begins at a whole minute.
create or replace function conveyor.processing_performance(
    p_time_window_hours      integer default 24,
    p_include_error_analysis boolean default false,
    p_thresholds             jsonb   default '{}'
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
    v_since      timestamptz;
    v_report     jsonb;
begin
    if (p_time_window_hours between 1 and 720) is not true then
        perform conveyor._raise_invalid(
            'p_time_window_hours', p_time_window_hours::text, 'hours from 1 to 720: throughput is kept for 30 days'
        );
    elsif p_include_error_analysis is null then
        perform conveyor._raise_invalid('p_include_error_analysis', null, 'true or false');
    end if;
    v_since := date_trunc('minute', v_at - make_interval(hours => p_time_window_hours));

    select jsonb_build_object(
        'monitoring_timestamp', conveyor._iso_time(v_at),
        'time_window_hours', p_time_window_hours,
        'overall_metrics', jsonb_agg(p.metrics) filter (where p.flow_name is null) -> 0 || jsonb_build_object(
            'time_window', jsonb_build_object(
                'start_time', conveyor._iso_time(v_since), 'end_time', conveyor._iso_time(v_at),
                'duration_hours', round(extract(epoch from v_at - v_since) / 3600, 3)
            )
        ),
        'flow_specific_metrics',
        coalesce(jsonb_object_agg(p.flow_name, p.metrics) filter (where p.flow_name is not null), '{}'),
        'performance_trends', jsonb_build_object('hourly_trends', conveyor._hourly_trends(v_since))
    )
    into v_report
    from conveyor._performance(v_since, v_at) as p;

    return v_report || conveyor._performance_alerts(v_report, v_thresholds) || case
        when p_include_error_analysis then jsonb_build_object('error_analysis', conveyor._error_analysis(v_since))
        else '{}' end;
end;
$$;

comment on function conveyor.processing_performance is
    'Throughput, success, wait and run times (average, p50, p95) in the last hours, of all and by flow; errors.';
