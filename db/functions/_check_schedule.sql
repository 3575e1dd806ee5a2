-- A time outside the calendar of most languages would stop the clients that read it; infinity is never.
create or replace function conveyor._check_schedule(
    p_priority smallint,
    p_run_at   timestamptz
)
    returns void
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
as $$
begin
    if p_priority is null then
        perform conveyor._raise_invalid('p_priority', null, 'a number from -32768 to 32767; 0 is usual');
    end if;
    if p_run_at < '0001-01-02 00:00+00' or p_run_at >= '9999-12-31 00:00+00' then
        perform conveyor._raise_invalid(
            'p_run_at', p_run_at::text, 'a time in the years 1 to 9999, or null for at once'
        );
    end if;
end;
$$;

comment on function conveyor._check_schedule is 'Refuses a priority or a time that no record can have.';
