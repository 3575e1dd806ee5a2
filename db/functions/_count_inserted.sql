create or replace function conveyor._count_inserted()
    returns trigger
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    insert into conveyor.count_delta (flow_name, pending, processing, completed, failed, counted_at)
    select
        n.flow_name,
        count(*) filter (where n.status = 'pending'),
        count(*) filter (where n.status = 'processing'),
        count(*) filter (where n.status = 'completed'),
        count(*) filter (where n.status = 'failed'),
        clock_timestamp()
    from new_row as n
    group by n.flow_name;
    return null;
end;
$$;

comment on function conveyor._count_inserted is 'Counts the rows of an insert or copy.';
