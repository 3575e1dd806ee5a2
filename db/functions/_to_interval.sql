-- The exception block costs a subtransaction; nothing hot comes here.
create or replace function conveyor._to_interval(p_value jsonb)
    returns interval
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return case when jsonb_typeof(p_value) in ('string', 'number') then (p_value #>> '{}')::interval end;
exception
    when data_exception then
        return null;
end;
$$;

comment on function conveyor._to_interval is 'A JSON text or number of seconds as an interval; null when it is none.';
