create or replace function conveyor._check_places(p_flow_names text[], p_reasons text[], p_size integer)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    if (cardinality(p_flow_names) <= 64 and array_position(p_flow_names, null) is null) is not true then
        perform conveyor._raise_invalid('p_flow_names', p_flow_names::text, 'up to 64 names of flows');
    end if;
    if cardinality(p_reasons) is distinct from cardinality(p_flow_names)
        or not p_reasons <@ array['empty', 'paused']
    then
        perform conveyor._raise_invalid('p_reasons', p_reasons::text, 'empty or paused for each of the flows');
    end if;
    if (p_size between 1 and 1000) is not true then
        perform conveyor._raise_invalid('p_size', p_size::text, 'a number of seats from 1 to 1000; 8 is usual');
    end if;
end;
$$;

comment on function conveyor._check_places is 'Refuses places that nobody can wait at.';
