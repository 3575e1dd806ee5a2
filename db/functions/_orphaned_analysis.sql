create or replace function conveyor._orphaned_analysis(p_at timestamptz, p_thresholds jsonb)
    returns jsonb
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        with held as materialized (
            select h.*
            from conveyor._held_records(p_at, interval '1 hour' * (p_thresholds ->> 'silent_hours')::float8) as h
            where h.orphaned > 0
        )
        select jsonb_build_object(
            'total_orphaned_records', coalesce(sum(h.orphaned), 0),
            'under_a_running_lease', coalesce(sum(h.silent), 0),
            'oldest_orphaned_hours', coalesce(round(extract(epoch from p_at - min(h.silent_since)) / 3600, 2), 0),
            'orphaned_by_flow', (
                select coalesce(jsonb_object_agg(f.flow_name, f.orphaned), '{}')
                from (select b.flow_name, sum(b.orphaned) as orphaned from held as b group by b.flow_name) as f
            ),
            'orphaned_by_instance', (
                select coalesce(jsonb_object_agg(i.instance, i.orphaned), '{}')
                from (
                    select coalesce(b.flow_instance_id, 'unknown') as instance, sum(b.orphaned) as orphaned
                    from held as b
                    group by coalesce(b.flow_instance_id, 'unknown')
                    order by sum(b.orphaned) desc
                    limit 100
                ) as i
            )
        )
        from held as h
    );
end;
$$;

comment on function conveyor._orphaned_analysis is
    'How many records are orphaned, by flow and holder, and since when nothing was heard.';
