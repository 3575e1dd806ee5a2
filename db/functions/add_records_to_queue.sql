-- Add many records at once: all of them, or none.  Known dedup keys are passed over.
-- Keys are inserted in their own order, so that producers of overlapping keys cannot deadlock; ids are drawn in that
-- of the document, which claims follow.
create or replace function conveyor.add_records_to_queue(
    p_flow_name  text,
    p_payloads   jsonb,
    p_priority   smallint    default 0,
    p_run_at     timestamptz default null,
    p_dedup_keys text[]      default null
)
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_now   constant timestamptz := clock_timestamp();
    v_count integer;
begin
    perform conveyor._check_flow_name(p_flow_name);
    perform conveyor._check_payloads(p_payloads, (conveyor._flow_settings(p_flow_name)).payload_limit);
    perform conveyor._check_dedup_keys('p_dedup_keys[%s]', p_dedup_keys);
    perform conveyor._check_schedule(p_priority, p_run_at);
    if cardinality(p_dedup_keys) <> jsonb_array_length(p_payloads) then
        perform conveyor._raise_invalid(
            'the number of p_dedup_keys', cardinality(p_dedup_keys)::text,
            format('one key, or null, for each of the %s payloads', jsonb_array_length(p_payloads))
        );
    end if;

    insert into conveyor.processing_queue (id, flow_name, payload, created_at, priority, run_at, dedup_key)
    select n.id, p_flow_name, n.payload, v_now, p_priority, p_run_at, n.dedup_key
    from (
        select nextval('conveyor.processing_queue_id_seq') as id, p.payload, p.dedup_key
        from rows from (jsonb_array_elements(p_payloads), unnest(p_dedup_keys)) as p (payload, dedup_key)
        offset 0  -- or the ids would be drawn after the sort
    ) as n
    order by n.dedup_key, n.id
    on conflict (flow_name, dedup_key) where dedup_key is not null do nothing;

    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function conveyor.add_records_to_queue is
    'Adds a JSON array of payloads and returns the number of new records.';
