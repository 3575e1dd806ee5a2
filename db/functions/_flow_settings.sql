-- The one place that knows the defaults beside the table's own; a test holds the two equal.
create or replace function conveyor._flow_settings(p_flow_name text)
    returns conveyor.flow
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_flow conveyor.flow;
begin
    select f.*
    into v_flow
    from conveyor.flow as f
    where f.flow_name = p_flow_name;

    if not found then
        v_flow.flow_name := p_flow_name;
        v_flow.lease := interval '1 hour';
        v_flow.max_retries := 3;
        v_flow.retry_backoff := 2;
        v_flow.crash_budget := 5;
        v_flow.keep_input := true;
        v_flow.payload_limit := 16777216;
    end if;
    return v_flow;
end;
$$;

comment on function conveyor._flow_settings is 'The settings of a flow, configured or default.';
