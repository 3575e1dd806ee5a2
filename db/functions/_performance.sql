-- The metrics of each flow in a window and, with a null name, of all: there is always one of all.
create or replace function conveyor._performance(p_since timestamptz, p_until timestamptz)
    returns table (flow_name text, metrics jsonb)
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
as $$
#variable_conflict use_column
declare
    v_hours constant float8 := (extract(epoch from p_until - p_since) / 3600)::float8;
begin
    return query
    with done as (
        select
            t.flow_name, coalesce(sum(t.completed), 0) as completed, coalesce(sum(t.failed), 0) as failed,
            sum(t.wait_seconds) as waited, sum(t.run_seconds) as ran
        from conveyor._throughput(p_since) as t
        group by grouping sets ((t.flow_name), ())
    )
    select
        d.flow_name,
        jsonb_build_object(
            'total_processed', d.completed + d.failed,
            'completed_count', d.completed,
            'failed_count', d.failed,
            -- of nothing, nothing failed
            'success_rate_percent', coalesce(round(100 * d.completed / nullif(d.completed + d.failed, 0), 2), 100),
            'avg_processing_rate_per_hour', round(((d.completed + d.failed)::float8 / v_hours)::numeric, 2),
            'avg_processing_time_minutes', round((d.ran / nullif(d.completed, 0) / 60)::numeric, 4),
            'wait_seconds', jsonb_build_object(
                'avg', round((d.waited / nullif(d.completed, 0))::numeric, 3),
                'p50', round(p.wait_p50::numeric, 3), 'p95', round(p.wait_p95::numeric, 3)
            ),
            'run_seconds', jsonb_build_object(
                'avg', round((d.ran / nullif(d.completed, 0))::numeric, 3),
                'p50', round(p.run_p50::numeric, 3), 'p95', round(p.run_p95::numeric, 3)
            ),
            'percentiles', jsonb_build_object('records', coalesce(p.records, 0), 'exact', coalesce(p.exact, true))
        )
    from done as d
    left join conveyor._time_percentiles(p_since, p_until) as p
        on p.flow_name is not distinct from d.flow_name;
end;
$$;

comment on function conveyor._performance is 'Throughput, success and times in a window, by flow and of all.';
