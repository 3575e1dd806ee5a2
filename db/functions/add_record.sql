-- Add one record.  With a dedup key that the flow already has, the record that has it is left as it is and
-- its id returned; a producer that adds the same key and has not committed is waited for.
create or replace function conveyor.add_record(
    p_flow_name text,
    p_payload   jsonb,
    p_priority  smallint    default 0,
    p_run_at    timestamptz default null,
    p_dedup_key text        default null
)
    returns bigint
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit bigint;
    v_id    bigint;
begin
    perform conveyor._check_flow_name(p_flow_name);
    if jsonb_typeof(p_payload) is distinct from 'object' then
        perform conveyor._raise_invalid('p_payload', p_payload::text, 'a JSON object');
    end if;
    v_limit := (conveyor._flow_settings(p_flow_name)).payload_limit;
    if conveyor._jsonb_size(p_payload) > v_limit then
        perform conveyor._raise_too_large('p_payload', conveyor._jsonb_size(p_payload), v_limit);
    end if;
    if p_dedup_key is not null then
        perform conveyor._check_dedup_keys('p_dedup_key', array[p_dedup_key]);
    end if;
    perform conveyor._check_schedule(p_priority, p_run_at);

    loop
        insert into conveyor.processing_queue (flow_name, payload, priority, run_at, dedup_key)
        values (p_flow_name, p_payload, p_priority, p_run_at, p_dedup_key)
        on conflict (flow_name, dedup_key) where dedup_key is not null do nothing
        returning id into v_id;
        exit when found;

        select q.id
        into v_id
        from conveyor.processing_queue as q
        where q.flow_name = p_flow_name
            and q.dedup_key = p_dedup_key;
        exit when found;  -- else it was purged in between: add it after all
    end loop;

    return v_id;
end;
$$;

comment on function conveyor.add_record is
    'Adds one record and returns its id, or the id of the record that has the dedup key.';
