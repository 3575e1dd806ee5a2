create or replace function conveyor._count_deleted()
    returns trigger
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    insert into conveyor.count_delta (flow_name, pending, processing, completed, failed, counted_at)
    select
        o.flow_name,
        -count(*) filter (where o.status = 'pending'),
        -count(*) filter (where o.status = 'processing'),
        -count(*) filter (where o.status = 'completed'),
        -count(*) filter (where o.status = 'failed'),
        clock_timestamp()
    from old_row as o
    group by o.flow_name;
    return null;
end;
$$;

comment on function conveyor._count_deleted is 'Counts the rows of a delete.';
