-- An index entry holds 2704 bytes, with the flow's name; said here, because the index would say it without a name.
-- A blank key is a field that nobody filled in: all such records would be one.
create or replace function conveyor._check_dedup_keys(
    p_name text,
    p_keys text[]
)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_position bigint;
    v_key      text;
begin
    select n.position - 1, n.key
    into v_position, v_key
    from unnest(p_keys) with ordinality as n (key, position)
    where octet_length(n.key) > 1024
        or n.key !~ '\S'
    order by n.position
    limit 1;

    if found then
        perform conveyor._raise_invalid(
            format(p_name, v_position), v_key,
            'a key of at most 1024 bytes that is not blank (a hash of a longer one), or null for none'
        );
    end if;
end;
$$;

comment on function conveyor._check_dedup_keys is
    'Refuses a dedup key that is blank or too long for its index; %s in the name becomes its position.';
