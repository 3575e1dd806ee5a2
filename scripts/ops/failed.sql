-- The failed records of a flow with their errors, a page at a time.
--
--   psql -X -d rpa_db -v flow=survey_processor -f scripts/ops/failed.sql
--   psql -X -d rpa_db -v flow=survey_processor -v after=4711 -f scripts/ops/failed.sql     the page after record 4711

\set ON_ERROR_STOP on
\if :{?flow}
\else
    do $$ begin raise 'usage: psql -X -d rpa_db -v flow=NAME [-v after=ID] -f scripts/ops/failed.sql'; end; $$;
\endif
\if :{?after}
\else
    \set after 0
\endif

select
    r.id,
    r.retry_count as retries,
    r.crash_count as crashes,
    coalesce(r.failure_kind, 'error') as kind,
    left(r.error_message, 60) as error
from conveyor.list_records(
    p_flow_name => :'flow', p_status => 'failed', p_after_id => :after, p_limit => 50
) as r;
