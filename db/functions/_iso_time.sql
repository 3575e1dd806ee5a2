create or replace function conveyor._iso_time(p_time timestamptz)
    returns text
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
begin
    return to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
end;
$$;

comment on function conveyor._iso_time is 'A time as reports show it: ISO 8601, UTC.';
