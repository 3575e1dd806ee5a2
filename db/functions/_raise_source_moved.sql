-- Say why a page does not fit.  Runs on the error path alone.
create or replace function conveyor._raise_source_moved(
    p_source    text,
    p_flow_name text,
    p_revision  bigint
)
    returns void
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_mark conveyor.source_watermark;
begin
    select w.*
    into v_mark
    from conveyor.source_watermark as w
    where w.flow_name = p_flow_name
        and w.source = p_source;

    if not found then
        perform conveyor._raise_source_unknown(p_source, p_flow_name);
    end if;

    raise exception using
        errcode = 'WQ004',
        message = format(
            'the watermark of source %s of flow %s was moved by somebody else: its revision is %s, not %s',
            quote_literal(p_source), quote_literal(p_flow_name), v_mark.revision, coalesce(p_revision::text, 'null')
        ),
        detail  = format('It is at %s, since %s.', coalesce(v_mark.read_to::text, 'the beginning'), v_mark.moved_at),
        hint    = 'Let one reader work on a source at a time; after a reset, begin again with open_source.';
end;
$$;

comment on function conveyor._raise_source_moved is 'Raises WQ004 for a page that was read behind another watermark.';
