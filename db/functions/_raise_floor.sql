-- The floor rises to the last record that this claim took; a claim that took none leaves it where it was.
create or replace function conveyor._raise_floor(
    p_setting   text,
    p_floor     conveyor.scan_floor,
    p_token     bigint,
    p_lease_end timestamptz
)
    returns void
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_floor conveyor.scan_floor := p_floor;
begin
    select -q.priority::integer, coalesce(q.run_at, q.created_at), q.id, p_floor.looked_at, p_floor.look_took
    into v_floor
    from conveyor.processing_queue as q
    where q.status = 'processing'
        and q.lease_expires_at = p_lease_end
        and q.claim_token = p_token
    order by -q.priority::integer desc, coalesce(q.run_at, q.created_at) desc, q.id desc
    limit 1;

    perform set_config(p_setting, (case when found then v_floor else p_floor end)::text, false);
end;
$$;

comment on function conveyor._raise_floor is 'Keeps the claim floor of this session in its setting.';
