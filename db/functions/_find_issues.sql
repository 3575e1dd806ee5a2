create or replace function conveyor._find_issues(p_at timestamptz, p_thresholds jsonb)
    returns table (severity text, issue text, remedy text)
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select i.severity, i.issue, i.remedy
    from (
        select f.* from conveyor._flow_issues(p_at, p_thresholds) as f
        union all
        select s.* from conveyor._server_issues(p_at, p_thresholds) as s
    ) as i
    order by array_position(array['critical', 'warning', 'notice'], i.severity), i.issue;
end;
$$;

comment on function conveyor._find_issues is 'All that is wrong, the worst first: how bad, what, and what to call.';
