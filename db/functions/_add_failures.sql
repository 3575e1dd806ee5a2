-- Rows that could not become payloads, added as failed, so that nobody works on them and nobody forgets them.
-- They are what they are: payload_limit is not asked.
create or replace function conveyor._add_failures(
    p_source    text,
    p_flow_name text,
    p_failures  jsonb,
    p_priority  smallint
)
    returns integer
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_wrong text;
    v_keys  text[];
    v_count integer;
begin
    if jsonb_typeof(p_failures) is distinct from 'array' then
        perform conveyor._raise_invalid('p_failures', p_failures::text, 'a JSON array');
    end if;

    select f.failure::text
    into v_wrong
    from jsonb_array_elements(p_failures) as f (failure)
    where (
            jsonb_typeof(f.failure -> 'payload') = 'object'
            and jsonb_typeof(f.failure -> 'dedup_key') = 'string'
            and jsonb_typeof(f.failure -> 'error') = 'string'
        ) is not true
    limit 1;
    if found then
        perform conveyor._raise_invalid('p_failures', v_wrong, 'objects of payload, dedup_key and error');
    end if;
    v_keys := array(select f.failure ->> 'dedup_key' from jsonb_array_elements(p_failures) as f (failure));
    perform conveyor._check_dedup_keys('p_failures[%s]', v_keys);
    perform conveyor._check_source_keys(p_source, v_keys);

    insert into conveyor.processing_queue
        (flow_name, payload, status, failure_kind, error_message, priority, dedup_key)
    select
        p_flow_name, f.failure -> 'payload', 'failed', 'error', conveyor._cut(f.failure ->> 'error', 10000),
        p_priority, f.failure ->> 'dedup_key'
    from jsonb_array_elements(p_failures) as f (failure)
    order by f.failure ->> 'dedup_key'
    on conflict (flow_name, dedup_key) where dedup_key is not null do nothing;

    get diagnostics v_count = row_count;
    return v_count;
end;
$$;

comment on function conveyor._add_failures is
    'Adds failed records from an array of {payload, dedup_key, error}; returns the number of new ones.';
