create or replace function conveyor._check_lease(p_lease interval)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    if not p_lease between interval '1 microsecond' and interval '100 years' then
        perform conveyor._raise_invalid(
            'p_lease', p_lease::text, 'an interval above zero, up to 100 years, or null for the lease of the flow'
        );
    end if;
end;
$$;

comment on function conveyor._check_lease is 'Refuses a lease that ends before it begins, or never.';
