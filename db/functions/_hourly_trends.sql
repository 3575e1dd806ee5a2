create or replace function conveyor._hourly_trends(p_since timestamptz)
    returns jsonb
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select coalesce(jsonb_agg(jsonb_build_object(
            'hour', conveyor._iso_time(h.hour), 'completed', h.completed, 'failed', h.failed
        ) order by h.hour), '[]')
        from (
            select date_trunc('hour', t.minute, 'UTC') as hour, sum(t.completed) as completed, sum(t.failed) as failed
            from conveyor._throughput(p_since) as t
            group by date_trunc('hour', t.minute, 'UTC')
        ) as h
    );
end;
$$;

comment on function conveyor._hourly_trends is 'Records completed and failed in each hour in which there were some.';
