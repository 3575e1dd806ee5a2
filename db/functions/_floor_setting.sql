create or replace function conveyor._floor_setting(p_flow_name text)
    returns text
    language sql
    immutable strict parallel safe
return 'conveyor.floor_' || to_hex(hashtextextended(p_flow_name, 0));

comment on function conveyor._floor_setting is 'The session setting that keeps the claim floor of a flow.';
