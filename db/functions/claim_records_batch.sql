-- Hand up to p_batch_size records of a flow to one caller: highest priority first, then due time, then id.  Callers
-- never wait for each other and never get the same record.  When the lease ends maintain() gives the record to
-- somebody else, and this token stops working.
-- Walks the priority levels from the top: a seek finds the next level that has records, one statement takes from it.
-- Starts at the session's floor while there is one (see scan_floor).  A record that ended its claims twice without an
-- answer may be what ended its workers: it is handed out alone, or its neighbours would use up their crash budgets.
create or replace function conveyor.claim_records_batch(
    p_flow_name  text,
    p_batch_size integer,
    p_instance   text     default null,
    p_lease      interval default null
)
    returns table (
        id               bigint,
        payload          jsonb,
        retry_count      integer,
        created_at       timestamptz,
        claim_token      bigint,
        lease_expires_at timestamptz,
        crash_count      integer
    )
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan
    set jit = off
    set enable_seqscan = off
    set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    c_suspect   constant integer := 2;
    c_index     constant oid := 'conveyor.idx_processing_queue_pending'::regclass;
    v_now       constant timestamptz := clock_timestamp();
    v_flow      constant conveyor.flow := conveyor._flow_settings(p_flow_name);
    v_lease_end timestamptz;
    v_instance  constant text := coalesce(p_instance, conveyor._session_name());
    v_token     constant bigint := (nextval('conveyor.claim_token') << 20) | floor(random() * 1048576)::bigint;
    v_setting   constant text := conveyor._floor_setting(p_flow_name);
    v_floor     conveyor.scan_floor := conveyor._read_floor(v_setting);
    -- Not between: no floor, or the clock was set back.
    v_full      boolean := (v_now between v_floor.looked_at and conveyor._next_look(v_floor)) is not true;
    v_started   timestamptz := v_now;
    v_at        conveyor.scan_floor;
    v_read      bigint;
    v_pages     bigint;
    v_suspect   boolean;
    v_alone     boolean;
    v_levels    integer;
    v_count     integer;
    v_left      integer := p_batch_size;
begin
    if (p_batch_size between 1 and 100000) is not true then
        perform conveyor._raise_invalid('p_batch_size', p_batch_size::text, 'a number from 1 to 100000');
    end if;
    perform conveyor._check_lease(p_lease);
    if v_flow.paused_at is not null then
        return;
    end if;
    v_lease_end := v_now + coalesce(p_lease, v_flow.lease);

    loop
        v_read := pg_stat_get_xact_tuples_returned(c_index);
        v_pages := pg_stat_get_xact_blocks_fetched(c_index);
        v_levels := 0;
        v_at := case when v_full then row(-32768, '-infinity', 0, null, null)::conveyor.scan_floor else v_floor end;

        loop
            select -q.priority::integer, coalesce(q.run_at, q.created_at), q.id, q.crash_count >= c_suspect
            into v_at.rank, v_at.due_at, v_at.id, v_suspect
            from conveyor.processing_queue as q
            where q.flow_name = p_flow_name
                and q.status = 'pending'
                and (-q.priority::integer, coalesce(q.run_at, q.created_at), q.id) >= (v_at.rank, v_at.due_at, v_at.id)
            order by -q.priority::integer, coalesce(q.run_at, q.created_at), q.id
            limit 1;
            exit when not found;

            v_levels := v_levels + 1;
            if v_at.due_at <= v_now then
                v_alone := v_suspect and v_left = p_batch_size and v_alone is distinct from true;
                return query
                with claimed as (
                    update conveyor.processing_queue as q
                    set status           = 'processing',
                        claimed_at       = v_now,
                        updated_at       = v_now,
                        flow_instance_id = v_instance,
                        claim_token      = v_token,
                        lease_expires_at = v_lease_end,
                        heartbeat_at     = null
                    -- An array: "id in (select … for update)" ran again for each row, and took more than the limit.
                    where q.ctid = any (array(
                        select p.ctid
                        from conveyor.processing_queue as p
                        where p.flow_name = p_flow_name
                            and p.status = 'pending'
                            and -p.priority::integer = v_at.rank
                            and (coalesce(p.run_at, p.created_at), p.id) >= (v_at.due_at, v_at.id)
                            and coalesce(p.run_at, p.created_at) <= v_now
                            and (p.crash_count >= c_suspect) = v_alone
                        order by coalesce(p.run_at, p.created_at), p.id
                        limit case when v_alone then 1 else v_left end
                        for update skip locked
                    ))
                    returning q.id, q.payload, q.retry_count, q.created_at, q.run_at, q.crash_count
                )
                select c.id, c.payload, c.retry_count, c.created_at, v_token, v_lease_end, c.crash_count
                from claimed as c
                order by coalesce(c.run_at, c.created_at), c.id;

                get diagnostics v_count = row_count;
                v_left := case when v_alone and v_count = 1 then 0 else v_left - v_count end;
                exit when v_left = 0;
                continue when v_alone;  -- others have all suspects of this level: now the rest
            end if;
            -- On to the next level.
            v_at := row(v_at.rank, timestamptz 'infinity', 9223372036854775807, v_at.looked_at, v_at.look_took);
        end loop;

        -- Short from the floor: look once from the start, unless such looks are dear and the last one is fresh.
        exit when v_left = 0
            or v_full
            or clock_timestamp() < v_floor.looked_at + least(interval '1 s', 4 * v_floor.look_took);
        v_full := true;
        v_started := clock_timestamp();
    end loop;

    if v_left = p_batch_size then
        perform conveyor._check_flow_name(p_flow_name);  -- only here: one that no record can have finds none
    end if;

    -- Much skipped?  Entries count while they are not marked dead (an old snapshot), pages once they are.
    if pg_stat_get_xact_tuples_returned(c_index) - v_read >= 256 + 4 * p_batch_size::bigint + 2 * v_levels
        or pg_stat_get_xact_blocks_fetched(c_index) - v_pages >= 64 + p_batch_size / 16 + 8 * v_levels
    then
        if v_full then
            v_floor := row(coalesce(v_floor.rank, 0), coalesce(v_floor.due_at, v_now), coalesce(v_floor.id, 0),
                v_started, clock_timestamp() - v_started);
        end if;
        perform conveyor._raise_floor(v_setting, v_floor, v_token, v_lease_end);
    elsif v_full and v_floor is not null then
        perform set_config(v_setting, '', false);
    end if;
end;
$$;

comment on function conveyor.claim_records_batch is
    'Claims up to p_batch_size records for p_lease (default: the flow''s), in order; no row: none is ready.';
