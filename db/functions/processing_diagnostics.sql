create or replace function conveyor.processing_diagnostics(
    p_include_orphaned_analysis    boolean default false,
    p_include_performance_analysis boolean default false,
    p_thresholds                   jsonb   default '{}'
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
    v_report     jsonb;
begin
    if p_include_orphaned_analysis is null then
        perform conveyor._raise_invalid('p_include_orphaned_analysis', null, 'true or false');
    elsif p_include_performance_analysis is null then
        perform conveyor._raise_invalid('p_include_performance_analysis', null, 'true or false');
    end if;

    select jsonb_build_object(
        'diagnostic_timestamp', conveyor._iso_time(v_at),
        'system_health', conveyor.health_check(),
        'database_diagnostics', conveyor._database_diagnostics(v_at),
        'worst_severity', coalesce((array_agg(i.severity))[1], 'none'),
        'issues_found', coalesce(jsonb_agg(format('%s: %s', i.severity, i.issue)), '[]'),
        'recommendations', coalesce(jsonb_agg(i.remedy), '[]')
    )
    into v_report
    from conveyor._find_issues(v_at, v_thresholds) as i;

    return v_report || case when p_include_orphaned_analysis then jsonb_build_object(
        'orphaned_records_analysis', conveyor._orphaned_analysis(v_at, v_thresholds)
    ) else '{}' end || case when p_include_performance_analysis then jsonb_build_object(
        'performance_analysis',
        conveyor.processing_performance(p_thresholds => p_thresholds) - array['alerts', 'recommendations']
    ) else '{}' end;
end;
$$;

comment on function conveyor.processing_diagnostics is
    'What is wrong with the queue and its server, the worst first, and which function mends it.';
