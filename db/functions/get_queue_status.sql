create or replace function conveyor.get_queue_status(p_flow_name text default null)
    returns jsonb
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    if p_flow_name is not null then
        perform conveyor._check_flow_name(p_flow_name);
    end if;

    return (
        with counted as (
            select
                d.flow_name,
                sum(d.pending) as pending,
                sum(d.processing) as processing,
                sum(d.completed) as completed,
                sum(d.failed) as failed
            from conveyor.count_delta as d
            where p_flow_name is null
                or d.flow_name = p_flow_name
            group by d.flow_name
            having (sum(d.pending), sum(d.processing), sum(d.completed), sum(d.failed)) <> (0, 0, 0, 0)
        ),
        listed as (  -- a flow that was asked for is there even when it is empty
            select c.*
            from counted as c
            union all
            select p_flow_name, 0, 0, 0, 0
            where p_flow_name is not null
                and not exists (select from counted)
        )
        select jsonb_build_object(
            'total_records', coalesce(sum(l.pending + l.processing + l.completed + l.failed), 0),
            'pending_records', coalesce(sum(l.pending), 0),
            'processing_records', coalesce(sum(l.processing), 0),
            'completed_records', coalesce(sum(l.completed), 0),
            'failed_records', coalesce(sum(l.failed), 0),
            'by_flow', coalesce(
                jsonb_object_agg(
                    l.flow_name,
                    jsonb_build_object(
                        'pending', l.pending, 'processing', l.processing, 'completed', l.completed, 'failed', l.failed
                    )
                ),
                '{}'
            )
        )
        from listed as l
    );
end;
$$;

comment on function conveyor.get_queue_status is 'Counts of records by status, in total and by flow, in one snapshot.';
