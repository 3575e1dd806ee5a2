-- Remove the queue.  Refuses while there are records:
--
--   psql -X -d rpa_db -f db/uninstall.sql                  only when the queue is empty
--   psql -X -d rpa_db -v drop_data=1 -f db/uninstall.sql   with everything in it
--
-- The roles stay: they belong to the whole cluster.  drop role conveyor_owner, conveyor_producer, … removes them.

\set ON_ERROR_STOP on
begin;

set local lock_timeout = '10s';
lock table conveyor.processing_queue in access exclusive mode;

\if :{?drop_data}
\else
    do $$
    begin
        if exists (select from conveyor.processing_queue) then
            raise exception 'the queue has records'
                using hint = 'Nothing was dropped. To drop them as well: psql -v drop_data=1 -f db/uninstall.sql';
        end if;
    end;
    $$;
\endif

drop schema conveyor cascade;

commit;
