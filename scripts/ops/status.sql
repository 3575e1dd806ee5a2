-- How many records are in which state, by flow, who sleeps until there are some, and whether the queue is healthy.
--
--   psql -X -d rpa_db -f scripts/ops/status.sql

\set ON_ERROR_STOP on

select
    f.key as flow,
    f.value ->> 'pending' as pending,
    f.value ->> 'processing' as processing,
    f.value ->> 'completed' as completed,
    f.value ->> 'failed' as failed
from jsonb_each(conveyor.get_queue_status() -> 'by_flow') as f
order by f.key;

select
    s.flow_name as flow,
    s.reason,
    s.seat,
    s.door_closed,
    s.pid,
    s.application_name
from conveyor.list_sleepers() as s;

select
    h.health ->> 'status' as health,
    h.health -> 'problems' as problems
from (select conveyor.health_check() as health) as h;
