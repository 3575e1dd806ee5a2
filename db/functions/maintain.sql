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
        return '{"worked": false}'::jsonb;
    end if;

    delete from conveyor.flow_minute as m
    where m.minute < clock_timestamp() - interval '30 days';

    return jsonb_build_object(
        'worked', true,
        'orphaned', conveyor._return_orphans(conveyor._lock_orphans(null, null, 1000)),
        'folded', conveyor._fold_counts(),
        'purged', (
            select coalesce(sum(conveyor.purge_records(f.flow_name, f.retention, 1000)), 0)
            from conveyor.flow as f
            where f.retention is not null
        )
    );
end;
$$;

comment on function conveyor.maintain is
    'Takes back records whose lease ended, folds the counts, purges by retention; returns what it did.';
