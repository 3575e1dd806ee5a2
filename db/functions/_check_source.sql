-- The name is the beginning of each dedup key, of which an index holds 1024 bytes.
create or replace function conveyor._check_source(
    p_source     text,
    p_flow_name  text,
    p_key_kind   text,
    p_definition jsonb,
    p_overlap    bigint
)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform conveyor._check_flow_name(p_flow_name);
    if (p_source ~ '\S' and length(p_source) <= 200) is not true then
        perform conveyor._raise_invalid('p_source', p_source, 'a name of 1 to 200 characters that is not blank');
    end if;
    if (p_key_kind in ('id', 'rowversion')) is not true then
        perform conveyor._raise_invalid('p_key_kind', p_key_kind, 'id or rowversion');
    end if;
    if jsonb_typeof(p_definition) is distinct from 'object' then
        perform conveyor._raise_invalid('p_definition', p_definition::text, 'a JSON object that says what is read');
    end if;
    if (p_overlap between 0 and 1000000000) is not true then
        perform conveyor._raise_invalid('p_overlap', p_overlap::text, 'a number of keys from 0 to 1000000000');
    end if;
end;
$$;

comment on function conveyor._check_source is 'Refuses what cannot be a source, or a way to read one.';
