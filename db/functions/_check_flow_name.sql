create or replace function conveyor._check_flow_name(p_flow_name text)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    if (p_flow_name ~ '\S' and length(p_flow_name) <= 100) is not true then
        perform conveyor._raise_invalid('p_flow_name', p_flow_name, 'a name of 1 to 100 characters that is not blank');
    end if;
end;
$$;

comment on function conveyor._check_flow_name is 'Refuses a flow name that no record can have.';
