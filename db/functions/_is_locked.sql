-- Whether another session has locked a record.  Found by locking it in a subtransaction that is rolled back, so that
-- nobody is kept from claiming it; where nothing can be locked (read only, a standby) the answer is no.
create or replace function conveyor._is_locked(p_id bigint)
    returns boolean
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_locked boolean := false;
begin
    if current_setting('transaction_read_only')::boolean then
        return false;
    end if;

    begin
        perform
        from conveyor.processing_queue as q
        where q.id = p_id
        for update skip locked;
        v_is_locked := not found;
        raise exception using errcode = 'raise_exception', message = 'give the lock back';
    exception
        when raise_exception then
            null;
    end;
    return v_is_locked;
end;
$$;

comment on function conveyor._is_locked is 'Whether another session has locked a record; leaves no lock behind.';
