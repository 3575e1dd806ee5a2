-- Claims find nothing from here on; what is claimed already goes on.
create or replace function conveyor.pause_flow(p_flow_name text)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform conveyor._check_flow_name(p_flow_name);

    insert into conveyor.flow as f (flow_name, paused_at)
    values (p_flow_name, clock_timestamp())
    on conflict (flow_name) do update
    set paused_at = coalesce(f.paused_at, excluded.paused_at);
end;
$$;

comment on function conveyor.pause_flow is
    'Stops claims of a flow until resume_flow; pausing again keeps the first time.';
