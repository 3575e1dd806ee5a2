-- An array that is within the limit has no element over it: the usual call looks at one number.
create or replace function conveyor._check_payloads(
    p_payloads jsonb,
    p_limit    bigint
)
    returns void
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_position bigint;
    v_payload  jsonb;
    v_size     integer;
begin
    if jsonb_typeof(p_payloads) is distinct from 'array' then
        perform conveyor._raise_invalid('p_payloads', p_payloads::text, 'a JSON array of objects');
    end if;

    -- The path looks at each element without unpacking it; which one is bad is asked only when one is.
    if jsonb_path_exists(p_payloads, 'strict $[*] ? (@.type() != "object")') then
        select n.position - 1, n.payload
        into v_position, v_payload
        from jsonb_array_elements(p_payloads) with ordinality as n (payload, position)
        where jsonb_typeof(n.payload) <> 'object'
        order by n.position
        limit 1;
        perform conveyor._raise_invalid(
            format('p_payloads[%s]', v_position), v_payload::text, 'a JSON object; none was added'
        );
    end if;

    if conveyor._jsonb_size(p_payloads) > p_limit then
        select n.position - 1, pg_column_size(n.payload)
        into v_position, v_size
        from jsonb_array_elements(p_payloads) with ordinality as n (payload, position)
        where pg_column_size(n.payload) > p_limit
        order by n.position
        limit 1;

        if found then
            perform conveyor._raise_too_large(format('p_payloads[%s]', v_position), v_size, p_limit);
        end if;
    end if;
end;
$$;

comment on function conveyor._check_payloads is
    'Refuses a document that is not an array of objects within the limit, and names the first element that is wrong.';
