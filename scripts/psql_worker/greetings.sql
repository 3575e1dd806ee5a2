-- One batch of the flow greetings, worked on in SQL. For a flow of yours copy this file; its name, and what is between
-- the two rules, is all there is to change.
--
--   psql -X -d rpa_db -f scripts/psql_worker/greetings.sql      one batch of 100, or -v batch=N
--   scripts/psql_worker/run scripts/psql_worker/greetings.sql -d rpa_db      batch after batch
--
-- Claim and answer are transactions of their own. Who dies between them leaves a lease that ends; who comes late
-- changes nothing, because the answer carries the token of the claim.

\set flow greetings

\set ON_ERROR_STOP on
\set QUIET on
\if :{?batch}
\else
    \set batch 100
\endif
\if :{?wait}
    \ir wait.sql
    \quit
\endif

-- Somebody has to take back what the dead held; any number may call this.
select conveyor.maintain() as kept \gset

select
    count(*) as claimed,
    count(*) = 0 as is_idle,
    count(*) = 1 as is_alone,
    coalesce(jsonb_agg(c.*), '[]') as records,
    coalesce(array_agg(c.id), '{}') as ids,
    coalesce(array_agg(c.claim_token), '{}') as tokens
from conveyor.claim_records_batch(
    p_flow_name => :'flow', p_batch_size => :batch, p_lease => '5 minutes'
) as c \gset

\if :is_idle
    \echo 'idle'
    \quit
\endif

-- What outlasts the lease is lost anyway.
set statement_timeout = '4min';
\set ON_ERROR_STOP off

with work as materialized (
    -- A row for each record: its result, or the error that it fails with. ---------------------------------------------
    select
        r.id,
        r.claim_token,
        jsonb_build_object('greeting', 'Hello, ' || (r.payload ->> 'name')) as result,
        case when r.payload ->> 'name' is null then 'the payload has no name' end as error
    from jsonb_to_recordset(:'records') as r (id bigint, payload jsonb, claim_token bigint)
    --------------------------------------------------------------------------------------------------------------------
)

select
    coalesce(array_agg(w.id order by w.id) filter (where w.error is null), '{}') as good_ids,
    coalesce(array_agg(w.claim_token order by w.id) filter (where w.error is null), '{}') as good_tokens,
    coalesce(jsonb_agg(w.result order by w.id) filter (where w.error is null), '[]') as results,
    coalesce(array_agg(w.id order by w.id) filter (where w.error is not null), '{}') as bad_ids,
    coalesce(array_agg(w.claim_token order by w.id) filter (where w.error is not null), '{}') as bad_tokens,
    coalesce(jsonb_agg(jsonb_build_object('error', w.error) order by w.id) filter (where w.error is not null), '[]')
        as errors
from work as w \gset

-- The statement failed as a whole. Of many records nobody knows which one it was: they go back, uncharged, and come
-- again one by one. One alone fails with what the server said, unless that was not its fault.
\if :ERROR
    \set ON_ERROR_STOP on
    select not :'is_alone'::boolean or :'LAST_ERROR_SQLSTATE' ~ '^(40|53|57P)' as is_given_back \gset
    \if :is_given_back
        select count(*) as released from conveyor.release_records(p_ids => :'ids', p_tokens => :'tokens') \gset
        \echo 'given back'
        \quit
    \endif
    \set good_ids {}
    \set good_tokens {}
    \set results []
    \set bad_ids :ids
    \set bad_tokens :tokens
    select jsonb_build_array(
        jsonb_build_object('error', :'LAST_ERROR_MESSAGE', 'error_type', :'LAST_ERROR_SQLSTATE')
    ) as errors \gset
\endif
\set ON_ERROR_STOP on

-- An id that is lost was taken back, cancelled or answered by somebody else: its result is dropped.
select
    count(*) filter (where a.verb = 'completed' and a.outcome <> 'lost') as completed,
    count(*) filter (where a.verb = 'failed' and a.outcome <> 'lost') as failed,
    coalesce(array_agg(a.id) filter (where a.outcome = 'lost'), '{}') as lost
from (
    select
        'completed' as verb,
        c.id,
        c.outcome
    from conveyor.mark_records_completed(p_ids => :'good_ids', p_results => :'results', p_tokens => :'good_tokens') as c
    union all
    select
        'failed' as verb,
        f.id,
        f.outcome
    from conveyor.mark_records_failed(p_ids => :'bad_ids', p_errors => :'errors', p_tokens => :'bad_tokens') as f
) as a \gset

\echo 'claimed' :claimed 'completed' :completed 'failed' :failed 'lost' :lost
