-- Who holds records, and which of them are orphaned: the lease has ended, or, though it has not, nothing was heard of
-- the holder for p_silent_for and for as long as the lease of the flow.  The second kind is only taken back by
-- cleanup_orphaned_records(hours).
create or replace function conveyor._held_records(p_at timestamptz, p_silent_for interval)
    returns table (
        flow_name        text,
        flow_instance_id text,
        held             bigint,
        orphaned         bigint,
        silent           bigint,
        orphaned_since   timestamptz,
        silent_since     timestamptz
    )
    language plpgsql
    stable
    set search_path = pg_catalog, pg_temp
    set jit = off
    set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    return query
    with held as materialized (
        select
            q.flow_name, q.flow_instance_id, q.lease_expires_at,
            coalesce(greatest(q.claimed_at, q.heartbeat_at), q.updated_at) as heard_at
        from conveyor.processing_queue as q
        where q.status = 'processing'
    ),
    setting as materialized (
        select s.flow_name, s.lease
        from (select distinct h.flow_name from held as h) as f
        cross join lateral conveyor._flow_settings(f.flow_name) as s
    ),
    judged as (
        select
            h.*,
            least(
                h.lease_expires_at,
                h.heard_at + case when h.lease_expires_at is null then s.lease else greatest(s.lease, p_silent_for) end
            ) as ends_at
        from held as h
        join setting as s
            on s.flow_name = h.flow_name
    )
    select
        j.flow_name, j.flow_instance_id, count(*), count(*) filter (where j.ends_at <= p_at),
        count(*) filter (where j.ends_at <= p_at and j.lease_expires_at > p_at),
        min(j.ends_at) filter (where j.ends_at <= p_at), min(j.heard_at) filter (where j.ends_at <= p_at)
    from judged as j
    group by j.flow_name, j.flow_instance_id;
end;
$$;

comment on function conveyor._held_records is
    'Records in processing by flow and holder, and how many of them are orphaned.';
