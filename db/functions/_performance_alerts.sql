create or replace function conveyor._performance_alerts(p_report jsonb, p_thresholds jsonb)
    returns jsonb
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select jsonb_build_object(
            'alerts', coalesce(jsonb_agg(
                format(
                    '%s: flow %s: %s of %s records failed',
                    case when m.failed_percent > t.failed_percent_critical then 'critical' else 'warning' end,
                    m.flow_name, m.metrics ->> 'failed_count', m.metrics ->> 'total_processed'
                ) order by m.failed_percent desc, m.flow_name
            ), '[]'),
            'recommendations', coalesce(jsonb_agg(
                format(
                    'processing_performance(p_include_error_analysis => true) groups the errors of flow %1$s; when the '
                    'cause is gone, reset_failed_records(%1$L) brings its failed records back', m.flow_name
                ) order by m.failed_percent desc, m.flow_name
            ), '[]')
        )
        from (
            select
                f.key as flow_name, f.value as metrics,
                100 - (f.value ->> 'success_rate_percent')::numeric as failed_percent
            from jsonb_each(p_report -> 'flow_specific_metrics') as f
        ) as m
        cross join jsonb_to_record(p_thresholds) as t (failed_percent_warning float8, failed_percent_critical float8)
        where m.failed_percent > least(t.failed_percent_warning, t.failed_percent_critical)
    );
end;
$$;

comment on function conveyor._performance_alerts is
    'Which flows failed too much in the window of a report, and what to call.';
