-- Housekeeping, a bounded portion a call: worker processes, pg_cron or an operator call it every few seconds.
-- Any number at once: one works, the others return.
--
-- again_in: a caller that comes back in so many seconds is in time.  A minute when there was nothing to do and nobody
-- holds a record; less where a flow's lease is shorter, or one could begin and end unseen.
create or replace function conveyor.maintain()
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    c_soon     constant integer := 5;
    c_late     constant integer := 60;
    v_orphaned bigint;
    v_folded   bigint;
    v_purged   bigint;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('conveyor.maintain', 0)) then
        return jsonb_build_object('worked', false, 'again_in', c_soon);
    end if;

    delete from conveyor.flow_minute as m
    where m.minute < clock_timestamp() - interval '30 days';

    v_orphaned := conveyor._return_orphans(conveyor._lock_orphans(null, null, 1000));
    v_folded := conveyor._fold_counts();

    select coalesce(sum(conveyor.purge_records(f.flow_name, f.retention, 1000)), 0)
    into v_purged
    from conveyor.flow as f
    where f.retention is not null;

    return jsonb_build_object(
        'worked', true,
        'orphaned', v_orphaned,
        'folded', v_folded,
        'purged', v_purged,
        'again_in', case
            when v_orphaned + v_folded + v_purged > 0 then c_soon
            when (select sum(d.processing) from conveyor.count_delta as d) > 0 then c_soon
            else greatest(
                c_soon, least(c_late, (select floor(extract(epoch from min(f.lease))) from conveyor.flow as f))
            )
        end
    );
end;
$$;

comment on function conveyor.maintain is
    'Takes back records whose lease ended, folds the counts, purges by retention; returns what it did.';
