-- Fail one record; see mark_records_failed.
create or replace function conveyor.mark_record_failed(
    p_id         bigint,
    p_error      text,
    p_token      bigint,
    p_error_type text    default null,
    p_context    jsonb   default null,
    p_permanent  boolean default false
)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    if p_error is null then
        perform conveyor._raise_invalid('p_error', null, 'a text; an empty one will do');
    end if;

    perform
    from conveyor.mark_records_failed(
        array[p_id],
        jsonb_build_array(jsonb_build_object(
            'error', conveyor._cut(p_error, 10000),  -- here too: jsonb has limits of its own
            'error_type', conveyor._cut(p_error_type, 200),
            'context', conveyor._cut_context(p_context),
            'permanent', p_permanent
        )),
        array[p_token]
    ) as o
    where o.outcome = 'lost';

    if found then
        perform conveyor._raise_claim_lost(p_id, p_token);
    end if;
end;
$$;

comment on function conveyor.mark_record_failed is
    'Fails a record that p_token still holds; p_permanent: without retry. May be repeated. Raises WQ001 or WQ002.';
