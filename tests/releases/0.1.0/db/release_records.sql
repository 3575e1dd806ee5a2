-- conveyor.release_records: gives claimed records back unanswered, at no charge.
begin;
select plan(22);

insert into conveyor.processing_queue (id, flow_name, payload, priority, retry_count, crash_count, created_at, run_at)
values
    (1, 'survey', '{"n": 1}', 0, 2, 1, '2020-01-01 00:00+00', null),
    (2, 'survey', '{"n": 2}', 0, 0, 0, '2020-01-02 00:00+00', null),
    (3, 'survey', '{"n": 3}', 0, 0, 0, '2020-01-03 00:00+00', null),
    (4, 'survey', '{"n": 4}', 0, 0, 0, '2020-01-04 00:00+00', null),
    (5, 'survey', '{"n": 5}', 7, 0, 0, '2020-01-05 00:00+00', '2020-01-06 00:00+00'),
    (6, 'survey', '{"n": 6}', 0, 0, 0, '2020-01-06 00:00+00', null);

create temporary table added on commit drop as
select q.* from conveyor.processing_queue as q;

create temporary table held on commit drop as
select c.* from conveyor.claim_records_batch('survey', 5, 'worker-1') as c;

create function pg_temp.tokens(p_ids bigint[]) returns bigint[] language sql as $$
select array_agg(h.claim_token order by i.position)
from unnest(p_ids) with ordinality as i (id, position)
left join held as h using (id);
$$;

select results_eq(
    $$ select r.* from conveyor.release_records(p_ids => '{5,1}', p_tokens => pg_temp.tokens('{5,1}')) as r $$,
    $$ values (5::bigint, 'done'), (1, 'done') $$,
    'what is held is released, and the outcomes come in the order of the call'
);

select results_eq(
    $$
    select to_jsonb(q) - 'updated_at'
    from conveyor.processing_queue as q
    where q.id in (1, 5)
    order by q.id
    $$,
    $$ select to_jsonb(a) - 'updated_at' from added as a where a.id in (1, 5) order by a.id $$,
    'a released record is as before the claim: no holder, no token, no lease, no charge, in its old place'
);

select ok(
    bool_and(q.updated_at > a.updated_at),
    'updated_at moves'
)
from conveyor.processing_queue as q
join added as a on q.id = a.id
where q.id in (1, 5);

select results_eq(
    $$
    select a.record_id, a.claim_token, a.outcome, a.error, a.error_type, a.context, a.flow_instance_id
    from conveyor.attempt as a
    order by a.record_id
    $$,
    $$
    select h.id, h.claim_token, 'released', null::text, null::text, null::jsonb, 'worker-1'
    from held as h
    where h.id in (1, 5)
    order by h.id
    $$,
    'each release is an attempt, with its holder and without an error'
);

select ok(
    bool_and(a.claimed_at > now() and a.ended_at >= a.claimed_at and a.ended_at <= clock_timestamp()),
    'an attempt says when it began and ended'
)
from conveyor.attempt as a;

create temporary table kept on commit drop as
select q.* from conveyor.processing_queue as q;

select results_eq(
    $$ select r.* from conveyor.release_records('{1}', pg_temp.tokens('{1}')) as r $$,
    $$ values (1::bigint, 'repeated') $$,
    'the same release may be repeated'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q order by q.id',
    'select k.* from kept as k order by k.id',
    'a repeat changes nothing'
);

select results_eq(
    $$ select c.id from conveyor.claim_records_batch('survey', 2, 'worker-2') as c $$,
    'values (5::bigint), (1)',
    'a released record is claimed again in its old place, before younger ones'
);

select results_eq(
    $$ select r.* from conveyor.release_records('{1}', pg_temp.tokens('{1}')) as r $$,
    $$ values (1::bigint, 'repeated') $$,
    'a release may be repeated when somebody else has the record by now'
);

select is(
    (select q.flow_instance_id from conveyor.processing_queue as q where q.id = 1), 'worker-2',
    'such a repeat leaves the record to its holder'
);

select throws_ok(
    format('select conveyor.mark_record_completed(1, ''{}'', %s)', h.claim_token),
    'WQ001', null,
    'whoever released a record cannot complete it'
)
from held as h
where h.id = 1;

select results_eq(
    $$
    select r.*
    from held as h
    join conveyor.processing_queue as q using (id)
    cross join conveyor.release_records(array[q.id, q.id], array[h.claim_token, q.claim_token]) as r
    where h.id = 1
    $$,
    $$ values (1::bigint, 'repeated'), (1, 'done') $$,
    'each outcome is that of an id and a token together'
);

select conveyor.mark_record_completed(h.id, '{}', h.claim_token) from held as h where h.id = 2;
select conveyor.mark_record_failed(h.id, 'no', h.claim_token) from held as h where h.id = 3;

delete from kept;
insert into kept select q.* from conveyor.processing_queue as q;

select results_eq(
    $$ select r.* from conveyor.release_records('{2,3,-1,6}', pg_temp.tokens('{2,3,4,4}')) as r $$,
    $$ values (2::bigint, 'lost'), (3, 'lost'), (-1, 'lost'), (6, 'lost') $$,
    'what was completed or failed, does not exist or was never claimed is lost'
);

select results_eq(
    $$ select r.* from conveyor.release_records('{4}', pg_temp.tokens('{1}')) as r $$,
    $$ values (4::bigint, 'done') $$,
    'records of one claim have one token'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q where q.id <> 4 order by q.id',
    'select k.* from kept as k where k.id <> 4 order by k.id',
    'a lost release changes nothing'
);

update conveyor.processing_queue as q
set lease_expires_at = clock_timestamp() - interval '1 s'
where q.id = 5;

select is(r.outcome, 'lost', 'another token is lost')
from conveyor.processing_queue as q, conveyor.release_records(array[q.id], array[q.claim_token - 1]) as r
where q.id = 5;

select is(
    array_agg(r.outcome), '{done,repeated}',
    'a lease that has ended is released while nobody took the record, and an id may come twice'
)
from conveyor.processing_queue as q,
    conveyor.release_records(array[q.id, q.id], array[q.claim_token, q.claim_token]) as r
where q.id = 5;

select is(
    (select count(*) from conveyor.attempt as a where a.record_id = 5), 2::bigint,
    'an id that comes twice in one call is one attempt'
);

select is_empty($$ select from conveyor.release_records('{}', '{}') $$, 'an empty call does nothing');

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ($$ select conveyor.release_records(null, '{}') $$, 'p_ids is null'),
    ($$ select conveyor.release_records('{}', null) $$, 'p_tokens is null'),
    ($$ select conveyor.release_records('{1}', '{}') $$, 'p_tokens is ''{}''')
) as v (call, message);

select * from finish();
rollback;
