-- pg_column_size() reads the length from the header, but of a value that a table stored compressed it says the
-- compressed one: that is unpacked first.
create or replace function conveyor._jsonb_size(p_value jsonb)
    returns integer
    language sql
    stable parallel safe
return case
    when pg_column_compression(p_value) is null then pg_column_size(p_value)
    else pg_column_size(jsonb_build_array(p_value) -> 0)
end;

comment on function conveyor._jsonb_size is 'The bytes of a jsonb value before compression.';
