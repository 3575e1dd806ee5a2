-- Take back what nobody works on any more: ended leases and, with a timeout, whatever was neither claimed nor
-- heartbeated for so long.  Safe at any time, in any number: what an answer has locked is passed over.
create or replace function conveyor.cleanup_orphaned_records(
    p_timeout_hours numeric default null,
    p_flow_name     text    default null
)
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    if p_timeout_hours <= 0 or p_timeout_hours > 1000000 or p_timeout_hours = 'NaN' then
        perform conveyor._raise_invalid(
            'p_timeout_hours', p_timeout_hours::text,
            'hours above 0 (0.5 is half an hour), or null to go by leases alone'
        );
    end if;
    if p_flow_name is not null then
        perform conveyor._check_flow_name(p_flow_name);
    end if;

    return conveyor._return_orphans(
        conveyor._lock_orphans(p_timeout_hours * interval '1 hour', p_flow_name, null)
    );
end;
$$;

comment on function conveyor.cleanup_orphaned_records is
    'Takes back orphaned records, to pending or, over the crash budget, to failed; returns how many left processing.';
