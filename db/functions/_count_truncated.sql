-- TRUNCATE holds the table alone: every other writer has ended, and the counts are final.  An older snapshot would
-- miss some of them.
create or replace function conveyor._count_truncated()
    returns trigger
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception using
            errcode = 'feature_not_supported',
            message = format('truncate of the queue in isolation %s', current_setting('transaction_isolation')),
            hint    = 'Truncate in read committed: an older snapshot would leave counts behind.';
    end if;

    insert into conveyor.count_delta (flow_name, pending, processing, completed, failed, counted_at)
    select d.flow_name, -sum(d.pending), -sum(d.processing), -sum(d.completed), -sum(d.failed), clock_timestamp()
    from conveyor.count_delta as d
    group by d.flow_name;
    return null;
end;
$$;

comment on function conveyor._count_truncated is 'Takes the counts back to zero before a truncate.';
