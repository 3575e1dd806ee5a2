create or replace function conveyor.resume_flow(p_flow_name text)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_rang boolean;
begin
    perform conveyor._check_flow_name(p_flow_name);

    update conveyor.flow as f
    set paused_at = null
    where f.flow_name = p_flow_name
        and f.paused_at is not null;

    if found then
        v_rang := conveyor._ring(array[p_flow_name], 'paused');
    end if;
end;
$$;

comment on function conveyor.resume_flow is
    'Lets a paused flow be claimed again; a flow that is not paused stays as it is.';
