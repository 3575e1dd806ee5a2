-- Tell a sleeper of each flow that it may have become claimable, in the transaction that makes it so.
--
-- An open door means that nobody sleeps: its lock, shared and kept to the end of the transaction, keeps every worker
-- from falling asleep before the records are visible.  A closed door means that somebody does: notify.  The seat is
-- notified, not a worker: whoever sits there at commit hears it, and whoever sits down later looks later.
create or replace function conveyor._ring(p_flow_names text[], p_reason text default 'empty')
    returns boolean
    language plpgsql
    volatile
    set search_path = pg_catalog, pg_temp
as $$
declare
    c_most   constant integer := 64;  -- a lock for each of very many flows could fill the lock table
    v_silent constant boolean := coalesce(current_setting('conveyor.wake', true), '') = 'never';
begin
    if cardinality(p_flow_names) = 1 then
        -- Expressions: a query would cost more than all of the rest.
        if pg_try_advisory_xact_lock_shared(conveyor._wake_key(p_flow_names[1], p_reason, -1)) or v_silent then
            return false;
        end if;
        perform pg_notify(conveyor._wake_channel(p_flow_names[1], p_reason, 0), '');
        return true;
    end if;

    if cardinality(p_flow_names) > c_most and v_silent then
        return false;
    end if;
    perform pg_notify(conveyor._wake_channel(n.flow_name, p_reason, 0), '')
    from unnest(p_flow_names) as n (flow_name)
    where case
            when cardinality(p_flow_names) > c_most then true
            when pg_try_advisory_xact_lock_shared(conveyor._wake_key(n.flow_name, p_reason, -1)) then false
            else not v_silent  -- last: the planner knows it, and would leave out a lock that is only and-ed to it
        end;
    return found;
end;
$$;

comment on function conveyor._ring is 'Wakes who sleeps for these flows, and nobody while everybody is busy.';
