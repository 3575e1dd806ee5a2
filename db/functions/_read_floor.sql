create or replace function conveyor._read_floor(p_setting text)
    returns conveyor.scan_floor
    language sql
    stable
return nullif(current_setting(p_setting, true), '')::conveyor.scan_floor;

comment on function conveyor._read_floor is
    'The floor that this session keeps in its setting; null while there is none.';
