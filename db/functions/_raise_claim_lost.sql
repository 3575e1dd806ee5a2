-- Say why a fenced write matched nothing.  Runs on the error path alone.
create or replace function conveyor._raise_claim_lost(
    p_id    bigint,
    p_token bigint
)
    returns void
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_record conveyor.processing_queue;
begin
    select q.*
    into v_record
    from conveyor.processing_queue as q
    where q.id = p_id;

    if not found then
        raise exception using
            errcode = 'WQ002',
            message = format('record %s does not exist', coalesce(p_id::text, 'null')),
            hint    = 'The id is wrong, or the record was purged: do not try again.';
    end if;

    raise exception using
        errcode = 'WQ001',
        message = format('claim %s no longer holds record %s', coalesce(p_token::text, 'null'), p_id),
        detail  = format(
            'The record is %s%s.', v_record.status,
            case when v_record.lease_expires_at is not null
                then format(', held by %s until %s', v_record.flow_instance_id, v_record.lease_expires_at)
            end
        ),
        hint    = 'Drop the result. If this happens often, extend leases while you work, or take longer ones.';
end;
$$;

comment on function conveyor._raise_claim_lost is 'Raises WQ001 or WQ002 for a fenced write that matched nothing.';
