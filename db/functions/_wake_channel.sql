create or replace function conveyor._wake_channel(p_flow_name text, p_reason text, p_part integer)
    returns text
    language sql
    immutable strict parallel safe
return 'conveyor_' || to_hex(conveyor._wake_key(p_flow_name, p_reason, p_part));

comment on function conveyor._wake_channel is 'Where whoever sits on that seat listens.';
