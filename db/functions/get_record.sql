create or replace function conveyor.get_record(p_id bigint)
    returns jsonb
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_record jsonb;
begin
    select to_jsonb(q) || jsonb_build_object(
        'attempts', coalesce(
            (
                select jsonb_agg(to_jsonb(t) - 'attempt_id' - 'record_id' order by t.attempt_id)
                from conveyor.attempt as t
                where t.record_id = q.id
            ),
            '[]'
        )
    )
    into v_record
    from conveyor.processing_queue as q
    where q.id = p_id;

    if not found then
        perform conveyor._raise_claim_lost(p_id, null);
    end if;
    return v_record;
end;
$$;

comment on function conveyor.get_record is
    'Everything about a record, with its attempts that did not complete. Raises WQ002.';
