create or replace function conveyor._raise_source_changed(
    p_mark       conveyor.source_watermark,
    p_key_kind   text,
    p_definition jsonb
)
    returns void
    language plpgsql
    immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'WQ005',
        message = format(
            'source %s of flow %s was read by %s %s, and now is by %s %s', quote_literal(p_mark.source),
            quote_literal(p_mark.flow_name), p_mark.key_kind, coalesce(p_mark.definition::text, '(since its reset)'),
            p_key_kind, p_definition
        ),
        hint    = 'Read it as before, or give what is read now another name. If the rows are the same, reset_source;'
            ' from the start, where the kind of key is another.';
end;
$$;

comment on function conveyor._raise_source_changed is 'Raises WQ005 for a watermark that belongs to something else.';
