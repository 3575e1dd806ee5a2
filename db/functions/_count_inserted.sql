create or replace function conveyor._count_inserted()
    returns trigger
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_flow_names text[];
    v_rang       boolean;
begin
    with counted as (
        insert into conveyor.count_delta (flow_name, pending, processing, completed, failed, counted_at)
        select
            n.flow_name,
            count(*) filter (where n.status = 'pending'),
            count(*) filter (where n.status = 'processing'),
            count(*) filter (where n.status = 'completed'),
            count(*) filter (where n.status = 'failed'),
            clock_timestamp()
        from new_row as n
        group by n.flow_name
        returning flow_name, pending
    )
    select array_agg(c.flow_name) filter (where c.pending > 0)
    into v_flow_names
    from counted as c;

    if v_flow_names is not null then
        v_rang := conveyor._ring(v_flow_names);
    end if;
    return null;
end;
$$;

comment on function conveyor._count_inserted is
    'Counts the rows of an insert or copy, and rings for those that are pending.';
