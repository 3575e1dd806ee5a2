-- A worker that found records gets up.  Its seats are free before it reads the others: a sleeper that is too late to be
-- seen here finds seat 0 empty (see _sit).  It gives back all locks and channels of the session.
--
-- Give all places where it sat.  Where nobody is on seat 0 now it calls one sleeper, who answers for the place from now
-- on: also one that sat elsewhere, for it may have been called in these moments, or have kept a sleeper from seat 0 by
-- reading it.  p_wakes: at least so many.  After full batches of p_batch records it calls as many as the records that
-- are left would keep busy.
create or replace function conveyor.leave(
    p_flow_names text[],
    p_reasons    text[],
    p_wakes      integer[],
    p_batch      integer default null,
    p_size       integer default 8
)
    returns integer
    language plpgsql
    volatile
    security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    v_called integer;
begin
    perform conveyor._check_places(p_flow_names, p_reasons, p_size);
    if cardinality(p_wakes) is distinct from cardinality(p_flow_names) then
        perform conveyor._raise_invalid(
            'the number of p_wakes', cardinality(p_wakes)::text,
            format('one for each of the %s flows', cardinality(p_flow_names))
        );
    end if;
    if p_batch not between 1 and 100000 then
        perform conveyor._raise_invalid('p_batch', p_batch::text, 'null, or a number from 1 to 100000');
    end if;
    unlisten *;
    perform pg_advisory_unlock_all();

    with taken as materialized (
        select
            p.flow_name, p.reason, s.seat,
            row_number() over (partition by p.flow_name, p.reason order by s.seat) as nth
        from unnest(p_flow_names, p_reasons) as p (flow_name, reason)
        cross join generate_series(0, p_size - 1) as s (seat)
        where conveyor._is_taken(conveyor._wake_key(p.flow_name, p.reason, s.seat))
    ),
    wanted as materialized (
        select
            p.flow_name,
            p.reason,
            greatest(
                p.wakes,
                case when p.reason = 'empty'
                    then ceil(conveyor._count_due(p.flow_name, p_batch * p_size) / p_batch::numeric)
                end,
                case when (p.flow_name, p.reason, 0) not in (select t.flow_name, t.reason, t.seat from taken as t)
                    then 1
                end
            ) as wakes
        from unnest(p_flow_names, p_reasons, p_wakes) as p (flow_name, reason, wakes)
        where exists (select from taken)
    ),
    called as materialized (
        select pg_notify(conveyor._wake_channel(t.flow_name, t.reason, t.seat), '')
        from taken as t
        join wanted as w using (flow_name, reason)
        where t.nth <= w.wakes
    )
    select count(*)
    into v_called
    from called;
    return v_called;
end;
$$;

comment on function conveyor.leave is 'Gives up all seats of this session, and calls other sleepers in its stead.';
