-- Sleep until the flow :flow may have records, 10 s at most; included by the program of a flow with -v wait=1.
-- psql shows a notification after the statement during which it came, so this sleeps in slices; whoever reads its
-- output ends it at the first one.

set application_name = 'psql worker';

-- The listen must have committed before seat 0 is tried a last time: twice.
select
    seat,
    door_closed
from conveyor.park(array[:'flow'], '{empty}', '{null}', '{f}', null) \gset held_
select coalesce(seat = 0 and not door_closed, false) as is_open
from conveyor.park(
    array[:'flow'], '{empty}', array[nullif(:'held_seat', '')::integer], array[:'held_door_closed'::boolean], null
) \gset

-- What came before is found by this look, what comes later is notified.
select coalesce(conveyor.next_due_at(:'flow') <= clock_timestamp(), false) as is_due \gset
\if :is_due
    \quit
\endif
-- A producer has not committed yet: look again soon.
\if :is_open
    select pg_sleep(0.01) as slept \gset
    \quit
\endif
select 'select pg_sleep(0.2)' as nap
from generate_series(1, 50) \gexec
