-- Remove the queue.  Refuses while there are records:
--
--   psql -X -d rpa_db -f db/uninstall.sql                  only when the queue is empty
--   psql -X -d rpa_db -v drop_data=1 -f db/uninstall.sql   with everything in it
--
-- Stop the workers first; those that still run get errors afterwards, and nothing worse.  A transaction that stays open
-- is waited for, 10 seconds; then nothing is dropped.
-- The roles stay: they belong to the whole cluster.  drop role conveyor_owner, conveyor_producer, … removes them.

\set ON_ERROR_STOP on
begin;

select set_config('conveyor.drop_data', 'no', true)
\gset
\if :{?drop_data}
    select set_config('conveyor.drop_data', 'yes', true)
    \gset
\endif

-- Tables are locked in the order of most verbs: maintain() begins with flow_minute, a claim with flow.  (The queue
-- first would not do: claims that wait for it hold flow, again and again.)  No order fits every transaction of several
-- verbs, so this one gives way: it waits for less than deadlock_timeout, lets go of everything and begins again: no
-- worker is ever the victim.
do $$
declare
    v_until constant timestamptz := clock_timestamp() + interval '10 s';
begin
    set local client_min_messages = warning;
    set local lock_timeout = '200ms';
    loop
        begin
            lock table conveyor.flow_minute, conveyor.flow, conveyor.processing_queue in access exclusive mode;
            if current_setting('conveyor.drop_data') = 'no' and exists (select from conveyor.processing_queue) then
                raise exception 'the queue has records'
                    using hint = 'Nothing was dropped. To drop them as well: psql -v drop_data=1 -f db/uninstall.sql';
            end if;
            drop schema conveyor cascade;
            return;
        exception
            when lock_not_available then
                if clock_timestamp() > v_until then
                    raise exception using
                        errcode = 'lock_not_available',
                        message = 'the queue is in use',
                        hint    = 'Nothing was dropped. Stop the workers, end transactions that were left open'
                            || ' (pg_stat_activity shows them as idle in transaction), then try again.';
                end if;
        end;
        perform pg_sleep(0.05 + random() / 20);
    end loop;
end;
$$;

commit;
