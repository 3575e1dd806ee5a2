-- Says what stands between a record and its next claim.
create or replace function conveyor.why_not_claimed(p_id bigint)
    returns text
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_now    constant timestamptz := clock_timestamp();
    v_record conveyor.processing_queue;
    v_flow   conveyor.flow;
begin
    select q.*
    into v_record
    from conveyor.processing_queue as q
    where q.id = p_id;

    if not found then
        perform conveyor._raise_claim_lost(p_id, null);
    end if;
    v_flow := conveyor._flow_settings(v_record.flow_name);

    return format('Record %s ', p_id) || case
        when v_record.status = 'completed' then
            format(
                'was completed at %s by %s.',
                coalesce(v_record.completed_at, v_record.updated_at), coalesce(v_record.flow_instance_id, 'somebody')
            )
        when v_record.status = 'failed' then
            format(
                'failed (%s): %s. %s brings it back.', coalesce(v_record.failure_kind, 'error'),
                rtrim(left(coalesce(v_record.error_message, 'without a message'), 200), '.'),
                case coalesce(v_record.failure_kind, 'error')
                    when 'error' then 'reset_failed_records or requeue_records'
                    else 'requeue_records'
                end
            )
        when v_record.status = 'processing' and v_record.lease_expires_at is null then
            format(
                'was put into processing by hand; maintain() takes it back after %s.',
                coalesce(v_record.claimed_at, v_record.updated_at) + v_flow.lease
            )
        when v_record.status = 'processing' and v_record.lease_expires_at <= v_now then
            format(
                'is held by %s, whose lease ended at %s; the next maintain() takes it back.',
                coalesce(v_record.flow_instance_id, 'somebody'), v_record.lease_expires_at
            )
        when v_record.status = 'processing' then
            format(
                'is being worked on by %s; its lease ends at %s.',
                coalesce(v_record.flow_instance_id, 'somebody'), v_record.lease_expires_at
            )
        when v_flow.paused_at is not null then
            format('waits: flow %s is paused since %s.', v_record.flow_name, v_flow.paused_at)
        when coalesce(v_record.run_at, v_record.created_at) > v_now then
            format('is not due before %s.', coalesce(v_record.run_at, v_record.created_at))
        else conveyor._place_in_line(v_record)
    end;
end;
$$;

comment on function conveyor.why_not_claimed is 'Why a record is not being claimed, in one sentence. Raises WQ002.';
