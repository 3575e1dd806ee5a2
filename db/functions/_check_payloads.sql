create or replace function conveyor._check_payloads(p_payloads jsonb)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_position bigint;
    v_payload  jsonb;
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
end;
$$;

comment on function conveyor._check_payloads is
    'Refuses a document that is not an array of objects, and names the first element that is wrong.';
