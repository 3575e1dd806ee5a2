-- Complete one record.  May be called in the caller's own transaction: then the caller's writes and the completion
-- commit together, or not at all.
create or replace function conveyor.mark_record_completed(
    p_id     bigint,
    p_result jsonb,
    p_token  bigint
)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform
    from conveyor.mark_records_completed(array[p_id], jsonb_build_array(coalesce(p_result, '{}')), array[p_token]) as o
    where o.outcome = 'lost';

    if found then
        perform conveyor._raise_claim_lost(p_id, p_token);
    end if;
end;
$$;

comment on function conveyor.mark_record_completed is
    'Completes a record that p_token still holds; a null result is {}. May be repeated. Raises WQ001 or WQ002.';
