-- Forget a source that is read no more: nothing of it is kept from purging any longer.  Its records stay.  When it is
-- read again after all, it begins at the start.
create or replace function conveyor.forget_source(
    p_source    text,
    p_flow_name text
)
    returns void
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
begin
    delete from conveyor.source_watermark as w
    where w.flow_name = p_flow_name
        and w.source = p_source;

    if not found then
        perform conveyor._raise_source_unknown(p_source, p_flow_name);
    end if;
end;
$$;

comment on function conveyor.forget_source is
    'Deletes the watermark of a source; what was added from it stays.';
