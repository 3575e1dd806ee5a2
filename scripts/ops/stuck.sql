-- Records whose lease has ended without an answer, and with apply=1 take them back.
--
--   psql -X -d rpa_db -v flow=survey_processor -f scripts/ops/stuck.sql                 show them
--   psql -X -d rpa_db -v flow=survey_processor -v apply=1 -f scripts/ops/stuck.sql      take them back

\set ON_ERROR_STOP on
\if :{?flow}
\else
    do $$ begin raise 'usage: psql -X -d rpa_db -v flow=NAME [-v apply=1] -f scripts/ops/stuck.sql'; end; $$;
\endif

select
    r.id,
    r.flow_instance_id as holder,
    r.claimed_at,
    r.lease_expires_at,
    r.crash_count as crashes
from conveyor.list_records(p_flow_name => :'flow', p_status => 'processing', p_limit => 10000) as r
where r.lease_expires_at is null
    or r.lease_expires_at <= clock_timestamp();

\if :{?apply}
    select conveyor.cleanup_orphaned_records(p_flow_name => :'flow') as taken_back;
\else
    \warn 'nothing was changed; add -v apply=1 to take them back'
\endif
