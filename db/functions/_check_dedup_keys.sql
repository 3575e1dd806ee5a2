-- An index entry holds no more; said here, because the index would say it without a name.
create or replace function conveyor._check_dedup_keys(p_keys text[])
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_key text;
begin
    select k.key
    into v_key
    from unnest(p_keys) as k (key)
    where octet_length(k.key) > 1024
    limit 1;

    if found then
        perform conveyor._raise_invalid('p_dedup_key', v_key, 'a key of at most 1024 bytes, or a hash of it');
    end if;
end;
$$;

comment on function conveyor._check_dedup_keys is 'Refuses a dedup key that is too long for its index.';
