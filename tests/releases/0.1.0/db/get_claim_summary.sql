-- conveyor.get_claim_summary: what became of the records of a claim, whoever asks.
begin;
select plan(9);

select conveyor.configure_flow('survey', '{"retry_delay": "1 hour", "max_retries": 1}');
select conveyor.add_records_to_queue('survey', '[{}, {}, {}, {}, {}, {}, {}]');

create temporary table held on commit drop as
select
    c.*,
    row_number() over (order by c.id) as nth
from conveyor.claim_records_batch('survey', 10, 'worker-1') as c;

create function pg_temp.summary() returns setof text language sql as $$
select s.outcome || coalesce(': ' || s.error, '') || coalesce(' (' || s.error_type || ')', '')
from (select array_agg(h.id order by h.id) as ids, array_agg(h.claim_token order by h.id) as tokens from held as h) as a
cross join lateral conveyor.get_claim_summary(a.ids, a.tokens) as s;
$$;

select results_eq(
    'select * from pg_temp.summary()',
    $$ select 'processing' from generate_series(1, 7) $$,
    'what is held is processing'
);

select conveyor.mark_record_completed(h.id, '{}', h.claim_token) from held as h where h.nth = 1;
select conveyor.mark_record_failed(h.id, 'later', h.claim_token, 'Busy') from held as h where h.nth = 2;
select conveyor.mark_record_failed(h.id, 'never', h.claim_token, p_permanent => true) from held as h where h.nth = 3;
select conveyor.release_records(array[h.id], array[h.claim_token]) from held as h where h.nth = 4;
select conveyor.cancel_records(array[h.id], 'not wanted') from held as h where h.nth = 5;
update conveyor.processing_queue as q set lease_expires_at = clock_timestamp()
where q.id in (select h.id from held as h where h.nth = 6);
select conveyor.maintain();
delete from conveyor.processing_queue as q where q.id in (select h.id from held as h where h.nth = 7);

create temporary table said on commit drop as
select
    s.*,
    row_number() over () as nth
from pg_temp.summary() as s (text);

select results_eq(
    'select s.text from said as s where s.nth <= 5',
    $$ values ('completed'), ('failed: later (Busy)'), ('failed: never'), ('released'), ('cancelled: not wanted') $$,
    'each answer, also one that is tried again, with its error'
);
select matches(s.text, '^orphaned: worker-1 did not answer') from said as s where s.nth = 6;
select is(s.text, 'lost', 'what is gone without a trace is lost') from said as s where s.nth = 7;

select conveyor.claim_records_batch('survey', 10, 'worker-2');
select results_eq(
    'select * from pg_temp.summary() limit 4',
    'select s.text from said as s where s.nth <= 4',
    'who claims a record later changes nothing'
);

select results_eq(
    $$
    select s.outcome
    from held as h
    cross join lateral conveyor.get_claim_summary(array[h.id], array[h.claim_token + 1]) as s
    where h.nth = 1
    $$,
    $$ values ('lost') $$,
    'another token asks in vain'
);
select is_empty($$ select * from conveyor.get_claim_summary('{}', '{}') $$, 'nothing asked, nothing said');
select throws_like(
    $$ select conveyor.get_claim_summary('{1, 2}', '{1}') $$, 'p_tokens is %',
    'as many tokens as ids'
);
select throws_like($$ select conveyor.get_claim_summary(null, '{}') $$, 'p_ids is null%', 'ids have to be given');

select * from finish();
rollback;
