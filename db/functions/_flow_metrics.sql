create or replace function conveyor._flow_metrics(p_at timestamptz, p_thresholds jsonb)
    returns jsonb
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_since constant timestamptz := conveyor._window_start(p_at, p_thresholds);
begin
    return (
        select coalesce(jsonb_object_agg(f.flow_name, jsonb_build_object(
            'pending', f.pending,
            'processing', f.processing,
            'completed', f.completed,
            'failed', f.failed,
            'oldest_pending_minutes', round(extract(epoch from p_at - least(f.oldest_due_at, p_at)) / 60, 1),
            'paused_since', conveyor._iso_time(f.paused_at),
            'instances', f.holders,
            'orphaned_records', f.orphaned,
            'performance', p.metrics
        )), '{}')
        from conveyor._flow_health(p_at, p_thresholds) as f
        left join conveyor._performance(v_since, p_at) as p
            on p.flow_name = f.flow_name
    );
end;
$$;

comment on function conveyor._flow_metrics is
    'What is known of each flow: its records, its backlog, its holders, its performance.';
