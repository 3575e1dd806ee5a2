-- Where a reader of a source goes on: after read_after, null for the beginning.  revision is for its first page.
-- After a watermark that was made by reading something else, rows would be passed over without a word: refused.
create or replace function conveyor.open_source(
    p_source     text,
    p_flow_name  text,
    p_key_kind   text,
    p_definition jsonb,
    p_overlap    bigint default 0
)
    returns table (read_to bigint, read_after bigint, revision bigint)
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_mark conveyor.source_watermark;
begin
    perform conveyor._check_source(p_source, p_flow_name, p_key_kind, p_definition, p_overlap);

    insert into conveyor.source_watermark as w (flow_name, source, key_kind, definition, overlap)
    values (p_flow_name, p_source, p_key_kind, p_definition, p_overlap)
    on conflict (flow_name, source) do nothing;

    select w.*
    into strict v_mark
    from conveyor.source_watermark as w
    where w.flow_name = p_flow_name
        and w.source = p_source
    for update;

    if coalesce(v_mark.definition, p_definition) <> p_definition
        or v_mark.read_to is not null and v_mark.key_kind <> p_key_kind
    then
        perform conveyor._raise_source_changed(v_mark, p_key_kind, p_definition);
    end if;

    return query
    update conveyor.source_watermark as w
    set key_kind    = p_key_kind,
        definition  = p_definition,
        overlap     = p_overlap,
        -- What lies below the overlap of before may have been purged, and would be added a second time.
        window_from = case when w.overlap <> p_overlap then conveyor._read_after(w) else w.window_from end
    where w.flow_name = p_flow_name
        and w.source = p_source
    returning w.read_to, conveyor._read_after(w), w.revision;
end;
$$;

comment on function conveyor.open_source is
    'Returns where reading a source goes on. Raises WQ005 when it was read by another definition.';
