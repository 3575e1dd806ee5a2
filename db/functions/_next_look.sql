-- Looks from the start take about a twentieth of a session.  At most 5 s: a look can have waited for a lock.
create or replace function conveyor._next_look(p_floor conveyor.scan_floor)
    returns timestamptz
    language sql
    stable parallel safe
return (p_floor).looked_at + least(interval '5 s', greatest(interval '0.1 s', 20 * (p_floor).look_took));

comment on function conveyor._next_look is 'When a session with this floor looks from the start again.';
