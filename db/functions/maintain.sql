-- Housekeeping, a bounded portion a call: worker processes, pg_cron or an operator call it every few seconds.
-- Any number at once: one works, the others return.
create or replace function conveyor.maintain()
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    if not pg_try_advisory_xact_lock(hashtextextended('conveyor.maintain', 0)) then
        return '{"worked": false}';
    end if;

    return jsonb_build_object(
        'worked', true,
        'orphaned', conveyor._return_orphans(conveyor._lock_orphans(null, null, 1000)),
        'folded', conveyor._fold_counts()
    );
end;
$$;

comment on function conveyor.maintain is 'Takes back records whose lease ended; returns what it did.';
