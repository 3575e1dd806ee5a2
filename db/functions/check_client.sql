-- For a client, once when it connects, and for an installer before its functions replace newer ones.
create or replace function conveyor.check_client(p_migrations text[])
    returns void
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_unknown constant text := (
        select string_agg(m.name, ', ' order by m.name)
        from conveyor.migration as m
        where m.breaking
            and (m.name = any (p_migrations)) is not true
    );
begin
    if p_migrations is null then
        perform conveyor._raise_invalid('p_migrations', null, 'the names of the migrations that the client knows');
    end if;
    if v_unknown is not null then
        raise exception using
            errcode = 'WQ901',
            message = format('this version of pgconveyor is too old for the database: it does not know %s', v_unknown),
            hint    = 'Upgrade pgconveyor to a version that has this migration.';
    end if;
end;
$$;

comment on function conveyor.check_client is
    'Raises WQ901 when the database has a breaking migration that is not among these, which the client knows.';
