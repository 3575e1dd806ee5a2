create or replace function conveyor.health_check()
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_status   constant jsonb := conveyor.get_queue_status();
    v_standby  constant boolean := pg_is_in_recovery();
    v_overdue  bigint;
    v_crashed  bigint;
    v_stranger text;
    v_problems text[];
begin
    select count(*)
    into v_overdue
    from conveyor.processing_queue as q
    where q.status = 'processing'
        and q.lease_expires_at < statement_timestamp() - interval '5 minutes';

    select count(*)
    into v_crashed
    from conveyor.processing_queue as q
    where q.failure_kind = 'crashed'
        and q.updated_at > statement_timestamp() - interval '1 day';

    -- Behind a pooler a session lock stays with a connection of the server when its client has gone.
    select format('seat %s of flow %s is held by process %s (%s)', s.seat, s.flow_name, s.pid, s.application_name)
    into v_stranger
    from conveyor.list_sleepers() as s
    where coalesce(s.application_name, '') !~ 'worker'
    limit 1;

    v_problems := array_remove(array[
        case when v_standby then 'the server is a standby: records can be neither added nor claimed' end,
        case when v_overdue > 0 then format(
            '%s records hold leases that ended more than 5 minutes ago: nobody calls maintain()', v_overdue
        ) end,
        case when v_crashed > 0 then format(
            '%s records were failed within a day because their claims kept ending without an answer: '
            'list_records shows them, requeue_records brings them back', v_crashed
        ) end,
        case when v_stranger is not null then format(
            '%s, which does not call itself a worker: if a pooler left it behind, pg_terminate_backend() frees it',
            v_stranger
        ) end
    ], null);

    return jsonb_build_object(
        'status', case when v_standby then 'unhealthy' when v_problems <> '{}' then 'degraded' else 'healthy' end,
        'queue_status', v_status - 'by_flow' - 'completed_records',
        'problems', to_jsonb(v_problems),
        'timestamp', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    );
end;
$$;

comment on function conveyor.health_check is
    'Whether the queue is healthy, degraded or unhealthy, why, and how many records it has.';
