create or replace function conveyor._check_errors(p_errors jsonb)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_position bigint;
    v_error    jsonb;
begin
    select n.position - 1, n.error
    into v_position, v_error
    from jsonb_array_elements(p_errors) with ordinality as n (error, position)
    where jsonb_typeof(n.error) <> 'object'
        or jsonb_typeof(n.error -> 'error') is distinct from 'string'
        or jsonb_typeof(n.error -> 'error_type') not in ('string', 'null')
        or jsonb_typeof(n.error -> 'permanent') not in ('boolean', 'null')
    order by n.position
    limit 1;

    if found then
        perform conveyor._raise_invalid(
            format('p_errors[%s]', v_position), v_error::text,
            'an object {"error": text, "error_type"?: text, "context"?: any, "permanent"?: boolean}'
        );
    end if;
end;
$$;

comment on function conveyor._check_errors is 'Refuses a document of errors and names the first element that is wrong.';
