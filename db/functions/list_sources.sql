create or replace function conveyor.list_sources(p_flow_name text default null)
    returns table (
        source       text,
        flow_name    text,
        key_kind     text,
        read_to      bigint,
        overlap      bigint,
        rows_added   bigint,
        definition   jsonb,
        moved_at     timestamptz,
        caught_up_at timestamptz
    )
    language plpgsql
    stable
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select
        w.source,
        w.flow_name,
        w.key_kind,
        w.read_to,
        w.overlap,
        w.rows_added,
        w.definition,
        w.moved_at,
        w.caught_up_at
    from conveyor.source_watermark as w
    where p_flow_name is null
        or w.flow_name = p_flow_name
    order by w.flow_name, w.source;
end;
$$;

comment on function conveyor.list_sources is
    'The sources that rows come from, of one flow or of all: how far each was read, and when nothing more was left.';
