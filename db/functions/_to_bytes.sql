create or replace function conveyor._to_bytes(p_value jsonb)
    returns bigint
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return case
        when jsonb_typeof(p_value) = 'string' then pg_size_bytes(p_value #>> '{}')
        when jsonb_typeof(p_value) = 'number' and p_value::numeric = trunc(p_value::numeric) then p_value::bigint
    end;
exception
    when data_exception then
        return null;
end;
$$;

comment on function conveyor._to_bytes is
    'A JSON text such as "16MB", or a whole number, as bytes; null when it is none.';
