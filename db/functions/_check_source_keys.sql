-- A row that comes again is known by its key alone, and purging knows by its beginning what may be read again.
create or replace function conveyor._check_source_keys(
    p_source text,
    p_keys   text[]
)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_key text;
begin
    if p_keys is null then
        perform conveyor._raise_invalid('p_dedup_keys', null, format('a key for each row, such as %s:17', p_source));
    end if;

    select k.key
    into v_key
    from unnest(p_keys) as k (key)
    where starts_with(k.key, p_source || ':') is not true
    limit 1;
    if found then
        perform conveyor._raise_invalid('p_dedup_keys', v_key, format('keys such as %s:17', p_source));
    end if;
end;
$$;

comment on function conveyor._check_source_keys is
    'Refuses dedup keys that do not begin with the name of their source.';
