-- Delete records of a flow that were completed longer ago, at most 10,000 a run.
--
--   psql -X -d rpa_db -v flow=survey_processor -v older_than='30 days' -f scripts/ops/purge.sql    say how many
--   psql -X -d rpa_db -v flow=survey_processor -v older_than='30 days' -v apply=1 -f scripts/ops/purge.sql    do it

\set ON_ERROR_STOP on
\if :{?flow}
    \if :{?older_than}
    \else
        do $$ begin raise 'usage: … -v older_than=INTERVAL'; end; $$;
    \endif
\else
    do $$ begin
        raise 'usage: psql -X -d rpa_db -v flow=NAME -v older_than=INTERVAL [-v apply=1] -f scripts/ops/purge.sql';
    end; $$;
\endif

begin;

select conveyor.purge_records(p_flow_name => :'flow', p_older_than => :'older_than') as purged;

\if :{?apply}
    commit;
\else
    rollback;
    \warn 'rolled back; add -v apply=1 to do it'
\endif
