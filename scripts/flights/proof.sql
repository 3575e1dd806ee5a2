-- What the witness saw.  Every number comes from its log, from the results and from the input; none from the queue's
-- own columns.
with added as (
    select distinct
        w.record_id,
        w.source_id
    from witness as w
    where w.old_status is null
),
ended as (
    select
        w.record_id,
        count(*) as times
    from witness as w
    where w.new_status = 'completed'
    group by w.record_id
),
worked as (
    select
        r.record_id,
        count(*) as results
    from flight_result as r
    group by r.record_id
),
taken_over as (
    select distinct w.record_id
    from witness as w
    inner join witness as later
        on w.record_id = later.record_id
            and later.new_status = 'completed'
            and later.instance <> current_setting('demo.victim')
    where w.old_status = 'processing'
        and w.new_status = 'pending'
        and w.instance = current_setting('demo.victim')
)
select
    (select count(*) from added) as records_in,
    (select count(*) from ended) as completed,
    (
        select count(*)
        from added as a
        where not exists (select from ended as e where e.record_id = a.record_id)
    ) as lost,
    (select count(*) from ended as e where e.times > 1) as completed_twice,
    coalesce((select max(w.results) from worked as w), 0) as most_results,
    (
        select count(*)
        from added as a
        where not exists (select from worked as w where w.record_id = a.record_id)
    ) as without_result,
    (select count(*) from taken_over) as taken_over,
    (select count(*) from conveyor.check_integrity()) as problems,
    (select count(*) from source_row) as source_rows,
    (
        select count(*)
        from source_row as s
        where not exists (select from added as a where a.source_id = s.id)
    ) as rows_lost,
    (
        select count(*)
        from (
            select a.source_id
            from added as a
            where a.source_id is not null
            group by a.source_id
            having count(*) > 1
        ) as twice
    ) as rows_twice
