-- Read a source again after p_read_to, null for all of it; also when the same rows are to be read in another way.
-- Rows whose records are still in the queue are passed over as they are read again; so other rows, whose keys may be
-- the same, need another name.  A reader at work is stopped: its next page gets WQ004.
create or replace function conveyor.reset_source(
    p_source    text,
    p_flow_name text,
    p_read_to   bigint default null
)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    update conveyor.source_watermark as w
    set read_to      = p_read_to,
        window_from  = p_read_to,
        definition   = null,
        revision     = w.revision + 1,
        moved_at     = clock_timestamp(),
        caught_up_at = null
    where w.flow_name = p_flow_name
        and w.source = p_source;

    if not found then
        perform conveyor._raise_source_unknown(p_source, p_flow_name);
    end if;
end;
$$;

comment on function conveyor.reset_source is
    'Moves the watermark of a source to where an operator wants it, and forgets how the source was read.';
