-- Give failed records a fresh start, whatever they failed of: all of a flow, at most 10,000 a run.
--
--   psql -X -d rpa_db -v flow=survey_processor -f scripts/ops/requeue.sql               say how many
--   psql -X -d rpa_db -v flow=survey_processor -v apply=1 -f scripts/ops/requeue.sql    do it

\set ON_ERROR_STOP on
\if :{?flow}
\else
    do $$ begin raise 'usage: psql -X -d rpa_db -v flow=NAME [-v apply=1] -f scripts/ops/requeue.sql'; end; $$;
\endif

begin;

select conveyor.requeue_records(array(
    select r.id
    from conveyor.list_records(p_flow_name => :'flow', p_status => 'failed', p_limit => 10000) as r
)) as requeued;

\if :{?apply}
    commit;
\else
    rollback;
    \warn 'rolled back; add -v apply=1 to do it'
\endif
