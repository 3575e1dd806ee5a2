-- Set what differs from the defaults.  A key that is absent stays as it is; null turns off what can be off.
create or replace function conveyor.configure_flow(
    p_flow_name text,
    p_settings  jsonb
)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_flow conveyor.flow;
begin
    perform conveyor._check_flow_name(p_flow_name);
    perform conveyor._check_settings(p_settings);

    insert into conveyor.flow (flow_name)
    values (p_flow_name)
    on conflict (flow_name) do nothing;

    select f.*
    into strict v_flow
    from conveyor.flow as f
    where f.flow_name = p_flow_name
    for update;

    -- As the types of the table read them: 16MB is a number of bytes, 7.0 is 7.
    v_flow := jsonb_populate_record(v_flow, (
        select jsonb_object_agg(
            s.key,
            case
                when s.key = 'payload_limit' then to_jsonb(conveyor._to_bytes(s.value))
                when jsonb_typeof(s.value) = 'number' then to_jsonb(trim_scale(s.value::numeric))
                else s.value
            end
        )
        from jsonb_each(p_settings) as s
    ));

    update conveyor.flow as f
    set lease         = v_flow.lease,
        max_retries   = v_flow.max_retries,
        retry_delay   = v_flow.retry_delay,
        retry_backoff = v_flow.retry_backoff,
        crash_budget  = v_flow.crash_budget,
        keep_input    = v_flow.keep_input,
        retention     = v_flow.retention,
        payload_limit = v_flow.payload_limit
    where f.flow_name = p_flow_name;
end;
$$;

comment on function conveyor.configure_flow is
    'Sets lease, max_retries, retry_delay, retry_backoff, crash_budget, keep_input, retention, payload_limit.';
