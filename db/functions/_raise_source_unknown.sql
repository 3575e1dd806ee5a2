create or replace function conveyor._raise_source_unknown(
    p_source    text,
    p_flow_name text
)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    perform conveyor._raise_invalid(
        'p_source', p_source, format('a source of flow %s that list_sources() shows', quote_nullable(p_flow_name))
    );
end;
$$;

comment on function conveyor._raise_source_unknown is
    'Raises invalid_parameter_value (22023) for a source without a watermark.';
