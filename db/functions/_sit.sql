-- One place of park(): take the lowest free seat, or, sitting on another, move to seat 0 when that is free.  Only try
-- locks: nobody waits, so nobody can deadlock.
create or replace function conveyor._sit(
    p_flow_name text,
    p_reason    text,
    p_held      integer,
    p_closed    boolean,
    p_size      integer
)
    returns table (seat integer, door_closed boolean, confirmed boolean)
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
begin
    seat := p_held;
    if p_held is null then
        select s.seat
        into seat
        from generate_series(0, p_size - 1) as s (seat)
        where pg_try_advisory_lock(conveyor._wake_key(p_flow_name, p_reason, s.seat))
        limit 1;
    elsif p_held > 0 and pg_try_advisory_lock(conveyor._wake_key(p_flow_name, p_reason, 0)) then
        perform pg_advisory_unlock(conveyor._wake_key(p_flow_name, p_reason, p_held));
        execute format('unlisten %I', conveyor._wake_channel(p_flow_name, p_reason, p_held));
        seat := 0;
    end if;

    if seat is distinct from p_held then
        -- A channel cannot be a parameter.
        execute format('listen %I', conveyor._wake_channel(p_flow_name, p_reason, seat));
    end if;
    -- On another seat than 0 the listen must have committed before seat 0 is tried a last time, or a call is lost.
    confirmed := seat = 0 or seat is not distinct from p_held;
    if p_closed is null then
        perform pg_advisory_unlock(conveyor._wake_key(p_flow_name, p_reason, -1));
        door_closed := false;
    else
        -- Not `seat = 0`: whoever has no seat would try the lock.
        door_closed := p_closed
            or seat is not distinct from 0 and pg_try_advisory_lock(conveyor._wake_key(p_flow_name, p_reason, -1));
    end if;
    return next;
end;
$$;

comment on function conveyor._sit is 'Takes or keeps a seat at one place, and closes its door from seat 0.';
