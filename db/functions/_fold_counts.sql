-- Replace deltas by their sum; the events among them go to flow_minute.  Portions of 20,000, for as long as a second:
-- the caller's transaction must stay short.  What another session is folding is passed over.  Without sequential
-- scans, because a plan made while there was little would be kept, and is quadratic.
create or replace function conveyor._fold_counts()
    returns bigint
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_seqscan = off
as $$
declare
    v_until  constant timestamptz := clock_timestamp() + interval '1 s';
    v_folded bigint;
    v_total  bigint := 0;
begin
    while exists (select from conveyor.count_delta as d where d.counted_at is not null) loop
        with folded as materialized (
            delete from conveyor.count_delta as d
            where d.ctid = any (array(select c.ctid from conveyor.count_delta as c limit 20000 for update skip locked))
            returning d.*
        ),
        summed as (
            insert into conveyor.count_delta (flow_name, pending, processing, completed, failed)
            select f.flow_name, sum(f.pending), sum(f.processing), sum(f.completed), sum(f.failed)
            from folded as f
            group by f.flow_name
            having (sum(f.pending), sum(f.processing), sum(f.completed), sum(f.failed)) <> (0, 0, 0, 0)
        ),
        told as (
            insert into conveyor.flow_minute as m (flow_name, minute, completed, failed, wait_seconds, run_seconds)
            select
                f.flow_name,
                date_trunc('minute', f.counted_at),
                sum(greatest(f.completed, 0)),
                sum(greatest(f.failed, 0)),
                coalesce(sum(f.wait_seconds) filter (where f.completed > 0), 0),
                coalesce(sum(f.run_seconds) filter (where f.completed > 0), 0)
            from folded as f
            where f.wait_seconds is not null
                and (f.completed > 0 or f.failed > 0)
            group by f.flow_name, date_trunc('minute', f.counted_at)
            order by f.flow_name, date_trunc('minute', f.counted_at)
            on conflict (minute, flow_name) do update
            set completed    = m.completed + excluded.completed,
                failed       = m.failed + excluded.failed,
                wait_seconds = m.wait_seconds + excluded.wait_seconds,
                run_seconds  = m.run_seconds + excluded.run_seconds
        )
        select count(*)
        into v_folded
        from folded;

        v_total := v_total + v_folded;
        exit when v_folded = 0 or clock_timestamp() > v_until;
    end loop;
    return v_total;
end;
$$;

comment on function conveyor._fold_counts is 'Folds the deltas of the counts, and returns how many there were.';
