-- A place is what a worker can wait for: a flow and a reason.  Its parts are seats, 0 and up, and a door, -1.
create or replace function conveyor._wake_key(p_flow_name text, p_reason text, p_part integer)
    returns bigint
    language sql
    immutable strict parallel safe
return hashtextextended(p_flow_name, hashtext(p_reason)::bigint * 1024 + p_part);

comment on function conveyor._wake_key is 'The advisory lock of a part of a place.';
