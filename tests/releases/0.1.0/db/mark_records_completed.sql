-- conveyor.mark_records_completed: many answers in one call; a lost one never undoes its neighbours.
begin;
select plan(24);

insert into conveyor.processing_queue (id, flow_name, payload)
values
    (1, 'survey', '{"n": 1}'), (2, 'survey', '{"n": 2}'), (3, 'survey', '{"n": 3}'), (4, 'survey', '{"n": 4}'),
    (5, 'survey', '{"n": 5}'), (6, 'survey', '{"n": 6}'), (7, 'survey', '{"n": 7}'), (8, 'survey', '{"n": 8}'),
    (9, 'short', '{"n": 9}'), (10, 'short', '{"n": 10}');
select conveyor.configure_flow('short', '{"keep_input": false}');

create temporary table held on commit drop as
select c.* from conveyor.claim_records_batch('survey', 7, 'worker-1') as c
union all
select c.* from conveyor.claim_records_batch('short', 1, 'worker-1') as c;

create temporary table claimed on commit drop as
select q.* from conveyor.processing_queue as q;

create function pg_temp.tokens(p_ids bigint[]) returns bigint[] language sql as $$
select array_agg(h.claim_token order by i.position)
from unnest(p_ids) with ordinality as i (id, position)
left join held as h using (id);
$$;

select results_eq(
    $$
    select r.*
    from conveyor.mark_records_completed(
        p_ids     => '{3,1,9}',
        p_results => '[{"r": 3}, {"r": 1}, {"r": 9}]',
        p_tokens  => pg_temp.tokens('{3,1,9}')
    ) as r
    $$,
    $$ values (3::bigint, 'done'), (1, 'done'), (9, 'done') $$,
    'records of several claims and flows are completed, and the outcomes come in the order of the call'
);

select results_eq(
    $$
    select q.id, q.status, q.payload, q.input, q.lease_expires_at
    from conveyor.processing_queue as q
    where q.id in (1, 3, 9)
    order by q.id
    $$,
    $$
    values
        (1::bigint, 'completed', '{"r": 1}'::jsonb, '{"n": 1}'::jsonb, null::timestamptz),
        (3, 'completed', '{"r": 3}', '{"n": 3}', null),
        (9, 'completed', '{"r": 9}', null, null)
    $$,
    'each record gets its own result, and its input is kept as its flow says'
);

select ok(
    bool_and(q.completed_at > q.claimed_at and q.completed_at <= clock_timestamp() and q.updated_at >= q.completed_at),
    'completed_at and updated_at are the time of the call'
)
from conveyor.processing_queue as q
where q.id in (1, 3, 9);

select results_eq(
    $$
    select to_jsonb(q) - '{status,payload,input,lease_expires_at,completed_at,updated_at}'::text[]
    from conveyor.processing_queue as q
    order by q.id
    $$,
    $$
    select to_jsonb(c) - '{status,payload,input,lease_expires_at,completed_at,updated_at}'::text[]
    from claimed as c
    order by c.id
    $$,
    'everything else stays'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q where q.id not in (1, 3, 9) order by q.id',
    'select c.* from claimed as c where c.id not in (1, 3, 9) order by c.id',
    'records that are not in the call stay as they are'
);

create temporary table kept on commit drop as
select q.* from conveyor.processing_queue as q where q.id = 1;

select results_eq(
    $$
    select r.*
    from conveyor.mark_records_completed(
        '{1,2,8,-1,10}', '[{"r": "new"}, {"r": 2}, {}, {}, {}]', pg_temp.tokens('{1,2,2,2,null}')
    ) as r
    $$,
    $$ values (1::bigint, 'repeated'), (2, 'done'), (8, 'lost'), (-1, 'lost'), (10, 'lost') $$,
    'repeated and lost answers are outcomes, and their neighbours are done'
);

select results_eq(
    'select q.* from conveyor.processing_queue as q where q.id = 1',
    'select k.* from kept as k',
    'a repeat changes nothing, whatever it says'
);

select results_eq(
    'select q.status, q.payload from conveyor.processing_queue as q where q.id in (2, 8, 10) order by q.id',
    $$ values ('completed', '{"r": 2}'::jsonb), ('pending', '{"n": 8}'), ('pending', '{"n": 10}') $$,
    'what is done stays done beside a lost answer, which changes nothing'
);

select results_eq(
    $$ select r.outcome from conveyor.mark_records_completed('{4}', '[{}]', '{42}') as r $$,
    $$ values ('lost') $$,
    'another token is lost'
);

select results_eq(
    $$
    select r.*
    from conveyor.mark_records_completed(
        '{4,4,4}', '[{"r": "wrong"}, {"r": "first"}, {"r": "second"}]', '{42}' || pg_temp.tokens('{4,4}')
    ) as r
    $$,
    $$ values (4::bigint, 'lost'), (4, 'done'), (4, 'repeated') $$,
    'an id that comes twice in one call is done once and repeated once, and another token does not disturb it'
);

select is(
    (select q.payload from conveyor.processing_queue as q where q.id = 4), '{"r": "first"}',
    'of an id that comes twice, the first result is stored'
);

select is(
    (select q.input from conveyor.processing_queue as q where q.id = 4), '{"n": 4}',
    'of an id that comes twice, input is what was asked, not the first result'
);

select conveyor.release_records('{5}', pg_temp.tokens('{5}'));
select conveyor.mark_record_failed(h.id, 'no', h.claim_token) from held as h where h.id = 6;
update conveyor.processing_queue as q
set status = 'pending', flow_instance_id = null, claimed_at = null
where q.id = 7;
create temporary table again on commit drop as
select c.* from conveyor.claim_records_batch('survey', 10, 'worker-2') as c;

select results_eq(
    $$ select r.* from conveyor.mark_records_completed('{5,6,7}', '[{}, {}, {}]', pg_temp.tokens('{5,6,7}')) as r $$,
    $$ values (5::bigint, 'lost'), (6, 'lost'), (7, 'lost') $$,
    'what was released, failed, or reset by raw SQL and claimed by somebody else is lost'
);

select results_eq(
    $$
    select r.*
    from conveyor.mark_records_completed(
        (select array_agg(a.id order by a.id) from again as a), '[null, [1], "text"]',
        (select array_agg(a.claim_token order by a.id) from again as a)
    ) as r
    $$,
    $$ values (5::bigint, 'done'), (7, 'done'), (8, 'done') $$,
    'the next holder completes them, and a result may be any JSON'
);

select results_eq(
    'select q.payload from conveyor.processing_queue as q where q.id in (5, 7, 8) order by q.id',
    $$ values ('null'::jsonb), ('[1]'), ('"text"') $$,
    'a result is stored as it is'
);

insert into conveyor.processing_queue (id, flow_name, payload, status)
values (11, 'survey', '{}', 'processing'), (12, 'survey', '{}', 'completed');

select results_eq(
    $$ select r.* from conveyor.mark_records_completed('{11,12,null}', '[{}, {}, {}]', '{null,null,null}') as r $$,
    $$ values (11::bigint, 'lost'), (12, 'lost'), (null, 'lost') $$,
    'nobody can answer for records that were put there by hand'
);

select is_empty($$ select from conveyor.mark_records_completed('{}', '[]', '{}') $$, 'an empty call does nothing');

select throws_ok(v.call, '22023', v.message, 'a bad argument is refused by name: ' || v.message)
from (
    values
    ($$ select conveyor.mark_records_completed(null, '[]', '{}') $$, 'p_ids is null'),
    ($$ select conveyor.mark_records_completed('{}', '[]', null) $$, 'p_tokens is null'),
    ($$ select conveyor.mark_records_completed('{}', null, '{}') $$, 'p_results is null'),
    ($$ select conveyor.mark_records_completed('{1}', '{}', '{1}') $$, 'p_results is ''{}'''),
    ($$ select conveyor.mark_records_completed('{{1}}', '[{}]', '{1}') $$, 'p_ids is ''{{1}}'''),
    ($$ select conveyor.mark_records_completed('{1}', '[{}]', '{1,2}') $$, 'p_tokens is ''{1,2}'''),
    ($$ select conveyor.mark_records_completed('{1}', '[{}, {}]', '{1}') $$, 'the number of p_results is ''2''')
) as v (call, message);

select * from finish();
rollback;
