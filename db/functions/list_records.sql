create or replace function conveyor.list_records(
    p_flow_name text,
    p_status    text    default null,
    p_after_id  bigint  default 0,
    p_limit     integer default 50
)
    returns table (
        id               bigint,
        status           text,
        priority         smallint,
        created_at       timestamptz,
        run_at           timestamptz,
        claimed_at       timestamptz,
        completed_at     timestamptz,
        lease_expires_at timestamptz,
        flow_instance_id text,
        retry_count      integer,
        crash_count      integer,
        failure_kind     text,
        error_message    text,
        dedup_key        text,
        payload          jsonb
    )
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform conveyor._check_flow_name(p_flow_name);
    if p_status not in ('pending', 'processing', 'completed', 'failed') then
        perform conveyor._raise_invalid(
            'p_status', p_status, 'pending, processing, completed, failed, or null for all'
        );
    end if;
    if (p_limit between 1 and 10000) is not true then
        perform conveyor._raise_invalid('p_limit', p_limit::text, 'a number from 1 to 10000');
    end if;

    return query
    select
        q.id,
        q.status,
        q.priority,
        q.created_at,
        q.run_at,
        q.claimed_at,
        q.completed_at,
        q.lease_expires_at,
        q.flow_instance_id,
        q.retry_count,
        q.crash_count,
        q.failure_kind,
        q.error_message,
        q.dedup_key,
        q.payload
    from conveyor.processing_queue as q
    where q.flow_name = p_flow_name
        and (p_status is null or q.status = p_status)
        and q.id > coalesce(p_after_id, 0)
    order by q.id
    limit p_limit;
end;
$$;

comment on function conveyor.list_records is
    'A page of the records of a flow, by id; the next page begins after the last id of this one.';
