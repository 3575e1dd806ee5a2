-- Add the records of a page and move the watermark after it: both, or neither.  A reader names the revision that its
-- last page, or open_source, returned; when somebody else has moved the watermark meanwhile it gets WQ004, and none of
-- its records is added.  Dedup keys are the name of the source, a colon and the row's key, an id as a number.  Those
-- that are known are passed over.
create or replace function conveyor.ingest_page(
    p_source     text,
    p_flow_name  text,
    p_revision   bigint,
    p_read_to    bigint,
    p_payloads   jsonb,
    p_dedup_keys text[],
    p_failures   jsonb    default '[]',
    p_priority   smallint default 0,
    p_is_last    boolean  default false
)
    returns table (revision bigint, added integer)
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_read_to bigint;
    v_added   integer;
begin
    -- The row's lock makes readers of one source take turns, before their records could meet in an index.
    select w.read_to
    into v_read_to
    from conveyor.source_watermark as w
    where w.flow_name = p_flow_name
        and w.source = p_source
        and w.revision = p_revision
    for update;

    if not found then
        perform conveyor._raise_source_moved(p_source, p_flow_name, p_revision);
    end if;
    if p_read_to < v_read_to or p_read_to is null and v_read_to is not null then
        perform conveyor._raise_invalid('p_read_to', p_read_to::text, format('at least %s, where it is', v_read_to));
    end if;

    perform conveyor._check_source_keys(p_source, p_dedup_keys);

    v_added := conveyor.add_records_to_queue(p_flow_name, p_payloads, p_priority, null, p_dedup_keys)
        + conveyor._add_failures(p_source, p_flow_name, p_failures, p_priority);

    return query
    update conveyor.source_watermark as w
    set read_to      = p_read_to,
        revision     = w.revision + 1,
        rows_added   = w.rows_added + v_added,
        moved_at     = case when p_read_to is distinct from v_read_to then clock_timestamp() else w.moved_at end,
        caught_up_at = case when p_is_last then clock_timestamp() else w.caught_up_at end
    where w.flow_name = p_flow_name
        and w.source = p_source
    returning w.revision, v_added;
end;
$$;

comment on function conveyor.ingest_page is
    'Adds a page of a source and moves its watermark in one transaction. Raises WQ004 when somebody else moved it.';
