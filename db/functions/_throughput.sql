-- What was completed and failed since a whole minute, from the folded minutes and the deltas that are not folded yet.
create or replace function conveyor._throughput(p_since timestamptz)
    returns table (
        flow_name    text,
        minute       timestamptz,
        completed    numeric,
        failed       numeric,
        wait_seconds float8,
        run_seconds  float8
    )
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
as $$
#variable_conflict use_column
begin
    return query
    select e.flow_name, e.minute, sum(e.completed), sum(e.failed), sum(e.wait_seconds), sum(e.run_seconds)
    from (
        select m.flow_name, m.minute, m.completed, m.failed, m.wait_seconds, m.run_seconds
        from conveyor.flow_minute as m
        where m.minute >= p_since
        union all
        select
            d.flow_name, date_trunc('minute', d.counted_at), greatest(d.completed, 0), greatest(d.failed, 0),
            case when d.completed > 0 then d.wait_seconds else 0 end,
            case when d.completed > 0 then d.run_seconds else 0 end
        from conveyor.count_delta as d
        where d.counted_at >= p_since
            and d.wait_seconds is not null
            and (d.completed > 0 or d.failed > 0)
    ) as e
    group by e.flow_name, e.minute;
end;
$$;

comment on function conveyor._throughput is 'Records completed and failed, and their times in sum, by flow and minute.';
